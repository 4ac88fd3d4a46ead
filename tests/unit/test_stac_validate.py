"""Offline validation: what it accepts, and what each kind of broken catalog is told."""

import json
import socket

import pytest

from rockglacier_stac import extensions
from rockglacier_stac.validate import validate_catalog, validate_document

ITEM = {
    "type": "Feature",
    "stac_version": "1.1.0",
    "stac_extensions": [extensions.EXTENSIONS["projection"], extensions.EXTENSIONS["file"]],
    "id": "one",
    "collection": "c",
    "geometry": {"type": "Point", "coordinates": [74.0, 36.0]},
    "bbox": [74.0, 36.0, 74.0, 36.0],
    "properties": {"datetime": "2024-07-01T00:00:00Z", "proj:shape": [3, 4]},
    "links": [
        {"rel": "root", "href": "./catalog.json"},
        {"rel": "collection", "href": "./collection.json"},
        {"rel": "derived_from", "href": "https://example.org/items/a"},
    ],
    "assets": {"data": {"href": "./data.bin", "file:size": 4}},
}
COLLECTION = {
    "type": "Collection",
    "stac_version": "1.1.0",
    "id": "c",
    "description": "d",
    "license": "other",
    "extent": {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": {"interval": [[None, None]]}},
    "links": [{"rel": "item", "href": "./item.json"}],
}
CATALOG = {
    "type": "Catalog",
    "stac_version": "1.1.0",
    "id": "k",
    "description": "d",
    "links": [{"rel": "child", "href": "./collection.json"}],
}


@pytest.fixture
def catalog(tmp_path):
    """Return a function that writes a catalog whose item is changed, and returns its problems."""

    def check(change=None, *, files=None):
        parts = {"catalog.json": CATALOG, "collection.json": COLLECTION, "item.json": ITEM}
        documents = json.loads(json.dumps(parts))
        if change:
            change(documents)
        for name, document in documents.items():
            (tmp_path / name).write_text(json.dumps(document))
        (tmp_path / "data.bin").write_bytes(b"1234")
        for name, text in (files or {}).items():
            (tmp_path / name).write_text(text)
        return [str(problem) for problem in validate_catalog(tmp_path / "catalog.json")]

    return check


def item_change(**fields):
    def change(documents):
        documents["item.json"].update(fields)

    return change


def test_a_good_catalog_has_no_problem_and_no_network_is_used(catalog, monkeypatch):
    def refuse(*arguments, **keywords):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "socket", refuse)
    assert catalog() == []


def test_a_folder_is_taken_for_its_catalog(catalog, tmp_path):
    catalog()
    assert validate_catalog(tmp_path) == []


def test_a_missing_catalog_is_said_so(tmp_path):
    assert str(validate_catalog(tmp_path / "catalog.json")[0]) == "catalog.json: no such file"


def test_a_broken_extension_field_is_told_with_its_place(catalog):
    found = catalog(item_change(properties={**ITEM["properties"], "proj:shape": [3, "x"]}))
    assert len(found) == 1
    assert found[0].startswith("item.json (one): ")
    assert "projection/v2.0.0" in found[0]


def test_a_broken_core_field_is_told(catalog):
    found = catalog(item_change(properties={"datetime": None}))
    assert len(found) == 1
    assert "item-spec" in found[0]


def test_an_extension_without_vendored_schema_is_refused_not_fetched(catalog):
    found = catalog(item_change(stac_extensions=["https://example.org/x/schema.json"]))
    assert "'https://example.org/x/schema.json' has no vendored schema" in found[0]
    assert "nothing is fetched" in found[0]


def test_another_version_of_an_extension_is_refused(catalog):
    other = extensions.EXTENSIONS["datacube"].replace("2.2.0", "2.3.0")
    assert "has no vendored schema" in catalog(item_change(stac_extensions=[other]))[0]


def test_a_remote_part_of_the_catalog_is_refused(catalog):
    def change(documents):
        documents["catalog.json"]["links"][0]["href"] = "https://example.org/collection.json"

    assert "expected a relative path (nothing is fetched)" in catalog(change)[0]


def test_a_link_to_nowhere_is_told(catalog):
    links = [*ITEM["links"], {"rel": "license", "href": "../gone.txt"}]
    assert catalog(item_change(links=links)) == [
        "item.json (one): link 'license' to '../gone.txt': no such file"
    ]


def test_a_source_in_a_file_is_looked_for_without_its_fragment(catalog):
    links = [*ITEM["links"], {"rel": "derived_from", "href": "./data.bin#S2A"}]
    assert catalog(item_change(links=links)) == []


def test_a_missing_asset_is_told(catalog):
    found = catalog(item_change(assets={"data": {"href": "./gone.tif"}}))
    assert found == ["item.json (one): asset 'data' at './gone.tif': no such file"]


def test_a_remote_asset_is_refused(catalog):
    found = catalog(item_change(assets={"data": {"href": "s3://bucket/key.tif"}}))
    assert "asset 'data' at 's3://bucket/key.tif'; expected a relative path" in found[0]


def test_an_asset_of_another_size_is_told(catalog):
    found = catalog(item_change(assets={"data": {"href": "./data.bin", "file:size": 5}}))
    assert found == ["item.json (one): asset 'data' has 4 bytes; expected 5"]


def test_a_wrong_collection_is_told(catalog):
    assert catalog(item_change(collection="d")) == [
        "item.json (one): collection 'd'; the link's is 'c'"
    ]


def test_an_id_that_is_used_twice_is_told(catalog):
    def change(documents):
        documents["collection.json"]["links"].append({"rel": "item", "href": "./again.json"})
        documents["again.json"] = documents["item.json"]

    assert "id 'one' is also that of item.json" in catalog(change)[0]


def test_not_a_number_is_not_json(catalog):
    text = json.dumps({**ITEM, "bbox": [float("nan"), 0, 1, 1]})
    assert "leads to NaN, which is not JSON" in catalog(files={"item.json": text})[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "a list; expected a STAC object"),
        ("[" * 5000 + "]" * 5000, "nesting without end"),
        ("<html></html>", "a page instead of JSON"),
        ('{"type": "Feature", "links": 7}', "links or assets of another kind"),
        ('{"type": "Feature", "links": [7]}', "without an address"),
        ('{"type": "Feature", "assets": {"a": {}}}', "without an address"),
    ],
)
def test_what_is_no_document_is_told(catalog, text, said):
    (found,) = catalog(files={"item.json": text})
    assert found.startswith("item.json: ")
    assert said in found


def test_assets_may_lie_elsewhere_where_that_is_meant(catalog, tmp_path):
    assert catalog(item_change(assets={"data": {"href": "s3://bucket/key.tif"}}))
    assert validate_catalog(tmp_path, assets_elsewhere=True) == []


@pytest.mark.parametrize(
    ("href", "said"),
    [
        ("/home/somebody/cube.zarr", "is a path of one machine"),
        ("C:\\data\\cube.zarr", "is a path of one machine"),
        ("file:///data/cube.zarr", "is a path of one machine"),
        ("https://host/a.tif?sig=SECRET&se=2024", "holds a signature"),
        ("https://host/a.tif?X-Amz-Signature=SECRET", "holds a signature"),
        ("https://user:SECRET@host/a.tif", "holds a signature"),
    ],
)
def test_paths_of_one_machine_and_signatures_are_told_without_repeating_them(href, said):
    from rockglacier_stac.validate import _leaks

    found = list(_leaks({"links": [{"rel": "derived_from", "href": href}]}))
    assert len(found) == 1
    assert said in found[0]
    assert "SECRET" not in found[0]


OWN = {
    "rockglacier:basin": "hunza",
    "rockglacier:sources": ["S2A_43SDA", "S2A_43SDA"],
    "rockglacier:attribution": ["Contains modified Copernicus Sentinel data 2024"],
    "rockglacier:redistributable": False,
    "rockglacier:scores": {"ground": "test (strip)", "iou_rock_glacier": 0.6},
}


def of_ours(**fields):
    document = {**ITEM, "properties": {**ITEM["properties"], **fields}}
    return {**document, "stac_extensions": extensions.used_extensions(document)}


def test_our_own_fields_have_a_schema_that_the_item_names():
    document = of_ours(**OWN)
    assert extensions.EXTENSIONS["rockglacier"] in document["stac_extensions"]
    assert validate_document(document) == []
    assert extensions.EXTENSIONS["rockglacier"] not in of_ours()["stac_extensions"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("basin", 7),
        ("basin", ""),
        ("sources", []),
        ("sources", "S2A"),
        ("attribution", ["a", "a"]),
        ("redistributable", "no"),
        ("scores", {"iou_rock_glacier": 0.6}),
        ("scores", {"ground": "test", "iou_rock_glacier": 60}),
        ("scores", {"ground": "test", "iou": 0.6}),
        ("unheard_of", 1),
    ],
)
def test_our_own_fields_are_checked(name, value):
    (found,) = validate_document(of_ours(**{**OWN, f"rockglacier:{name}": value}))
    assert "rockglacier.example/stac/v1.0.0" in found


def test_our_own_summaries_are_checked():
    for basins, problems in ((["hunza"], 0), ("hunza", 1), ([], 1)):
        document = {**COLLECTION, "summaries": {"rockglacier:basin": basins}}
        document["stac_extensions"] = extensions.used_extensions(document)
        assert len(validate_document(document)) >= problems
        assert bool(validate_document(document)) == bool(problems)


def test_other_versions_of_stac_are_refused():
    assert validate_document({**ITEM, "stac_version": "1.0.0"}) == [
        "stac_version '1.0.0'; expected '1.1.0'"
    ]
    assert "expected one of Feature" in validate_document({"type": "Thing"})[0]


def test_every_vendored_schema_resolves_all_it_refers_to():
    from rockglacier_stac.validate import _registry

    texts = json.dumps(extensions.vendored())
    for name in ("classification/v1.1.0", "processing/v1.1.0", "raster/v1.1.0", "projjson"):
        assert name in texts
    for address in extensions.vendored():
        assert _registry().contents(address)
