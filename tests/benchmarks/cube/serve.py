"""A file server for one machine that answers range requests, can wait before it does, and counts.

``/<milliseconds>/<path>`` is a file below the root, sent after so many milliseconds;
``/count`` tells requests and bytes by path since it was last asked, and starts again.
A thread a connection: the kernel sends the files, so that serving costs next to nothing.
"""

import functools
import json
import os
import re
import socketserver
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

RANGE = re.compile(r"bytes=(\d*)-(\d*)$")


class Server(socketserver.ThreadingTCPServer):
    """Serves the files below a folder."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        self.root = root.resolve()
        self._lock = threading.Lock()
        self._counts: dict[str, Counter] = {}
        self.find = functools.cache(self._find)

    def _find(self, name: str) -> tuple[Path | None, int]:
        """Return a file below the root and its bytes."""
        file = (self.root / name).resolve()
        if not (file.is_relative_to(self.root) and file.is_file()):
            return None, 0
        return file, file.stat().st_size

    def count(self, name: str, **amounts: int) -> None:
        """Add to what was asked for a path."""
        with self._lock:
            self._counts.setdefault(name, Counter()).update(amounts)

    def counted(self) -> dict[str, Counter]:
        """Return what was counted, and start again."""
        with self._lock:
            counts, self._counts = self._counts, {}
        return counts


class Connection(socketserver.StreamRequestHandler):
    """One connection, kept for many requests."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Answer until the other side goes."""
        try:
            while line := self.rfile.readline():
                method, path, _ = line.decode("latin-1").split(" ", 2)
                asked = ""
                while (header := self.rfile.readline()) not in (b"\r\n", b""):
                    if header.lower().startswith(b"range:"):
                        asked = header[6:].decode().strip()
                self._answer(method, unquote(path), asked)
        except ConnectionError:
            pass

    def _answer(self, method: str, path: str, asked: str) -> None:
        if path == "/count":
            body = json.dumps(self.server.counted()).encode()
            self._say(200, len(body))
            self.wfile.write(body)
            return
        _, wait, name = path.split("/", 2)
        time.sleep(int(wait) / 1000)
        file, size = self.server.find(name)
        if file is None:
            self.server.count(name, requests=1, missing=1)
            self._say(404, 0)
            return
        start, stop = _span(asked, size)
        if start >= stop:
            self._say(416, 0, f"Content-Range: bytes */{size}")
            return
        part = f"Content-Range: bytes {start}-{stop - 1}/{size}" if asked else ""
        self._say(206 if asked else 200, stop - start, part)
        if method == "HEAD":
            self.server.count(name, requests=1, heads=1)
            return
        # before the other side can have it all and ask for the counts
        self.server.count(name, requests=1, bytes=stop - start)
        self.server.count(name, bytes=self._send(file, start, stop) - (stop - start))

    def _send(self, file: Path, start: int, stop: int) -> int:
        """Send bytes; return how many the other side took."""
        at = start
        with file.open("rb") as source:
            while at < stop:
                try:
                    done = os.sendfile(self.connection.fileno(), source.fileno(), at, stop - at)
                except ConnectionError:
                    break
                at += done
        return at - start

    def _say(self, status: int, length: int, more: str = "") -> None:
        lines = (
            f"HTTP/1.1 {status} -",
            f"Content-Length: {length}",
            "Content-Type: application/octet-stream",
            "Accept-Ranges: bytes",
            more,
        )
        self.wfile.write("\r\n".join([*filter(None, lines), "", ""]).encode())


def _span(asked: str, size: int) -> tuple[int, int]:
    """Return the first byte that is asked for, and the one after the last."""
    found = RANGE.match(asked)
    if not found:
        return 0, size
    first, last = found.groups()
    if not first:
        return max(size - int(last), 0), size
    return int(first), min(int(last) + 1, size) if last else size


def main(root: Path) -> None:
    """Serve until the input ends; the port is the first line of the output."""
    with Server(root) as server:
        print(server.server_address[1], flush=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
