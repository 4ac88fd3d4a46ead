"""A reference inventory as it comes: read, brought to EPSG:4326, repaired, nothing lost unsaid."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
from shapely.geometry.base import BaseGeometry

from rockglacier.errors import InputError
from rockglacier.grid import geodesic_area_km2

logger = logging.getLogger(__name__)

SAME_SHARE = 0.95  # IoU from which two outlines are one landform drawn twice
POLYGONS = ("Polygon", "MultiPolygon")
SHOWN = 5  # values of a column that a message names


def read_reference(
    uri: str,
    *,
    area: BaseGeometry,
    where: Mapping[str, tuple[str, ...]] | None = None,
    may_be_empty: bool = False,
) -> gpd.GeoDataFrame:
    """Read polygons and say of each what was done with it.

    Parameters
    ----------
    uri
        GeoPackage (its first layer with polygons), GeoParquet, Shapefile or GeoJSON.
    area
        The basin, EPSG:4326.
    where
        Column to accepted values; other polygons are kept as ``filtered``, so that their ground is
        ignored instead of being called background.
    may_be_empty
        A file without a single feature says that there is no rock glacier; else it is refused, as
        an inventory that got lost looks the same.

    Returns
    -------
    GeoDataFrame
        EPSG:4326, valid polygons, the columns of the file and: ``label_id``; ``action``, one of
        ``kept``, ``repaired``, ``duplicate``, ``filtered``, ``outside``; ``used``, whether the
        polygon teaches; ``area_km2``, geodesic; ``area_change_km2``, what a repair did to it.

    Raises
    ------
    InputError
        The file cannot be read, names no CRS, has no polygon, or lacks a column of ``where``; or
        ``where`` keeps no polygon, or none touches the area.
    """
    table = _polygons(uri, may_be_empty=may_be_empty)
    if not table.empty:
        _require_columns(table, where or {}, uri)
    before = [geodesic_area_km2(shape) for shape in table.geometry]
    was_valid = table.geometry.is_valid.to_numpy()
    shapes = gpd.GeoSeries([repaired_shape(shape) for shape in table.geometry], crs=table.crs)
    repaired = table.set_geometry(shapes)
    repaired["area_km2"] = [geodesic_area_km2(shape) for shape in repaired.geometry]
    repaired["area_change_km2"] = np.where(was_valid, 0.0, repaired["area_km2"] - before)
    repaired["label_id"] = np.arange(1, len(repaired) + 1)
    repaired["action"] = np.where(was_valid, "kept", "repaired")
    if repaired.empty:
        logger.warning("reference %s is empty: no ground is a rock glacier", uri)
        return repaired.assign(used=np.zeros(0, bool))
    is_filtered = _is_filtered(repaired, where or {})
    if is_filtered.all():
        raise _all_filtered(repaired, where or {}, uri)
    repaired.loc[is_filtered, "action"] = "filtered"
    repaired.loc[~repaired.geometry.intersects(area), "action"] = "outside"
    if (repaired["action"] == "outside").all():
        raise InputError(
            f"none of the {len(repaired)} polygons of {uri!r} touches the area: they lie within "
            f"{_box(repaired.total_bounds)}, the area within {_box(area.bounds)}",
            expected="a reference inventory of this basin",
            todo="check the file, and its CRS: are longitude and latitude swapped?",
        )
    repaired.loc[_is_duplicate(repaired), "action"] = "duplicate"
    repaired["used"] = repaired["action"].isin(["kept", "repaired"])
    logger.info("reference %s: %s", uri, repaired["action"].value_counts().to_dict())
    return repaired


def _polygons(uri: str, *, may_be_empty: bool) -> gpd.GeoDataFrame:
    try:
        if uri.endswith((".parquet", ".geoparquet")):
            table = gpd.read_parquet(uri)
        else:
            table = gpd.read_file(uri, layer=_polygon_layer(uri))
    except Exception as error:
        raise InputError(
            f"the reference {uri!r} cannot be read: {error}",
            expected="polygons in a GeoPackage, GeoParquet, Shapefile or GeoJSON",
            todo="check the path in labels.reference",
        ) from error
    shapes = table.geometry.to_numpy()
    polygons = table[~(shapely.is_missing(shapes) | shapely.is_empty(shapes))]
    polygons = polygons[polygons.geom_type.isin(POLYGONS)].reset_index(drop=True)
    if polygons.empty and not (table.empty and may_be_empty):
        raise InputError(
            f"the reference {uri!r} has {len(table)} feature(s) and no polygon",
            expected="outlines of rock glaciers",
            todo="if there is none in this basin, set labels.complete_within to the ground that "
            "was looked at, and leave the file empty",
        )
    if polygons.crs is None:
        raise InputError(
            f"the reference {uri!r} has no CRS",
            expected="a file that says its coordinate reference system",
            todo="set it in QGIS (Layer > Set CRS) and save the layer again",
        )
    own = ["label_id", "action", "used", "area_km2", "area_change_km2"]
    plain = polygons.drop(columns=[name for name in own if name in polygons.columns])
    flat = plain.set_geometry(shapely.force_2d(plain.geometry.to_numpy()), crs=plain.crs)
    return flat.to_crs(4326)


def _polygon_layer(uri: str) -> str | None:
    layers = pyogrio.list_layers(uri)
    for name, kind in layers:
        if kind and "Polygon" in kind:
            return str(name)
    return str(layers[0][0]) if len(layers) else None


def repaired_shape(shape: BaseGeometry) -> BaseGeometry:
    """Return the polygon parts of a valid version; unlike a buffer of zero it keeps every lobe.

    By structure, not by linework: ground inside two overlapping parts would become a hole, and what
    of a hole reaches beyond its shell would become ground.
    """
    if shape.is_valid:
        return shape
    valid = shapely.make_valid(shape, method="structure", keep_collapsed=False)
    parts = [part for part in shapely.get_parts(valid) if part.geom_type in POLYGONS]
    return shapely.union_all(parts) if parts else shapely.Polygon()


def _require_columns(
    table: gpd.GeoDataFrame, where: Mapping[str, tuple[str, ...]], uri: str
) -> None:
    missing = [name for name in where if name not in table.columns]
    if missing:
        raise InputError(
            f"the reference {uri!r} has no column {missing[0]!r}",
            expected=f"one of {', '.join(str(name) for name in table.columns)}",
            todo="mend labels.where",
        )


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
    is_used = table["action"].isin(["kept", "repaired"]).to_numpy()
    shapes = table.geometry.to_numpy()
    is_duplicate = np.zeros(len(table), bool)
    for first, second in shapely.STRtree(shapes).query(shapes, predicate="intersects").T:
        if first < second and is_used[first] and is_used[second] and not is_duplicate[first]:
            shared = shapes[first].intersection(shapes[second]).area
            either = shapes[first].area + shapes[second].area - shared
            is_duplicate[second] |= either > 0 and shared / either >= SAME_SHARE
    return is_duplicate


def _box(bounds: object) -> str:
    west, south, east, north = (float(value) for value in bounds)  # type: ignore[attr-defined]
    return f"{west:.3f} {south:.3f} {east:.3f} {north:.3f}"
