"""Make an asset's address readable now: tokens are asked for when pixels are read, never stored."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import requests
import stamina

from rockglacier_stac import untrusted
from rockglacier_stac.errors import CatalogError, ServiceError
from rockglacier_stac.providers import provider_of

TOKEN_URL = "https://planetarycomputer.microsoft.com/api/sas/v1/token"  # noqa: S105 - an address
MARGIN = timedelta(minutes=5)
"""A token that ends sooner is not used any more."""
TRANSIENT = frozenset({429, 500, 502, 503, 504})
"""HTTP statuses after which asking again makes sense."""


def sign(href: str) -> str:
    """Return an address that can be read now.

    Azure blobs (Planetary Computer) get a fresh token, the open S3 buckets of Earth Search become
    HTTPS; every other address, local paths included, comes back as it is.

    Raises
    ------
    ServiceError
        The token service failed, after it was asked again.
    """
    provider = provider_of(href)
    if provider is None:
        return href
    if provider.signing == "azure-sas":
        return _TOKENS.sign(href)
    parts = urlsplit(href)
    if provider.signing == "open-bucket" and parts.scheme == "s3":
        return provider.buckets[parts.netloc] + parts.path
    return href


def renew(address: str) -> None:
    """Forget the token of a signed address that was refused: `sign` asks for another one."""
    provider = provider_of(address)
    if provider is not None and provider.signing == "azure-sas":
        _TOKENS.forget(address)


def unsigned(href: str) -> str:
    """Return an address without the token that an item may carry, for storing it."""
    provider = provider_of(href)
    if provider is not None and provider.signing == "azure-sas":
        return href.split("?", 1)[0]
    return href


class Tokens:
    """Tokens of Azure containers, kept until shortly before they end; safe among threads.

    Parameters
    ----------
    url
        Address of the token service.
    """

    def __init__(self, url: str = TOKEN_URL) -> None:
        self.url = url
        self._held: dict[str, tuple[str, datetime]] = {}
        self._lock = threading.Lock()

    def sign(self, href: str) -> str:
        """Return the address of a blob with a token that is valid for minutes at least."""
        plain = href.split("?", 1)[0]
        token = self._token(_container(plain))
        return f"{plain}?{token}" if token else plain

    def forget(self, address: str) -> None:
        """Forget the token that an address is signed with, unless another one is held already."""
        container, token = _container(address), address.partition("?")[2]
        with self._lock:
            if container in self._held and self._held[container][0] == token:
                del self._held[container]

    def _token(self, container: str) -> str:
        with self._lock:
            held = self._held.get(container)
            if held is None or held[1] - MARGIN < datetime.now(UTC):
                held = self._held[container] = self._ask(container)
            return held[0]

    def _ask(self, container: str) -> tuple[str, datetime]:
        try:
            content = _get(f"{self.url}/{container}")
            if content is None:  # a container that the service does not know is a public one
                return "", datetime.now(UTC) + timedelta(hours=1)
            answer = untrusted.loads(content, source=self.url)
            end = datetime.fromisoformat(answer["msft:expiry"])
            return str(answer["token"]), end if end.tzinfo else end.replace(tzinfo=UTC)
        except (
            requests.RequestException,
            CatalogError,
            LookupError,
            TypeError,
            ValueError,
        ) as error:
            raise ServiceError(
                f"no token for {container!r}: {error}",
                expected="an answer of the Planetary Computer's token service",
                todo="run the same command again later: finished work is kept",
            ) from error


def _container(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.netloc.split('.', 1)[0]}/{parts.path.split('/')[1]}"


def _wait(error: Exception) -> bool | float:
    """Say whether to ask again, and after how many seconds if the server says so."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        if error.response.status_code not in TRANSIENT:
            return False
        after = error.response.headers.get("Retry-After", "")
        return min(float(after), 60.0) if after.isdigit() and after != "0" else True
    return isinstance(error, requests.ConnectionError | requests.Timeout)


@stamina.retry(on=_wait, attempts=5, timeout=180)
def _get(url: str) -> bytes | None:
    response = requests.get(url, timeout=30)
    if response.status_code == 404:
        return None
    response.raise_for_status()
    return response.content


_TOKENS = Tokens()
