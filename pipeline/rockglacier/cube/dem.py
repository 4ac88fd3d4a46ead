"""DEM tiles as one surface on the study's grid; the edge where elevation comes in.

The tiles are mosaicked first, by a virtual raster in their own CRS, and warped afterwards: the
kernel reaches across the seam between two tiles, which therefore leaves no trace. Ground that no
tile covers is NaN.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from xml.sax.saxutils import escape

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling

from rockglacier.cube.raster import read_window, warp
from rockglacier.errors import InputError, NotFoundError
from rockglacier.grid import Grid, Window
from rockglacier.scenes.asset import gdal_path, open_raster, retried
from rockglacier.scenes.record import DemTile, read_dem_tiles
from rockglacier.study import Study

NODATA = -32768.0
"""Inside the mosaic, whatever the tiles use."""


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

    def read(self, grid: Grid, window: Window, *, halo: int) -> NDArray[np.float32]:
        """Return elevation in a window of the grid, warped cubic, metres, NaN = none.

        Parameters
        ----------
        grid
            The study's grid.
        window
            Inside the grid grown by ``halo``.
        halo
            The same for every window of a study: it fixes the raster that is warped.

        Returns
        -------
        NDArray
            (y, x) float32.

        Raises
        ------
        RemoteError
            A tile cannot be read.
        """
        outer = grid.whole.grown(halo)
        ids = ", ".join(tile.id for tile in self.tiles)

        def work() -> NDArray[np.float32]:
            with ExitStack() as stack:
                mosaic = stack.enter_context(rasterio.open(self.xml()))
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

        hrefs = ", ".join(tile.href for tile in self.tiles)
        return retried(work, item=ids, asset="data", href=hrefs, again=_nothing)

    def xml(self) -> str:
        """Return the mosaic as a GDAL VRT."""
        steps = [(tile.transform[0], -tile.transform[4]) for tile in self.tiles]
        step_x, step_y = min(x for x, _ in steps), min(y for _, y in steps)
        west = min(tile.transform[2] for tile in self.tiles)
        north = max(tile.transform[5] for tile in self.tiles)
        east = max(tile.transform[2] + tile.width * tile.transform[0] for tile in self.tiles)
        south = min(tile.transform[5] + tile.height * tile.transform[4] for tile in self.tiles)
        width, height = round((east - west) / step_x), round((north - south) / step_y)
        sources = "".join(_source(tile, west, north, step_x, step_y) for tile in self.tiles)
        return (
            f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">'
            f"<SRS>{escape(self.tiles[0].crs)}</SRS>"
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
    InputError
        The tiles have different CRSs.
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
    systems = {tile.crs for tile in headers}
    if len(systems) > 1:
        raise InputError(
            f"the {len(headers)} DEM tiles have {len(systems)} coordinate reference systems",
            expected="tiles of one DEM in one CRS",
            todo="warp them to one CRS, or choose another search.dem_collection",
        )
    return DemMosaic(tiles=headers)


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

    return retried(work, item=tile.id, asset="data", href=tile.href, again=_nothing)


def _nothing() -> None:
    """Have nothing to close before another try."""


def _source(tile: Tile, west: float, north: float, step_x: float, step_y: float) -> str:
    x, y = (tile.transform[2] - west) / step_x, (north - tile.transform[5]) / step_y
    across = tile.width * tile.transform[0] / step_x
    down = tile.height * -tile.transform[4] / step_y
    x, y, across, down = (
        float(round(value)) if abs(value - round(value)) < 1e-3 else value
        for value in (x, y, across, down)
    )
    same = (across, down) == (tile.width, tile.height)
    resampling = "" if same else ' resampling="cubic"'
    nodata = "" if tile.nodata is None else f"<NODATA>{tile.nodata}</NODATA>"
    return (
        f"<ComplexSource{resampling}>"
        f'<SourceFilename relativeToVRT="0">{escape(gdal_path(tile.href))}</SourceFilename>'
        f"<SourceBand>1</SourceBand>"
        f'<SrcRect xOff="0" yOff="0" xSize="{tile.width}" ySize="{tile.height}"/>'
        f'<DstRect xOff="{x!r}" yOff="{y!r}" xSize="{across!r}" ySize="{down!r}"/>'
        f"{nodata}</ComplexSource>"
    )
