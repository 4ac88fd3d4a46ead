"""Collections and the layout of a self-contained catalog."""

import json

import pystac
import pytest

from rockglacier_stac import collection, extensions, item
from rockglacier_stac.errors import StacError
from rockglacier_stac.validate import validate_catalog, validate_document

PUBLICATION = collection.Publication(
    identifier="hunza",
    title="Rock glaciers of ہنزہ",
    description="A test.",
    providers=({"name": "Someone", "roles": ["producer"]},),
    license="CC-BY-4.0",
    attribution=("Contains modified Copernicus Sentinel data 2024",),
    notice="NOTICE.txt",
)


def made(identifier, *, bbox=(74.0, 36.0, 74.1, 36.1), year=2024, licence="CC-BY-4.0"):
    west, south, east, north = bbox
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    properties = {
        "title": f"Cube ß {identifier}",
        "datetime": None,
        "start_datetime": f"{year}-07-01T00:00:00Z",
        "end_datetime": f"{year}-09-01T00:00:00Z",
        "license": licence,
        "version": "0.1.0",
        "proj:code": "EPSG:32643",
    }
    document = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": identifier,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": list(bbox),
        "properties": properties,
        "links": [
            {"rel": "derived_from", "href": "../../scenes.parquet#a", "title": "a"},
            {"rel": "derived_from", "href": "https://example.org/items/b", "title": "b"},
        ],
        "assets": {
            "cube": {"href": "../../cube.zarr", "type": item.ZARR, "title": "Cube", "roles": []}
        },
    }
    document["stac_extensions"] = extensions.used_extensions(document)
    return document


def written(folder, items):
    files = collection.catalog_files(PUBLICATION, {"cubes": items})
    stac = folder / "stac"
    for name, document in files.items():
        (stac / name).parent.mkdir(parents=True, exist_ok=True)
        (stac / name).write_text(json.dumps(document), encoding="utf-8")
    (stac / "NOTICE.txt").write_text("notice")
    (stac / collection.SCHEMA).write_text(json.dumps(collection.own_schema()))
    (folder / "cube.zarr").mkdir()
    (folder / "scenes.parquet").touch()
    return stac / "catalog.json"


def test_collection_is_valid_and_covers_its_items():
    items = [made("a"), made("b", bbox=(75.0, 35.0, 75.5, 35.5), year=2022)]
    document = collection.collection("cubes", items, PUBLICATION)
    assert validate_document(document) == []
    assert document["extent"]["spatial"]["bbox"] == [[74.0, 35.0, 75.5, 36.1]]
    assert document["extent"]["temporal"]["interval"] == [
        ["2022-07-01T00:00:00Z", "2024-09-01T00:00:00Z"]
    ]
    assert document["summaries"] == {"version": ["0.1.0"], "proj:code": ["EPSG:32643"]}
    assert list(document["item_assets"]) == ["cube"]
    assert "Contains modified Copernicus Sentinel data 2024" in document["description"]


@pytest.mark.parametrize("name", collection.COLLECTIONS)
def test_every_collection_has_an_id_of_its_own_that_says_what_it_is_about(name):
    assert collection.collection_id(name) == f"rock-glacier-{name}"


def test_collection_of_items_with_several_licences_is_licensed_other():
    items = [made("a"), made("b", licence="CC0-1.0")]
    assert collection.collection("cubes", items, PUBLICATION)["license"] == "other"


def test_collection_without_items_is_refused():
    with pytest.raises(StacError, match="has no item"):
        collection.collection("cubes", [], PUBLICATION)


def test_extent_across_the_antimeridian_keeps_its_west_east_order():
    both = [made("a", bbox=(179.0, 60, -179.5, 61)), made("b", bbox=(179.2, 60, -179.0, 61))]
    found = collection.collection("cubes", both, PUBLICATION)["extent"]["spatial"]["bbox"]
    assert found == [[179.0, 60, -179.0, 61]]
    mixed = [both[0], made("c")]
    found = collection.collection("cubes", mixed, PUBLICATION)["extent"]["spatial"]["bbox"]
    assert found == [[-180.0, 36.0, 180.0, 61]]


def test_catalog_is_read_by_pystac_and_valid(tmp_path):
    path = written(tmp_path, [made("a"), made("b")])
    assert validate_catalog(path) == []
    catalog = pystac.Catalog.from_file(str(path))
    assert catalog.title == "Rock glaciers of ہنزہ"
    found = list(catalog.get_items(recursive=True))
    assert [entry.id for entry in found] == ["a", "b"]
    assert found[0].get_collection().id == "rock-glacier-cubes"
    assert found[0].assets["cube"].get_absolute_href() == str(tmp_path / "cube.zarr")


def test_catalog_leaves_out_collections_without_items():
    files = collection.catalog_files(PUBLICATION, {"cubes": [made("a")], "models": []})
    assert list(files) == ["catalog.json", "cubes/collection.json", "cubes/a.json"]


def test_layout_does_not_change_the_items_it_is_given():
    given = made("a")
    before = json.dumps(given)
    collection.catalog_files(PUBLICATION, {"cubes": [given]})
    assert json.dumps(given) == before


def test_moved_item_keeps_pointing_to_the_same_files(monkeypatch):
    monkeypatch.chdir("/")
    found = collection.moved(made("a"), source="cubes", target=".")
    assert found["assets"]["cube"]["href"] == "../cube.zarr"
    assert [link["href"] for link in found["links"]] == [
        "../scenes.parquet#a",
        "https://example.org/items/b",
    ]
