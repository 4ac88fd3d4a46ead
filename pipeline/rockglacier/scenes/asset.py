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
    "GDAL_HTTP_MULTIRANGE": "YES",
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MAX_RETRY": "5",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_HTTP_RETRY_CODES": "ALL",
}
ATTEMPTS = 3
"""Times that a remote asset is opened and read: GDAL's own retries miss truncated bodies."""


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
        attempts=ATTEMPTS if is_remote else 1, timeout=300, wait_initial=0.5
    )
    try:
        return patient(RasterioError, attempt)
    except (RasterioError, StacError) as error:
        raise RemoteError(
            f"asset {asset} of item {scene.id!r} cannot be read: {redact(href)}",
            expected=f"a raster that GDAL opens; it says: {_said(error)}",
            todo="run the same command again if the network failed, else set "
            "cube.on_unreadable: skip to do without this scene",
            item=scene.id,
            asset=asset,
            href=redact(href),
        ) from error


def _said(error: Exception) -> str:
    """Return a message in one line, without the query of an address that it quotes."""
    line = " ".join(str(error).split())
    return " ".join(
        word.split("?", 1)[0] if "://" in word or "/vsi" in word else word
        for word in line.split(" ")
    )[:300]
