"""Catalogs of strangers that mean harm: each is refused, and the message says for what."""

import json
import socket
import threading
from contextlib import ExitStack, suppress
from datetime import date
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import ClassVar

import pytest
import stac_geoparquet.arrow as arrow

from made_server import Silent, serving
from rockglacier.scenes.asset import open_raster
from rockglacier.scenes.patience import ask
from rockglacier_stac import guard, untrusted
from rockglacier_stac.catalogs import open_catalog
from rockglacier_stac.errors import CatalogError
from rockglacier_stac.files import read_item
from rockglacier_stac.globe import box_of
from rockglacier_stac.search import Query

STRANGER = "https://stac.example/catalog.json"


@pytest.mark.parametrize(
    ("href", "reason"),
    [
        ("file:///etc/passwd", "a file of this machine"),
        ("/etc/passwd", "a file of this machine"),
        ("http://169.254.169.254/latest/meta-data/", "a link-local address"),
        ("http://0xA9FEA9FE/latest", "a link-local address"),
        ("http://2852039166/latest", "a link-local address"),
        ("http://[fe80::1]/x.tif", "a link-local address"),
        ("http://[::ffff:169.254.169.254]/x.tif", "a link-local address"),
        ("http://metadata.google.internal/computeMetadata/v1/", "a metadata service"),
        ("http://METADATA.google.internal./", "a metadata service"),
        ("http://100.100.100.200/latest", "a metadata service"),
        ("http://[fd00:ec2::254]/latest", "a metadata service"),
        ("http://127.0.0.1:8080/x.tif", "this machine itself"),
        ("http://localhost/x.tif", "this machine itself"),
        ("http://127.1/x.tif", "this machine itself"),
        ("http://0.0.0.0/x.tif", "this machine itself"),
        ("http://10.0.0.7/x.tif", "a private network"),
        ("http://192.168.1.1/x.tif", "a private network"),
        ("http://[fd00::7]/x.tif", "a private network"),
        ("https://data.example/a/../../b.tif", r"'\.\.' in a path"),
        ("https://data.example/a/%2e%2e/b.tif", r"'\.\.' in a path"),
        ("s3://bucket/../other/x.tif", r"'\.\.' in a path"),
        ("gopher://data.example/x", "the scheme 'gopher'"),
        ("javascript://x", "the scheme 'javascript'"),
        ("https://data.example/a\nb", "a control character"),
    ],
)
def test_an_address_that_leads_astray_is_refused(href, reason):
    with pytest.raises(CatalogError, match=f"refused: .* leads to {reason}"):
        guard.check_href(href, base=STRANGER)


@pytest.mark.parametrize(
    ("href", "base"),
    [
        ("https://sentinel-cogs.s3.us-west-2.amazonaws.com/43/S/DA/B02.tif", STRANGER),
        ("https://data.example/a..b/x.tif", STRANGER),
        ("s3://bucket/x.tif", STRANGER),
        ("https://10.0.0.7/x.tif", "http://10.0.0.5/catalog.json"),
        ("https://10.0.0.7/x.tif", "http://127.0.0.1:8081/"),
        ("https://10.0.0.7/x.tif", "/data/catalog.json"),
        ("https://198.18.0.7/x.tif", STRANGER),
        ("https://nobody-knows.example/x.tif", STRANGER),
        ("/data/x.tif", "/data/catalog.json"),
        ("file:///data/deep/x.tif", "file:///data/catalog.json"),
        ("http://127.0.0.1:8333/x.tif", "http://127.0.0.1:8081/"),
        ("http://127.0.0.1:8333/x.tif", "/data/catalog.json"),
    ],
)
def test_honest_addresses_are_followed(href, base):
    assert guard.check_href(href, base=base) == href


@pytest.fixture
def names(monkeypatch):
    """What names of hosts mean, as a stranger's DNS could say it."""
    known = {
        "inside.example": "10.0.0.7",
        "home.example": "127.0.0.1",
        "aws.example": "169.254.169.254",
        "alibaba.example": "100.100.100.200",
        "six.example": "fd00::7",
        "corp.example": "192.168.7.1",
        "stac.example": "192.0.2.1",
        "data.example": "192.0.2.2",
        "sentinel-cogs.s3.us-west-2.amazonaws.com": "10.0.0.8",
    }

    def resolve(host, *_, **__):
        if host not in known:
            raise socket.gaierror(host)
        return [(0, 0, 0, "", ("192.0.2.9", 0)), (0, 0, 0, "", (known[host], 0))]

    monkeypatch.setattr(guard.socket, "getaddrinfo", resolve)
    guard._addresses.cache_clear()
    yield
    guard._addresses.cache_clear()


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("inside.example", "a private network"),
        ("INSIDE.example.", "a private network"),
        ("six.example", "a private network"),
        ("home.example", "this machine itself"),
        ("aws.example", "a link-local address"),
        ("alibaba.example", "a metadata service"),
    ],
)
def test_a_name_that_means_an_address_within_is_refused(names, host, reason):
    with pytest.raises(CatalogError, match=f"refused: .* leads to {reason}"):
        guard.check_href(f"https://{host}/x.tif", base=STRANGER)


def test_names_are_followed_where_they_are_meant(names, monkeypatch):
    within = "https://inside.example/x.tif"
    for base in ("https://corp.example/", "http://127.0.0.1:8081/", "/data/catalog.json"):
        assert guard.check_href(within, base=base) == within
    for href in (
        "https://data.example/x.tif",
        "https://unknown.example/x.tif",
        # a cloud's own machines may reach it by a private address
        "https://sentinel-cogs.s3.us-west-2.amazonaws.com/x.tif",
    ):
        assert guard.check_href(href, base=STRANGER) == href
    with pytest.raises(CatalogError) as caught:
        guard.check_href(within, base=STRANGER)
    assert "export ROCKGLACIER_HOSTS=inside.example" in caught.value.todo
    monkeypatch.setenv("ROCKGLACIER_HOSTS", "other.example, inside.example")
    assert guard.check_href(within, base=STRANGER) == within


@pytest.mark.parametrize("host", ["aws.example", "169.254.169.254", "metadata"])
def test_no_raster_is_read_from_a_service_of_the_machine(names, host):
    with ExitStack() as stack, pytest.raises(CatalogError, match=r"leads to a (link|metadata)"):
        open_raster(f"http://{host}/x.tif", stack)


def test_a_message_shows_no_signature():
    with pytest.raises(CatalogError) as caught:
        guard.check_href("http://user:SECRET@127.0.0.1/x.tif?sig=SECRET", base=STRANGER)
    assert "SECRET" not in str(caught.value)


def test_local_catalogs_lead_to_allowed_folders_only(tmp_path, monkeypatch):
    base = str(tmp_path / "catalog" / "catalog.json")
    for folder in ("catalog", "allowed", "else"):
        (tmp_path / folder).mkdir()
    (tmp_path / "catalog" / "way-out").symlink_to(tmp_path / "else")
    outside = str(tmp_path / "else" / "x.tif")
    within, allowed = str(tmp_path / "catalog" / "x.tif"), f"file://{tmp_path}/allowed/x.tif"
    monkeypatch.delenv("ROCKGLACIER_ROOTS", raising=False)
    assert guard.check_href(within, base=base) == within
    with pytest.raises(CatalogError, match="a file outside the allowed folders"):
        guard.check_href(allowed, base=base)
    assert guard.check_href(allowed, base=base, roots=[tmp_path / "allowed"]) == allowed
    monkeypatch.setenv("ROCKGLACIER_ROOTS", str(tmp_path / "allowed"))
    for href in (within, allowed):
        assert guard.check_href(href, base=base) == href
    for href in (
        outside,
        f"file://{outside}",
        f"{tmp_path}/allowed/../else/x.tif",
        f"file://{tmp_path}/allowed/%2e%2e/else/x.tif",
        f"{tmp_path}/catalog/way-out/x.tif",
    ):
        with pytest.raises(CatalogError, match="a file outside the allowed folders"):
            guard.check_href(href, base=base)


def test_the_message_says_how_to_allow_a_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("ROCKGLACIER_ROOTS", raising=False)
    with pytest.raises(CatalogError) as caught:
        guard.check_href("/archive/s2/x.tif", base=str(tmp_path / "catalog.json"))
    assert caught.value.expected == f"a file below {tmp_path}"
    assert "export ROCKGLACIER_ROOTS=/archive/s2" in caught.value.todo


def test_a_server_on_this_machine_leads_to_files_of_the_study_only(tmp_path, monkeypatch):
    monkeypatch.delenv("ROCKGLACIER_ROOTS", raising=False)
    base, href = "http://127.0.0.1:8081/", f"file://{tmp_path}/x.tif"
    assert guard.check_href(href, base=base, roots=[tmp_path]) == href
    with pytest.raises(CatalogError, match="a file outside the allowed folders"):
        guard.check_href(href, base=base)


@pytest.mark.parametrize("kind", ["static", "parquet"])
def test_a_catalog_leads_to_files_of_its_folder_and_of_the_study(tmp_path, monkeypatch, kind):
    monkeypatch.delenv("ROCKGLACIER_ROOTS", raising=False)
    item = {**make_item("../../archive/x.tif"), "stac_version": "1.1.0", "bbox": [74, 36, 75, 37]}
    item["geometry"] = {"type": "Point", "coordinates": [74, 36]}
    folder = tmp_path / "study" / "catalog"
    (folder / "deep").mkdir(parents=True)
    if kind == "static":
        path = folder / "catalog.json"
        (folder / "deep" / "item.json").write_text(json.dumps(item).replace("../../", "../../../"))
        link = {"rel": "item", "href": "./deep/item.json"}
        path.write_text(json.dumps({"type": "Catalog", "id": "r", "links": [link]}))
    else:
        path = folder / "items.parquet"
        arrow.to_parquet(arrow.parse_stac_items_to_arrow([item]), path)
    for roots in ([], [tmp_path / "study"]):
        with pytest.raises(CatalogError, match="a file outside the allowed folders"):
            open_catalog(str(path), roots=roots).search(Query("c"))
    (found,) = open_catalog(str(path), roots=[tmp_path]).search(Query("c"))
    assert found["assets"]["data"]["href"] == str(tmp_path / "archive" / "x.tif")


def test_a_published_item_leads_to_the_products_beside_its_catalog(tmp_path, monkeypatch):
    monkeypatch.delenv("ROCKGLACIER_ROOTS", raising=False)
    path = tmp_path / "products" / "stac" / "models" / "item.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(make_item("../../models/m.zip")))
    with pytest.raises(CatalogError, match="a file outside the allowed folders"):
        read_item(str(path))
    (path.parent.parent / "catalog.json").write_text("{}")
    held = read_item(str(path))["assets"]["data"]["href"]
    assert held == str(tmp_path / "products" / "models" / "m.zip")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<!DOCTYPE html><html>sign in</html>", "a page instead of JSON"),
        (b"  <html></html>", "a page instead of JSON"),
        (b'{"a": NaN}', "NaN, which is not JSON"),
        (b'{"a": -Infinity}', "-Infinity, which is not JSON"),
        (b"[" * 50_000 + b"]" * 50_000, "nesting without end"),
        (b"[" * 200 + b"]" * 200, "nesting without end"),
        (b'{"type": "Feature", "id', "is not JSON"),
        (b"", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
    ],
)
def test_what_is_no_json_is_named(data, reason):
    with pytest.raises(CatalogError, match=reason):
        untrusted.loads(data, source=STRANGER)


def test_a_document_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(untrusted, "LARGEST_BYTES", 100)
    with pytest.raises(CatalogError, match="leads to 0 MB"):
        untrusted.loads(b'"' + b"x" * 200 + b'"', source=STRANGER)


def make_item(href="./x.tif", **asset):
    return {
        "type": "Feature",
        "id": "bad",
        "collection": "c",
        "geometry": None,
        "properties": {"datetime": "2024-08-01T00:00:00Z"},
        "assets": {"data": {"href": href, **asset}},
        "links": [],
    }


@pytest.mark.parametrize(
    ("asset", "reason"),
    [
        ({"proj:shape": [10**12, 10**12]}, "proj:shape"),
        ({"proj:shape": [-1, 10]}, "proj:shape"),
        ({"proj:shape": "wide"}, "proj:shape"),
        ({"file:size": 2**60}, "file:size"),
        ({"file:size": "big"}, "file:size"),
    ],
)
def test_absurd_sizes_are_refused(tmp_path, asset, reason):
    path = tmp_path / "item.json"
    path.write_text(json.dumps(make_item(**asset)))
    with pytest.raises(CatalogError, match=reason):
        read_item(str(path))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": None}, "id is missing"),
        ({"id": 7}, "id is of type int"),
        ({"properties": None}, "properties is missing"),
        ({"properties": []}, "properties is of type list"),
        ({"assets": ["x"]}, "assets is of type list"),
        ({"assets": {"a": "x"}}, "asset 'a' is of type str"),
        ({"assets": {"a": {"href": 7}}}, "href of asset 'a' is of type int"),
        ({"links": {"a": 1}}, "links is of type dict"),
        ({"links": ["x"]}, "link is of type str"),
    ],
)
def test_what_is_no_item_is_named(tmp_path, change, reason):
    path = tmp_path / "item.json"
    path.write_text(json.dumps({**make_item(), **change}))
    with pytest.raises(CatalogError, match=f"leads to an item whose {reason}"):
        read_item(str(path))


@pytest.mark.parametrize(
    "change",
    [
        {"properties": {"datetime": "yesterday"}},
        {"properties": {"datetime": 20240801}},
        {"properties": {}},
        {"properties": {"datetime": "2024-08-01T00:00:00Z", "eo:cloud_cover": "few"}},
        {"geometry": {"type": "Polygon", "coordinates": "everywhere"}},
        {"geometry": {"type": "Circle"}},
        {"geometry": 7},
        {"bbox": "all"},
    ],
    ids=str,
)
def test_an_item_that_cannot_be_read_is_named(tmp_path, change):
    (tmp_path / "item.json").write_text(json.dumps({**make_item(), **change}))
    root = {"type": "Catalog", "id": "r", "links": [{"rel": "item", "href": "./item.json"}]}
    (tmp_path / "catalog.json").write_text(json.dumps(root))
    catalog = open_catalog(str(tmp_path / "catalog.json"))
    with pytest.raises(CatalogError, match="item 'bad' cannot be read"):
        catalog.search(Query("c", area=box_of((74, 36, 75, 37)), start=date(2024, 1, 1)))


class Hostile(Silent, BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/away/catalog.json":
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/latest/meta-data/")
            self.end_headers()
            return
        link = {"rel": "item", "href": "http://169.254.169.254/item.json"}
        body = json.dumps({"type": "Catalog", "id": "x", "links": [link]}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)


@pytest.mark.parametrize("path", ["away", "links"])
def test_neither_redirects_nor_links_lead_to_the_metadata_service(path):
    with serving(Hostile) as url, pytest.raises(CatalogError, match="a link-local address"):
        open_catalog(f"{url}/{path}/catalog.json").search(Query("c"))


class Endless(Silent, BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        with suppress(OSError):  # of a client that has enough
            while True:
                self.wfile.write(b" " * 100_000)


def test_an_answer_without_end_is_given_up(monkeypatch):
    monkeypatch.setattr(untrusted, "LARGEST_BYTES", 3_000_000)
    with serving(Endless) as url, pytest.raises(CatalogError, match=r"leads to [34] MB"):
        open_catalog(f"{url}/catalog.json").search(Query("c"))


def test_a_static_catalog_with_a_hostile_item_is_refused(tmp_path):
    (tmp_path / "item.json").write_text(json.dumps(make_item("http://metadata/x.tif")))
    root = {"type": "Catalog", "id": "r", "links": [{"rel": "item", "href": "./item.json"}]}
    (tmp_path / "catalog.json").write_text(json.dumps(root))
    with pytest.raises(CatalogError, match="a metadata service"):
        open_catalog(str(tmp_path / "catalog.json")).search(Query("c"))


class Elsewhere(Silent, BaseHTTPRequestHandler):
    """A server that redirects to what it is asked for, as many on the internet do."""

    asked: ClassVar[list[str]] = []

    def do_GET(self):
        self.asked.append(self.path)
        if self.path == "/a.tif":
            self.send_response(206)
        else:
            self.send_response(302)
            self.send_header("Location", self.path.partition("?to=")[2])
        self.end_headers()


@pytest.fixture
def public(monkeypatch):
    """A server that the guard takes for one of the internet, by the name files.example."""
    real = socket.getaddrinfo
    monkeypatch.setattr(
        "socket.getaddrinfo",
        lambda host, *rest, **more: real(
            "127.0.0.1" if host == "files.example" else host, *rest, **more
        ),
    )
    said = guard._addresses.__wrapped__
    monkeypatch.setattr(
        guard,
        "_addresses",
        lambda host: (ip_address("93.184.216.34"),) if host == "files.example" else said(host),
    )
    guard._follow.cache_clear()
    Elsewhere.asked.clear()
    with serving(Elsewhere) as url:
        yield url.replace("127.0.0.1", "files.example")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("http://10.1.2.3/own.tif", "a private network"),
        ("http://127.0.0.1:1/own.tif", "this machine itself"),
        ("http://169.254.169.254/latest/meta-data/", "a link-local address"),
        ("ftp://10.1.2.3/own.tif", "the scheme 'ftp'"),
    ],
)
def test_a_raster_whose_host_redirects_into_the_own_network_is_not_read(public, target, said):
    with ExitStack() as stack, pytest.raises(CatalogError, match=said):
        open_raster(f"{public}/b.tif?to={target}", stack)
    assert len(Elsewhere.asked) == 1


def test_redirects_to_other_hosts_of_the_internet_are_followed_and_checked_once(public):
    for _ in range(2):
        guard.check_read(f"{public}/b.tif?to={public}/a.tif")
    assert Elsewhere.asked == [f"/b.tif?to={public}/a.tif", "/a.tif"]


def test_no_redirect_into_the_own_network_is_followed_after_a_failed_read_either(public):
    own = f"http://127.0.0.1:{public.rpartition(':')[2]}/a.tif"
    assert ask(f"{public}/b.tif?to={own}") is None
    assert len(Elsewhere.asked) == 1
    assert ask(f"{public}/b.tif?to={public}/a.tif").status == 206


def test_a_host_that_does_not_answer_is_left_to_whoever_reads(public):
    guard.check_read(f"{public.rpartition(':')[0]}:1/a.tif")


VRT = """<VRTDataset rasterXSize="4" rasterYSize="4"><SRS>EPSG:32643</SRS>
<GeoTransform>500000,10,0,4000000,0,-10</GeoTransform><VRTRasterBand dataType="Byte" band="1">
<SimpleSource><SourceFilename relativeToVRT="0">/etc/own.tif</SourceFilename>
<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"""


def test_a_remote_raster_that_leads_to_other_files_is_refused(tmp_path):
    (tmp_path / "B02.tif").write_text(VRT)
    serve = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            href = f"http://127.0.0.1:{server.server_port}/B02.tif"
            with ExitStack() as stack, pytest.raises(CatalogError, match="of the format VRT"):
                open_raster(href, stack)
            with ExitStack() as stack:
                assert open_raster(str(tmp_path / "B02.tif"), stack).driver == "VRT"
        finally:
            server.shutdown()
