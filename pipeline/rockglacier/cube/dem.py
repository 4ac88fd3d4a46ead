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

from rockglacier.cube.raster import Reading, read_window, warp
from rockglacier.cube.resample import TAPS, cubic, cubic_along, nodes, source_window
from rockglacier.errors import NotFoundError
from rockglacier.grid import Grid, Window
from rockglacier.scenes.asset import gdal_path, open_raster, retried
from rockglacier.scenes.record import DemTile, read_dem_tiles
from rockglacier.study import Study

NODATA = -32768.0
"""Inside the mosaic, whatever the tiles use."""

FINER = 0.9
"""Pixels smaller than this share of a grid pixel are gathered, not interpolated."""

ON_PIXEL = 0.05
"""Tiles whose pixels miss those of the others by less than this share are moved onto them."""

REMEDY = "set search.dem_catalog and search.dem_collection to another DEM"

LON_WRAPPED = "+proj=longlat +datum=WGS84 +lon_wrap=180 +no_defs"
"""Longitudes 0 to 360, for tiles on both sides of the antimeridian."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """The header of one DEM tile."""

    id: str
    href: str
    crs: str
    """WKT."""
    transform: tuple[float, ...]
    width: int
    height: int
    nodata: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DemMosaic:
    """All tiles of a study; small and picklable, opened anew by every block."""

    tiles: tuple[Tile, ...]
    gaps: Literal["none", "sea"] = "none"
    """What is where no tile is: no elevation, or the sea, 0 m. Holes in a tile stay holes."""

    def read(self, grid: Grid, window: Window, *, halo: int) -> NDArray[np.float32]:
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
                found = surface.read(grid, window, halo=halo)
                np.copyto(result, found, where=np.isnan(result))
        if self.gaps == "sea" and np.isnan(result).any():
            result[~self.covers(grid, window)] = 0
        return result

    def covers(self, grid: Grid, window: Window) -> NDArray[np.bool_]:
        """Return where a window of the grid lies in a tile; opens no file."""
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
            key = (round(step_y, 12), tile.crs, _phase(tile.transform[5] / step_y))
            groups.setdefault(key, []).append(tile)
        return sorted(
            (_Surface(tiles=tuple(group)) for group in groups.values()),
            key=lambda surface: surface.fineness,
        )


def _phase(position: float) -> float:
    """Return the part of a pixel by which an edge misses whole pixels, in steps of `ON_PIXEL`."""
    steps = round(1 / ON_PIXEL)
    return round(position % 1 * steps) % steps


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

    def read(self, grid: Grid, window: Window, *, halo: int) -> NDArray[np.float32]:
        """Return elevation in a window, NaN where these tiles have none."""
        tiles, crs = self._unrolled()
        lattices = _lattices(tiles)
        if _is_finer(lattices[0].tiles[0], grid):
            result = np.full((window.height, window.width), np.nan, np.float32)
            for lattice in lattices:
                found = _warped(lattice.tiles, crs, grid, window, halo)
                np.copyto(result, found, where=np.isnan(result))
            return result
        whole = _joined(lattices)
        at = nodes(grid, window, crs, whole.transform)
        held = source_window(at, whole.shape)
        source = lattices[0].read(held, whole)
        for wider in lattices[1:]:
            missing = np.isnan(source)
            if missing.any():  # not so where nothing is held
                np.copyto(source, wider.read_narrowed(held, whole), where=missing)
        return cubic(source, held, at, window)

    def covers(self, grid: Grid, window: Window) -> NDArray[np.bool_]:
        """Return where a window lies in one of the tiles."""
        tiles, crs = self._unrolled()
        lattices = _lattices(tiles)
        whole = _joined(lattices)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lattice:
    """Where pixels of one size lie in a CRS, and the tiles that are on them."""

    west: float
    north: float
    step_x: float
    step_y: float
    shape: tuple[int, int]
    tiles: tuple[Tile, ...]

    @property
    def transform(self) -> Affine:
        """Pixel (column, row) to the CRS."""
        return Affine(self.step_x, 0, self.west, 0, -self.step_y, self.north)

    def row_of(self, tile: Tile) -> int:
        """Return the row of a tile's first pixel."""
        return round((self.north - tile.transform[5]) / self.step_y)

    def read(self, held: Window, whole: _Lattice) -> NDArray[np.float32]:
        """Return the tiles in a window of a lattice of the same pixels."""
        source = np.full((held.height, held.width), np.nan, np.float32)
        for tile in self.tiles:
            place = Window(
                y=whole.row_of(tile),
                x=round((tile.transform[2] - whole.west) / whole.step_x),
                height=tile.height,
                width=tile.width,
            )
            _paste(tile, place, held, source)
        return source

    def read_narrowed(self, held: Window, whole: _Lattice) -> NDArray[np.float32]:
        """Return the tiles in a window of a lattice of narrower pixels on the same rows."""
        centres = whole.west + (held.x + np.arange(held.width) + 0.5) * whole.step_x
        cols = (centres - self.west) / self.step_x
        left = math.floor(cols[0]) - TAPS
        wide = replace(held, x=left, width=math.ceil(cols[-1]) + TAPS - left)
        # rows as in the other lattice, columns as in this one
        own = replace(self, north=whole.north)
        return cubic_along(self.read(wide, own), cols - left)


def _lattices(tiles: tuple[Tile, ...]) -> list[_Lattice]:
    """Return tiles by the width and place of their columns, the narrowest first."""
    groups: dict[tuple[float, float], list[Tile]] = {}
    for tile in tiles:
        step_x = tile.transform[0]
        groups.setdefault((round(step_x, 12), _phase(tile.transform[2] / step_x)), []).append(tile)
    return [_lattice(tuple(groups[key])) for key in sorted(groups)]


def _lattice(tiles: tuple[Tile, ...]) -> _Lattice:
    step_x, step_y = tiles[0].transform[0], -tiles[0].transform[4]
    west = min(tile.transform[2] for tile in tiles)
    north = max(tile.transform[5] for tile in tiles)
    east = max(tile.transform[2] + tile.width * step_x for tile in tiles)
    south = min(tile.transform[5] - tile.height * step_y for tile in tiles)
    shape = round((north - south) / step_y), round((east - west) / step_x)
    return _Lattice(west=west, north=north, step_x=step_x, step_y=step_y, shape=shape, tiles=tiles)


def _joined(lattices: list[_Lattice]) -> _Lattice:
    """Return the first lattice, as large as all together."""
    first = lattices[0]
    west = min(lattice.west for lattice in lattices)
    east = max(lattice.west + lattice.shape[1] * lattice.step_x for lattice in lattices)
    north = max(lattice.north for lattice in lattices)
    south = min(lattice.north - lattice.shape[0] * lattice.step_y for lattice in lattices)
    more = math.ceil((first.west - west) / first.step_x - ON_PIXEL)
    up = round((north - first.north) / first.step_y)
    west = first.west - more * first.step_x
    return replace(
        first,
        west=west,
        north=first.north + up * first.step_y,
        shape=(
            round((first.north - south) / first.step_y) + up,
            math.ceil((east - west) / first.step_x - ON_PIXEL),
        ),
    )


def _paste(tile: Tile, place: Window, held: Window, source: NDArray[np.float32]) -> None:
    """Read the part of a tile, which lies at ``place``, that falls into ``held``."""
    here = Window(y=held.y - place.y, x=held.x - place.x, height=held.height, width=held.width)
    inside = here.clipped((tile.height, tile.width))
    if not inside.height * inside.width:
        return

    values = np.empty((inside.height, inside.width), np.float32)
    reading = Reading(inside, values)

    def work() -> None:
        with ExitStack() as stack:
            reading.run(open_raster(tile.href, stack))

    retried(work, item=tile.id, asset="data", href=tile.href, again=_nothing, remedy=REMEDY)
    known = ~np.isnan(values) if tile.nodata is None else values != np.float32(tile.nodata)
    np.copyto(source[inside.within(here)], values, where=known)


def _is_finer(tile: Tile, grid: Grid) -> bool:
    """Say whether pixels are clearly finer than the grid's: then a kernel has to gather them."""
    bounds = array_bounds(tile.height, tile.width, Affine(*tile.transform))
    crs = f"EPSG:{grid.epsg}"
    native, _, _ = calculate_default_transform(tile.crs, crs, tile.width, tile.height, *bounds)
    return bool(native.a < FINER * grid.resolution)


def _warped(
    tiles: tuple[Tile, ...], crs: str, grid: Grid, window: Window, halo: int
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
    return retried(work, item=ids, asset="data", href=hrefs, again=_nothing, remedy=REMEDY)


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


def dem_mosaic(study: Study) -> DemMosaic:
    """Read the headers of the study's DEM tiles.

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
        headers = tuple(pool.map(_header, sorted(tiles, key=lambda tile: tile.id)))
    return DemMosaic(tiles=headers, gaps=study.config.cube.dem_gaps)


def _header(tile: DemTile) -> Tile:
    def work() -> Tile:
        with ExitStack() as stack:
            raster = open_raster(tile.href, stack)
            return Tile(
                id=tile.id,
                href=tile.href,
                crs=raster.crs.to_wkt(),
                transform=tuple(raster.transform)[:6],
                width=raster.width,
                height=raster.height,
                nodata=raster.nodata,
            )

    return retried(work, item=tile.id, asset="data", href=tile.href, again=_nothing, remedy=REMEDY)


def _nothing() -> None:
    """Have nothing to close before another try."""


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
