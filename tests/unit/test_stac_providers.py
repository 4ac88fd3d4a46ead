"""Providers as a table, and access by its rows: options, keys, and how many reads at once."""

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler

import numpy as np
import pytest
import rasterio

from made_server import Silent, serving
from rockglacier_stac.access import gdal_options, read_slot, reads_at_once, require_access
from rockglacier_stac.dialects import band_asset, epsg_of, utm_of_tile
from rockglacier_stac.errors import AccessError
from rockglacier_stac.providers import ASSET_KEYS, DEFAULT_READS, PROVIDERS, provider_of

EODATA = "s3://eodata/Sentinel-2/MSI/L2A/B02_10m.jp2"
BLOB = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/B02.tif"
COG = "https://sentinel-cogs.s3.us-west-2.amazonaws.com/B02.tif"
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@pytest.fixture(autouse=True)
def no_keys(monkeypatch, tmp_path):
    for name in (*KEYS, "AWS_S3_ENDPOINT", "AWS_HTTPS", "AWS_VIRTUAL_HOSTING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=lambda one: one.name)
def test_every_row_is_whole(provider):
    assert set(provider.assets) == set(ASSET_KEYS)
    assert provider.url.startswith("https://")
    assert provider.collections
    assert provider.dem_collection.startswith("cop-dem-glo-30")
    assert provider.access
    assert provider.reads > 0
    assert provider.buckets or provider.hosts


@pytest.mark.parametrize(
    ("href", "name"),
    [
        (EODATA, "cdse"),
        (BLOB, "planetary-computer"),
        (COG, "earth-search"),
        ("s3://sentinel-cogs/a.tif", "earth-search"),
        ("s3://copernicus-dem-30m/a.tif", "earth-search"),
        ("s3://mine/a.tif", None),
        ("https://example.org/a.tif", None),
        ("/data/a.tif", None),
        ("a.tif", None),
    ],
)
def test_address_tells_who_holds_the_pixels(href, name):
    found = provider_of(href)
    assert (found and found.name) == name


@pytest.mark.parametrize(
    ("keys", "band", "expected"),
    [
        (["blue", "blue_20m"], "B02", "blue"),
        (["B02_20m", "B02_10m"], "B02", "B02_10m"),
        (["B01_60m"], "B01", "B01_60m"),
        (["B01_20m", "B01_60m"], "B01", "B01_20m"),
        (["nir", "nir08"], "B8A", "nir08"),
        (["B8A", "B08"], "B08", "B08"),
        (["SCL_20m", "SCL_60m"], "SCL", "SCL_20m"),
        (["visual"], "B02", None),
    ],
)
def test_finest_asset_of_every_dialect_is_found(keys, band, expected):
    item = {"assets": {key: {"href": key} for key in keys}}
    found = band_asset(item, band)
    assert (found and found[0]) == expected


def test_asset_of_an_unknown_name_is_found_by_what_it_says():
    coarse = {"href": "c", "gsd": 60, "eo:bands": [{"name": "1", "common_name": "swir16"}]}
    fine = {"href": "f", "gsd": 20, "bands": [{"name": "1", "eo:common_name": "swir16"}]}
    several = {"href": "s", "gsd": 1, "bands": [{"name": "B11"}, {"name": "B12"}]}
    item = {"assets": {"a": several, "b": coarse, "c": fine}}
    assert band_asset(item, "B11") == ("c", fine)
    assert band_asset(item, "B12") is None


@pytest.mark.parametrize(
    ("values", "epsg"),
    [
        ({"proj:epsg": 32643}, 32643),
        ({"proj:code": "EPSG:32643"}, 32643),
        ({"proj:code": "epsg:32643"}, 32643),
        ({"proj:wkt2": rasterio.crs.CRS.from_epsg(32643).to_wkt()}, 32643),
        ({"proj:code": "EPSG:None"}, None),
        ({"proj:epsg": 0}, None),
        ({"proj:wkt2": "no crs"}, None),
        ({}, None),
    ],
)
def test_crs_of_every_projection_extension_is_read(values, epsg):
    assert epsg_of({"properties": values, "assets": {}}) == epsg
    assert epsg_of({"properties": {}, "assets": {"blue": {"href": "b", **values}}}) == epsg


@pytest.mark.parametrize(
    ("tile", "epsg"), [("43SDA", 32643), ("01CAA", 32701), ("60XZZ", 32660), ("61SDA", None)]
)
def test_zone_of_a_tile(tile, epsg):
    assert utm_of_tile(tile) == epsg
    assert utm_of_tile("") is None


# access


def test_options_of_gdal_come_with_the_address_unless_the_environment_has_them(monkeypatch):
    assert gdal_options(EODATA) == {
        "AWS_S3_ENDPOINT": "eodata.dataspace.copernicus.eu",
        "AWS_HTTPS": "YES",
        "AWS_VIRTUAL_HOSTING": "FALSE",
    }
    monkeypatch.setenv("AWS_S3_ENDPOINT", "mirror.example.org")
    assert "AWS_S3_ENDPOINT" not in gdal_options(EODATA)
    assert gdal_options(BLOB) == gdal_options(COG) == gdal_options("a.tif") == {}


def test_keys_are_asked_for_where_they_are_needed(monkeypatch, tmp_path):
    for href in (BLOB, COG, "a.tif", "s3://mine/a.tif"):
        require_access(href)
    with pytest.raises(AccessError, match="the assets of 'cdse' need S3 keys"):
        require_access(EODATA)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    with pytest.raises(AccessError):
        require_access(EODATA)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    require_access(EODATA)
    for name in KEYS:
        monkeypatch.delenv(name)
    (tmp_path / "credentials").write_text("[default]\n")
    require_access(EODATA)


def test_reads_at_once_are_those_of_the_provider():
    assert reads_at_once(EODATA) == 4
    assert reads_at_once("a.tif") == DEFAULT_READS


@pytest.mark.parametrize(("href", "most"), [(EODATA, 4), ("a.tif", 12)])
def test_no_more_reads_run_at_once_than_allowed(href, most):
    running, peak, lock = 0, 0, threading.Lock()
    gate = threading.Barrier(most)

    def read(_):
        nonlocal running, peak
        with read_slot(href):
            with lock:
                running += 1
                peak = max(peak, running)
            gate.wait(timeout=10)  # passes only if `most` are inside together
            time.sleep(0.01)
            with lock:
                running -= 1

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(read, range(12)))
    assert peak == most


def test_slot_is_given_back_after_a_failure():
    for _ in range(6):
        with pytest.raises(OSError, match="x"), read_slot(EODATA):
            raise OSError("x")


@pytest.fixture
def store(tmp_path):
    """A server that answers ranges of one raster and keeps the requests."""
    path = tmp_path / "a.tif"
    profile = {"driver": "GTiff", "width": 64, "height": 64, "count": 1, "dtype": "uint16"}
    profile |= {"crs": "EPSG:32643", "transform": rasterio.transform.from_origin(0, 640, 10, 10)}
    with rasterio.open(path, "w", **profile) as file:
        file.write(np.arange(64 * 64, dtype="u2").reshape(1, 64, 64))
    data, asked = path.read_bytes(), []

    class Handler(Silent, BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            asked.append((self.path, self.headers.get("Authorization", "")))
            given = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            first = int(given[1]) if given else 0
            last = min(int(given[2] or len(data)) if given else len(data), len(data) - 1)
            self.send_response(206 if given else 200)
            self.send_header("Content-Length", str(last + 1 - first))
            if given:
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data[first : last + 1])

        do_HEAD = do_GET  # noqa: N815 - the name that http.server calls

    with serving(Handler) as url:
        yield url.removeprefix("http://"), asked


def test_pixels_behind_keys_are_read_path_style_and_signed(store, monkeypatch):
    """The endpoint of the environment stands for the provider's own."""
    endpoint, asked = store
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mykey")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "mysecret")
    monkeypatch.setenv("AWS_S3_ENDPOINT", endpoint)
    monkeypatch.setenv("AWS_HTTPS", "NO")
    options = gdal_options("s3://eodata/Sentinel-2/a.tif")
    assert options == {"AWS_VIRTUAL_HOSTING": "FALSE"}
    with (
        rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", **options),
        rasterio.open("s3://eodata/Sentinel-2/a.tif") as file,
    ):
        assert file.read(1)[63, 63] == 64 * 64 - 1
    paths, keys = zip(*asked, strict=True)
    assert set(paths) == {"/eodata/Sentinel-2/a.tif"}
    assert all("Credential=mykey/" in key for key in keys)
    assert not any("mysecret" in key for key in keys)
