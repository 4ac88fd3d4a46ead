"""One raster file on the study's grid: opened, placed, warped if it must be, read by windows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import calculate_default_transform
from rasterio.windows import Window as RasterWindow

from rockglacier.cube.upsample import UPSAMPLE_HALO, upsample
from rockglacier.grid import Grid, Window

ALIGNED = 1e-3
"""Pixels are on the grid if they miss it by less than this share of a grid pixel."""

EXACT = 1e-30
"""Pixels by which a warp may miss. With exactly 0, rasterio (1.5.2) leaves a virtual raster without
any transformer, so that GDAL makes none; with this, GDAL transforms every pixel by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """An open raster and where its pixels lie on the grid."""

    raster: Any
    """A rasterio dataset: the file itself, or a virtual raster that warps it onto the grid."""
    factor: int
    """Grid pixels along the edge of one of its own."""
    row: int
    """Grid row of its first pixel; may be negative."""
    col: int
    """Grid column of its first pixel; may be negative."""
    nodata: float
    """What its own pixels hold where there is no data."""


def place(raster: Any, grid: Grid) -> Placed | None:
    """Say where a raster's pixels lie on the grid, or None if it has to be warped.

    Parameters
    ----------
    raster
        An open rasterio dataset.
    grid
        The study's grid.
    """
    if raster.crs is None or raster.crs.to_epsg() != grid.epsg:
        return None
    mine, theirs = grid.transform, raster.transform
    if theirs.b or theirs.d or theirs.a <= 0 or theirs.e != -theirs.a:
        return None
    factor = theirs.a / mine.a
    col, row = (theirs.c - mine.c) / mine.a, (theirs.f - mine.f) / mine.e
    if factor < 1 or any(abs(value - round(value)) > ALIGNED for value in (factor, col, row)):
        return None
    nodata = 0 if raster.nodata is None else raster.nodata
    return Placed(
        raster=raster, factor=round(factor), row=round(row), col=round(col), nodata=nodata
    )


def warp(
    raster: Any,
    geobox: GeoBox,
    *,
    resampling: Resampling,
    nodata: float,
    origin: tuple[int, int] = (0, 0),
    dtype: str | None = None,
    source_nodata: float | None = None,
) -> Placed:
    """Return a raster warped onto a geobox; its pixels do not depend on the window that is read.

    GDAL would derive the size of the kernel from each piece that it warps, and approximate the
    transformation inside it: both would show as seams, so both are fixed here.

    Parameters
    ----------
    raster
        An open rasterio dataset.
    geobox
        The grid, or the grid with a halo.
    resampling
        Kernel.
    nodata
        What the result holds where there is no data; also what is nodata in the source, if the file
        does not say.
    origin
        Row and column of the geobox's first pixel on the grid.
    dtype
        Of the result; default: that of the file.
    source_nodata
        What is nodata in the source, whatever the file says.
    """
    if source_nodata is None:
        source_nodata = nodata if raster.nodata is None else raster.nodata
    height, width = geobox.shape
    native, _, _ = calculate_default_transform(
        raster.crs, str(geobox.crs), raster.width, raster.height, *raster.bounds
    )
    scale = native.a / geobox.affine.a
    virtual = WarpedVRT(
        raster,
        crs=str(geobox.crs),
        transform=geobox.affine,
        width=width,
        height=height,
        resampling=resampling,
        tolerance=EXACT,
        src_nodata=source_nodata,
        nodata=nodata,
        dtype=dtype,
        XSCALE=1 if scale > 0.9 else round(scale, 6),
        YSCALE=1 if scale > 0.9 else round(scale, 6),
    )
    return Placed(raster=virtual, factor=1, row=origin[0], col=origin[1], nodata=nodata)


class Reading:
    """Pixels of one file in a window; once reading them has failed, block by block, none again.

    Parameters
    ----------
    window
        Inside the file.
    values
        (y, x), to be filled.
    """

    def __init__(self, window: Window, values: NDArray[Any]) -> None:
        self.window, self.values = window, values
        self._read: set[Window] | None = None
        """Blocks that were read; None before the first try."""

    def run(self, raster: Any) -> None:
        """Read what is not read yet from band 1 of an open dataset."""
        if self._read is None:
            self._read = set()
            raster.read(1, out=self.values, window=_rasterio(self.window))
            return
        for block in _blocks_under(self.window, *raster.block_shapes[0]):
            if block not in self._read:
                raster.read(1, out=self.values[block.within(self.window)], window=_rasterio(block))
                self._read.add(block)


def stored_blocks(raster: Any, window: Window) -> tuple[int, int]:
    """Return how many blocks of a file lie under a window, and their bytes as they are stored.

    None of them where the file does not tell: it is no TIFF, or it is warped.
    """
    height, width = raster.block_shapes[0]
    names = (
        f"BLOCK_SIZE_{block.x // width}_{block.y // height}"
        for block in _blocks_under(window, height, width)
    )
    told = [raster.get_tag_item(name, "TIFF", bidx=1) for name in names]
    sizes = [int(size) for size in told if size]
    return len(sizes), sum(sizes)


def _rasterio(window: Window) -> RasterWindow:
    return RasterWindow(window.x, window.y, window.width, window.height)


def _blocks_under(window: Window, height: int, width: int) -> Iterator[Window]:
    """Yield the parts of a window that lie in one block of the file each."""
    for y in range(window.y // height * height, window.y + window.height, height):
        for x in range(window.x // width * width, window.x + window.width, width):
            y0, x0 = max(y, window.y), max(x, window.x)
            y1 = min(y + height, window.y + window.height)
            x1 = min(x + width, window.x + window.width)
            yield Window(y=y0, x=x0, height=y1 - y0, width=x1 - x0)


def read_window(
    placed: Placed,
    window: Window,
    *,
    fill: float = 0,
    smooth: bool = False,
    dtype: str | None = None,
) -> NDArray[Any]:
    """Return band 1 in a window of the grid, (y, x); ``fill`` where the raster holds no data.

    Parameters
    ----------
    placed
        The raster.
    window
        On the grid; may reach beyond the raster.
    fill
        In place of the raster's own nodata and beyond its edges.
    smooth
        Whether pixels larger than the grid's are interpolated between their centres instead of
        repeated; no data takes no part in that.
    dtype
        Of the result; default: that of the file.
    """
    raster, factor = placed.raster, placed.factor
    is_smooth = smooth and factor > 1
    halo = UPSAMPLE_HALO if is_smooth else 0
    top, left = window.y - placed.row, window.x - placed.col
    y0, x0 = max(top // factor - halo, 0), max(left // factor - halo, 0)
    y1 = min(-(-(top + window.height) // factor) + halo, raster.height)
    x1 = min(-(-(left + window.width) // factor) + halo, raster.width)
    shape = (window.height, window.width)
    if y1 <= y0 or x1 <= x0:
        return np.full(shape, fill, dtype or raster.dtypes[0])
    under = RasterWindow(x0, y0, x1 - x0, y1 - y0)
    values = raster.read(1, window=under, out_dtype=dtype)
    if placed.nodata != fill and not math.isnan(placed.nodata):
        values[values == placed.nodata] = fill
    if is_smooth:
        values = upsample(values, factor, nodata=fill)
    elif factor > 1:
        values = values.repeat(factor, axis=0).repeat(factor, axis=1)
    # where the first value read lies in the window; negative: cut off
    down, right = y0 * factor - top, x0 * factor - left
    values = values[max(-down, 0) :, max(-right, 0) :]
    down, right = max(down, 0), max(right, 0)
    values = values[: window.height - down, : window.width - right]
    if values.shape == shape:
        return values
    result = np.full(shape, fill, values.dtype)
    result[down : down + values.shape[0], right : right + values.shape[1]] = values
    return result
