"""Any catalog behind one search: a STAC API, a stac-geoparquet file, a static catalog."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from rockglacier_stac.api import ApiCatalog
from rockglacier_stac.errors import CatalogError
from rockglacier_stac.files import ParquetCatalog, StaticCatalog
from rockglacier_stac.providers import PROVIDERS
from rockglacier_stac.search import Query


class Catalog(Protocol):
    """Where items are searched."""

    @property
    def name(self) -> str:
        """Name, path or URL, for messages."""

    @property
    def is_remote(self) -> bool:
        """Whether a server does the search, so that it should be asked for no more than needed."""

    def collections(self) -> list[str]:
        """Return the ids of the collections."""

    def search(self, query: Query) -> list[dict[str, Any]]:
        """Return the items, as their provider wrote them, with absolute addresses.

        Raises
        ------
        UnknownCollectionError
            There is no such collection; the message lists those that exist.
        ServiceError
            The server failed, after it was asked again.
        """


def open_catalog(address: str, *, roots: Sequence[str | Path] = ()) -> Catalog:
    """Open a catalog.

    Parameters
    ----------
    address
        The name of a provider (``earth-search``, ``planetary-computer``, ``cdse``); the path or
        URL of a ``.parquet`` file (stac-geoparquet) or of a ``.json`` file (static catalog); a
        folder that holds ``catalog.json`` or ``items.parquet``; or the URL of a STAC API.
    roots
        Folders to whose files a catalog on this machine may lead, beside its own and those of the
        environment variable ``ROCKGLACIER_ROOTS``.

    Raises
    ------
    CatalogError
        There is nothing of that kind at the address.
    """
    if address in PROVIDERS:
        provider = PROVIDERS[address]
        return ApiCatalog(name=address, url=provider.url, page=provider.page)
    if "://" not in address:
        address = _local(address)
    suffix = address.split("?", 1)[0].rsplit(".", 1)[-1].lower()
    if suffix in ("parquet", "geoparquet"):
        return ParquetCatalog(name=address, roots=roots)
    if suffix == "json":
        return StaticCatalog(name=address, roots=roots)
    if address.startswith(("http://", "https://")):
        return ApiCatalog(name=address, url=address, roots=roots)
    raise _no_catalog(address)


def _local(address: str) -> str:
    path = Path(address)
    if path.is_dir():
        for name in ("items.parquet", "catalog.json"):
            if (path / name).is_file():
                return str(path / name)
    if not path.is_file():
        raise _no_catalog(address)
    return str(path)


def _no_catalog(address: str) -> CatalogError:
    return CatalogError(
        f"there is no catalog at {address!r}",
        expected=f"{', '.join(PROVIDERS)}, the URL of a STAC API, or a path or URL of a "
        "stac-geoparquet file or a static catalog.json",
        todo="mend search.catalog",
    )
