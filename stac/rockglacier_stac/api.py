"""Search of a STAC API: conditions asked of the server and checked here, failures asked again."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pystac
import shapely
import stamina
from pystac_client import Client
from pystac_client.conformance import ConformanceClasses
from pystac_client.exceptions import APIError
from pystac_client.item_search import ItemSearch
from pystac_client.stac_api_io import StacApiIO
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry
from urllib3 import Retry

from rockglacier_stac import guard, untrusted
from rockglacier_stac.errors import CatalogError, ServiceError
from rockglacier_stac.globe import sides
from rockglacier_stac.search import (
    UNREADABLE,
    Query,
    satisfies,
    tidied,
    unknown_collection,
)
from rockglacier_stac.sign import TRANSIENT

logger = logging.getLogger(__name__)

PAGE, SMALLEST_PAGE = 100, 10
"""Items asked for at a time; halved when a server fails, as too large answers end in 502
(Element84/earth-search#17)."""
ATTEMPTS = 5
TIMEOUT_S = 60
"""Without a byte of an answer."""
IDLE_PAGES = 3
"""Pages without a new item that may follow one another."""
BRIEF = (
    "id",
    "type",
    "collection",
    "geometry",
    "bbox",
    "properties.datetime",
    "properties.start_datetime",
    "properties.platform",
    "properties.eo:cloud_cover",
    "properties.grid:code",
    "properties.s2:mgrs_tile",
)
"""What an item that will not be read has to say."""


class ApiCatalog:
    """A STAC API.

    Parameters
    ----------
    name
        For messages.
    url
        Address of its landing page.
    page
        Items to ask for at a time.
    roots
        Folders to whose files a server on this machine may lead.
    """

    is_remote = True

    def __init__(
        self, *, name: str, url: str, page: int = PAGE, roots: Sequence[str | Path] = ()
    ) -> None:
        self.name, self.url, self.page, self.roots = name, url.rstrip("/"), page, roots

    @cached_property
    def _io(self) -> StacApiIO:
        # 429 and 503 may say when to ask again; the rest is the loop's in `search`
        polite = Retry(
            total=4,
            status_forcelist=[429, 503],
            allowed_methods=None,
            backoff_factor=0.2,
            respect_retry_after_header=True,
            raise_on_status=False,
        )
        return _GuardedIO(self.url, max_retries=polite, timeout=TIMEOUT_S)

    @cached_property
    def _client(self) -> Client:
        return Client.open(self.url, stac_io=self._io)

    def collections(self) -> list[str]:
        """Return the ids of the collections."""
        found: list[str] = []
        href: str | None = f"{self.url}/collections"
        seen: set[str] = set()
        while href and href not in seen:
            seen.add(href)
            answer = self._io.read_json(href)
            found += [collection["id"] for collection in answer["collections"]]
            links = answer.get("links", [])
            href = next((link["href"] for link in links if link.get("rel") == "next"), None)
        return found

    def search(self, query: Query) -> list[dict[str, Any]]:
        """Return the items; see :meth:`rockglacier_stac.catalogs.Catalog.search`."""
        try:
            found = self._search(query)
            known = self.collections() if not found else [query.collection]
        except APIError as error:
            raise self._failure(error) from error
        except (pystac.STACError, pystac.STACTypeError, *UNREADABLE) as error:
            raise CatalogError(
                f"{self.url!r} does not answer like a STAC API: {error!r}",
                expected="the URL of a STAC API's landing page",
                todo="check search.catalog",
            ) from error
        if query.collection not in known:
            raise unknown_collection(query.collection, known, catalog=self.name)
        return found

    def _search(self, query: Query) -> list[dict[str, Any]]:
        pages = iter(max(SMALLEST_PAGE, self.page >> halvings) for halvings in range(ATTEMPTS))
        patient = stamina.RetryingCaller(attempts=ATTEMPTS, timeout=600, wait_initial=0.5)
        return patient(_is_transient, lambda: self._ask(query, page=next(pages)))

    def _ask(self, query: Query, *, page: int) -> list[dict[str, Any]]:
        search = self._client.search(
            collections=[query.collection],
            intersects=_outline(query.area),
            datetime=query.interval,
            limit=page,
            fields=self._fields(query),
            **self._cloud_condition(query),
        )
        base = self.url + "/"
        answered = [
            guard.check_item(tidied(item, base=base), base=base, roots=self.roots)
            for sent in self._pages(search)
            for item in sent["features"]
        ]
        unique = {item["id"]: item for item in answered}
        found = [item for item in unique.values() if satisfies(item, query)]
        logger.info(
            "%s: %d item(s) of %s, %d of them as asked",
            self.name,
            len(answered),
            query.collection,
            len(found),
        )
        return found

    def _pages(self, search: ItemSearch) -> Iterator[dict[str, Any]]:
        """Yield pages, as long as some of them bring something new."""
        seen: set[str] = set()
        idle = 0
        for page in search.pages_as_dicts():
            new = {str(item["id"]) for item in page["features"]} - seen
            idle = 0 if new else idle + 1
            if idle > IDLE_PAGES:
                raise CatalogError(
                    f"{self.url!r} sends pages without end: {idle} brought nothing new",
                    expected="a last page without a link `next`",
                    todo="report it to the operator of the catalog, or take another one",
                )
            seen |= new
            yield page

    def _fields(self, query: Query) -> dict[str, list[str]] | None:
        if not query.brief or not self._client.conforms_to(ConformanceClasses.FIELDS):
            return None
        # pgstac leaves out what is not included, and the standard's own fields are not implied
        return {"include": list(BRIEF), "exclude": ["assets", "links"]}

    def _cloud_condition(self, query: Query) -> dict[str, Any]:
        """Ask with numbers: pgstac compares the string form of `query` as text."""
        limits = {"lt": query.cloud_max, "gte": query.cloud_min}
        asked = {name: value for name, value in limits.items() if value is not None}
        if not asked:
            return {}
        if self._client.conforms_to(ConformanceClasses.QUERY):
            return {"query": {"eo:cloud_cover": asked}}
        if self._client.conforms_to(ConformanceClasses.FILTER):
            signs = {"lt": "<", "gte": ">="}
            parts = [
                {"op": signs[name], "args": [{"property": "eo:cloud_cover"}, value]}
                for name, value in asked.items()
            ]
            condition = parts[0] if len(parts) == 1 else {"op": "and", "args": parts}
            return {"filter": condition, "filter_lang": "cql2-json"}
        return {}

    def _failure(self, error: APIError) -> ServiceError | CatalogError:
        status = getattr(error, "status_code", None)
        first_line = (str(error).splitlines() or [""])[0][:200]
        if status is None or status in TRANSIENT:
            return ServiceError(
                f"{self.url!r} failed {ATTEMPTS} times, at last with "
                f"{status or 'no answer'}: {first_line}",
                todo="run the same command again later, or take another catalog",
            )
        return CatalogError(
            f"{self.url!r} refused the search with {status}: {first_line}",
            expected="the URL of a STAC API's landing page",
            todo="check search.catalog",
        )


def _outline(area: BaseGeometry | None) -> dict[str, Any] | None:
    """Return a simple outline to ask with: detailed ones have been refused for their size.

    Across the antimeridian it has two parts: the hull of both would go round the globe.
    """
    if area is None:
        return None
    hulls = [shapely.convex_hull(side) for side in sides(area)]
    return mapping(hulls[0] if len(hulls) == 1 else shapely.MultiPolygon(hulls))


class _GuardedIO(StacApiIO):
    """Follows no address and takes no answer that :mod:`rockglacier_stac.guard` refuses."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(**options)
        self._url = url
        self.session.hooks["response"].append(guard.follow_checked)

    def request(self, href: str, *arguments: Any, **options: Any) -> str:
        """Ask, where the address may be followed."""
        guard.check_href(href, base=self._url)
        try:
            return super().request(href, *arguments, **options)
        except APIError as error:
            if isinstance(error.__context__, CatalogError):  # of a redirect
                raise error.__context__ from None
            raise

    def json_loads(self, txt: str, *_: Any, **__: Any) -> dict[str, Any]:
        """Read an answer, if it is JSON and nothing else."""
        found: dict[str, Any] = untrusted.loads(txt, source=self._url)
        return found


def _is_transient(error: Exception) -> bool:
    if isinstance(error, CatalogError):
        return isinstance(error.__cause__, json.JSONDecodeError)  # cut short
    if not isinstance(error, APIError):
        return False
    status = getattr(error, "status_code", None)
    return status is None or status in TRANSIENT
