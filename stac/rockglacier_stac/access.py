"""What reading an asset takes besides its address: keys, options of GDAL, and patience."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from rockglacier_stac.errors import AccessError
from rockglacier_stac.providers import DEFAULT_READS, PROVIDERS, provider_of

KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def gdal_options(href: str) -> dict[str, str]:
    """Return the options that GDAL needs for an address; those of the environment are left out."""
    provider = provider_of(href)
    if provider is None:
        return {}
    return {name: value for name, value in provider.gdal.items() if name not in os.environ}


def reads_at_once(href: str) -> int:
    """Return how many assets one process may read at once from where an address leads."""
    provider = provider_of(href)
    return DEFAULT_READS if provider is None else provider.reads


@contextmanager
def read_slot(href: str) -> Iterator[None]:
    """Wait until one more asset may be read from there; do not nest.

    Local files and unknown servers are not counted.
    """
    provider = provider_of(href)
    if provider is None:
        yield
        return
    with _slots(provider.name):
        yield


@cache
def _slots(provider: str) -> threading.BoundedSemaphore:
    return threading.BoundedSemaphore(PROVIDERS[provider].reads)


def require_access(href: str) -> None:
    """Check, before anything is read, that the keys which an address needs are there.

    Raises
    ------
    AccessError
        The environment holds no S3 keys, and the address needs them.
    """
    provider = provider_of(href)
    if provider is None or provider.signing != "s3-keys" or _has_keys():
        return
    raise AccessError(
        f"the assets of {provider.name!r} need S3 keys, and the environment has none",
        expected=f"{' and '.join(KEYS)}, or a profile in ~/.aws/credentials",
        todo="make keys in your account of the provider and export them, or take another catalog",
    )


def _has_keys() -> bool:
    if all(os.environ.get(key) for key in KEYS):
        return True
    named = os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or os.environ.get(
        "CPL_AWS_CREDENTIALS_FILE"
    )
    return (Path(named) if named else Path.home() / ".aws" / "credentials").is_file()
