"""One raster file on the study's grid: opened, placed, warped if it must be, read by windows."""

from __future__ import annotations

import errno
import math
import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import stamina
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio._err import CPLE_BaseError
from rasterio.cache import invalidate_all
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.warp import calculate_default_transform
from rasterio.windows import Window as RasterWindow

from rockglacier.errors import InputError, RemoteError
from rockglacier.grid import Grid, Window
from rockglacier.storage import redact
from rockglacier_stac.errors import StacError
from rockglacier_stac.sign import sign

ATTEMPTS = 4
"""Tries of one read, the first included."""

GDAL_OPTIONS: dict[str, Any] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_HTTP_CONNECTTIMEOUT": 20,
    "GDAL_HTTP_LOW_SPEED_LIMIT": 1000,
    "GDAL_HTTP_LOW_SPEED_TIME": 30,
    "GDAL_INGESTED_BYTES_AT_OPEN": 32768,
    "VSI_CACHE": True,
}
"""How GDAL reads remote files. A local one may keep its georeference in a file beside it."""

WAIT_S = 0.2
"""Before the second try; each further wait is longer."""

ALIGNED = 1e-3
"""Pixels are on the grid if they miss it by less than this share of a grid pixel."""

EXACT = 1e-30
"""Pixels by which a warp may miss; rasterio 1.5 makes no virtual raster with exactly 0."""

GONE = re.compile(r"response code: (404|410)\b|no such file")
"""What an error says that no second try will mend."""


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
    """
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
        src_nodata=nodata if raster.nodata is None else raster.nodata,
        nodata=nodata,
        dtype=dtype,
        XSCALE=1 if scale > 0.9 else round(scale, 6),
        YSCALE=1 if scale > 0.9 else round(scale, 6),
    )
    return Placed(raster=virtual, factor=1, row=origin[0], col=origin[1], nodata=nodata)


def read_window(placed: Placed, window: Window, *, fill: float = 0) -> NDArray[Any]:
    """Return band 1 in a window of the grid, (y, x); ``fill`` where the raster holds no data.

    Parameters
    ----------
    placed
        The raster.
    window
        On the grid; may reach beyond the raster.
    fill
        In place of the raster's own nodata and beyond its edges.
    """
    raster, factor = placed.raster, placed.factor
    top, left = window.y - placed.row, window.x - placed.col
    y0, x0 = max(top // factor, 0), max(left // factor, 0)
    y1 = min(-(-(top + window.height) // factor), raster.height)
    x1 = min(-(-(left + window.width) // factor), raster.width)
    shape = (window.height, window.width)
    if y1 <= y0 or x1 <= x0:
        return np.full(shape, fill, raster.dtypes[0])
    values = raster.read(1, window=RasterWindow(x0, y0, x1 - x0, y1 - y0))
    if placed.nodata != fill and not math.isnan(placed.nodata):
        values[values == placed.nodata] = fill
    if factor > 1:
        values = values.repeat(factor, axis=0).repeat(factor, axis=1)
    # where the first value read lies in the window; negative: cut off
    down, right = y0 * factor - top, x0 * factor - left
    values = values[max(-down, 0) :, max(-right, 0) :]
    down, right = max(down, 0), max(right, 0)
    values = values[: window.height - down, : window.width - right]
    if values.shape == shape:
        return values
    result = np.full(shape, fill, raster.dtypes[0])
    result[down : down + values.shape[0], right : right + values.shape[1]] = values
    return result


def retried[T](
    work: Callable[[], T], *, item: str, asset: str, href: str, again: Callable[[], None]
) -> T:
    """Run a read, a few times if its failure looks transient.

    Parameters
    ----------
    work
        Opens or reads.
    item, asset, href
        What is read, for the message.
    again
        Called before every further try.

    Raises
    ------
    RemoteError
        It failed for good; names item, asset, href (without its query) and cause.
    """
    try:
        for attempt in stamina.retry_context(
            on=_is_transient,
            attempts=ATTEMPTS,
            wait_initial=WAIT_S,
            wait_jitter=WAIT_S,
            wait_max=10,
            timeout=120,
        ):
            with attempt, rasterio.Env(**(GDAL_OPTIONS if "://" in href else {})):
                if attempt.num > 1:
                    again()
                    _forget(href)
                return work()
    except (RasterioError, CPLE_BaseError, OSError, StacError) as error:
        raise RemoteError(
            f"item {item!r}, asset {asset!r} cannot be read: {redact(href)}\n"
            f"  cause:    {_cause(error, href)}",
            expected="a raster that GDAL can open and read",
            todo="run the same command again (finished blocks are kept); if it fails again, set "
            "cube.on_unreadable: skip to leave such scenes out and count them",
            item=item,
            asset=asset,
            href=href,
        ) from error
    raise RuntimeError("retries end with a result or an error")


def _forget(href: str) -> None:
    """Make GDAL forget a remote file: it remembers failures and truncated bodies, too."""
    if "://" in href:
        invalidate_all()


def _is_transient(error: Exception) -> bool:
    return (
        isinstance(error, RasterioError | CPLE_BaseError | OSError)
        and GONE.search(f"{error} {error.__cause__ or ''}".lower()) is None
    )


def _cause(error: BaseException, href: str) -> str:
    """Return the deepest cause in words, with nothing of the href that may be secret."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split()).replace(href, redact(href))
    query = href.partition("?")[2]
    return text.replace(query, "...") if query else text


def open_raster(href: str, stack: ExitStack) -> Any:
    """Open a raster for reading, its address signed now; ``stack`` closes it."""
    return stack.enter_context(rasterio.open(_present(sign(href))))


def gdal_path(href: str) -> str:
    """Return an address, signed now, as GDAL spells it inside a virtual raster."""
    href = _present(sign(href))
    scheme, _, rest = href.partition("://")
    if not rest:
        return href
    if scheme == "file":
        return rest
    prefix = {"http": "curl", "https": "curl", "s3": "s3", "gs": "gs", "az": "az"}.get(scheme)
    if prefix is None:
        raise InputError(
            f"{redact(href)!r} has the unknown scheme {scheme!r}",
            expected="a path, or an address of http, https, s3, gs or az",
        )
    return f"/vsicurl/{href}" if prefix == "curl" else f"/vsi{prefix}/{rest}"


def _present(href: str) -> str:
    """Return a local path if its file is there: GDAL's own message would be less clear."""
    if "://" not in href and not href.startswith("/vsi") and not Path(href).is_file():
        raise FileNotFoundError(errno.ENOENT, "no such file", href)
    return href
