"""The file of an asset: signed and opened wherever it is, read again if a read fails, and named."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import rasterio
import stamina
from rasterio._err import CPLE_BaseError
from rasterio.cache import invalidate_all
from rasterio.errors import RasterioError

from rockglacier.errors import InputError, RemoteError
from rockglacier.scenes.record import Scene
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

GONE = re.compile(r"response code: (404|410)\b|no such file")
"""What an error says that no second try will mend."""


def read_asset[T](scene: Scene, asset: str, read: Callable[[rasterio.DatasetReader], T]) -> T:
    """Open an asset and return what ``read`` makes of it.

    Parameters
    ----------
    scene
        The scene.
    asset
        A band or ``SCL``.
    read
        Given the open dataset; called again if a remote read fails.

    Raises
    ------
    RemoteError
        The asset cannot be opened or read; carries item, asset and address.
    """
    href = scene.assets[asset]

    def work() -> T:
        with ExitStack() as stack:
            return read(open_raster(href, stack))

    return retried(work, item=scene.id, asset=asset, href=href, again=lambda: None)


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
