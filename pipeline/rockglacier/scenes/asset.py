"""The file of an asset: signed and opened wherever it is, read again if a read fails, and named.

A remote file is read by GDAL's own network code, with one set of options for every read.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import rasterio
import stamina
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError, RasterioIOError

from rockglacier.errors import InputError, RemoteError
from rockglacier.scenes.patience import Patience, whole_headers
from rockglacier.scenes.record import Scene
from rockglacier.scenes.vsi import vsi_path
from rockglacier.storage import gdal_settings, redact
from rockglacier_stac import guard
from rockglacier_stac.access import gdal_options, read_slot
from rockglacier_stac.errors import CatalogError, StacError
from rockglacier_stac.sign import sign

ATTEMPTS = 10
"""Tries of one read, the first included: where every fifth answer fails, one in 100 000 is left."""

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

PLAIN = ("GTiff", "JP2OpenJPEG", "JP2KAK", "JP2ECW", "JP2MrSID", "HFA", "ENVI", "netCDF")
"""What a remote file may be: others, VRT among them, lead GDAL on to files and hosts that nobody
has checked."""

WAIT_S = 0.2
"""Before the second try; each further wait is longer."""

WAIT_MAX_S = 10.0
"""Before any try, unless a server asks for more."""

SKIP = "set cube.on_unreadable: skip to leave such scenes out and count them"
"""The remedy for scenes."""


Again = Callable[[], None]
"""Called before every further try of a read."""


def nothing() -> None:
    """Have nothing to close, and nobody to tell, before another try."""


class Retries:
    """Counts the further tries of reads."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        """Count one."""
        self.count += 1


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

    return retried(work, item=scene.id, asset=asset, href=href)


def retried[T](
    work: Callable[[], T],
    *,
    item: str,
    asset: str,
    href: str | Sequence[str],
    again: Again = nothing,
    remedy: str = SKIP,
) -> T:
    """Run a read, a few times if its failure looks transient.

    A server that asks for a pause gets it, what was refused is signed anew, GDAL forgets what it
    remembers of the file, and what is missing or corrupt is given up soon. Do not nest.

    Parameters
    ----------
    work
        Opens or reads.
    item, asset
        What is read, for the message.
    href
        Where it lies, unsigned; several if one read needs them all.
    again
        Called before every further try.
    remedy
        What to do where it fails again and again, for the message.

    Raises
    ------
    RemoteError
        It failed for good; names item, asset, href (without its query) and cause.
    """
    hrefs = [href] if isinstance(href, str) else list(href)
    patience = Patience(f"item {item!r}, asset {asset!r}", hrefs, jitter_s=WAIT_S)
    try:
        for attempt in stamina.retry_context(
            on=patience,
            attempts=ATTEMPTS,
            wait_initial=WAIT_S,
            wait_jitter=WAIT_S,
            wait_max=WAIT_MAX_S,
            timeout=600,
        ):
            options = rasterio.Env(**options_for(hrefs))
            with attempt, read_slot(hrefs[0]), options, whole_headers():
                if attempt.num > 1:
                    again()
                    patience.forget()  # with the options: they tell GDAL a file's address
                patience.start()
                return work()
    except (RasterioError, CPLE_BaseError, OSError, StacError) as error:
        raise RemoteError(
            f"item {item!r}, asset {asset!r} cannot be read: {redact(patience.culprit)}\n"
            f"  cause:    {patience.cause(error)}",
            expected="a raster that GDAL can open and read",
            todo="run the same command again (finished blocks are kept); if it fails again, "
            f"{remedy}",
            item=item,
            asset=asset,
            href=patience.culprit,
        ) from error
    raise RuntimeError("retries end with a result or an error")


def options_for(hrefs: Sequence[str]) -> dict[str, Any]:
    """Return how GDAL reads these files: nothing special for local ones."""
    options: dict[str, Any] = {}
    for href in hrefs:
        if "://" in href:
            options |= {**GDAL_OPTIONS, **gdal_settings(), **gdal_options(href)}
    return options


def open_raster(href: str, stack: ExitStack) -> Any:
    """Open a raster for reading, its address signed now; ``stack`` closes it.

    Raises
    ------
    RasterioIOError
        It cannot be opened, or does not say where it lies, which half a header does not.
    CatalogError
        It is remote, and of a format that leads on to other files, or of a link-local address.
    """
    guard.check_read(href)
    raster = stack.enter_context(rasterio.open(gdal_path(href)))
    if "://" in href and raster.driver not in PLAIN:
        raise CatalogError(
            f"refused: {redact(href)!r} is of the format {raster.driver}, which may lead to other "
            "files",
            expected=f"one of {', '.join(PLAIN)}",
        )
    if raster.crs is None or raster.transform.is_identity:
        raise RasterioIOError(f"{Path(redact(href)).name} does not say where on Earth it lies")
    return raster


def gdal_path(href: str) -> str:
    """Return an address, signed now, as GDAL spells it.

    Raises
    ------
    InputError
        GDAL reads no such scheme.
    """
    href = _present(sign(href))
    scheme, _, rest = href.partition("://")
    if not rest:
        return href
    if scheme == "file":
        return rest
    path = vsi_path(href)
    if path is None:
        raise InputError(
            f"{redact(href)!r} has the unknown scheme {scheme!r}",
            expected="a path, or an address of http, https, s3, gs or az",
        )
    return path


def _present(href: str) -> str:
    """Return a local path if its file is there: GDAL's own message would be less clear."""
    if "://" not in href and not href.startswith("/vsi") and not Path(href).is_file():
        raise FileNotFoundError(errno.ENOENT, "no such file", href)
    return href
