"""Reads over HTTP from a server that fails now and then, or for good."""

import dataclasses
import functools
import itertools
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from contextlib import ExitStack
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.windows import Window as RasterWindow

from made_study import write_raster
from rockglacier.cube.build import build_cube
from rockglacier.cube.load import SceneReader
from rockglacier.cube.look import looks_of
from rockglacier.cube.store import LAYERS, open_arrays
from rockglacier.engine import Receipts
from rockglacier.errors import RemoteError
from rockglacier.grid import Window
from rockglacier.scenes import asset, patience
from rockglacier.scenes.record import (
    read_dem_tiles,
    read_scenes,
    write_dem_tiles,
    write_scenes,
)
from rockglacier_stac import sign as signing

SIZE, BLOCK = 256, 128
VALUES = np.random.default_rng(0).integers(1, 60_000, (SIZE, SIZE), np.uint16)
PAGE = b"<html><body>Please sign in</body></html>" * 20
ONE_BYTE = "bytes=0-0"
"""What is asked after a failure, to hear what the server has to say."""


class Handler(BaseHTTPRequestHandler):
    """Serves ranges of files; the server's ``fault`` says how a request fails, if it does.

    A fault is a status, a status with headers, or a word: ``reset``, ``cut`` (half of the body
    that was promised), ``short`` (half of the range, and says so), ``slow``, ``stalled``, ``page``;
    or ("until", byte of the file), another short range.
    """

    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        asked = self.headers.get("Range", "")
        fault = self.server.next_fault(self.path, asked == ONE_BYTE)
        if isinstance(fault, int):
            fault = (fault, {})
        if isinstance(fault, tuple) and fault[0] != "until":
            self.answer(fault[0], b"", fault[1])
        elif fault == "reset":
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            self.connection.close()
        elif fault == "page":
            self.answer(200, PAGE, {"Content-Type": "text/html; charset=utf-8"})
        else:
            self.answer_range(asked, fault)

    def answer_range(self, asked, fault):
        data = self.server.files.get(urlsplit(self.path).path)
        if data is None:
            self.answer(404, b"", {})
            return
        match = re.match(r"bytes=(\d+)-(\d+)", asked)
        first, last = (int(match[1]), int(match[2])) if match else (0, len(data) - 1)
        last = min(last, len(data) - 1)
        if fault == "short":
            last = first + (last - first) // 2
        elif isinstance(fault, tuple):
            last = min(last, max(first, fault[1]))
        headers = {"Content-Range": f"bytes {first}-{last}/{len(data)}"} if match else {}
        if fault in ("slow", "stalled"):
            time.sleep(0.5 if fault == "slow" else 2.5)
        self.answer(206 if match else 200, data[first : last + 1], headers, cut=fault == "cut")

    def answer(self, status, body, headers, *, cut=False):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if cut:
            body = body[: len(body) // 2]
            self.close_connection = True
        self.wfile.write(body)

    def log_message(self, *args):
        """Say nothing."""


class FlakyServer(ThreadingHTTPServer):
    """Counts requests; single bytes are counted apart and share the fate of the last request."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.heard = {}, []
        self.requests, self.asked = 0, 0
        self.fault = lambda number, path: None
        self.last = None
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def next_fault(self, path, is_question):
        with self.lock:
            if is_question:
                self.asked += 1
                is_said = self.last == "page" or isinstance(self.last, int | tuple)
                return self.last if is_said else None
            self.requests += 1
            self.heard.append(path)
            self.last = self.fault(self.requests, path)
            return self.last

    def hold(self, scene):
        """Return a scene whose files are served from here."""
        paths = {band: Path(path) for band, path in scene.assets.items()}
        self.files |= {f"/{path.name}": path.read_bytes() for path in paths.values()}
        return dataclasses.replace(
            scene, assets={band: f"{self.url}/{path.name}" for band, path in paths.items()}
        )

    def fail(self, faults):
        """Fail the requests of these numbers."""
        self.fault = lambda number, path: faults.get(number)

    def handle_error(self, *args):
        """A client that went away is no news."""


def raster(path, **profile):
    transform = rasterio.transform.from_origin(600_000, 4_000_000, 10, 10)
    tiles = {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK}
    write_raster(path, VALUES, transform=transform, **tiles, **profile)
    return path


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(asset, "WAIT_S", 0.0)
    with FlakyServer() as served:
        served.files["/scene.tif"] = raster(tmp_path / "scene.tif", compress="deflate").read_bytes()
        thread = threading.Thread(target=served.serve_forever, args=(0.01,))
        thread.start()
        yield served
        served.shutdown()
        thread.join()


def read(server, name="scene.tif", window=None):
    """Read a file; return its values and how often it was tried again."""
    href = f"{server.url}/{name}?sig=SECRET"
    tries = []

    def work():
        with ExitStack() as stack:
            return asset.open_raster(href, stack).read(1, window=window)

    values = asset.retried(work, item="a1", asset="B04", href=href, again=lambda: tries.append(1))
    return values, len(tries)


TRANSIENT = [
    {1: 503},
    {1: 503, 2: 429},
    {1: 500, 2: 502, 3: 504},
    {1: 403},
    {1: 403, 2: 403},
    {3: "cut"},
    {3: "short"},
    {1: "page"},
]


@pytest.mark.parametrize("faults", TRANSIENT, ids=str)
def test_transient_faults_are_overcome(server, faults):
    server.fail(faults)
    values, tries = read(server)
    np.testing.assert_array_equal(values, VALUES)
    assert tries == len(faults)


@pytest.mark.parametrize("fault", ["reset", "cut", "short", "slow", 503, 429, 403])
@pytest.mark.parametrize("number", range(1, 6))
def test_no_fault_of_any_request_shows_in_the_pixels(server, fault, number):
    server.fail({number: fault})
    np.testing.assert_array_equal(read(server)[0], VALUES)


def test_stalled_server_is_left_and_asked_again(server, monkeypatch):
    monkeypatch.setitem(asset.GDAL_OPTIONS, "GDAL_HTTP_LOW_SPEED_TIME", 1)
    server.fail({1: "stalled"})
    values, _ = read(server)
    np.testing.assert_array_equal(values, VALUES)
    assert server.requests > 3


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("first", [1, 3])
def test_pause_that_a_server_asks_for_is_given(server, status, first):
    until = []

    def busy(number, path):
        if number >= first and not until:
            until.append(time.monotonic() + 1)
        if until and time.monotonic() < until[0]:
            return status, {"Retry-After": "1"}
        return None

    server.fault = busy
    values, tries = read(server)
    np.testing.assert_array_equal(values, VALUES)
    assert tries == 1
    assert time.monotonic() >= until[0]


def test_pause_may_be_a_date():
    assert 28 < patience.wait_of(formatdate(time.time() + 30, usegmt=True)) <= 30
    assert patience.wait_of("7") == 7
    assert patience.wait_of("100000") == patience.LONGEST_WAIT_S
    assert patience.wait_of(formatdate(time.time() - 30, usegmt=True)) == 0
    assert patience.wait_of("") is None
    assert patience.wait_of("soon") is None


def test_half_a_header_neither_moves_a_file_nor_loses_its_nodata(server, tmp_path):
    data = raster(tmp_path / "b.tif", nodata=12345).read_bytes()
    server.files["/b.tif"] = data
    href, tries = f"{server.url}/b.tif", []

    def work():
        with ExitStack() as stack:
            file = asset.open_raster(href, stack)
            return file.transform.c, file.transform.f, file.nodata, file.crs.to_epsg()

    # where the numbers of the header end that do not fit into its table
    end = data.index(b"12345") + 6
    for cut in range(end - 240, end, 3):
        server.fail({2: ("until", cut)})
        server.requests = 0
        rasterio.cache.invalidate_all()
        found = asset.retried(work, item="a", asset="B", href=href, again=lambda: tries.append(1))
        assert found == (6e5, 4e6, 12345, 32643)
    assert tries


@pytest.mark.parametrize("status", [404, 410])
def test_a_missing_file_is_not_asked_for_again(server, status):
    server.fault = lambda number, path: status
    with pytest.raises(RemoteError, match=f"response code: {status}"):
        read(server)
    assert server.requests == 1


def test_a_file_that_vanishes_while_it_is_read_is_given_up(server):
    server.fault = lambda number, path: 404 if number > 2 else None
    with pytest.raises(RemoteError, match="the server answers 404"):
        read(server)
    assert server.asked == 1


def test_a_server_that_stays_down_is_named_without_its_signature(server):
    server.fault = lambda number, path: 500
    with pytest.raises(RemoteError, match="item 'a1', asset 'B04' cannot be read") as caught:
        read(server)
    assert f"{server.url}/scene.tif\n" in str(caught.value)
    assert "response code: 500" in str(caught.value)
    assert "SECRET" not in str(caught.value)
    assert caught.value.href == f"{server.url}/scene.tif"
    assert server.requests == asset.ATTEMPTS


def test_a_server_that_refuses_for_good_is_not_asked_for_long(server):
    server.fault = lambda number, path: 403
    with pytest.raises(RemoteError, match="response code: 403"):
        read(server)
    assert server.requests == patience.REFUSALS


def test_a_page_instead_of_pixels_is_called_so(server):
    server.fault = lambda number, path: "page"
    with pytest.raises(RemoteError, match="a page for people, not a raster"):
        read(server)
    assert server.asked == patience.STUBBORN


def corrupt(data):
    """Spoil the block in column 1, row 0 of a file."""
    with rasterio.MemoryFile(bytes(data)) as memory, memory.open() as file:
        start = int(file.get_tag_item("BLOCK_OFFSET_1_0", "TIFF", bidx=1))
        size = int(file.get_tag_item("BLOCK_SIZE_1_0", "TIFF", bidx=1))
    part = slice(start + 4, start + size // 2)
    return data[: part.start] + bytes(byte ^ 0xA5 for byte in data[part]) + data[part.stop :]


@pytest.mark.parametrize("compress", ["deflate", "lzw", "zstd"])
def test_a_corrupt_block_is_named_and_not_read_for_long(server, tmp_path, compress):
    data = raster(tmp_path / "b.tif", compress=compress).read_bytes()
    server.files["/b.tif"] = corrupt(data)
    with pytest.raises(
        RemoteError, match=r"the block in column 1, row 0 of b.tif is corrupt"
    ) as it:
        read(server, "b.tif")
    assert "item 'a1', asset 'B04'" in str(it.value)
    assert "SECRET" not in str(it.value)
    assert server.asked == patience.STUBBORN
    whole = RasterWindow(0, BLOCK, SIZE, BLOCK)
    np.testing.assert_array_equal(read(server, "b.tif", whole)[0], VALUES[BLOCK:])


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (corrupt, "column 1, row 0 of b.tif is corrupt"),
        (lambda data: data[: len(data) * 2 // 3], "row 1 of b.tif ends early"),
        (lambda data: PAGE, "not recognized as being in a supported file format"),
    ],
)
def test_a_broken_local_file_is_named_and_not_read_for_long(tmp_path, spoil, cause):
    path = raster(tmp_path / "b.tif", compress="deflate")
    path.write_bytes(spoil(path.read_bytes()))
    tries = []

    def work():
        with ExitStack() as stack:
            return asset.open_raster(str(path), stack).read(1)

    with pytest.raises(RemoteError, match=cause):
        asset.retried(work, item="a1", asset="B04", href=str(path), again=lambda: tries.append(1))
    assert len(tries) == patience.STUBBORN - 1


def test_an_expired_signature_is_replaced_while_a_file_is_open(server, monkeypatch):
    held, renewed = ["old"], []

    def renew(address):
        renewed.append(address)
        held[0] = "new"

    monkeypatch.setattr(asset, "sign", lambda href: f"{href}?token={held[0]}")
    monkeypatch.setattr(patience, "sign", asset.sign)
    monkeypatch.setattr(patience, "renew", renew)
    href, files, stack = f"{server.url}/scene.tif", [], ExitStack()

    def rows(first):
        if not files:
            files.append(asset.open_raster(href, stack))
        return files[0].read(1, window=RasterWindow(0, first, SIZE, BLOCK))

    def again():
        stack.close()
        files.clear()

    parts = []
    with stack:
        for first in (0, BLOCK):
            read_rows = functools.partial(rows, first)
            parts.append(asset.retried(read_rows, item="a", asset="B", href=href, again=again))
            server.fault = lambda number, path: 403 if "old" in path else None
            rasterio.cache.invalidate_all()
    np.testing.assert_array_equal(np.concatenate(parts), VALUES)
    assert renewed == [f"{href}?token=old"]


def test_a_signature_is_not_shown_whoever_made_it(server, monkeypatch):
    monkeypatch.setattr(asset, "sign", lambda href: f"{href}?token=SECRET")
    monkeypatch.setattr(patience, "sign", asset.sign)
    server.files["/b.tif"] = corrupt(server.files["/scene.tif"])
    href = f"{server.url}/b.tif"

    def work():
        with ExitStack() as stack:
            return asset.open_raster(href, stack).read(1)

    with pytest.raises(RemoteError, match="is corrupt") as caught:
        asset.retried(work, item="a1", asset="B04", href=href, again=lambda: None)
    assert "SECRET" not in str(caught.value)


def test_a_refused_token_is_asked_for_anew_once(monkeypatch):
    tokens = signing.Tokens("https://tokens.example")
    given = iter(range(9))

    def ask(container):
        until = signing.datetime.now(signing.UTC) + signing.timedelta(hours=1)
        return f"sig={next(given)}", until

    monkeypatch.setattr(tokens, "_ask", ask)
    href = "https://account.blob.core.windows.net/container/b.tif"
    first = tokens.sign(href)
    for _ in range(3):  # as many readers hold the same token, and are refused
        tokens.forget(first)
        assert tokens.sign(href) == f"{href}?sig=1"


def test_only_the_failed_file_is_forgotten(server):
    server.files["/other.tif"] = server.files["/scene.tif"]
    read(server, "other.tif")
    before = len(server.heard)
    server.fail({before + 1: 503})
    read(server)
    after = len(server.heard)
    read(server, "other.tif")
    assert len(server.heard) - after < before


KINDS = {
    "busy": [503, (503, {"Retry-After": "0"}), 429],
    "reset": ["reset"],
    "cut": ["cut", "short"],
    "expired": [403],
    "all": [503, "reset", "cut", "short", 403],
}


@pytest.mark.parametrize("kind", KINDS)
def test_whole_scene_is_equal_where_every_fifth_answer_fails(server, make_basin, kind):
    study = make_basin()
    scenes = read_scenes(study.scenes_path)
    remote = [server.hold(scene) for scene in scenes]
    chance, faults = random.Random(5), 0  # noqa: S311 - the same faults every time

    def fault(number, path):
        nonlocal faults
        if chance.random() >= 0.2:
            return None
        faults += 1
        return chance.choice(KINDS[kind])

    server.fault = fault
    height, _ = study.grid.shape
    for window in (study.grid.whole, Window(y=height // 2, x=9, height=height // 2, width=50)):
        with SceneReader(study.grid, study.config.cube.bands) as reader:
            expected = reader.read(looks_of(scenes, epsg=study.grid.epsg), window)
        with SceneReader(study.grid, study.config.cube.bands) as reader:
            found = reader.read(looks_of(remote, epsg=study.grid.epsg), window)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)
    assert faults > 0


def test_further_tries_of_elevation_and_extra_layers_are_counted(
    server, make_basin, monkeypatch, caplog
):
    monkeypatch.setattr("rockglacier.cube.surface.SHADOW_REACH_M", 500.0)
    layer = {"name": "red", "href": f"{server.url}/a1_B04.tif", "license": "MIT"}
    study = make_basin(block=512, extra=[layer])
    tiles = read_dem_tiles(study.dem_path)
    for path in [*(Path(tile.href) for tile in tiles), study.base / "a1_B04.tif"]:
        server.files[f"/{path.name}"] = path.read_bytes()
    remote = [
        dataclasses.replace(tile, href=f"{server.url}/{Path(tile.href).name}") for tile in tiles
    ]
    write_dem_tiles(remote, study.dem_path)
    heard = Counter()

    def fault(number, path):
        heard[path] += 1
        return 503 if heard[path] <= 6 else None

    def start(what, done, total):
        if not done:  # the headers of the DEM are read before any block
            heard.clear()

    server.fault = fault
    facts = build_cube(study, progress=start)
    receipts = dict(Receipts(study.receipts_path / "cube").all())
    scheduled = [record for record in caplog.records if record.name == "stamina"]
    assert len(heard) == 3
    assert [receipt["retries"] for receipt in receipts.values()] == [facts["retries"]]
    assert min(facts["retries"], facts["header_retries"]) > 1
    assert facts["retries"] + facts["header_retries"] == len(scheduled)


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(s, marks=pytest.mark.soak) for s in range(1, 31))]
)
def test_whole_cube_is_equal_where_every_fifth_answer_fails(server, make_basin, monkeypatch, seed):
    monkeypatch.setattr("rockglacier.cube.surface.SHADOW_REACH_M", 500.0)
    here, remote = make_basin("here", block=128), make_basin("remote", block=128)
    build_cube(here)
    for path in here.folder.parent.glob("*.tif"):  # many ranges: nothing fits into the first
        plain = path.with_suffix(".plain")
        rasterio.shutil.copy(path, plain, driver="GTiff", tiled=True, blockxsize=64, blockysize=64)
        server.files[f"/{path.name}"] = plain.read_bytes()
        path.unlink()

    def moved(href):
        return f"{server.url}/{Path(href).name}"

    write_scenes(
        [
            dataclasses.replace(one, assets={k: moved(path) for k, path in one.assets.items()})
            for one in read_scenes(remote.scenes_path)
        ],
        remote.scenes_path,
    )
    write_dem_tiles(
        [
            dataclasses.replace(tile, href=moved(tile.href))
            for tile in read_dem_tiles(remote.dem_path)
        ],
        remote.dem_path,
    )
    chance, faults, seen = random.Random(seed), Counter(), set()  # noqa: S311
    kinds = itertools.cycle(KINDS["all"])

    def fault(number, path):
        if chance.random() >= 0.2 and (path in seen or not path.endswith("B04.tif")):
            return None
        seen.add(path)  # what fails at once is tried again here, not inside of GDAL
        kind = next(kinds)
        faults[kind] += 1
        return kind

    server.fault = fault
    facts = build_cube(remote)
    assert server.requests > 80
    assert min(faults[kind] for kind in KINDS["all"]) > 1
    receipts = dict(Receipts(remote.receipts_path / "cube").all())
    assert len(receipts) == facts["built"] == 9
    assert facts["skipped"] == []
    assert facts["retries"] == sum(receipt["retries"] for receipt in receipts.values()) > 0
    one, other = open_arrays(here.cube_path), open_arrays(remote.cube_path)
    assert one["reflectance"][...].any()
    for name in LAYERS:
        np.testing.assert_array_equal(one[name][...], other[name][...], err_msg=name)
