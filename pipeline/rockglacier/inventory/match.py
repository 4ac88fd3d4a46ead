"""Two inventories of the same ground: which outlines are the same landform, and which are not.

Everything is symmetric: ``a`` and ``b`` are two opinions. Where ``b`` is a reference made by
people, precision is the share of ``a`` that it confirms and recall the share of ``b`` that was
found; where ``b`` is another model's work, the same numbers are agreement and not accuracy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from shapely.geometry.base import BaseGeometry

from rockglacier.errors import InputError
from rockglacier.storage.vector import has_polygons, in_degrees

EQUAL_AREA: Final = 6933
"""EPSG code of the equal-area projection in which everything is measured."""

MIN_OVERLAP_KM2: Final = 200e-6
"""Smaller overlaps are slivers and no link, as in the link tables of RGI 7."""

IOU_MATCH: Final = 0.5
IOU_CURVE: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SIZE_EDGES_KM2: Final = (0.1, 0.5, 1.0, 3.0)
SIZE_CLASSES: Final = ("<0.1", "0.1-0.5", "0.5-1", "1-3", ">=3")

ID_COLUMNS: Final = ("candidate_id", "PrimaryID", "label_id", "id", "ID", "fid")
"""Columns that name an outline, the first that is there and names every one differently."""

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How two inventories relate, outline by outline."""

    links: pd.DataFrame
    """An overlap a row, then a row for every outline without one: ``id_a, id_b, overlap_area_km2,
    area_fraction_a, area_fraction_b, iou, n_a, n_b`` (outlines of the cluster), ``cluster_id``,
    ``relation``."""
    objects_a: pd.DataFrame
    """An outline of ``a`` a row, by its index in the input: ``id, area_km2, size_class, relation,
    matched_id, iou`` (of the match), ``cover`` (share inside ``b``), ``on_edge``."""
    objects_b: pd.DataFrame
    """The same of ``b``."""
    matched_a: Flags
    """(IoU of :data:`IOU_CURVE`, outline of ``a``): whether it has a partner."""
    matched_b: Flags
    rows: NDArray[np.int64]
    """(link, 2): rows of ``objects_a`` and ``objects_b`` that a link is of; -1 = none."""
    outlines_a: NDArray[Any]
    """The outlines that took part, repaired, in :data:`EQUAL_AREA`; as ``objects_a``."""
    outlines_b: NDArray[Any]
    left_out: dict[str, int]
    """What took no part: outside the area of interest, or no polygon; and what was repaired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """One inventory, cleaned, in the equal-area projection."""

    index: pd.Index
    ids: NDArray[Any]
    geometry: NDArray[Any]
    area_km2: NDArray[np.float64]
    on_edge: Flags
    outside: int
    skipped: int
    repaired: int


def compare(
    a: gpd.GeoDataFrame,
    b: gpd.GeoDataFrame,
    aoi: BaseGeometry | None = None,
    *,
    id_a: str | None = None,
    id_b: str | None = None,
) -> Comparison:
    """Relate two inventories.

    Parameters
    ----------
    a, b
        Polygons, any CRS.
    aoi
        Common area of interest, EPSG:4326: where both are meant to be complete. Outlines take part
        if their representative point lies in it; those that cross its edge are flagged. None: all.
    id_a, id_b
        Columns that name the outlines; default: the first of ``candidate_id, PrimaryID, label_id,
        id, ID, fid`` that is complete and names none twice, else the index.

    Raises
    ------
    InputError
        An inventory has no CRS, or not the column asked for.

    Notes
    -----
    Pairs are one to one: as many as possible at an intersection over union of 0.5 or more and,
    among those, the ones with the largest sum of IoU (assignment problem, one for each cluster of
    overlapping outlines). A link is ``matched``; one that is not is, by its cluster, ``split``
    (several of a on one of b), ``merged`` (one of a on several of b), ``complex`` (several on
    several) or ``overlap`` (one on one, too little in common).
    """
    sides = _side(a, aoi, id_a, name="a"), _side(b, aoi, id_b, name="b")
    i, j, overlap = _overlaps(*sides)
    iou = overlap / (sides[0].area_km2[i] + sides[1].area_km2[j] - overlap)
    sizes = len(sides[0].ids), len(sides[1].ids)
    clusters = _clusters(i, j, sizes)
    pairs = [_assign(i, j, iou, clusters[i], at=at) for at in IOU_CURVE]
    is_match = pairs[IOU_CURVE.index(IOU_MATCH)]
    links = _links(sides, clusters, i, j, overlap, iou, is_match)
    alone_a = np.setdiff1d(np.arange(sizes[0]), i)
    alone_b = np.setdiff1d(np.arange(sizes[1]), j)
    return Comparison(
        links=_with_lonely(links, sides, clusters, alone_a, alone_b),
        objects_a=_objects(sides[0], links, sides[1], "a"),
        objects_b=_objects(sides[1], links, sides[0], "b"),
        matched_a=np.stack([np.isin(np.arange(sizes[0]), i[chosen]) for chosen in pairs]),
        matched_b=np.stack([np.isin(np.arange(sizes[1]), j[chosen]) for chosen in pairs]),
        rows=np.concatenate(
            [
                np.stack([i, j], axis=1),
                np.stack([alone_a, np.full_like(alone_a, -1)], axis=1),
                np.stack([np.full_like(alone_b, -1), alone_b], axis=1),
            ]
        ),
        outlines_a=sides[0].geometry,
        outlines_b=sides[1].geometry,
        left_out={
            f"{what}_{name}": getattr(side, what)
            for name, side in zip("ab", sides, strict=True)
            for what in ("outside", "skipped", "repaired")
        },
    )


def _side(
    table: gpd.GeoDataFrame, aoi: BaseGeometry | None, id_column: str | None, *, name: str
) -> _Side:
    if table.crs is None:
        raise InputError(
            f"inventory {name} has no CRS",
            expected="polygons that say their coordinate reference system",
            todo="set it in QGIS (Layer > Set CRS) and save the layer again",
        )
    is_polygon = has_polygons(table).to_numpy(bool)
    polygons = table[is_polygon]
    geometry = in_degrees(polygons.geometry).to_crs(EQUAL_AREA).to_numpy()
    is_broken = ~shapely.is_valid(geometry)
    geometry = np.where(is_broken, shapely.make_valid(geometry, method="structure"), geometry)
    inside = np.ones(len(geometry), dtype=bool)
    on_edge = np.zeros(len(geometry), dtype=bool)
    if aoi is not None:
        ground = gpd.GeoSeries([aoi], crs=4326).to_crs(EQUAL_AREA).iloc[0]
        shapely.prepare(ground)
        inside = shapely.contains(ground, shapely.point_on_surface(geometry))
        on_edge = ~shapely.covers(ground, geometry)
    return _Side(
        index=polygons.index[inside],
        ids=_ids(polygons, id_column, name=name)[inside],
        geometry=geometry[inside],
        area_km2=shapely.area(geometry[inside]) / 1e6,
        on_edge=on_edge[inside],
        outside=int((~inside).sum()),
        skipped=int((~is_polygon).sum()),
        repaired=int(is_broken.sum()),
    )


def _ids(table: gpd.GeoDataFrame, column: str | None, *, name: str) -> NDArray[Any]:
    if column is None:
        column = next((c for c in ID_COLUMNS if c in table and _names_all(table[c])), None)
        if column is None:
            return table.index.to_numpy().astype(str).astype(object)
    elif column not in table:
        raise InputError(
            f"inventory {name} has no column {column!r}",
            expected=f"one of {', '.join(map(str, table.columns))}",
        )
    return table[column].to_numpy().astype(str).astype(object)


def _names_all(values: pd.Series) -> bool:
    return bool(values.notna().all() and values.is_unique)


def _overlaps(
    a: _Side, b: _Side
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the overlapping pairs as positions in a and b, with the overlap in km²."""
    i, j = shapely.STRtree(b.geometry).query(a.geometry, predicate="intersects")
    overlap = shapely.area(shapely.intersection(a.geometry[i], b.geometry[j])) / 1e6
    order = np.lexsort((j, i))
    kept = order[overlap[order] >= MIN_OVERLAP_KM2]
    return i[kept], j[kept], overlap[kept]


def _clusters(
    i: NDArray[np.int64], j: NDArray[np.int64], sizes: tuple[int, int]
) -> NDArray[np.int64]:
    """Return the cluster of every outline, those of a first; outlines that overlap share one."""
    total = sum(sizes)
    if total == 0:
        return np.zeros(0, dtype=np.int64)
    graph = coo_array((np.ones(len(i)), (i, j + sizes[0])), shape=(total, total))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _assign(
    i: NDArray[np.int64],
    j: NDArray[np.int64],
    iou: NDArray[np.float64],
    cluster: NDArray[np.int64],
    *,
    at: float,
) -> Flags:
    """Say which links are pairs of the best one-to-one assignment at an IoU of ``at`` or more."""
    chosen = np.zeros(len(i), dtype=bool)
    able = np.flatnonzero(iou >= at)
    for links in _groups(able, cluster):
        rows, row = np.unique(i[links], return_inverse=True)
        columns, column = np.unique(j[links], return_inverse=True)
        gain = np.zeros((len(rows), len(columns)))
        # one more pair outweighs every gain in IoU
        gain[row, column] = 1 + iou[links] / (2 * min(gain.shape))
        best = np.zeros(gain.shape, dtype=bool)
        best[linear_sum_assignment(gain, maximize=True)] = True
        chosen[links] = best[row, column]
    return chosen


def _groups(links: NDArray[np.int64], cluster: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield the links of each cluster."""
    order = links[np.argsort(cluster[links], kind="stable")]
    if len(order):
        yield from np.split(order, np.flatnonzero(np.diff(cluster[order])) + 1)


def _links(
    sides: tuple[_Side, _Side],
    clusters: NDArray[np.int64],
    i: NDArray[np.int64],
    j: NDArray[np.int64],
    overlap: NDArray[np.float64],
    iou: NDArray[np.float64],
    is_match: Flags,
) -> pd.DataFrame:
    a, b = sides
    size = int(clusters.max()) + 1 if len(clusters) else 0
    in_a = np.bincount(clusters[: len(a.ids)], minlength=size)
    in_b = np.bincount(clusters[len(a.ids) :], minlength=size)
    cluster = clusters[i]
    n_a, n_b = in_a[cluster], in_b[cluster]
    relation = np.select(
        [is_match, (n_a > 1) & (n_b > 1), n_a > 1, n_b > 1],
        ["matched", "complex", "split", "merged"],
        "overlap",
    ).astype(object)
    return pd.DataFrame(
        {
            "a": i,
            "b": j,
            "id_a": a.ids[i],
            "id_b": b.ids[j],
            "overlap_area_km2": overlap,
            "area_fraction_a": overlap / a.area_km2[i],
            "area_fraction_b": overlap / b.area_km2[j],
            "iou": iou,
            "n_a": n_a,
            "n_b": n_b,
            "cluster_id": cluster,
            "relation": relation,
        }
    )


def _with_lonely(
    links: pd.DataFrame,
    sides: tuple[_Side, _Side],
    clusters: NDArray[np.int64],
    alone_a: NDArray[np.int64],
    alone_b: NDArray[np.int64],
) -> pd.DataFrame:
    """Return the link table with a row for every outline that overlaps nothing."""
    a, b = sides
    rows = [
        {"id_a": a.ids[k], "n_a": 1, "n_b": 0, "cluster_id": clusters[k], "relation": "only_in_a"}
        for k in alone_a
    ] + [
        {
            "id_b": b.ids[k],
            "n_a": 0,
            "n_b": 1,
            "cluster_id": clusters[len(a.ids) + k],
            "relation": "only_in_b",
        }
        for k in alone_b
    ]
    table = links.drop(columns=["a", "b"])
    records = table.to_dict("records") + rows
    return pd.DataFrame(records, columns=table.columns).astype(
        {
            "id_a": "string",
            "id_b": "string",
            "overlap_area_km2": "float64",
            "area_fraction_a": "float64",
            "area_fraction_b": "float64",
            "iou": "float64",
            "n_a": "int64",
            "n_b": "int64",
            "cluster_id": "int64",
            "relation": "string",
        }
    )


def _objects(side: _Side, links: pd.DataFrame, other: _Side, name: str) -> pd.DataFrame:
    partner = "b" if name == "a" else "a"
    count = len(side.ids)
    relation = np.full(count, f"only_in_{name}", dtype=object)
    relation[links[name]] = links["relation"]
    matched = links[links["relation"] == "matched"]
    relation[matched[name]] = "matched"
    matched_id = np.full(count, None, dtype=object)
    matched_id[matched[name]] = matched[f"id_{partner}"]
    iou = np.full(count, np.nan)
    iou[matched[name]] = matched["iou"]
    cover = np.zeros(count)
    for k, positions in links.groupby(name)[partner]:
        # the union first: outlines of one inventory may overlap each other
        union = shapely.union_all(other.geometry[positions.to_numpy()])
        cover[k] = shapely.area(shapely.intersection(side.geometry[k], union)) / 1e6
    return pd.DataFrame(
        {
            "id": side.ids,
            "area_km2": side.area_km2,
            "size_class": size_class(side.area_km2),
            "relation": relation,
            "matched_id": matched_id,
            "iou": iou,
            "cover": cover / side.area_km2,
            "on_edge": side.on_edge,
        },
        index=side.index,
    )


def size_class(area_km2: NDArray[np.float64]) -> NDArray[Any]:
    """Return the size class of each area (km²): <0.1, 0.1-0.5, 0.5-1, 1-3, >=3."""
    return np.array(SIZE_CLASSES, dtype=object)[np.digitize(area_km2, SIZE_EDGES_KM2)]
