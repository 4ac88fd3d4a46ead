"""What else lies where the landforms are: glaciers, rivers, roads, and rasters of the ground."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from exactextract import exact_extract
from numpy.typing import NDArray

from rockglacier.errors import InputError
from rockglacier.inventory.schema import Column
from rockglacier.storage.vector import POLYGONS, read_features

logger = logging.getLogger(__name__)

RASTERS: Final = (".tif", ".tiff", ".vrt", ".nc", ".img")

MAX_DISTANCE_M: Final = 5_000.0
"""Lines and points further away than that are not looked for."""


def overlap_columns(
    outlines: gpd.GeoSeries, overlaps: Mapping[str, str]
) -> tuple[dict[str, Column], dict[str, NDArray[Any]]]:
    """Return columns that say how outlines lie to other data, and their values.

    Parameters
    ----------
    outlines
        Outlines in CRS metres.
    overlaps
        Name to file. Of polygons comes ``NAME_share`` (of the outline's area, 0 to 1); of lines
        and points ``NAME_distance_m`` (0 where they touch, NaN beyond 5 km), of lines also
        ``NAME_km`` (length inside); of a raster ``NAME_mean`` (pixels weighted by what of them lies
        inside, its first band with its scale and offset, NaN where it has no data).

    Raises
    ------
    InputError
        A file cannot be read or has no CRS.
    """
    columns: dict[str, Column] = {}
    values: dict[str, NDArray[Any]] = {}
    for name, uri in overlaps.items():
        if uri.lower().endswith(RASTERS):
            columns[f"{name}_mean"] = Column("float64", f"Mean of {name} ({Path(uri).name}).")
            values[f"{name}_mean"] = _means(outlines, uri, name)
            continue
        others = features_of(uri, name, outlines)
        if not set(others.geom_type) - set(POLYGONS):
            columns[f"{name}_share"] = Column("float64", f"Share of the outline in {name}, 0 to 1.")
            values[f"{name}_share"] = _shares(outlines, others)
            continue
        columns[f"{name}_distance_m"] = Column(
            "float64", f"Distance to {name}, m; 0 = they touch, empty beyond 5 km."
        )
        values[f"{name}_distance_m"] = _distances(outlines, others)
        if "LineString" in "".join(others.geom_type.unique()):
            columns[f"{name}_km"] = Column("float64", f"Length of {name} inside the outline, km.")
            values[f"{name}_km"] = _lengths_km(outlines, others)
    return columns, values


def features_of(uri: str, name: str, around: gpd.GeoSeries) -> gpd.GeoDataFrame:
    """Return the features of a vector file within 5 km of what lies ``around``, in its CRS.

    Raises
    ------
    InputError
        The file cannot be read or has no CRS.
    """
    every = read_features(uri, what=f"inventory.overlaps.{name}")
    every = every[~(every.geometry.isna() | every.geometry.is_empty)]
    if every.empty:
        logger.warning("inventory.overlaps.%s: %s holds nothing, and counts as polygons", name, uri)
    table = every.to_crs(around.crs)
    if around.empty or every.empty:
        return table
    west, south, east, north = around.total_bounds
    reach = MAX_DISTANCE_M
    box = shapely.box(west - reach, south - reach, east + reach, north + reach)
    near = table[table.intersects(box)]
    if near.empty:
        _warn_of_elsewhere(name, every.geometry)
    # a file that only lies elsewhere still says what kind of features it holds
    return near if len(near) else table


def _warn_of_elsewhere(name: str, found: gpd.GeoSeries) -> None:
    box = ", ".join(f"{edge:.2f}" for edge in found.to_crs(4326).total_bounds)
    logger.warning(
        "inventory.overlaps.%s has nothing near the landforms: it lies within %s (west, south, "
        "east, north); if it should have, check its CRS",
        name,
        box,
    )


def _pairs(
    outlines: gpd.GeoSeries, others: gpd.GeoDataFrame
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return outlines (by row) and the features that they meet."""
    shapes = others.geometry.to_numpy()
    rows, found = shapely.STRtree(shapes).query(outlines.to_numpy(), predicate="intersects")
    return rows, shapes[found]


def _shares(outlines: gpd.GeoSeries, others: gpd.GeoDataFrame) -> NDArray[np.float64]:
    polygons = others.set_geometry(others.geometry.make_valid())
    rows, found = _pairs(outlines, polygons)
    shares = np.zeros(len(outlines))
    for row in np.unique(rows):
        # the union first: glaciers of several dates may lie on each other
        union = shapely.union_all(found[rows == row])
        outline = outlines.iloc[row]
        shares[row] = shapely.intersection(outline, union).area / outline.area
    return np.clip(shares, 0, 1)


def _distances(outlines: gpd.GeoSeries, others: gpd.GeoDataFrame) -> NDArray[np.float64]:
    distances = np.full(len(outlines), np.nan)
    if others.empty or outlines.empty:
        return distances
    (rows, _), found = shapely.STRtree(others.geometry.to_numpy()).query_nearest(
        outlines.to_numpy(), max_distance=MAX_DISTANCE_M, return_distance=True, all_matches=False
    )
    distances[rows] = found
    return distances


def _lengths_km(outlines: gpd.GeoSeries, others: gpd.GeoDataFrame) -> NDArray[np.float64]:
    rows, found = _pairs(outlines, others)
    lengths = np.zeros(len(outlines))
    inside = shapely.intersection(outlines.to_numpy()[rows], found)
    np.add.at(lengths, rows, shapely.length(inside) / 1e3)
    return lengths


def _means(outlines: gpd.GeoSeries, uri: str, name: str) -> NDArray[np.float64]:
    try:
        with rasterio.open(uri) as raster:
            crs, bounds = raster.crs, raster.bounds
    except rasterio.errors.RasterioIOError as error:
        raise InputError(
            f"inventory.overlaps.{name}: {uri!r} cannot be read: {error}",
            expected="a raster that GDAL reads",
            todo="check the path, which is meant from the folder of the study's file",
        ) from error
    if crs is None:
        raise InputError(
            f"inventory.overlaps.{name}: {uri!r} has no CRS",
            expected="a raster that says its coordinate reference system",
            todo="set it, e.g. with gdal_edit.py -a_srs",
        )
    means = np.full(len(outlines), np.nan)
    moved = outlines.to_crs(crs)
    inside = np.flatnonzero(moved.intersects(shapely.box(*bounds)).to_numpy(bool))
    if len(outlines) and not inside.size:
        _warn_of_elsewhere(name, gpd.GeoSeries([shapely.box(*bounds)], crs=crs))
    if inside.size:
        table = gpd.GeoDataFrame(geometry=moved.iloc[inside].reset_index(drop=True))
        with rasterio.open(uri) as raster:
            found = exact_extract(
                raster, table, ["mean"], strategy="feature-sequential", output="pandas"
            )
        means[inside] = found[found.columns[0]].to_numpy(np.float64)
    return means
