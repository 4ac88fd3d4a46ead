"""Catalogs that are files: one stac-geoparquet table, or a tree of JSON."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs
import pyarrow.parquet as pq
import requests
import shapely
import stamina

from rockglacier_stac import guard, untrusted
from rockglacier_stac.errors import AccessError, CatalogError, ServiceError
from rockglacier_stac.globe import HALF, sides
from rockglacier_stac.search import (
    Query,
    absolute,
    satisfies,
    tidied,
    unknown_collection,
)
from rockglacier_stac.sign import TRANSIENT

PART_BYTES = 2**20

STORE_ATTEMPTS: Final = 4
"""Rounds of the 30 tries within seconds that Arrow makes by itself: a store may be away longer."""
STORE_REFUSED: Final = re.compile(
    r"ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE|EXPIRED_TOKEN|PERMISSION_DENIED|UNAUTHENTICATED"
)
STORE_AWAY: Final = re.compile(
    r"NETWORK_CONNECTION|HTTP status (?:429|50\d)|SLOW_DOWN|THROTTLING|SERVICE_UNAVAILABLE|"
    r"INTERNAL_FAILURE|REQUEST_TIMEOUT|UNAVAILABLE"
)
"""What Arrow's words for a failure of S3 or GCS hold."""


class ParquetCatalog:
    """Items in one stac-geoparquet file, of one or several collections.

    Parameters
    ----------
    name
        Path or URL of the file (``https://``, ``s3://``, ``gs://``).
    roots
        Folders to whose files it may lead, beside its own.
    """

    is_remote = False

    def __init__(self, *, name: str, roots: Sequence[str | Path] = ()) -> None:
        self.name, self.roots = name, roots

    @cached_property
    def _table(self) -> pa.Table:
        try:
            table = pq.read_table(io.BytesIO(read_bytes(self.name)))
        except pa.ArrowException as error:
            raise CatalogError(f"{self.name!r} is not a Parquet file: {error}") from error
        missing = {"id", "geometry", "collection", "assets"} - set(table.column_names)
        if missing:
            raise CatalogError(
                f"{self.name!r} has no column {', '.join(sorted(missing))}",
                expected="a stac-geoparquet file: one row an item",
            )
        return table

    def collections(self) -> list[str]:
        """Return the ids of the collections."""
        return sorted(set(self._table.column("collection").to_pylist()))

    def search(self, query: Query) -> list[dict[str, Any]]:
        """Return the items; see :meth:`rockglacier_stac.catalogs.Catalog.search`."""
        from stac_geoparquet.arrow import stac_table_to_items

        if query.collection not in self.collections():
            raise unknown_collection(query.collection, self.collections(), catalog=self.name)
        rows = self._table.filter(self._near(query))
        items = (tidied(item, base=self.name) for item in stac_table_to_items(rows))
        return [
            guard.check_item(item, base=self.name, roots=self.roots)
            for item in items
            if satisfies(item, query)
        ]

    def _near(self, query: Query) -> np.ndarray:
        """Return the part of a query that columns can answer, (row,) bool; items tell the rest."""
        same = pc.equal(self._table.column("collection"), query.collection)
        near = np.asarray(pc.fill_null(same, False), bool)
        if query.area is None:
            return near
        west, south, east, north = self._bounds.T
        # an uncut footprint across the antimeridian spans the globe; a missing one may have a bbox
        unsure = ~((east - west <= HALF) & (east <= HALF) & (west >= -HALF))
        reached = np.zeros(len(near), bool)
        for side in sides(query.area):
            left, low, right, high = side.bounds
            reached |= (west <= right) & (east >= left) & (south <= high) & (north >= low)
        return near & (reached | unsure)

    @cached_property
    def _bounds(self) -> np.ndarray:
        """Bounds of every row's own geometry: its column ``bbox`` has been seen to be wrong."""
        column = self._table.column("geometry").combine_chunks()
        binary = getattr(column, "storage", column)
        return shapely.bounds(shapely.from_wkb(binary.to_numpy(zero_copy_only=False)))


class StaticCatalog:
    """A tree of JSON files: ``catalog.json``, its collections and items.

    Parameters
    ----------
    name
        Path or URL of the root.
    roots
        Folders to whose files it may lead, beside its own.
    """

    is_remote = False

    def __init__(self, *, name: str, roots: Sequence[str | Path] = ()) -> None:
        local = name.removeprefix("file://")
        own = [] if "://" in local else [Path(local).parent]
        self.name, self.roots = name, [*own, *roots]

    @cached_property
    def _items(self) -> list[dict[str, Any]]:
        return list(self._walk(self.name, set()))

    def _walk(self, href: str, seen: set[str]) -> Iterator[dict[str, Any]]:
        if href in seen:
            return
        seen.add(href)
        entry = untrusted.loads(read_bytes(href), source=href)
        if not isinstance(entry, dict):
            raise CatalogError(f"{href!r} is a {type(entry).__name__}", expected="a JSON object")
        kind = entry.get("type")
        if kind == "Feature":
            yield self._checked(entry, href)
        elif kind == "FeatureCollection":
            for item in _list_of(entry, "features", href):
                yield self._checked(item, href)
        elif kind in ("Catalog", "Collection"):
            for link in _list_of(entry, "links", href):
                if isinstance(link, dict) and link.get("rel") in ("child", "item"):
                    below = absolute(str(link.get("href")), base=href)
                    guard.check_href(below, base=href, roots=self.roots)
                    yield from self._walk(below, seen)
        else:
            raise CatalogError(
                f"{href!r} is of type {kind!r}",
                expected="a STAC catalog, collection or item",
                todo="mend search.catalog, or the link that leads there",
            )

    def _checked(self, item: Any, href: str) -> dict[str, Any]:
        return guard.check_item(tidied(item, base=href), base=href, roots=self.roots)

    def collections(self) -> list[str]:
        """Return the ids of the collections that have items."""
        return sorted({str(item.get("collection")) for item in self._items})

    def search(self, query: Query) -> list[dict[str, Any]]:
        """Return the items; see :meth:`rockglacier_stac.catalogs.Catalog.search`."""
        if query.collection not in self.collections():
            raise unknown_collection(query.collection, self.collections(), catalog=self.name)
        return [item for item in self._items if satisfies(item, query)]


def read_item(address: str) -> dict[str, Any]:
    """Read one STAC item from a path or URL.

    Raises
    ------
    CatalogError
        There is no item, or something in it is refused.
    """
    item = untrusted.loads(read_bytes(address), source=address)
    if not isinstance(item, dict) or item.get("type") != "Feature":
        raise CatalogError(
            f"{address!r} is no STAC item",
            expected="the path or URL of an item, e.g. stac/models/hunza-2024-hrnet.json",
        )
    return guard.check_item(tidied(item, base=address), base=address, roots=_products(address))


def _products(address: str) -> list[Path]:
    """Return the folder of the products, where an item lies in a catalog as we publish it."""
    path = address.removeprefix("file://")
    if "://" in path or not (Path(path).parent.parent / "catalog.json").is_file():
        return []
    return [Path(path).resolve().parents[2]]


def _list_of(entry: dict[str, Any], name: str, href: str) -> list[Any]:
    found = entry.get(name) or []
    if not isinstance(found, list):
        raise CatalogError(f"{name!r} of {href!r} is a {type(found).__name__}", expected="a list")
    return found


def read_bytes(address: str) -> bytes:
    """Read a small file from a path or URL (``https://``, ``s3://``, ``gs://``).

    Raises
    ------
    AccessError
        A store wants keys, or other ones.
    CatalogError
        It is not there, or too large.
    ServiceError
        The server failed, after it was asked again.
    """
    try:
        if address.startswith(("http://", "https://")):
            return _download(address)
        if "://" in address:
            return _fetch(address)
        return Path(address).read_bytes()
    except requests.HTTPError as error:
        if _status(error) in TRANSIENT:
            raise _failed(address, error) from error
        raise CatalogError(f"{address!r} cannot be read: {error}") from error
    except requests.RequestException as error:
        raise _failed(address, error) from error
    except (OSError, pa.ArrowException) as error:
        if "://" in address and _is_away(error):
            raise _failed(address, error) from error
        if "://" in address and STORE_REFUSED.search(str(error)):
            raise AccessError(
                f"{address!r} may not be read: {error}",
                expected="credentials in the environment that may read there",
                todo="set those of the store (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and "
                "AWS_REGION; GOOGLE_APPLICATION_CREDENTIALS)",
            ) from error
        raise CatalogError(
            f"{address!r} cannot be read: {error}", todo="check the address"
        ) from error


def _is_away(error: Exception) -> bool:
    """Say whether a store failed in a way that passes."""
    return isinstance(error, OSError) and STORE_AWAY.search(str(error)) is not None


@stamina.retry(on=_is_away, attempts=STORE_ATTEMPTS, timeout=180, wait_initial=1.0)
def _fetch(address: str) -> bytes:
    filesystem, path = pyarrow.fs.FileSystem.from_uri(address)
    with filesystem.open_input_file(path) as file:
        untrusted.check_size(file.size(), source=address)
        return file.read()


def _failed(address: str, error: Exception) -> ServiceError:
    return ServiceError(
        f"{address!r} cannot be read now: {error}",
        todo="run the same command again later: finished work is kept",
    )


def _status(error: requests.HTTPError) -> int | None:
    return None if error.response is None else error.response.status_code


def _is_transient(error: Exception) -> bool:
    if isinstance(error, requests.HTTPError):
        return _status(error) in TRANSIENT
    return isinstance(error, requests.ConnectionError | requests.Timeout)


@stamina.retry(on=_is_transient, attempts=5, timeout=180)
def _download(url: str) -> bytes:
    with requests.Session() as session:
        session.hooks["response"].append(guard.follow_checked)
        with session.get(url, timeout=60, stream=True) as response:
            response.raise_for_status()
            content = bytearray()
            for part in response.iter_content(PART_BYTES):
                content += part
                untrusted.check_size(len(content), source=url)
    return bytes(content)
