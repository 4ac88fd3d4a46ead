"""DEM tiles as one surface on the study's grid; the edge where elevation comes in.

The tiles are put together first, in their own CRS, and resampled afterwards: the
kernel reaches across the seam between two tiles, which therefore leaves no trace. Ground that no
tile covers is NaN.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal
from xml.sax.saxutils import escape

import numpy as np
import pyproj
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.transform import array_bounds
from rasterio.warp import calculate_default_transform

from rockglacier.cube.lattice import joined, lattices_of, phase
from rockglacier.cube.raster import read_window, warp
from rockglacier.cube.resample import cubic, nodes, source_window
from rockglacier.cube.tile import REMEDY, Tile, read_header
from rockglacier.errors import NotFoundError
from rockglacier.grid import Grid, Window
from rockglacier.scenes.asset import Again, gdal_path, nothing, retried
from rockglacier.scenes.record import read_dem_tiles
from rockglacier.study import Study

NODATA = -32768.0
"""Inside the mosaic, whatever the tiles use."""

FINER = 0.9
"""Pixels smaller than this share of a grid pixel are gathered, not interpolated."""

LON_WRAPPED = "+proj=longlat +datum=WGS84 +lon_wrap=180 +no_defs"
"""Longitudes 0 to 360, for tiles on both sides of the antimeridian."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemMosaic:
    """All tiles of a study; small and picklable, opened anew by every block."""

    tiles: tuple[Tile, ...]
    gaps: Literal["none", "sea"] = "none"
    """What is where no tile is: no elevation, or the sea, 0 m. Holes in a tile stay holes."""

    def read(
        self, grid: Grid, window: Window, *, halo: int, again: Again = nothing
    ) -> NDArray[np.float32]:
        """Return elevation in a window of the grid, by cubic convolution, metres, NaN = none.

        Tiles of one CRS whose rows are on one lattice are one surface without seams, though some
        have wider columns (GLO-30 from 50 degrees on, and again farther north). What they leave is
        filled by tiles of another CRS or size, the finest first, which end at their own edges.

        Parameters
        ----------
        grid
            The study's grid.
        window
            Inside the grid grown by ``halo``.
        halo
            The same for every window of a study: it fixes the raster that a finer DEM is warped to.
        again
            Called before every further try of a read.

        Returns
        -------
        NDArray
            (y, x) float32.

        Raises
        ------
        RemoteError
            A tile cannot be read.
        """
        result = np.full((window.height, window.width), np.nan, np.float32)
        for surface in self.surfaces():
            if np.isnan(result).any():
                found = surface.read(grid, window, halo, again)
                np.copyto(result, found, where=np.isnan(result))
        if self.gaps == "sea" and np.isnan(result).any():
            result[~self.covers(grid, window)] = 0
        return result

    def covers(self, grid: Grid, window: Window) -> NDArray[np.bool_]:
        """Return where a window of the grid lies in a tile, (y, x); opens no file."""
        covered = np.zeros((window.height, window.width), np.bool_)
        for surface in self.surfaces():
            if not covered.all():
                covered |= surface.covers(grid, window)
        return covered

    def surfaces(self) -> list[_Surface]:
        """Return the tiles by CRS, and by size and lattice of their rows, the finest first."""
        groups: dict[tuple[Any, ...], list[Tile]] = {}
        for tile in self.tiles:
            step_y = -tile.transform[4]
            key = (round(step_y, 12), tile.crs, phase(tile.transform[5] / step_y))
            groups.setdefault(key, []).append(tile)
        return sorted(
            (_Surface(tiles=tuple(group)) for group in groups.values()),
            key=lambda surface: surface.fineness,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Surface:
    """Tiles of one CRS whose rows are of one size and on one lattice."""

    tiles: tuple[Tile, ...]

    @property
    def fineness(self) -> tuple[float, str, float]:
        """What surfaces are sorted by: the size of their smallest pixels, then anything fixed."""
        first = self.tiles[0]
        area = min(tile.transform[0] for tile in self.tiles) * -first.transform[4]
        return round(area, 15), first.crs, first.transform[5] % -first.transform[4]

    def read(self, grid: Grid, window: Window, halo: int, again: Again) -> NDArray[np.float32]:
        """Return elevation in a window, (y, x) metres, NaN where these tiles have none."""
        tiles, crs = self._unrolled()
        lattices = lattices_of(tiles)
        if _is_finer(lattices[0].tiles[0], grid):
            result = np.full((window.height, window.width), np.nan, np.float32)
            for lattice in lattices:
                found = _warped(lattice.tiles, crs, grid, window, halo, again)
                np.copyto(result, found, where=np.isnan(result))
            return result
        whole = joined(lattices)
        at = nodes(grid, window, crs, whole.transform)
        held = source_window(at, whole.shape)
        source = lattices[0].read(held, whole, again)
        for wider in lattices[1:]:
            missing = np.isnan(source)
            if missing.any():  # not so where nothing is held
                np.copyto(source, wider.read_narrowed(held, whole, again), where=missing)
        return cubic(source, held, at, window)

    def covers(self, grid: Grid, window: Window) -> NDArray[np.bool_]:
        """Return where a window lies in one of the tiles."""
        tiles, crs = self._unrolled()
        lattices = lattices_of(tiles)
        whole = joined(lattices)
        at = nodes(grid, window, crs, whole.transform)
        held = source_window(at, whole.shape)
        source = np.full((held.height, held.width), np.nan, np.float32)
        for lattice in lattices:
            ratio = lattice.step_x / whole.step_x
            for tile in lattice.tiles:
                left = round((tile.transform[2] - whole.west) / whole.step_x)
                place = Window(
                    y=whole.row_of(tile) - held.y,
                    x=left - held.x,
                    height=tile.height,
                    width=round(tile.width * ratio),
                )
                source[place.clipped(source.shape).slices] = 1
        return ~np.isnan(cubic(source, held, at, window))

    def _unrolled(self) -> tuple[tuple[Tile, ...], str]:
        """Return the tiles and their CRS, on longitudes 0 to 360 if they lie on both sides."""
        tiles = _unrolled(self.tiles)
        return tiles, self.tiles[0].crs if tiles == self.tiles else LON_WRAPPED


def _is_finer(tile: Tile, grid: Grid) -> bool:
    """Say whether pixels are clearly finer than the grid's: then a kernel has to gather them."""
    bounds = array_bounds(tile.height, tile.width, Affine(*tile.transform))
    crs = f"EPSG:{grid.epsg}"
    native, _, _ = calculate_default_transform(tile.crs, crs, tile.width, tile.height, *bounds)
    return bool(native.a < FINER * grid.resolution)


def _warped(
    tiles: tuple[Tile, ...], crs: str, grid: Grid, window: Window, halo: int, again: Again
) -> NDArray[np.float32]:
    """Return finer tiles, gathered by GDAL through a virtual mosaic."""
    outer = grid.whole.grown(halo)

    def work() -> NDArray[np.float32]:
        with ExitStack() as stack:
            mosaic = stack.enter_context(rasterio.open(_xml(tiles, crs)))
            placed = warp(
                mosaic,
                grid.window_geobox(outer),
                resampling=Resampling.cubic,
                nodata=NODATA,
                origin=(outer.y, outer.x),
                dtype="float32",
            )
            stack.enter_context(placed.raster)
            return read_window(placed, window, fill=math.nan)

    ids = ", ".join(tile.id for tile in tiles)
    hrefs = [tile.href for tile in tiles]
    return retried(work, item=ids, asset="data", href=hrefs, again=again, remedy=REMEDY)


def _unrolled(tiles: tuple[Tile, ...]) -> tuple[Tile, ...]:
    """Move tiles west of the antimeridian behind those east of it, if they lie on both sides."""
    wests = [tile.transform[2] for tile in tiles]
    if not pyproj.CRS(tiles[0].crs).is_geographic or max(wests) - min(wests) < 180:
        return tiles
    return tuple(
        replace(tile, transform=(*tile.transform[:2], tile.transform[2] + 360, *tile.transform[3:]))
        if tile.transform[2] < 0
        else tile
        for tile in tiles
    )


def _xml(tiles: tuple[Tile, ...], crs: str) -> str:
    """Return tiles as a GDAL VRT."""
    step_x, step_y = tiles[0].transform[0], -tiles[0].transform[4]
    west = min(tile.transform[2] for tile in tiles)
    north = max(tile.transform[5] for tile in tiles)
    east = max(tile.transform[2] + tile.width * step_x for tile in tiles)
    south = min(tile.transform[5] - tile.height * step_y for tile in tiles)
    width, height = round((east - west) / step_x), round((north - south) / step_y)
    sources = "".join(_source(tile, west, north, step_x, step_y) for tile in tiles)
    return (
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">'
        f"<SRS>{escape(crs)}</SRS>"
        f"<GeoTransform>{west!r},{step_x!r},0,{north!r},0,{-step_y!r}</GeoTransform>"
        f'<VRTRasterBand dataType="Float32" band="1"><NoDataValue>{NODATA}</NoDataValue>'
        f"{sources}</VRTRasterBand></VRTDataset>"
    )


def dem_mosaic(study: Study, *, again: Again = nothing) -> DemMosaic:
    """Read the headers of the study's DEM tiles; ``again`` is called before every further try.

    Raises
    ------
    NotFoundError
        The search found no DEM tile.
    RemoteError
        A tile cannot be opened.
    """
    tiles = read_dem_tiles(study.require(study.dem_path, stage="search"))
    if not tiles:
        raise NotFoundError(
            f"the search found no DEM tile for basin {study.config.name!r}",
            expected=f"tiles of {study.config.search.dem_collection!r} over the area",
            todo="set search.dem_catalog and search.dem_collection to a DEM that covers it",
        )
    with ThreadPoolExecutor(16) as pool:
        ordered = sorted(tiles, key=lambda tile: tile.id)
        headers = tuple(pool.map(partial(read_header, again=again), ordered))
    return DemMosaic(tiles=headers, gaps=study.config.cube.dem_gaps)


def _source(tile: Tile, west: float, north: float, step_x: float, step_y: float) -> str:
    x = round((tile.transform[2] - west) / step_x)
    y = round((north - tile.transform[5]) / step_y)
    nodata = "" if tile.nodata is None else f"<NODATA>{tile.nodata}</NODATA>"
    size = f'xSize="{tile.width}" ySize="{tile.height}"'
    return (
        "<ComplexSource>"
        f'<SourceFilename relativeToVRT="0">{escape(gdal_path(tile.href))}</SourceFilename>'
        "<SourceBand>1</SourceBand>"
        f'<SrcRect xOff="0" yOff="0" {size}/><DstRect xOff="{x}" yOff="{y}" {size}/>'
        f"{nodata}</ComplexSource>"
    )
