"""Remote files as GDAL spells them, and what it remembers of them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

import rasterio.cache

PREFIXES = {"http": "curl", "https": "curl", "s3": "s3", "gs": "gs", "az": "az"}


def vsi_path(address: str) -> str | None:
    """Return an address as GDAL spells it, or None if it knows no such scheme."""
    scheme, _, rest = address.partition("://")
    prefix = PREFIXES.get(scheme)
    if prefix is None:
        return None
    return f"/vsicurl/{address}" if prefix == "curl" else f"/vsi{prefix}/{rest}"


def forget(address: str) -> None:
    """Make GDAL forget a remote file: it remembers failures and half answers, too.

    Notes
    -----
    ``rasterio.cache.invalidate`` waits for GDAL's lock on remote files without letting go of the
    interpreter; a thread that holds that lock may have an error to tell, for which it needs the
    interpreter. Both then wait for ever. Calls by ctypes let go of it.
    """
    if path := vsi_path(address):
        _clearing()(path.encode())


@cache
def _clearing() -> Callable[[bytes], None]:
    try:
        # its own libraries are searched too, and GDAL is one of them; not so on Windows
        clear = ctypes.CDLL(rasterio.cache.__file__).VSICurlPartialClearCache
    except (AttributeError, OSError):
        return lambda path: rasterio.cache.invalidate(path.decode())
    clear.argtypes, clear.restype = [ctypes.c_char_p], None
    return clear
