"""Open an asset's pixels wherever they are, and say which item failed when they do not open."""

from __future__ import annotations

from collections.abc import Callable

import rasterio
import stamina
from rasterio.errors import RasterioError

from rockglacier.errors import RemoteError
from rockglacier.scenes.record import Scene
from rockglacier.storage import redact
from rockglacier_stac.errors import StacError
from rockglacier_stac.sign import sign

# For addresses only: a local JPEG 2000 may keep its georeference in a file beside it.
REMOTE_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_CONNECTTIMEOUT": 20,
    "GDAL_HTTP_LOW_SPEED_LIMIT": 1000,
    "GDAL_HTTP_LOW_SPEED_TIME": 30,
}
ATTEMPTS = 4
"""Tries of one remote read, the first included; GDAL's own retries miss truncated bodies."""
PERMANENT = ("404", "403", "401", "410", "no such file", "does not exist", "not recognized as")
"""What an error says that no second try will mend."""


def read_asset[Result](
    scene: Scene, asset: str, read: Callable[[rasterio.DatasetReader], Result]
) -> Result:
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
    is_remote = "://" in href

    def attempt() -> Result:
        options = REMOTE_OPTIONS if is_remote else {}
        with rasterio.Env(**options), rasterio.open(sign(href)) as dataset:
            return read(dataset)

    patient = stamina.RetryingCaller(
        attempts=ATTEMPTS if is_remote else 1, timeout=120, wait_initial=0.2
    )
    try:
        return patient(_is_transient, attempt)
    except (RasterioError, StacError) as error:
        raise RemoteError(
            f"asset {asset} of item {scene.id!r} cannot be read: {redact(href)} "
            f"({_cause(error, href)})",
            expected="a raster that GDAL can open and read",
            todo="run the same command again if a network failed; else set "
            "cube.on_unreadable: skip to leave such scenes out and count them",
            item=scene.id,
            asset=asset,
            href=redact(href),
        ) from error


def _is_transient(error: Exception) -> bool:
    text = f"{error} {error.__cause__ or ''}".lower()
    return isinstance(error, RasterioError) and not any(sign in text for sign in PERMANENT)


def _cause(error: BaseException, href: str) -> str:
    """Return the deepest cause in one line, without what an address may keep secret."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split()).replace(href, redact(href))
    # a signed address differs from the stored one by its query
    return " ".join(word.split("?", 1)[0] if "?" in word else word for word in text.split())
