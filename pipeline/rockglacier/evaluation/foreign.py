"""Maps from elsewhere, a raster or polygons, brought onto the pixels of an area."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import geopandas as gpd
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.warp import reproject
from shapely.geometry.base import BaseGeometry

from rockglacier.errors import InputError
from rockglacier.evaluation.kinds import burnt
from rockglacier.grid import Grid, projected
from rockglacier.inventory.footprints import footprint_of
from rockglacier.inventory.landforms import Rule, find_landforms
from rockglacier.inventory.outlines import simplify, trace
from rockglacier.inventory.overlaps import RASTERS
from rockglacier.inventory.polygons import read_outlines
from rockglacier.prediction.blend import PERCENT_NODATA, to_percent
from rockglacier.storage.vector import areal, has_polygons, in_degrees

logger = logging.getLogger(__name__)

SIMPLIFY_M: Final = 10.0
SUFFIXES: Final = (*RASTERS, ".gpkg", ".parquet", ".geojson", ".shp")
PERCENT: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignMap:
    """What a file says of an area."""

    probability: NDArray[np.float32]
    """(y, x) on the area's grid, 0..1, NaN where the file says nothing; 0 or 1 of classes."""
    outlines: gpd.GeoDataFrame
    """Its landforms, EPSG:4326; those of a raster are traced, ``small`` ones left out."""
    is_probability: bool
    """Whether the values are probabilities: classes and polygons have no calibration."""
    small: int


def file_for(path: Path, area: str) -> Path:
    """Return the file of an area: the path itself, or the file of its name in a folder.

    Raises
    ------
    InputError
        The folder has no file for the area.
    """
    if not path.exists() and not Path(str(path).partition("!")[0]).is_file():
        raise InputError(
            f"there is no file {str(path)!r}",
            expected="a raster, a polygon file, or a folder with a file an area",
            todo="check the path",
        )
    if not path.is_dir():
        return path
    found = [path / f"{area}{suffix}" for suffix in SUFFIXES]
    for candidate in found:
        if candidate.is_file():
            return candidate
    raise InputError(
        f"{str(path)!r} has no file for the area {area!r}",
        expected=f"{area} with one of the endings {', '.join(SUFFIXES)}",
        todo="add it, or score the areas that you have with --area",
    )


def read_map(
    path: Path, grid: Grid, ground: BaseGeometry, *, threshold: float, min_area_km2: float
) -> ForeignMap:
    """Read a raster or polygons onto a grid.

    Parameters
    ----------
    path
        A raster of probabilities (float 0 to 1, or whole percent) or of classes (0 and 1), its
        first band, in any CRS; or polygons, in any CRS.
    grid
        Of the area.
    ground
        The area, EPSG:4326; outlines that do not meet it are left out.
    threshold
        Probability from which a pixel belongs to a landform.
    min_area_km2
        Smaller outlines are left out.

    Raises
    ------
    InputError
        The file cannot be read, or its values are neither probabilities nor classes.
    """
    if path.suffix.lower() in RASTERS:
        probability, is_probability = _raster(path, grid)
        outlines, small = _traced(
            to_percent(probability), grid, threshold=threshold, min_area_km2=min_area_km2
        )
        table = gpd.GeoDataFrame(geometry=in_degrees(outlines))
        return ForeignMap(
            probability=probability, outlines=table, is_probability=is_probability, small=small
        )
    return _polygons(path, grid, ground, min_area_km2=min_area_km2)


def _raster(path: Path, grid: Grid) -> tuple[NDArray[np.float32], bool]:
    try:
        with rasterio.open(path) as source:
            if source.crs is None:
                raise InputError(
                    f"the raster {str(path)!r} has no CRS",
                    expected="a raster that says its coordinate reference system",
                )
            scale, is_probability = _scale(source, path)
            nodata = source.nodata
            if nodata is None and not np.issubdtype(source.dtypes[0], np.floating):
                nodata = PERCENT_NODATA
            method = Resampling.bilinear if is_probability else Resampling.nearest
            values = warped(source, grid, method, nodata=nodata)
    except rasterio.errors.RasterioIOError as error:
        raise InputError(f"the raster {str(path)!r} cannot be read: {error}") from error
    return (values / np.float32(scale)).astype(np.float32), is_probability


def warped(
    source: rasterio.io.DatasetReader, grid: Grid, method: Resampling, *, nodata: float | None
) -> NDArray[np.float32]:
    """Return the first band of a raster on a grid, float32, NaN where it has nothing."""
    values = np.full(grid.shape, np.nan, np.float32)
    reproject(
        rasterio.band(source, 1),
        values,
        src_nodata=nodata,
        dst_transform=grid.transform,
        dst_crs=f"EPSG:{grid.epsg}",
        dst_nodata=np.nan,
        resampling=method,
        tolerance=0,  # every pixel is transformed by itself
    )
    return values


def _scale(source: rasterio.io.DatasetReader, path: Path) -> tuple[float, bool]:
    """Say what a probability of 1 is stored as, and whether there are values in between.

    The values are read block by block: what a raster holds is not told by its type.
    """
    largest, is_between = 0.0, False
    for _, window in source.block_windows(1):
        block = source.read(1, window=window, masked=True)
        known = np.ma.compressed(block)
        if source.nodata is None and not np.issubdtype(block.dtype, np.floating):
            known = known[known != PERCENT_NODATA]
        known = known[np.isfinite(known)]
        if not known.size:
            continue
        if known.min() < 0:
            largest = np.inf
            break
        largest = max(largest, float(known.max()))
        is_between = is_between or bool(((known != 0) & (known != 1)).any())
    if largest <= 1 + 1e-6:
        return 1.0, is_between
    if largest <= PERCENT and not np.issubdtype(source.dtypes[0], np.floating):
        return float(PERCENT), True
    raise InputError(
        f"the raster {str(path)!r} holds values that are neither probabilities nor classes",
        expected="0 to 1 (float), whole percent 0 to 100, or classes 0 and 1; 255 or the nodata "
        "value where nothing is known",
        todo="rescale it, or set its nodata value",
    )


def _traced(
    percent: NDArray[np.uint8], grid: Grid, *, threshold: float, min_area_km2: float
) -> tuple[gpd.GeoSeries, int]:
    rule = Rule.of(
        threshold, low=None, min_area_km2=min_area_km2, fill_holes_km2=0, resolution=grid.resolution
    )
    found = find_landforms(percent, grid, threshold=threshold)
    large = [landform for landform in found if landform.pixels >= rule.min_pixels]
    footprints = [footprint_of(percent, landform, threshold=threshold) for landform in large]
    exact = [trace(f.is_landform, grid.window_geobox(f.window).affine) for f in footprints]
    outlines = simplify(exact, tolerance_m=SIMPLIFY_M)
    return gpd.GeoSeries(outlines, crs=grid.epsg), len(found) - len(large)


def _polygons(path: Path, grid: Grid, ground: BaseGeometry, *, min_area_km2: float) -> ForeignMap:
    every = read_outlines(str(path), name="the map")
    table = every.to_crs(grid.epsg)
    shapes = table.geometry[has_polygons(table)].make_valid()
    near = shapes[shapes.intersects(projected(ground, epsg=grid.epsg))]
    if len(shapes) and near.empty:  # of a map of several areas one may have no landform
        logger.warning(
            "none of the %d outlines of %s lies in the area: they lie within %s, the area within "
            "%s (west, south, east, north); are longitude and latitude swapped?",
            len(shapes),
            path.name,
            _box(every.to_crs(4326).total_bounds),
            _box(ground.bounds),
        )
    large = near[near.area >= 1e6 * min_area_km2]
    outlines = gpd.GeoSeries([areal(shape) for shape in large], crs=grid.epsg)
    burned = burnt(list(near), grid, grid.whole)
    return ForeignMap(
        probability=burned.astype(np.float32),
        outlines=gpd.GeoDataFrame(geometry=in_degrees(outlines)),
        is_probability=False,
        small=len(near) - len(large),
    )


def _box(bounds: Any) -> str:
    return ", ".join(f"{edge:.2f}" for edge in bounds)
