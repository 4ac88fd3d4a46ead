"""Inventories of many basins as one, in which no landform counts twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from rockglacier.grid import geodesic_area_km2
from rockglacier.inventory.across import across_path
from rockglacier.inventory.geoparquet import hilbert_order, write_geoparquet
from rockglacier.inventory.ids import place_ids
from rockglacier.inventory.match import EQUAL_AREA
from rockglacier.inventory.reviews import read_reviews
from rockglacier.model.applicability import applicability_of
from rockglacier.storage import readable, write_json, write_text
from rockglacier.storage.vector import in_degrees
from rockglacier.study import Study

DOUBLE_SHARE: Final = 0.5
"""Share of the smaller of two outlines that the larger covers, from which they are one landform."""

SEAM_DEG: Final = 1e-6
"""How far apart edges of two areas may lie and be one border: a tenth of a metre."""

DECIDED: Final = ("confirmed", "edited")
"""Status of an outline that a person has looked at."""

REJECTED: Final = "rejected"
"""Status of an outline of which a person said that it is no rock glacier."""

DOUBLE_COLUMNS: Final = ("candidate_id", "basin", "same_as", "kept_in", "share")

REJECTED_COLUMNS: Final = ("candidate_id", "basin", "same_as", "rejected_in", "share")


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """One inventory of several basins."""

    table: gpd.GeoDataFrame
    """The columns of an inventory, a column ``basin`` first; EPSG:4326."""
    doubles: pd.DataFrame
    """Outlines left out, a row each: ``candidate_id, basin``, the one it is the ``same_as``, the
    basin that this is ``kept_in``, and the ``share`` of the smaller that both have in common."""
    rejected: pd.DataFrame
    """Outlines left out because a person rejected them, a row each:
    ``candidate_id, basin``, the one it is the ``same_as``, the basin that this was ``rejected_in``,
    and the ``share`` of the outline that lies in it."""
    renamed: dict[str, str]
    """New id to ``BASIN/OLD-ID``, where two basins gave one id to two landforms."""
    basins: pd.DataFrame
    """A row a basin: ``basin, area_km2, outlines, outlines_km2, doubles, ground``."""
    outlines_km2: float
    """Ground under the outlines, every place once."""


def merge_inventories(
    tables: Mapping[str, gpd.GeoDataFrame],
    areas: Mapping[str, BaseGeometry],
    across: Mapping[str, gpd.GeoDataFrame] | None = None,
    reviews: Mapping[str, gpd.GeoDataFrame] | None = None,
    grounds: Mapping[str, str] | None = None,
) -> Merged:
    """Put inventories together, each landform once.

    Parameters
    ----------
    tables
        Basin to its inventory, EPSG:4326, with ``candidate_id``; ``status`` and ``truncated`` are
        used where they are there.
    areas
        Basin to its area, EPSG:4326, cut at the antimeridian.
    across
        Basin to the landforms that reach into it with their point in another; see
        :mod:`rockglacier.inventory.across`.
    reviews
        Basin to what people decided there; see :func:`rockglacier.inventory.reviews.read_reviews`.
    grounds
        Basin to how like its ground is to that which a given model was trained on.

    Notes
    -----
    A basin's inventory holds the landforms whose representative point lies in it, whole, as far as
    its rectangle of pixels shows them. Where basins touch or overlap, both may hold one landform,
    or neither, as each draws it otherwise: what is ``across`` stands in for what no inventory
    holds, on the ground of the basins together. Two outlines of different basins of which the
    smaller lies to a half or more in the larger are one landform. The one that stays is one of an
    inventory, before one across; then that which a person decided on, then the one with the larger
    share of its ground in its own basin, then the one that is not truncated, then the larger, then
    the one whose basin and id come first; the order of the basins does not matter.
    An outline that stays keeps its id. One that a model drew and that lies to a half or more in
    what a person rejected, in whichever basin, is in none.
    """
    parts = [table.assign(basin=name) for name, table in sorted(tables.items())]
    beside = [
        table[_within(table, areas)].assign(basin=name)
        for name, table in sorted((across or {}).items())
    ]
    owned = sum(map(len, parts))
    parts += [table for table in beside if len(table)]
    whole = gpd.GeoDataFrame(pd.concat(parts, ignore_index=True), crs=4326)
    whole = whole[["basin", *(name for name in whole.columns if name != "basin")]]
    ground = shapely.make_valid(in_degrees(whole.geometry).to_crs(EQUAL_AREA).to_numpy())
    rejected = _rejected(whole, ground, reviews or {})
    is_free = ~whole.index.isin(rejected.index)
    owned -= int(np.count_nonzero(~is_free[:owned]))
    whole, ground = whole[is_free].reset_index(drop=True), ground[is_free]
    doubles = _doubles(whole, ground, areas, owned=owned)
    is_kept = ~np.isin(np.arange(len(whole)), list(doubles))
    rows = [
        {
            "candidate_id": whole["candidate_id"].iloc[left],
            "basin": whole["basin"].iloc[left],
            "same_as": whole["candidate_id"].iloc[kept],
            "kept_in": whole["basin"].iloc[kept],
            "share": round(share, 4),
        }
        for left, (kept, share) in sorted(doubles.items())
        if left < owned
    ]
    table = whole[is_kept].reset_index(drop=True)
    table, renamed = _unique(table)
    left_out = pd.DataFrame(rows, columns=list(DOUBLE_COLUMNS))
    return Merged(
        table=table.iloc[hilbert_order(table.geometry)].reset_index(drop=True),
        doubles=left_out,
        rejected=rejected.reset_index(drop=True),
        renamed=renamed,
        basins=_by_basin(table, left_out, areas, sorted(tables), grounds or {}),
        outlines_km2=round(float(shapely.area(shapely.union_all(ground[is_kept]))) / 1e6, 6),
    )


def _within(table: gpd.GeoDataFrame, areas: Mapping[str, BaseGeometry]) -> NDArray[np.bool_]:
    """Say whose point lies in any of the basins, also on the border between two."""
    together = shapely.union_all([area.buffer(SEAM_DEG) for area in areas.values()])
    return table.geometry.representative_point().within(together).to_numpy(bool)


def _rejected(
    whole: gpd.GeoDataFrame, ground: NDArray[Any], reviews: Mapping[str, gpd.GeoDataFrame]
) -> pd.DataFrame:
    """Return the rows that a person rejected elsewhere, by their place: the worst overlap of each.

    What another person decided on stays.
    """
    parts = [
        table.loc[table["status"] == REJECTED, ["candidate_id", "geometry"]].assign(basin=name)
        for name, table in sorted(reviews.items())
    ]
    parts = [part for part in parts if len(part)]
    if not parts:
        return pd.DataFrame(columns=list(REJECTED_COLUMNS))
    refused = gpd.GeoDataFrame(pd.concat(parts, ignore_index=True), crs=4326)
    shapes = shapely.make_valid(in_degrees(refused.geometry).to_crs(EQUAL_AREA).to_numpy())
    places, others = shapely.STRtree(shapes).query(ground, predicate="intersects")
    share = shapely.area(shapely.intersection(ground[places], shapes[others]))
    share /= shapely.area(ground[places])
    found: dict[int, dict[str, Any]] = {}
    for place, other, part in sorted(
        zip(places, others, share, strict=True), key=lambda one: one[2]
    ):
        if part >= DOUBLE_SHARE and whole["status"].iloc[place] not in DECIDED:
            found[int(place)] = {
                "candidate_id": whole["candidate_id"].iloc[place],
                "basin": whole["basin"].iloc[place],
                "same_as": refused["candidate_id"].iloc[other],
                "rejected_in": refused["basin"].iloc[other],
                "share": round(float(part), 4),
            }
    return pd.DataFrame.from_dict(
        found, orient="index", columns=list(REJECTED_COLUMNS)
    ).sort_index()


def _doubles(
    whole: gpd.GeoDataFrame,
    ground: NDArray[Any],
    areas: Mapping[str, BaseGeometry],
    *,
    owned: int,
) -> dict[int, tuple[int, float]]:
    """Return the rows to leave out, each with the row it is the same as and what they share.

    The first rows, as many as are ``owned``, are of inventories.
    """
    first, second = shapely.STRtree(ground).query(ground, predicate="intersects")
    basins = whole["basin"].to_numpy()
    apart = (first < second) & (basins[first] != basins[second])
    first, second = first[apart], second[apart]
    size = shapely.area(ground)
    common = shapely.area(shapely.intersection(ground[first], ground[second]))
    share = common / np.minimum(size[first], size[second])
    links: dict[int, dict[int, float]] = {}
    for a, b, part in zip(first, second, share, strict=True):
        if part >= DOUBLE_SHARE:
            links.setdefault(int(a), {})[int(b)] = float(part)
            links.setdefault(int(b), {})[int(a)] = float(part)
    order = sorted(links, key=lambda row: (row >= owned, *_preference(whole, ground, areas, row)))
    kept: set[int] = set()
    left: dict[int, tuple[int, float]] = {}
    for row in order:
        winners = {other: part for other, part in links[row].items() if other in kept}
        if winners:
            best = max(winners, key=lambda other: (winners[other], -other))
            left[row] = best, winners[best]
        else:
            kept.add(row)
    return left


def _preference(
    whole: gpd.GeoDataFrame, ground: NDArray[Any], areas: Mapping[str, BaseGeometry], row: int
) -> tuple[Any, ...]:
    """Return what sorts the outline that is to stay before its doubles."""
    found = whole.iloc[row]
    shape = found.geometry
    inside = shapely.intersection(shape, areas[found["basin"]]).area / shape.area
    return (
        found.get("status") not in DECIDED,
        -round(inside, 3),
        bool(found.get("truncated", False)),
        -round(float(ground[row].area)),
        found["basin"],
        found["candidate_id"],
    )


def _unique(table: gpd.GeoDataFrame) -> tuple[gpd.GeoDataFrame, dict[str, str]]:
    """Give a new id where two basins gave one id to two landforms; the first basin's stays."""
    again = np.flatnonzero(table["candidate_id"].duplicated().to_numpy())
    if not again.size:
        return table, {}
    points = table.geometry.iloc[again].representative_point()
    taken = frozenset(table["candidate_id"])
    ids = place_ids([(point.x, point.y) for point in points], taken=taken)
    held = [f"{table['basin'].iloc[row]}/{table['candidate_id'].iloc[row]}" for row in again]
    table = table.copy()
    table.loc[table.index[again], "candidate_id"] = ids
    return table, dict(zip(ids, held, strict=True))


def _by_basin(
    table: gpd.GeoDataFrame,
    doubles: pd.DataFrame,
    areas: Mapping[str, BaseGeometry],
    names: Sequence[str],
    grounds: Mapping[str, str],
) -> pd.DataFrame:
    rows = []
    for name in names:
        own = table[table["basin"] == name]
        rows.append(
            {
                "basin": name,
                "area_km2": round(geodesic_area_km2(areas[name]), 3),
                "outlines": len(own),
                "outlines_km2": round(sum(geodesic_area_km2(shape) for shape in own.geometry), 6),
                "doubles": int((doubles["basin"] == name).sum()),
                "ground": grounds.get(name, ""),
            }
        )
    return pd.DataFrame(rows)


def write_merged(studies: Sequence[Study], folder: Path) -> dict[str, Any]:
    """Write one inventory of those basins that have one.

    Parameters
    ----------
    studies
        Each of a name of its own.
    folder
        Gets ``inventory.parquet``, ``doubles.csv``, ``rejected.csv``, ``basins.csv`` and
        ``inventory.json``.

    Returns
    -------
    dict
        ``basins``, ``outlines``, ``doubles``, ``rejected``, ``renamed``, ``area_km2`` (of the
        ground under the outlines, every place once); nothing where no basin has an inventory yet.
    """
    ready = [study for study in studies if _path(study).is_file()]
    if not ready:
        return {}
    merged = merge_inventories(
        {study.config.name: gpd.read_parquet(readable(_path(study))) for study in ready},
        {study.config.name: study.area for study in ready},
        {
            study.config.name: gpd.read_parquet(readable(across_path(study)))
            for study in ready
            if across_path(study).is_file()
        },
        {study.config.name: read_reviews(study) for study in ready},
        {study.config.name: (applicability_of(study) or {}).get("verdict", "") for study in ready},
    )
    facts = {
        "basins": len(ready),
        "outlines": len(merged.table),
        "doubles": len(merged.doubles),
        "rejected": len(merged.rejected),
        "renamed": merged.renamed,
        "area_km2": merged.outlines_km2,
    }
    write_geoparquet(merged.table, folder / "inventory.parquet")
    write_text(folder / "doubles.csv", merged.doubles.to_csv(index=False))
    write_text(folder / "rejected.csv", merged.rejected.to_csv(index=False))
    write_text(folder / "basins.csv", merged.basins.to_csv(index=False))
    write_json(folder / "inventory.json", facts)
    return facts


def _path(study: Study) -> Path:
    return study.inventory_path / "inventory.parquet"
