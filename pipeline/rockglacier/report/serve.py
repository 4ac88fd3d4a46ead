"""The products of a study for a browser or a GIS on this machine: read only, with ranges of bytes.

A report opens from the disk as well; rasters are read by the piece only over HTTP.
"""

from __future__ import annotations

import logging
import mimetypes
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import quote, unquote, urlsplit

from rockglacier.errors import InputError

logger = logging.getLogger(__name__)

HOST: Final = "127.0.0.1"
NAMES: Final = ("127.0.0.1", "localhost")
"""Names under which a browser may ask: a page of elsewhere that calls this machine by a name of its
own gets nothing."""

PIECE: Final = 1 << 18
RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")
KINDS: Final = {
    ".tif": "image/tiff; application=geotiff; profile=cloud-optimized",
    ".parquet": "application/vnd.apache.parquet",
    ".gpkg": "application/geopackage+sqlite3",
    ".geojson": "application/geo+json",
}


@contextmanager
def serving(folder: Path, *, port: int = 0) -> Iterator[ThreadingHTTPServer]:
    """Yield a server of a folder, bound to this machine alone; ``serve_forever`` starts it.

    Parameters
    ----------
    folder
        Files of it are served, those that begin with a dot are not, nor what a link leads out to.
    port
        0: a free one.

    Raises
    ------
    InputError
        There is no such folder, or the port is taken.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {str(folder)!r}", expected="a study's products")
    try:
        server = ThreadingHTTPServer((HOST, port), partial(Handler, folder=folder.resolve()))
    except OSError as error:
        raise InputError(f"port {port} cannot be used: {error}", todo="name another --port") from (
            error
        )
    with server:
        yield server


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD for the files of one folder.

    Parameters
    ----------
    folder
        Resolved.
    """

    protocol_version = "HTTP/1.1"
    server_version = "rockglacier"
    sys_version = ""
    timeout = 60

    def __init__(self, *args: object, folder: Path) -> None:
        self.folder = folder
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Send a file, or the part of it that is asked for."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Send what a GET would send first."""
        self._answer(with_body=False)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  as the base names it
        """Log requests like everything else."""
        logger.debug(format, *args)

    def _answer(self, *, with_body: bool) -> None:
        host = (self.headers.get("Host") or "").rsplit(":", 1)[0]
        if host not in NAMES:
            self._refuse(HTTPStatus.FORBIDDEN)
            return
        path = unquote(urlsplit(self.path).path)
        if path == "/":
            self._moved("/report/index.html")
            return
        found = self._file(path)
        if found is None:
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        try:
            with found.open("rb") as file:
                self._send(file, found, found.stat().st_size, with_body=with_body)
        except OSError as error:
            logger.info("%s: %s", path, error)
            self.close_connection = True

    def _file(self, path: str) -> Path | None:
        """Return a file inside the folder, or None."""
        parts = path.strip("/").split("/")
        if any(not part or part.startswith(".") or "\0" in part or "\\" in part for part in parts):
            return None
        try:
            found = self.folder.joinpath(*parts).resolve()
        except (OSError, ValueError):
            return None
        return found if found.is_relative_to(self.folder) and found.is_file() else None

    def _send(self, file: BinaryIO, path: Path, size: int, *, with_body: bool) -> None:
        first, last = 0, size - 1
        part = self._part(size)
        if part == "none":
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if isinstance(part, tuple):
            first, last = part
            self.send_response(HTTPStatus.PARTIAL_CONTENT)
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        else:
            self.send_response(HTTPStatus.OK)
        kind = KINDS.get(path.suffix) or mimetypes.guess_type(path.name)[0]
        self.send_header("Content-Type", kind or "application/octet-stream")
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if not with_body:
            return
        file.seek(first)
        left = last - first + 1
        while left:
            piece = file.read(min(PIECE, left))
            if not piece:  # cut off meanwhile: a shorter answer must not look whole
                self.close_connection = True
                return
            self.wfile.write(piece)
            left -= len(piece)

    def _part(self, size: int) -> tuple[int, int] | str | None:
        """Return first and last byte asked for, ``none`` if there are no such, None for all."""
        given = self.headers.get("Range")
        asked = RANGE.fullmatch(given.strip()) if given else None
        if asked is None or asked.groups() == ("", ""):
            return None  # several ranges at once, and other units, may be answered with all
        start, end = asked.groups()
        if not start:
            first, last = max(0, size - int(end)), size - 1
        else:
            first, last = int(start), min(int(end) if end else size - 1, size - 1)
            if end and int(end) < int(start):
                return None
        return (first, last) if first <= last else "none"

    def _moved(self, to: str) -> None:
        self.send_response(HTTPStatus.FOUND)
        self.send_header("Location", quote(to))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _refuse(self, status: HTTPStatus) -> None:
        text = f"{status.value} {status.phrase}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)
