"""Reads over HTTP from a server that fails now and then."""

import re
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import rasterio

from rockglacier.errors import RemoteError
from rockglacier.scenes import asset

VALUES = np.arange(256 * 256, dtype=np.uint16).reshape(256, 256)


class Handler(BaseHTTPRequestHandler):
    """Serves ranges of one file; ``faults`` says which request fails, and how."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.server.requests += 1
        fault = self.server.faults.get(self.server.requests)
        if isinstance(fault, int):
            self.send_response(fault)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = self.server.data
        asked = re.match(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        first, last = 0, len(data) - 1
        if asked:
            first, last = int(asked[1]), min(int(asked[2]), last)
        part = data[first : last + 1]
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault == "truncated":
            self.close_connection = True
            part = part[: len(part) // 2]
        self.wfile.write(part)

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(asset, "WAIT_S", 0.0)
    path = tmp_path / "scene.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=256, width=256, count=1, dtype="uint16",
        tiled=True, blockxsize=128, blockysize=128, crs="EPSG:32643",
        transform=rasterio.transform.from_origin(600_000, 4_000_000, 10, 10),
    ) as file:  # fmt: skip
        file.write(VALUES, 1)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        served.data, served.requests, served.faults = path.read_bytes(), 0, {}
        thread = threading.Thread(target=served.serve_forever, args=(0.01,))
        thread.start()
        yield served
        served.shutdown()
        thread.join()


def read(server):
    href = f"http://127.0.0.1:{server.server_port}/scene.tif?sig=SECRET"
    tries = []

    def work():
        with ExitStack() as stack:
            return asset.open_raster(href, stack).read(1)

    values = asset.retried(work, item="a1", asset="B04", href=href, again=lambda: tries.append(1))
    return values, len(tries)


@pytest.mark.parametrize("faults", [{1: 503}, {1: 503, 2: 429}, {1: 403}, {3: "truncated"}])
def test_transient_faults_are_overcome(server, faults):
    server.faults = faults
    values, tries = read(server)
    np.testing.assert_array_equal(values, VALUES)
    assert tries == len(faults)


def test_a_missing_file_is_not_asked_for_again(server):
    server.faults = dict.fromkeys(range(1, 9), 404)
    with pytest.raises(RemoteError, match="response code: 404"):
        read(server)
    assert server.requests == 1


def test_a_server_that_stays_down_is_named_without_its_signature(server):
    server.faults = dict.fromkeys(range(1, 99), 500)
    with pytest.raises(RemoteError, match="item 'a1', asset 'B04' cannot be read") as caught:
        read(server)
    assert "SECRET" not in str(caught.value)
    assert server.requests == asset.ATTEMPTS
