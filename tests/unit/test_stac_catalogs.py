"""One search over a Parquet file, a static catalog and a STAC API on this machine."""

import json
from datetime import date

import pytest
import shapely
import stac_geoparquet.arrow as stac_arrow
import stamina

from made_server import answering, serving
from rockglacier_stac.catalogs import PROVIDERS, open_catalog
from rockglacier_stac.errors import CatalogError, ServiceError, UnknownCollectionError
from rockglacier_stac.globe import box_of
from rockglacier_stac.search import Query, absolute, satisfies, tidied

HERE = shapely.box(74.2, 36.2, 74.3, 36.3)
S2, DEM = "sentinel-2-c1-l2a", "cop-dem-glo-30"


def make_item(name, *, collection=S2, when="2024-08-01T05:50:00Z", cloud=1.0, west=74.0):
    geometry = shapely.box(west, 36.0, west + 1, 37.0)
    properties = {"datetime": when, "proj:epsg": 32643}
    if cloud is not None:
        properties["eo:cloud_cover"] = cloud
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": name,
        "collection": collection,
        "geometry": shapely.geometry.mapping(geometry),
        "bbox": list(geometry.bounds),
        "properties": properties,
        "assets": {("data" if collection == DEM else "blue"): {"href": f"./{name}/B02.tif"}},
        "links": [],
    }


ITEMS = [
    make_item("clear"),
    make_item("cloudy", cloud=40.0),
    make_item("late", when="2025-08-01T05:50:00Z"),
    make_item("elsewhere", west=80.0),
    make_item("N36", collection=DEM, when="2021-04-22T00:00:00Z", cloud=None),
]


def write_parquet(folder):
    path = folder / "items.parquet"
    stac_arrow.to_parquet(stac_arrow.parse_stac_items_to_arrow(ITEMS), path)
    return path


def write_static(folder):
    """A root with one catalog a collection, each in a folder of its own."""
    links = []
    for collection in (S2, DEM):
        items = [item for item in ITEMS if item["collection"] == collection]
        sub = folder / collection
        sub.mkdir()
        for item in items:
            (sub / f"{item['id']}.json").write_text(json.dumps(item))
        hrefs = [{"rel": "item", "href": f"./{item['id']}.json"} for item in items]
        hrefs.append({"rel": "root", "href": "../catalog.json"})
        child = {"type": "Collection", "id": collection, "links": hrefs}
        (sub / "collection.json").write_text(json.dumps(child))
        links.append({"rel": "child", "href": f"./{collection}/collection.json"})
    root = {"type": "Catalog", "id": "root", "links": links}
    (folder / "catalog.json").write_text(json.dumps(root))
    return folder / "catalog.json"


class Api:
    """A STAC API that pages, can fail, and can ignore what it is asked."""

    def __init__(self):
        self.asked, self.failures, self.status = [], 0, 502
        self.conformance = ["core", "item-search", "item-search#query", "collections"]
        self.items = ITEMS

    def answer(self, path, body):
        if path.startswith("/collections"):
            return {"collections": [{"id": S2}, {"id": DEM}], "links": []}
        if path.startswith("/search"):
            self.asked.append(body)
            if self.failures:
                self.failures -= 1
                return None
            found = [item for item in self.items if item["collection"] in body["collections"]]
            start = body.get("start", 0)
            page = found[start : start + 2]
            links = []
            if start + 2 < len(found):
                following = {**body, "start": start + 2}
                href = f"{self.url}/search"
                links = [{"rel": "next", "href": href, "method": "POST", "body": following}]
            return {"type": "FeatureCollection", "features": page, "links": links}
        links = [
            {"rel": "self", "href": self.url},
            {
                "rel": "search",
                "href": f"{self.url}/search",
                "type": "application/geo+json",
                "method": "POST",
            },
            {"rel": "data", "href": f"{self.url}/collections"},
        ]
        return {
            "type": "Catalog",
            "stac_version": "1.0.0",
            "id": "api",
            "description": "a",
            "links": links,
            "conformsTo": [f"https://api.stacspec.org/v1.0.0/{name}" for name in self.conformance],
        }


@pytest.fixture
def api():
    fake = Api()

    handler = answering(fake.answer, failing=lambda: fake.status)
    with serving(handler) as fake.url, stamina.set_testing(True, attempts=5):
        yield fake


@pytest.fixture(params=["parquet", "static", "api"])
def catalog(request, tmp_path):
    if request.param == "api":
        return open_catalog(request.getfixturevalue("api").url)
    write = write_parquet if request.param == "parquet" else write_static
    return open_catalog(str(write(tmp_path)))


def ids(items):
    return sorted(item["id"] for item in items)


def test_search_by_place_time_and_cloud(catalog):
    year = {"start": date(2024, 1, 1), "end": date(2024, 12, 31)}
    assert ids(catalog.search(Query(S2))) == ["clear", "cloudy", "elsewhere", "late"]
    assert ids(catalog.search(Query(S2, area=HERE))) == ["clear", "cloudy", "late"]
    assert ids(catalog.search(Query(S2, area=box_of((80.1, 36, 80.2, 37))))) == ["elsewhere"]
    assert ids(catalog.search(Query(S2, area=HERE, **year))) == ["clear", "cloudy"]
    assert ids(catalog.search(Query(S2, area=HERE, **year, cloud_max=5))) == ["clear"]


def test_search_for_what_is_too_cloudy(catalog):
    assert ids(catalog.search(Query(S2, cloud_min=1.0))) == ["clear", "cloudy", "elsewhere", "late"]
    assert ids(catalog.search(Query(S2, cloud_min=1.1, brief=True))) == ["cloudy"]
    assert ids(catalog.search(Query(S2, cloud_min=1.1, cloud_max=40))) == []


def test_search_across_the_antimeridian(catalog):
    assert ids(catalog.search(Query(S2, area=box_of((80.5, 36, -179, 37))))) == ["elsewhere"]
    assert ids(catalog.search(Query(S2, area=box_of((170, 36, -179, 37))))) == []


def test_dem_is_found_without_dates(catalog):
    assert ids(catalog.search(Query(DEM, area=HERE))) == ["N36"]


def test_collections_are_listed(catalog):
    assert sorted(catalog.collections()) == [DEM, S2]


def test_unknown_collection_names_the_nearest_and_those_that_exist(catalog):
    with pytest.raises(UnknownCollectionError, match="no collection 'sentinel-2-l2a'") as caught:
        catalog.search(Query("sentinel-2-l2a", area=HERE))
    assert caught.value.expected == f"one of: {DEM}, {S2}"
    assert caught.value.todo == f"did you mean {S2!r}?"


def test_relative_addresses_are_meant_from_the_file(tmp_path):
    item = open_catalog(str(write_parquet(tmp_path))).search(Query(S2, cloud_max=5))[0]
    assert item["assets"]["blue"]["href"] == str(tmp_path / "clear" / "B02.tif")
    (tmp_path / "static").mkdir()
    item = open_catalog(str(write_static(tmp_path / "static"))).search(Query(S2, cloud_max=5))[0]
    assert item["assets"]["blue"]["href"] == str(tmp_path / "static" / S2 / "clear" / "B02.tif")


def test_items_of_one_collection_get_no_fields_of_another(tmp_path):
    found = open_catalog(str(write_parquet(tmp_path))).search(Query(DEM))[0]
    assert list(found["assets"]) == ["data"]
    assert "eo:cloud_cover" not in found["properties"]


def test_folder_that_holds_a_catalog_is_opened(tmp_path):
    write_parquet(tmp_path)
    assert open_catalog(str(tmp_path)).name == str(tmp_path / "items.parquet")


def test_path_without_catalog_is_refused(tmp_path):
    with pytest.raises(CatalogError, match="there is no catalog at") as caught:
        open_catalog(str(tmp_path / "lost.parquet"))
    assert "earth-search, planetary-computer, cdse" in caught.value.expected


def test_file_that_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "items.parquet").write_text("x")
    with pytest.raises(CatalogError, match="is not a Parquet file"):
        open_catalog(str(tmp_path / "items.parquet")).collections()


def test_link_to_a_file_that_is_not_there_is_named(tmp_path):
    root = write_static(tmp_path)
    (tmp_path / DEM / "N36.json").unlink()
    with pytest.raises(CatalogError, match=r"N36\.json"):
        open_catalog(str(root)).search(Query(S2))


def test_named_providers_are_apis():
    for name in PROVIDERS:
        assert (open_catalog(name).name, open_catalog(name).is_remote) == (name, True)


def test_cloud_is_asked_of_the_server_as_a_number(api):
    open_catalog(api.url).search(Query(S2, area=HERE, cloud_max=5))
    assert api.asked[0]["query"] == {"eo:cloud_cover": {"lt": 5}}


def test_server_that_knows_only_filters_is_asked_with_a_filter(api):
    api.conformance = ["core", "item-search", "item-search#filter", "collections"]
    open_catalog(api.url).search(Query(S2, cloud_max=5))
    condition = {"op": "<", "args": [{"property": "eo:cloud_cover"}, 5]}
    assert api.asked[0]["filter"] == condition


def test_both_limits_of_cloud_are_asked_for(api):
    catalog = open_catalog(api.url)
    catalog.search(Query(S2, cloud_min=5, cloud_max=9))
    assert api.asked[0]["query"] == {"eo:cloud_cover": {"lt": 9, "gte": 5}}
    api.conformance = ["core", "item-search", "item-search#filter", "collections"]
    open_catalog(api.url).search(Query(S2, cloud_min=5, cloud_max=9))
    parts = [{"op": sign, "args": [{"property": "eo:cloud_cover"}, value]}
             for sign, value in (("<", 9), (">=", 5))]  # fmt: skip
    assert api.asked[-1]["filter"] == {"op": "and", "args": parts}


def test_assets_are_left_out_where_a_server_can_and_they_are_not_needed(api):
    open_catalog(api.url).search(Query(S2, brief=True))
    assert "fields" not in api.asked[0]
    api.conformance.append("item-search#fields")
    open_catalog(api.url).search(Query(S2, brief=True))
    assert api.asked[-1]["fields"]["exclude"] == ["assets", "links"]
    open_catalog(api.url).search(Query(S2))
    assert "fields" not in api.asked[-1]


def test_area_across_the_antimeridian_is_asked_for_in_two_parts(api):
    open_catalog(api.url).search(Query(S2, area=box_of((179.5, 66, -179.8, 66.4))))
    asked = shapely.geometry.shape(api.asked[0]["intersects"])
    assert [part.bounds for part in asked.geoms] == [
        (179.5, 66, 180, 66.4),
        (-180, 66, -179.8, 66.4),
    ]


def test_server_that_repeats_an_item_gives_it_once(api):
    api.items = [*ITEMS, ITEMS[0]]
    assert ids(open_catalog(api.url).search(Query(S2, cloud_max=5, area=HERE))) == ["clear", "late"]


def test_failing_server_is_asked_again_for_smaller_pages(api):
    api.failures = 2
    assert ids(open_catalog(api.url).search(Query(S2, area=box_of((80.1, 36, 80.2, 37))))) == [
        "elsewhere"
    ]
    assert [body["limit"] for body in api.asked[:3]] == [100, 50, 25]


def test_server_that_stays_down_is_named(api):
    api.failures = 99
    with pytest.raises(ServiceError, match=r"failed 5 times, at last with 502"):
        open_catalog(api.url).search(Query(S2))
    assert len(api.asked) == 5


def test_server_that_refuses_is_not_asked_again(api):
    api.failures, api.status = 99, 400
    with pytest.raises(CatalogError, match="refused the search with 400"):
        open_catalog(api.url).search(Query(S2))
    assert len(api.asked) == 1


def test_cloud_at_the_limit_is_too_much():
    query = Query(S2, cloud_max=5)
    assert satisfies(make_item("a", cloud=4.99), query)
    assert not satisfies(make_item("b", cloud=5.0), query)
    assert not satisfies(make_item("c", cloud=None), query)


def test_tidying_changes_no_argument():
    item = make_item("a")
    item["properties"]["gsd"] = None
    before = json.dumps(item)
    assert "gsd" not in tidied(item, base="/data/items.parquet")["properties"]
    assert json.dumps(item) == before


@pytest.mark.parametrize("scheme", ["https", "s3", "gs", "file"])
def test_relative_addresses_are_meant_from_their_document(scheme):
    base = f"{scheme}:///top/stac/cubes/a.json" if scheme == "file" else f"{scheme}://b/stac/a.json"
    root = base.rpartition("/")[0]
    assert absolute("./b.json", base=base) == f"{root}/b.json"
    assert absolute("../x.tif#1", base=base) == f"{root.rpartition('/')[0]}/x.tif#1"
    assert absolute("s3://other/x.tif", base=base) == "s3://other/x.tif"
