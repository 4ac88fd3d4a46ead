"""Collections and items into a live STAC API by Transactions; sending twice changes nothing."""

from __future__ import annotations

import base64
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode

import requests
import stamina

from rockglacier_stac import untrusted
from rockglacier_stac.errors import AccessError, CatalogError, ServiceError
from rockglacier_stac.extensions import Json
from rockglacier_stac.shared import core, widened
from rockglacier_stac.sign import TRANSIENT

logger = logging.getLogger(__name__)

ATTEMPTS, TIMEOUT_S = 6, 60
TRANSACTION: Final = "/transaction"
BULK: Final = "/collections/{collection_id}/bulk_items"
BULK_FROM: Final = 20
"""Items of one collection from which one large request is better than many small ones."""
SERVER_LINKS: Final = frozenset({"self", "root", "parent", "collection", "items", "item"})
"""Links that a server makes itself."""
PAGE: Final = 100
"""Items asked for at a time."""


@dataclass(slots=True)
class Sent:
    """What became of the objects that were sent."""

    created: int = 0
    replaced: int = 0
    unchanged: int = 0
    removed: int = 0

    @property
    def changed(self) -> int:
        """Number of objects that are other than before."""
        return self.created + self.replaced + self.removed


class BusyError(Exception):
    """An answer after which it is worth asking again."""

    def __init__(self, status: int, after: float | None) -> None:
        super().__init__(f"status {status}")
        self.status, self.after = status, after


def _wait(error: Exception) -> bool | float:
    if isinstance(error, BusyError):
        return True if error.after is None else error.after
    return isinstance(error, requests.ConnectionError | requests.Timeout)


class TransactionApi:
    """A STAC API that takes collections and items.

    Parameters
    ----------
    url
        Its landing page. Keys come from the environment: ``STAC_API_TOKEN`` is sent as a bearer
        token, ``STAC_API_USER`` and ``STAC_API_PASSWORD`` as basic authentication; both only to
        this host.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False  # no keys of ~/.netrc for a host that nobody meant
        self._session.headers.update(_authorization())
        self._bulk: bool | None = None

    def send(self, collections: Sequence[Json], items: Sequence[Json]) -> Sent:
        """Create or replace collections and items; those that are there already are left alone.

        Parameters
        ----------
        collections
            Their extent is widened by what the API holds of other publishers; their other content
            replaces the API's.
        items
            With absolute addresses, and ``collection``.

        Raises
        ------
        AccessError
            The API wants keys, or other ones.
        CatalogError
            It takes no transactions, or refuses an object.
        ServiceError
            It failed, after it was asked again.

        Notes
        -----
        Items of racing publishers are never lost. Of two that widen the same collection in the same
        instant one may be: APIs offer no condition for that. Sending again mends it.
        """
        self._require_transactions()
        sent = Sent()
        for collection in collections:
            self._put_collection(collection, sent)
        by_collection: dict[str, list[Json]] = {}
        for item in items:
            by_collection.setdefault(item["collection"], []).append(item)
        for name, found in by_collection.items():
            self._put_items(name, found, sent)
        logger.info("%s: %s", self.url, sent)
        return sent

    def remove(
        self, collection: str, is_gone: Callable[[Json], bool], *, bbox: Sequence[float]
    ) -> int:
        """Delete the items of a collection that are gone; return how many there were.

        Parameters
        ----------
        collection
            Its id; it need not be there.
        is_gone
            Says of an item whether it shall be deleted.
        bbox
            West, south, east, north, degrees: where such items are.

        Raises
        ------
        CatalogError, ServiceError
            As of :meth:`send`. An API that lets nobody delete is told in the log.
        """
        removed = 0
        for item in [item for item in self._items(collection, bbox) if is_gone(item)]:
            address = self.item_url(collection, item["id"])
            answer = self._ask("DELETE", address)
            if answer.status_code in (401, 403, 405):
                logger.warning(
                    "%s: %r is not made any more, and may not be deleted (%d): ask its operator",
                    self.url,
                    item["id"],
                    answer.status_code,
                )
                continue
            if answer.status_code != 404:
                self._check(answer, "DELETE", address)
            logger.info("%s: %r is deleted: it is not made any more", self.url, item["id"])
            removed += 1
        return removed

    def _items(self, collection: str, bbox: Sequence[float]) -> Iterator[Json]:
        asked = urlencode({"bbox": ",".join(map(str, bbox)), "limit": PAGE})
        address: str | None = f"{self.url}/collections/{quote(collection)}/items?{asked}"
        seen: set[str] = set()
        while address and address not in seen:
            seen.add(address)
            page = self._read(address)
            if page is None:
                return
            yield from (item for item in page.get("features", []) if isinstance(item, dict))
            links = {link.get("rel"): link.get("href") for link in page.get("links", [])}
            address = links.get("next")
            if address and not address.startswith(self.url):  # keys are for this host only
                return

    def item_url(self, collection: str, identifier: str) -> str:
        """Return the address of an item."""
        return f"{self.url}/collections/{quote(collection)}/items/{quote(identifier)}"

    def _require_transactions(self) -> None:
        landing = self._read(self.url + "/")
        if landing is None or "conformsTo" not in landing:
            raise CatalogError(
                f"{self.url!r} does not answer like a STAC API",
                expected="the URL of a STAC API's landing page",
                todo="check publish.api",
            )
        if not any(str(name).endswith(TRANSACTION) for name in landing["conformsTo"]):
            raise CatalogError(
                f"{self.url!r} takes no transactions",
                expected="a STAC API that conforms to the Transactions extension",
                todo="ask its operator to enable them, or publish to another one",
            )
        links = {link.get("rel"): link.get("href") for link in landing.get("links", [])}
        if self._bulk is None:
            self._bulk = self._offers_bulk(links.get("service-desc"))

    def _offers_bulk(self, description: str | None) -> bool:
        if not description or not description.startswith(self.url):
            return False
        answer = self._ask("GET", description)
        if answer.status_code != 200:
            return False
        try:
            return BULK in answer.json().get("paths", {})
        except (ValueError, AttributeError):
            return False

    def _put_collection(self, collection: Json, sent: Sent) -> None:
        address = f"{self.url}/collections/{quote(collection['id'])}"
        # somebody else may widen the extent at the same time: look again until it holds ours
        for _ in range(ATTEMPTS):
            held = self._read(address)
            wanted = widened(collection, held)
            if held is not None and core(held) == core(wanted):
                sent.unchanged += 1
                return
            if held is None:
                status = self._write("POST", f"{self.url}/collections", wanted, {409})
                kind = "created"
            else:
                status = self._write("PUT", address, wanted, {404})
                kind = "replaced"
            if status in (404, 409):
                continue
            again = self._read(address)
            if again is not None and core(again) == core(widened(collection, again)):
                setattr(sent, kind, getattr(sent, kind) + 1)
                return
        raise ServiceError(
            f"the collection {collection['id']!r} of {self.url!r} does not keep what is written",
            todo="run the same command again later",
        )

    def _put_items(self, collection: str, items: Sequence[Json], sent: Sent) -> None:
        new: list[Json] = []
        for item in items:
            held = self._read(self.item_url(collection, item["id"]))
            if held is not None and core(held) == core(item):
                sent.unchanged += 1
            else:
                new.append(item)
                kind = "created" if held is None else "replaced"
                setattr(sent, kind, getattr(sent, kind) + 1)
        if self._bulk and len(new) >= BULK_FROM:
            body = {"items": {item["id"]: item for item in new}, "method": "upsert"}
            self._write("POST", f"{self.url}/collections/{quote(collection)}/bulk_items", body, ())
            return
        for item in new:
            self._put_item(collection, item)

    def _put_item(self, collection: str, item: Json) -> None:
        """Create an item, or replace it where there is one: of racing publishers none fails."""
        for _ in range(ATTEMPTS):
            created = self._write(
                "POST", f"{self.url}/collections/{quote(collection)}/items", item, {409}
            )
            if created != 409:
                return
            if self._write("PUT", self.item_url(collection, item["id"]), item, {404}) != 404:
                return
        raise ServiceError(
            f"the item {item['id']!r} of {self.url!r} comes and goes",
            expected="one publisher of an item at a time",
            todo="run the same command again later",
        )

    def _read(self, address: str) -> Json | None:
        answer = self._ask("GET", address)
        if answer.status_code == 404:
            return None
        self._check(answer, "GET", address)
        try:
            found: Json = untrusted.loads(answer.content, source=address)
        except CatalogError as error:
            raise CatalogError(
                f"{address!r} does not answer like a STAC API: {error.found}",
                expected="JSON",
                todo="check publish.api",
            ) from error
        if not isinstance(found, dict):
            raise CatalogError(
                f"{address!r} answers with a {type(found).__name__}",
                expected="a STAC API",
                todo="check publish.api",
            )
        return found

    def _write(self, method: str, address: str, body: Json, accepted: Iterable[int]) -> int:
        data = json.dumps(body, allow_nan=False).encode()
        answer = self._ask(method, address, data)
        if answer.status_code not in set(accepted):
            self._check(answer, method, address)
        return answer.status_code

    def _ask(self, method: str, address: str, data: bytes | None = None) -> requests.Response:
        def once() -> requests.Response:
            answer = self._session.request(
                method,
                address,
                data=data,
                headers={"Content-Type": "application/json"} if data else {},
                timeout=TIMEOUT_S,
                allow_redirects=method == "GET",
            )
            if answer.status_code in TRANSIENT:
                after = answer.headers.get("Retry-After", "")
                raise BusyError(
                    answer.status_code, min(float(after), 60) if after.isdigit() else None
                )
            return answer

        patient = stamina.RetryingCaller(attempts=ATTEMPTS, timeout=300, wait_initial=0.2)
        try:
            return patient(_wait, once)
        except (BusyError, requests.RequestException) as error:
            said = str(error) if isinstance(error, BusyError) else type(error).__name__
            raise ServiceError(
                f"{method} of {address!r} failed {ATTEMPTS} times, at last with {said}",
                todo="run the same command again later: what was sent is kept",
            ) from error

    def _check(self, answer: requests.Response, method: str, address: str) -> None:
        if answer.status_code in (401, 403):
            raise AccessError(
                f"{method} of {address!r} was refused with {answer.status_code}",
                expected="STAC_API_TOKEN, or STAC_API_USER and STAC_API_PASSWORD, that may write",
                todo="export them, and run the same command again",
            )
        if not answer.ok or answer.is_redirect:
            raise CatalogError(
                f"{method} of {address!r} was refused with {answer.status_code}: "
                f"{answer.text[:300]}",
                todo="report it, with this message, unless it says what is wrong",
            )


def _authorization() -> dict[str, str]:
    token = os.environ.get("STAC_API_TOKEN")
    if token:
        return {"Authorization": f"Bearer {token}"}
    user, password = (os.environ.get(f"STAC_API_{name}") for name in ("USER", "PASSWORD"))
    if user and password:
        both = base64.b64encode(f"{user}:{password}".encode()).decode()
        return {"Authorization": f"Basic {both}"}
    return {}
