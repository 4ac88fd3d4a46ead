"""Publishing to a real STAC API, and reading back as a stranger would."""

import json
import shutil
import subprocess
import threading
import time
import warnings
from datetime import date

import numpy as np
import pytest
import rasterio
import requests
import shapely
from pystac_client import Client

from rockglacier.cube.published import PublishedCube
from rockglacier.cube.store import open_arrays
from rockglacier.publish import publish, send
from rockglacier_stac.api import ApiCatalog
from rockglacier_stac.catalogs import open_catalog
from rockglacier_stac.errors import CatalogError
from rockglacier_stac.globe import box_of
from rockglacier_stac.search import Query
from rockglacier_stac.transactions import TransactionApi

CUBES = "rock-glacier-cubes"
PREDICTIONS = "rock-glacier-predictions"
INVENTORIES = "rock-glacier-inventories"

pytestmark = pytest.mark.filterwarnings(
    # pgstac says v1.1.0/item-search#sort, and sorts
    "ignore:Server does not conform",
    "ignore:.*not conform to",
)


@pytest.fixture
def served(make_products, stac_api, tmp_path):
    """A published study whose products are reached through their folder's address."""

    def make(name, **settings):
        settings = {"api": stac_api, "href": f"https://data.example/{name}", **settings}
        return make_products(tmp_path / name, name=name, **settings)

    return make


def items_of(url, **search):
    return {item["id"]: item for item in Client.open(url).search(**search).items_as_dicts()}


def test_publishing_twice_changes_nothing(served, stac_api):
    study = served("twice")
    assert publish(study)["sent"] >= 4
    before = items_of(stac_api)
    assert publish(study)["sent"] == 0
    assert items_of(stac_api) == before


def test_an_item_that_changed_is_replaced_and_no_other(served, stac_api):
    study = served("changing")
    publish(study)
    (study.inventory_path / "hypsometry.csv").write_text("candidate_id\n")
    assert publish(study)["sent"] == 1
    found = items_of(stac_api, ids=["changing-2024-inventory"])["changing-2024-inventory"]
    held = json.loads((study.stac_path / "inventories/changing-2024-inventory.json").read_text())
    size = held["assets"]["hypsometry"]["file:size"]
    assert found["assets"]["hypsometry"]["file:size"] == size


def test_strangers_find_items_by_basin_date_class_and_source(served, stac_api):
    for name in ("north", "south"):
        publish(served(name))
    basin = {"op": "=", "args": [{"property": "rockglacier:basin"}, "north"]}
    found = items_of(stac_api, filter=basin, filter_lang="cql2-json")
    assert {item["properties"]["rockglacier:basin"] for item in found.values()} == {"north"}
    assert len(found) == 5
    by_date = items_of(
        stac_api, collections=[INVENTORIES], datetime="2024-08-01/2024-08-31",
        filter=basin, filter_lang="cql2-json",
    )  # fmt: skip
    assert set(by_date) == {"north-2024-inventory", "north-2024-labels"}
    assert not items_of(
        stac_api, datetime="2023-01-01/2023-12-31", filter=basin, filter_lang="cql2-json"
    )
    for name, value in (
        ("keywords", "rock_glacier"),
        ("rockglacier:sources", "S2B_43SDA_20240814_0_L2A"),
        ("rockglacier:sources", "north-2024-cube"),
    ):
        asked = {"op": "a_contains", "args": [{"property": name}, [value]]}
        both = {"op": "and", "args": [basin, asked]}
        found = items_of(stac_api, filter=both, filter_lang="cql2-json")
        assert "north-2024-inventory" in found, name
    nowhere = {"op": "a_contains", "args": [{"property": "keywords"}, ["lake"]]}
    assert not items_of(stac_api, filter=nowhere, filter_lang="cql2-json")


def test_links_lead_to_items_of_the_api(served, stac_api):
    publish(served("linked"))
    inventory = items_of(stac_api, ids=["linked-2024-inventory"])["linked-2024-inventory"]
    hrefs = [link["href"] for link in inventory["links"] if link["rel"] == "derived_from"]
    own = [href for href in hrefs if href.startswith(stac_api)]
    assert len(own) == 3
    for href in own:
        assert requests.get(href, timeout=10).ok
    rows = [href for href in hrefs if "parquet#" in href]
    assert rows
    assert all(href.startswith("https://data.example/linked/") for href in rows)
    for asset in inventory["assets"].values():
        assert asset["href"].startswith("https://data.example/linked/")
        assert ".." not in asset["href"]


def test_publishers_at_the_same_time_lose_nothing(served, stac_api):
    studies = [served(f"race{number}", provider=f"University {number}") for number in range(3)]
    for study in studies:
        publish(study.__class__(
            config=study.config.model_copy(
                update={"publish": study.config.publish.model_copy(update={"api": None})}
            ),
            base=study.base,
        ))  # fmt: skip
    failures = []

    def work(study):
        try:
            send(study, stac_api)
        except Exception as error:  # it is told by the test
            failures.append(error)

    threads = [threading.Thread(target=work, args=(study,)) for study in studies for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    names = [f"race{number}-2024-inventory" for number in range(3)]
    assert set(items_of(stac_api, ids=names)) == set(names)
    for study in studies:  # of two that widen a collection at once one may lose: it mends itself
        send(study, stac_api)
    for study in studies:
        assert send(study, stac_api).changed == 0
    collection = requests.get(f"{stac_api}/collections/{INVENTORIES}", timeout=10).json()
    assert {f"University {number}" for number in range(3)} <= {
        provider["name"] for provider in collection["providers"]
    }


def test_many_items_go_in_bulk(served, stac_api):
    study = served("bulk")
    publish(study)
    item = items_of(stac_api, ids=["bulk-2024-prediction"])["bulk-2024-prediction"]
    many = [{**item, "id": f"bulk-{number}"} for number in range(45)]
    api = TransactionApi(stac_api)
    assert api.send([], many).created == 45
    assert api.send([], many).unchanged == 45
    assert len(items_of(stac_api, ids=[one["id"] for one in many], limit=10)) == 45


def test_versions_follow_one_another(served, stac_api):
    study = served("edition", version="1.0")
    publish(study)
    values = study.config.publish.model_copy(update={"version": "1.1"})
    publish(
        study.__class__(config=study.config.model_copy(update={"publish": values}), base=study.base)
    )
    new = items_of(stac_api, ids=["edition-2024-cube"])["edition-2024-cube"]
    link = next(link for link in new["links"] if link["rel"] == "predecessor-version")
    old = requests.get(link["href"], timeout=10).json()
    assert old["properties"]["deprecated"] is True
    assert old["properties"]["version"] == "1.0"


def test_what_is_not_made_any_more_leaves_the_api_and_nothing_else(served, stac_api):
    neighbour, study = served("neighbour"), served("fading", version="1.0")
    for one in (neighbour, study):
        publish(one)
    newer = study.config.publish.model_copy(update={"version": "1.1"})
    study = study.__class__(
        config=study.config.model_copy(update={"publish": newer}), base=study.base
    )
    publish(study)
    before = items_of(stac_api)
    api = TransactionApi(stac_api)
    # somebody else's basin of the same name, and a longer period
    model = before["fading-2024-hrnet"]
    model["properties"]["datetime"] = None  # pgstac leaves out what is null
    stray = {**model, "id": "fading-2024-other"}
    stray["assets"] = {
        name: {**asset, "href": asset["href"].replace("//data.example/", "//data.example/x/")}
        for name, asset in stray["assets"].items()
    }
    longer = {**model, "id": "fading-2024-2025-hrnet"}
    api.send([], [stray, longer])
    study.selection_path.unlink()
    assert publish(study)["sent"] > 1
    after = items_of(stac_api)
    assert {*before, stray["id"], longer["id"]} - set(after) == {"fading-2024-hrnet"}
    assert after["neighbour-2024-hrnet"] == before["neighbour-2024-hrnet"]
    assert after["fading-2024-hrnet-v1.0"]["properties"]["deprecated"]
    assert publish(study)["sent"] == 0


def test_an_api_that_deletes_nothing_is_told(served, stac_api, caplog, monkeypatch):
    study = served("kept")
    publish(study)
    ask = TransactionApi._ask

    def refusing(self, method, address, data=None):
        if method == "DELETE":  # pgstac's operator may close it before the server
            address = f"{stac_api}/collections"
        return ask(self, method, address, data)

    monkeypatch.setattr(TransactionApi, "_ask", refusing)
    study.selection_path.unlink()
    publish(study)
    assert "'kept-2024-hrnet' is not made any more, and may not be deleted (405)" in caplog.text
    assert "kept-2024-hrnet" in items_of(stac_api)


def test_our_own_search_reads_what_we_published(served, stac_api):
    publish(served("found"))
    found = open_catalog(stac_api).search(Query(INVENTORIES))
    assert "found-2024-inventory" in {item["id"] for item in found}


@pytest.fixture(scope="module")
def scenes(stac_api):
    """Twenty-five scenes in the API, every day more cloud; as text, nine comes after ten."""
    geometry = shapely.geometry.mapping(shapely.box(74, 36, 75, 37))
    items = [
        {
            "type": "Feature",
            "stac_version": "1.1.0",
            "stac_extensions": [],
            "id": f"S2A_43SDA_202408{number + 1:02d}_0_L2A",
            "collection": "made-scenes",
            "geometry": geometry,
            "bbox": [74, 36, 75, 37],
            "properties": {
                "datetime": f"2024-08-{number + 1:02d}T05:50:00Z",
                "eo:cloud_cover": 1.5 * number,
            },
            "assets": {"blue": {"href": f"https://data.example/{number}.tif"}},
            "links": [],
        }
        for number in range(25)
    ]
    collection = {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": "made-scenes",
        "description": "made up",
        "license": "CC0-1.0",
        "extent": {
            "spatial": {"bbox": [[74, 36, 75, 37]]},
            "temporal": {"interval": [["2024-08-01T00:00:00Z", "2024-09-01T00:00:00Z"]]},
        },
        "links": [],
    }
    TransactionApi(stac_api).send([collection], items)
    return items


@pytest.mark.parametrize("asked", ["query", "cql2"])
@pytest.mark.parametrize("page", [4, 100])
def test_our_own_search_asks_pgstac_page_by_page_and_with_numbers(stac_api, scenes, asked, page):
    catalog = ApiCatalog(name="pgstac", url=stac_api, page=page)
    if asked == "cql2":
        catalog._client.remove_conforms_to("QUERY")
    everything = Query("made-scenes")
    assert {item["id"] for item in catalog.search(everything)} == {item["id"] for item in scenes}
    seen = {}
    pages = ApiCatalog._pages

    def counted(self, search):
        for one in pages(self, search):
            seen["sent"] = seen.get("sent", 0) + len(one["features"])
            yield one

    for limits, number in (
        ({"cloud_max": 9}, 6),
        ({"cloud_max": 10.5}, 7),
        ({"cloud_min": 9, "cloud_max": 30}, 14),
        ({"start": date(2024, 8, 3), "end": date(2024, 8, 12)}, 10),
        ({"area": box_of((74.2, 36.2, 74.4, 36.4)), "cloud_max": 6, "brief": True}, 4),
        ({"area": box_of((80, 36, 81, 37))}, 0),
    ):
        seen.clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ApiCatalog, "_pages", counted)
            found = catalog.search(Query("made-scenes", **limits))
        assert len(found) == number, limits
        assert seen.get("sent", 0) == number, limits  # the server itself compares numbers


def test_a_server_without_transactions_is_told(stac_api, monkeypatch):
    api = TransactionApi(stac_api)
    monkeypatch.setattr("rockglacier_stac.transactions.TRANSACTION", "/nothing")
    with pytest.raises(CatalogError, match="takes no transactions"):
        api.send([], [])


@pytest.fixture
def web(tmp_path, a_port):
    """The address of the folder of the test, served with ranges as a data host does."""
    if not (nginx := shutil.which("nginx")):
        pytest.skip("no nginx: apt-get install nginx-light")
    port = a_port
    own = tmp_path / "nginx"
    own.mkdir()
    temporary = "".join(
        f"{part}_temp_path {own}/{part};"
        for part in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (own / "nginx.conf").write_text(
        f"user root; daemon off; pid {own}/pid; error_log {own}/error; events {{}} http {{ "
        f"access_log off; {temporary} server {{ listen 127.0.0.1:{port}; root {tmp_path}; }} }}"
    )
    process = subprocess.Popen([nginx, "-c", own / "nginx.conf", "-p", own])
    try:
        url = f"http://127.0.0.1:{port}"
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                requests.get(url, timeout=2)
                break
            except requests.ConnectionError:
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize("engine", ["odc-stac", "stackstac"])
def test_strangers_load_the_cog_straight_from_the_published_item(served, stac_api, web, engine):
    study = served("pixels", href=f"{web}/pixels/products")
    publish(study)
    with rasterio.open(study.prediction_path / "probability.tif") as raster:
        expected = raster.read(1)
    (item,) = Client.open(stac_api).search(ids=["pixels-2024-prediction"]).items()
    if engine == "odc-stac":
        import odc.stac

        loaded = odc.stac.load([item], bands=["probability"], chunks={})["probability"]
        values = loaded.values[0]
        assert loaded.odc.crs.epsg == study.grid.epsg
        assert loaded.odc.nodata == 255
    else:
        import stackstac  # it knows proj:epsg only, which projection 2.0 no longer has

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own use of numpy and pandas
            stack = stackstac.stack(
                [item],
                assets=["probability"],
                epsg=study.grid.epsg,
                bounds=study.grid.bounds,
                resolution=10,
                rescale=False,
                dtype="uint8",
                fill_value=np.uint8(255),
            )
            values = stack.compute().values[0, 0]
    np.testing.assert_array_equal(values, expected)


def test_a_cube_is_read_by_its_item_from_a_web_server(served, stac_api, web):
    study = served("taken", href=f"{web}/taken/products")
    publish(study)
    cube = PublishedCube.read(f"{stac_api}/collections/{CUBES}/items/taken-2024-cube")
    assert cube.days() == (study.config.search.start, study.config.search.end)
    for name in ("reflectance", "elevation"):
        expected = open_arrays(study.cube_path)[name][...]
        np.testing.assert_array_equal(cube.open()[name][...], expected)
    # without what opens its addresses
    assert cube.table("scenes") == (study.stac_path / "records/scenes.parquet").read_bytes()
    assert "absent" not in cube.open()


def test_keys_of_the_environment_are_sent_and_never_shown(served, stac_api, monkeypatch, caplog):
    monkeypatch.setenv("STAC_API_TOKEN", "not-for-you")
    caplog.set_level("INFO")
    study = served("secret")
    publish(study)
    assert "not-for-you" not in caplog.text
    for path in study.folder.rglob("*"):
        if path.is_file():
            assert b"not-for-you" not in path.read_bytes(), path
    assert TransactionApi(stac_api)._session.headers["Authorization"] == "Bearer not-for-you"
