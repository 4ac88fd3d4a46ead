"""A reference inventory as it comes: read, brought to EPSG:4326, repaired, nothing lost unsaid."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import geopandas as gpd
import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from rockglacier.errors import InputError
from rockglacier.grid import geodesic_area_km2
from rockglacier.labels.columns import named_columns, require_columns
from rockglacier.labels.layers import read_outlines, with_markers
from rockglacier.storage.vector import areal

logger = logging.getLogger(__name__)

SAME_SHARE = 0.95  # IoU from which two outlines are one landform drawn twice
OWN = ("label_id", "action", "used", "area_km2", "area_change_km2", "overlap_km2")
"""Columns of the result; those of the file by these names are left out."""
TEACHING = ("kept", "repaired")
SHOWN = 5  # values of a column that a message names


def read_reference(
    uri: str,
    *,
    area: BaseGeometry,
    where: Mapping[str, tuple[str, ...]] | None = None,
    columns: Mapping[str, str] | None = None,
    layer: str | None = None,
    may_be_empty: bool = False,
) -> gpd.GeoDataFrame:
    """Read polygons and say of each what was done with it.

    Parameters
    ----------
    uri
        GeoPackage, GeoParquet, Shapefile or GeoJSON.
    area
        The basin, EPSG:4326.
    where
        Column to accepted values; other polygons are kept as ``filtered``, so that their ground is
        ignored instead of being called background. A column of the primary markers of the same
        file counts for the outlines with their ``PrimaryID``.
    columns
        Our name of a column to that of the file; both spellings of the RGIK columns are known
        without it.
    layer
        Of the file; see :func:`~rockglacier.labels.layers.read_outlines`.
    may_be_empty
        A file without a single feature says that there is no rock glacier; else it is refused, as
        an inventory that got lost looks the same.

    Returns
    -------
    GeoDataFrame
        EPSG:4326, valid polygons, the columns of the file and: ``label_id``; ``action``, one of
        ``kept``, ``repaired``, ``collapsed`` (nothing is left of it after the repair),
        ``duplicate``, ``contained`` (its ground belongs to a larger one), ``filtered``,
        ``outside``; ``used``, whether the polygon teaches; ``area_km2``, geodesic;
        ``area_change_km2``, what a repair did to it; ``overlap_km2``, ground that it gave to a
        larger one, so that none is counted twice.

    Raises
    ------
    InputError
        The file cannot be read, names no CRS, has no polygon, or lacks a column of ``where``; or
        ``where`` keeps no polygon, or none touches the area.
    """
    table = read_outlines(uri, layer=layer, may_be_empty=may_be_empty)
    table = table.drop(columns=[name for name in OWN if name in table.columns])
    if not table.empty:
        table = named_columns(table, columns or {}, uri=uri)
        table = with_markers(table, list(where or {}), uri=uri)
        require_columns(table, where or {}, uri=uri)
    before = [geodesic_area_km2(shape) for shape in table.geometry]
    was_valid = table.geometry.is_valid.to_numpy()
    shapes = gpd.GeoSeries([repaired_shape(shape) for shape in table.geometry], crs=table.crs)
    repaired = table.set_geometry(shapes)
    repaired["area_km2"] = [geodesic_area_km2(shape) for shape in repaired.geometry]
    repaired["area_change_km2"] = np.where(was_valid, 0.0, repaired["area_km2"] - before)
    repaired["label_id"] = np.arange(1, len(repaired) + 1)
    repaired["overlap_km2"] = 0.0
    repaired["action"] = np.where(was_valid, "kept", "repaired")
    if repaired.empty:
        logger.warning("reference %s is empty: no ground is a rock glacier", uri)
        return repaired.assign(used=np.zeros(0, bool))
    repaired.loc[repaired.geometry.is_empty, "action"] = "collapsed"
    is_filtered = _is_filtered(repaired, where or {})
    if is_filtered.all():
        raise _all_filtered(repaired, where or {}, uri)
    is_ground = repaired["action"] != "collapsed"
    repaired.loc[is_filtered & is_ground, "action"] = "filtered"
    repaired.loc[~repaired.geometry.intersects(area) & is_ground, "action"] = "outside"
    if repaired["action"].isin(["outside", "collapsed"]).all():
        raise InputError(
            f"none of the {len(repaired)} polygons of {uri!r} touches the area: they lie within "
            f"{_box(repaired.total_bounds)}, the area within {_box(area.bounds)}",
            expected="a reference inventory of this basin",
            todo="check the file, and its CRS: are longitude and latitude swapped?",
        )
    repaired.loc[_is_duplicate(repaired), "action"] = "duplicate"
    repaired = _without_overlaps(repaired)
    repaired["used"] = repaired["action"].isin(TEACHING)
    logger.info("reference %s: %s", uri, repaired["action"].value_counts().to_dict())
    return repaired


def read_ground(uri: str, *, area: BaseGeometry, what: str) -> list[BaseGeometry]:
    """Read polygons of other things that touch an area, e.g. glaciers; EPSG:4326, valid.

    Parameters
    ----------
    uri
        As for :func:`read_reference`.
    area
        EPSG:4326.
    what
        What messages call it.

    Raises
    ------
    InputError
        The file cannot be read, has no CRS or no polygon.
    """
    table = read_outlines(uri, what=f"the file of {what}", may_be_empty=True)
    shapes = [repaired_shape(shape) for shape in table.geometry[table.geometry.intersects(area)]]
    if not shapes:
        logger.warning("none of the %d polygons of %s %s touches the area", len(table), what, uri)
    return shapes


def repaired_shape(shape: BaseGeometry) -> BaseGeometry:
    """Return the polygon parts of a valid version; unlike a buffer of zero it keeps every lobe.

    By structure, not by linework: ground inside two overlapping parts would become a hole, and what
    of a hole reaches beyond its shell would become ground.
    """
    if shape.is_valid:
        return shape
    return areal(shapely.make_valid(shape, method="structure", keep_collapsed=False))


def _is_filtered(
    table: gpd.GeoDataFrame, where: Mapping[str, tuple[str, ...]]
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    is_filtered = np.zeros(len(table), bool)
    for name, accepted in where.items():
        is_filtered |= ~table[name].astype(str).isin(accepted).to_numpy()
    return is_filtered


def _all_filtered(
    table: gpd.GeoDataFrame, where: Mapping[str, tuple[str, ...]], uri: str
) -> InputError:
    wanted = "; ".join(f"{name}: {', '.join(accepted)}" for name, accepted in where.items())
    found = "; ".join(
        f"{name}: {', '.join(map(str, table[name].astype(str).value_counts().index[:SHOWN]))}"
        for name in where
    )
    return InputError(
        f"labels.where ({wanted}) keeps none of the {len(table)} polygons of {uri!r}",
        expected=f"values that occur in the file, such as {found}",
        todo="mend labels.where",
    )


def _is_duplicate(table: gpd.GeoDataFrame) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Say which used polygons repeat an earlier one."""
    is_used = table["action"].isin(TEACHING).to_numpy()
    shapes = table.geometry.to_numpy()
    is_duplicate = np.zeros(len(table), bool)
    for first, second in shapely.STRtree(shapes).query(shapes, predicate="intersects").T:
        if first < second and is_used[first] and is_used[second] and not is_duplicate[first]:
            shared = shapes[first].intersection(shapes[second]).area
            either = shapes[first].area + shapes[second].area - shared
            is_duplicate[second] |= either > 0 and shared / either >= SAME_SHARE
    return is_duplicate


def _without_overlaps(table: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Give ground that several used polygons claim to the largest of them."""
    used = np.flatnonzero(table["action"].isin(TEACHING).to_numpy())
    shapes = table.geometry.to_numpy().copy()
    area = table["area_km2"].to_numpy()
    rank = {int(row): place for place, row in enumerate(used[np.argsort(-area[used])])}
    larger: dict[int, list[int]] = {}
    for one, other in shapely.STRtree(shapes[used]).query(shapes[used], predicate="overlaps").T:
        if rank[int(used[other])] < rank[int(used[one])]:
            larger.setdefault(int(used[one]), []).append(int(used[other]))
    for one, other in shapely.STRtree(shapes[used]).query(shapes[used], predicate="within").T:
        if one != other:
            larger.setdefault(int(used[one]), []).append(int(used[other]))
    table = table.copy()
    for row, others in larger.items():
        left = areal(shapes[row].difference(shapely.union_all(table.geometry.to_numpy()[others])))
        remaining = geodesic_area_km2(left) if not left.is_empty else 0.0
        table.loc[row, "overlap_km2"] = area[row] - remaining
        if remaining <= (1 - SAME_SHARE) * area[row]:
            table.loc[row, "action"] = "contained"
        else:
            shapes[row] = left
            table.loc[row, "area_km2"] = remaining
    return table.set_geometry(gpd.GeoSeries(shapes, index=table.index, crs=table.crs))


def _box(bounds: object) -> str:
    west, south, east, north = (float(value) for value in bounds)  # type: ignore[attr-defined]
    return f"{west:.3f} {south:.3f} {east:.3f} {north:.3f}"
