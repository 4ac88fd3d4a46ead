"""After a failed read: whether to read again, when, and what to call the failure.

GDAL tells little of what a server said: no header, and where a block fails no status. So the
server is asked once more, for one byte.
"""

from __future__ import annotations

import logging
import random
import re
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import requests
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError, RasterioIOError

from rockglacier.scenes.vsi import forget
from rockglacier.storage import redact, redact_text
from rockglacier_stac import guard
from rockglacier_stac.errors import CatalogError
from rockglacier_stac.sign import renew, sign

logger = logging.getLogger(__name__)

STUBBORN = 2
"""Tries of what looks like the file's own fault, and of a local file."""

REFUSALS = 6
"""Tries of an address that is refused and cannot be signed anew; some servers refuse when busy."""

LONGEST_WAIT_S = 60.0
"""A server that asks for more is asked again after this time."""

GONE = frozenset({404, 410})
DENIED = frozenset({401, 403})
BUSY = frozenset({429, 503})

STATUS = re.compile(r"(?:response|error) code: (\d{3})\b")
BLOCK = re.compile(r"(\S+), band \d+: IReadBlock failed at X offset (\d+), Y offset (\d+)")
SHORT = re.compile(
    r"(?i:read error|cannot read|got \d+ bytes|io error|timed out|failed to read)|CURL error"
)
"""Words of reads that ended early; any other of a block are a decoder's, of wrong bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server says of an address."""

    status: int
    wait_s: float | None = None
    """How long it asks to be left alone."""
    is_page: bool = False
    """It sends a page for people instead of pixels."""


DAMAGED = re.compile(r"IO error during reading of")
"""GDAL opens a file whose header ended early, with a warning: its place or nodata may be lost."""


class Ear(logging.Filter):
    """Keeps what GDAL warns of in the present thread, and lets every record pass.

    rasterio tells warnings to its loggers only.
    """

    def __init__(self) -> None:
        super().__init__()
        self._held = threading.local()

    @contextmanager
    def listening(self) -> Iterator[list[str]]:
        """Yield the list that warnings of a damaged header will be in."""
        for name in ("rasterio._env", "rasterio._err"):
            logging.getLogger(name).addFilter(self)
        texts: list[str] = []
        self._held.texts = texts
        try:
            yield texts
        finally:
            self._held.texts = []

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the record if it tells of a damaged header."""
        text = record.getMessage()
        if DAMAGED.search(text):
            getattr(self._held, "texts", []).append(text)
        return True


_EAR = Ear()


@contextmanager
def whole_headers() -> Iterator[None]:
    """Raise if GDAL was content with part of a header, which it only warns of."""
    with _EAR.listening() as texts:
        yield
        if texts:
            raise RasterioIOError("; ".join(dict.fromkeys(texts)))


class Patience:
    """Decides after each failed read whether to read again, as a backoff hook of stamina.

    Parameters
    ----------
    what
        What is read, for the log.
    hrefs
        Addresses or paths that one read reads.
    jitter_s
        Spread of a wait that a server asked for, so that not all readers come back at once.
    """

    def __init__(self, what: str, hrefs: Sequence[str], *, jitter_s: float) -> None:
        self.what, self.hrefs, self.jitter_s = what, list(hrefs), jitter_s
        self.culprit = self.hrefs[0]
        """The address that failed last, as far as GDAL tells."""
        self._signed: dict[str, str] = {}
        self._answer: Answer | None = None
        self._seen: Counter[str] = Counter()

    def start(self) -> None:
        """Note the addresses, as signed now, before a read."""
        self._signed = {href: sign(href) for href in self.hrefs}

    def forget(self) -> None:
        """Make GDAL forget these files: it remembers failures and half answers, too."""
        for address in self._signed.values():
            if "://" in address:
                forget(_plain(address))

    def __call__(self, error: Exception) -> bool | float:
        """Say whether to read again, or after how many seconds."""
        if not isinstance(error, RasterioError | CPLE_BaseError | OSError):
            return False
        texts = _texts(error)
        verdict = self._judge(error, texts)
        if verdict is not False:
            logger.info("%s is read again: %s", self.what, self.cause(error))
        return verdict

    def _judge(self, error: Exception, texts: Sequence[str]) -> bool | float:
        self.culprit = next((href for href in self.hrefs if _is_named(href, texts)), self.culprit)
        address = self._signed.get(self.culprit, self.culprit)
        if isinstance(error, FileNotFoundError) or "NotFoundError" in _kinds(error):
            return False
        if "://" not in address:
            return self._again_at_most(STUBBORN, texts[-1])
        status = _status(texts)
        self._answer = None
        silent = any("CURL error" in text for text in texts)
        if address.startswith("http") and not silent and (status is None or status in BUSY):
            self._answer = ask(address)
            status = status or (self._answer.status if self._answer else None)
        if status in GONE:
            return False
        if status in DENIED or "AccessDenied" in _kinds(error):
            renew(address)
            return self._again_at_most(REFUSALS, f"denied {address}")
        if self._answer is not None and self._answer.is_page:
            return self._again_at_most(STUBBORN, "page")
        if status is None or status < 400:
            if BLOCK.search(" ".join(texts)) and not SHORT.search(texts[-1]):
                return self._again_at_most(STUBBORN, texts[-1])
            return True
        if self._answer is not None and self._answer.wait_s:
            return self._answer.wait_s + self.jitter_s * random.random()  # noqa: S311
        return True

    def _again_at_most(self, tries: int, what: str) -> bool:
        self._seen[what] += 1
        return self._seen[what] < tries

    def cause(self, error: BaseException) -> str:
        """Return in words why a read failed, with nothing that may be secret."""
        texts = _texts(error)
        text = texts[-1]
        block = BLOCK.search(" ".join(texts))
        if block:
            name, column, row = block.groups()
            fault = "ends early" if SHORT.search(text) else "is corrupt"
            text = f"the block in column {column}, row {row} of {name} {fault}: {text}"
        if self._answer is not None and _status(texts) is None:
            if self._answer.is_page:
                text += "; the server sends a page for people, not a raster"
            elif self._answer.status >= 400:
                text += f"; the server answers {self._answer.status}"
        for address in (*self.hrefs, *self._signed.values()):
            text = text.replace(address, redact(address))
            query = address.partition("?")[2]
            text = text.replace(f"?{query}", "") if query else text
        return redact_text(text)


def ask(address: str) -> Answer | None:
    """Ask a server for the first byte of a file; None if it does not answer, or leads astray."""
    byte, hooks = {"Range": "bytes=0-0"}, {"response": guard.follow_checked}
    try:
        with requests.get(
            address, headers=byte, hooks=hooks, stream=True, timeout=guard.ASK_S
        ) as response:
            kind = response.headers.get("Content-Type", "")
            return Answer(
                status=response.status_code,
                wait_s=wait_of(response.headers.get("Retry-After", "")),
                is_page=response.ok and kind.startswith("text/html"),
            )
    except (requests.RequestException, CatalogError):
        return None


def wait_of(header: str) -> float | None:
    """Return the seconds that a Retry-After header (seconds or a date) asks for; None if none."""
    if header.isdigit():
        return min(float(header), LONGEST_WAIT_S)
    try:
        until = parsedate_to_datetime(header)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return min(max((until - datetime.now(UTC)).total_seconds(), 0.0), LONGEST_WAIT_S)


def _plain(address: str) -> str:
    return address.split("?", 1)[0]


def _is_named(href: str, texts: Sequence[str]) -> bool:
    name = _plain(href).rpartition("/")[2]
    return bool(name) and any(name in text for text in texts)


def _chain(error: BaseException) -> list[BaseException]:
    chain = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    return chain


def _texts(error: BaseException) -> list[str]:
    """Return the words of an error and of all that caused it, the deepest last."""
    return [" ".join(str(one).split()) for one in _chain(error)]


def _kinds(error: BaseException) -> str:
    return " ".join(type(one).__name__ for one in _chain(error))


def _status(texts: Sequence[str]) -> int | None:
    found = STATUS.search(" ".join(texts))
    return int(found[1]) if found else None
