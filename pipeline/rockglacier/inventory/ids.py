"""Names that stay: a landform keeps its id from one run to the next.

A connected set of pixels is neither a rock glacier unit nor a system of units in the sense of the
RGIK guidelines, so it gets an id of our own, ``RGC`` + position; an RGIK ``PrimaryID`` is for the
person who confirms it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import geopandas as gpd
import numpy as np

from rockglacier.grid import geodesic_area_km2
from rockglacier.inventory.match import compare

CHANGE_COLUMNS: Final = (
    "version", "run_id", "change", "candidate_id", "replaces", "area_before_km2", "area_km2", "iou",
)  # fmt: skip

MOSTLY: Final = 0.5
"""Share of an outline inside an earlier one, or of that one inside it, from which it replaces it.
"""

SAME: Final = 1 - 1e-6
"""Intersection over union from which an outline has not changed."""


def _code(longitude_e4: int, latitude_e4: int) -> str:
    north, east = "N" if latitude_e4 >= 0 else "S", "E" if longitude_e4 >= 0 else "W"
    return f"RGC{abs(latitude_e4):06d}{north}{abs(longitude_e4):07d}{east}"


def place_ids(
    places: Sequence[tuple[float, float]], *, taken: frozenset[str] = frozenset()
) -> list[str]:
    """Return an id for every place, to 1e-4 degrees (about 11 m), none twice.

    Parameters
    ----------
    places
        Longitude and latitude of the representative points, degrees.
    taken
        Ids that are somebody else's.

    Returns
    -------
    list of str
        In the order of the places. Where two places would share an id, they are served from south
        to north, then west to east, and the later one moves east by steps of 1e-4 degrees.

    Examples
    --------
    >>> place_ids([(74.52341, 36.10004)])
    ['RGC361000N0745234E']
    """
    used = set(taken)
    ids = [""] * len(places)
    for index in sorted(range(len(places)), key=lambda k: (places[k][1], places[k][0])):
        longitude, latitude = (round(value * 1e4) for value in places[index])
        while (code := _code(longitude, latitude)) in used:
            longitude = longitude + 1 if longitude < 1_800_000 else -1_799_999
        used.add(code)
        ids[index] = code
    return ids


def stable_ids(
    outlines: gpd.GeoSeries,
    points: gpd.GeoSeries,
    previous: gpd.GeoDataFrame | None,
    *,
    others: Sequence[gpd.GeoDataFrame] = (),
    retired: frozenset[str] = frozenset(),
    fixed: Mapping[int, str] | None = None,
) -> list[str]:
    """Return an id for every outline, that of an earlier inventory where it is the same landform.

    Parameters
    ----------
    outlines, points
        Outlines and their representative points, EPSG:4326.
    previous
        An earlier inventory with a column ``candidate_id``, or None. A landform is the same at an
        intersection over union of 0.5 or more. The id of a landform that is gone is not given to
        another one.
    others, retired, fixed
        As for :func:`names_of`.
    """
    kept = dict(fixed or {})
    taken = {*retired, *kept.values()}
    for table in [*([] if previous is None else [previous]), *others]:
        free = table[~table["candidate_id"].isin(list(kept.values()))]
        rest = [row for row in range(len(outlines)) if row not in kept]
        taken.update(table["candidate_id"])
        if rest and len(free):
            now = gpd.GeoDataFrame({"row": rest}, geometry=outlines.iloc[rest].to_numpy(), crs=4326)
            links = compare(now, free, id_a="row", id_b="candidate_id").links
            matched = links[links["relation"] == "matched"]
            kept |= dict(zip(matched["id_a"].astype(int), matched["id_b"], strict=True))
    new = [row for row in range(len(outlines)) if row not in kept]
    places = [(points.iloc[row].x, points.iloc[row].y) for row in new]
    fresh = dict(zip(new, place_ids(places, taken=frozenset(taken)), strict=True))
    return [kept.get(row) or fresh[row] for row in range(len(outlines))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What landforms are called, and what became of those of an earlier inventory."""

    ids: list[str]
    replaces: list[str | None]
    """Ids of earlier landforms that each one stands for besides its own, with semicolons."""
    changes: list[dict[str, Any]]
    """A row for each landform that is ``new``, ``changed``, ``split``, ``merged``, ``redrawn`` or
    ``gone``: the columns of :data:`CHANGE_COLUMNS` without ``version`` and ``run_id``."""


def names_of(
    outlines: gpd.GeoSeries,
    points: gpd.GeoSeries,
    previous: gpd.GeoDataFrame | None,
    *,
    others: Sequence[gpd.GeoDataFrame] = (),
    retired: frozenset[str] = frozenset(),
    fixed: Mapping[int, str] | None = None,
) -> Names:
    """Name landforms, and say what they replace.

    Parameters
    ----------
    outlines, points
        Outlines and their representative points, EPSG:4326.
    previous
        The earlier inventory of the same period, with ``candidate_id`` and maybe ``replaces``.
    others
        Inventories of other periods, those to prefer first: a landform without a name of its own
        takes the one that it has there.
    retired
        Ids that landforms had once; they are given to nobody else.
    fixed
        Ids of outlines by their place, which a person decided on.

    Notes
    -----
    The larger part of a split landform keeps the id if it still has half in common with it; the
    other parts get ids of their own and replace it. A landform that two merged into keeps the id
    of the one that it has half in common with, and replaces the other.
    """
    ids = stable_ids(outlines, points, previous, others=others, retired=retired, fixed=fixed)
    areas = [geodesic_area_km2(outline) for outline in outlines]
    if previous is None or previous.empty:
        changes = [_change("new", name, area=area) for name, area in zip(ids, areas, strict=True)]
        return Names(ids=ids, replaces=[None] * len(ids), changes=changes)
    now = gpd.GeoDataFrame({"id": ids}, geometry=outlines.to_numpy(), crs=4326)
    links = compare(now, previous, id_a="id", id_b="candidate_id").links.dropna()
    before = set(previous["candidate_id"])
    old_areas = {
        name: geodesic_area_km2(outline)
        for name, outline in zip(previous["candidate_id"], previous.geometry, strict=True)
    }
    held = previous["replaces"] if "replaces" in previous else [None] * len(previous)
    earlier = {
        name: str(text).split("; ") if isinstance(text, str) and text else []
        for name, text in zip(previous["candidate_id"], held, strict=True)
    }
    is_mostly = (links["area_fraction_a"] >= MOSTLY) | (links["area_fraction_b"] >= MOSTLY)
    replaced: dict[str, list[str]] = {name: [] for name in ids}
    for link in links[is_mostly].itertuples():
        # the neighbour that kept its id is somebody else's, unless this one is new and part of it
        if link.id_b != link.id_a and (link.id_b not in replaced or link.id_a not in before):
            replaced[link.id_a].append(link.id_b)
    own = links[links["id_a"] == links["id_b"]].set_index("id_a")["iou"]
    parts = Counter(name for names in replaced.values() for name in names)
    parts.update(name for name in ids if name in before)
    changes = []
    for name, area in zip(ids, areas, strict=True):
        iou = float(own.get(name, np.nan))
        kind = _kind(name, replaced[name], parts, is_new=name not in before, iou=iou)
        if kind:
            changes.append(
                _change(
                    kind,
                    name,
                    replaces=replaced[name],
                    before=old_areas.get(name),
                    area=area,
                    iou=None if np.isnan(iou) else iou,
                )
            )
    changes += [
        _change("gone", name, before=old_areas[name])
        for name in previous["candidate_id"]
        if name not in parts
    ]
    every = [sorted({*earlier.get(name, []), *replaced[name]}) for name in ids]
    return Names(ids=ids, replaces=["; ".join(names) or None for names in every], changes=changes)


def _kind(
    name: str, replaces: Sequence[str], parts: Counter[str], *, is_new: bool, iou: float
) -> str | None:
    """Return what became of a landform, None if nothing."""
    if parts[name] > 1 or any(parts[other] > 1 for other in replaces):
        return "split"
    if len(replaces) + (not is_new) > 1:
        return "merged"
    if is_new:
        return "redrawn" if replaces else "new"
    return None if iou >= SAME else "changed"


def _change(
    kind: str,
    name: str,
    *,
    replaces: Sequence[str] = (),
    before: float | None = None,
    area: float | None = None,
    iou: float | None = None,
) -> dict[str, Any]:
    def rounded(value: float | None) -> float | None:
        return None if value is None else round(float(value), 6)

    return {
        "change": kind,
        "candidate_id": name,
        "replaces": "; ".join(replaces),
        "area_before_km2": rounded(before),
        "area_km2": rounded(area),
        "iou": rounded(iou),
    }
