"""Names that stay: a landform keeps its id from one run to the next.

A connected set of pixels is neither a rock glacier unit nor a system of units in the sense of the
RGIK guidelines, so it gets an id of our own, ``RGC`` + position; an RGIK ``PrimaryID`` is for the
person who confirms it.
"""

from __future__ import annotations

from collections.abc import Sequence

import geopandas as gpd
import numpy as np

from rockglacier.inventory.match import compare


def candidate_id(longitude: float, latitude: float) -> str:
    """Return the id of a place in WGS 84 degrees, to 1e-4 degrees (about 11 m).

    Examples
    --------
    >>> candidate_id(74.52341, 36.10004)
    'RGC361000N0745234E'
    """
    return _code(round(longitude * 1e4), round(latitude * 1e4))


def _code(longitude_e4: int, latitude_e4: int) -> str:
    north, east = "N" if latitude_e4 >= 0 else "S", "E" if longitude_e4 >= 0 else "W"
    return f"RGC{abs(latitude_e4):06d}{north}{abs(longitude_e4):07d}{east}"


def place_ids(
    places: Sequence[tuple[float, float]], *, taken: frozenset[str] = frozenset()
) -> list[str]:
    """Return an id for every place, none twice.

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
    outlines: gpd.GeoSeries, points: gpd.GeoSeries, previous: gpd.GeoDataFrame | None
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
    """
    kept: dict[int, str] = {}
    taken: frozenset[str] = frozenset()
    if previous is not None and len(previous) and len(outlines):
        now = gpd.GeoDataFrame(
            {"row": np.arange(len(outlines))}, geometry=outlines.to_numpy(), crs=4326
        )
        links = compare(now, previous, id_a="row", id_b="candidate_id").links
        matched = links[links["relation"] == "matched"]
        kept = dict(zip(matched["id_a"].astype(int), matched["id_b"], strict=True))
        taken = frozenset(previous["candidate_id"])
    new = [row for row in range(len(outlines)) if row not in kept]
    places = [(points.iloc[row].x, points.iloc[row].y) for row in new]
    fresh = dict(zip(new, place_ids(places, taken=taken), strict=True))
    return [kept.get(row) or fresh[row] for row in range(len(outlines))]
