"""Publishing: a valid, self-contained catalog that says where everything comes from."""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pystac
import pytest
import shapely
import stac_geoparquet.arrow
import zarr
from pyarrow.parquet import read_table

from made_products import make_products
from made_study import changed
from rockglacier.errors import ContractError, NotFoundError
from rockglacier.origin import place_of
from rockglacier.prediction.cog import write_cogs
from rockglacier.publish import model_item, publish
from rockglacier.storage import read_json, write_json
from rockglacier_stac.validate import validate_catalog, validate_document


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A study that was published once, for reading only."""
    study = make_products(tmp_path_factory.mktemp("p"))
    publish(study)
    return study


def items_of(study):
    """Return the products by their collection; the label set lies beside the inventory."""
    return {
        path.parent.name if path.stem != "hunza-2024-labels" else "labels": json.loads(
            path.read_text(encoding="utf-8")
        )
        for path in sorted(study.stac_path.glob("*/*.json"))
        if path.name != "collection.json"
    }


def sources_of(item):
    return [link["href"] for link in item["links"] if link["rel"] == "derived_from"]


def bytes_of(study):
    return {path: path.read_bytes() for path in study.stac_path.rglob("*") if path.is_file()}


def test_all_products_are_published_and_valid(make_products):
    study = make_products()
    facts = publish(study)
    assert (facts["items"], facts["collections"]) == (5, 4)
    assert validate_catalog(study.stac_path) == []
    assert list(items_of(study)) == ["cubes", "inventories", "labels", "models", "predictions"]


def test_every_period_has_items_of_its_own_with_the_scenes_of_its_days(make_products):
    made = make_products()
    parts = [["2024-08-01", "2024-08-10"], ["2024-08-11", "2024-08-31"]]
    study = changed(made, cube={"periods": parts})
    first, second = study.each_period()
    for one in (first, second):
        shutil.copytree(made.prediction_path, one.prediction_path)
        shutil.copytree(made.inventory_path, one.inventory_path)
    assert publish(study)["items"] == 7
    assert validate_catalog(study.stac_path) == []
    for folder, kind in (("predictions", "prediction"), ("inventories", "inventory")):
        found = {
            path.stem: read_json(path)
            for path in (study.stac_path / folder).glob(f"hunza-*-{kind}.json")
        }
        assert set(found) == {f"hunza-{one.period.name}-{kind}" for one in (first, second)}
        early, late = (found[f"hunza-{one.period.name}-{kind}"] for one in (first, second))
        assert early["properties"]["end_datetime"] == "2024-08-04T05:40:00Z"
        assert late["properties"]["start_datetime"] == "2024-08-14T05:40:00Z"
        assert any("/items/S2B_4" in href for href in sources_of(early))
        assert not any("/items/S2B_4" in href for href in sources_of(late))
        assert "../cubes/hunza-2024-cube.json" in sources_of(early)
    early = read_json(study.stac_path / "inventories" / f"hunza-{first.period.name}-inventory.json")
    assert f"../predictions/hunza-{first.period.name}-prediction.json" in sources_of(early)


def test_pystac_reads_the_catalog_and_finds_the_products(published):
    study = published
    catalog = pystac.Catalog.from_file(str(study.stac_path / "catalog.json"))
    found = {item.id: item for item in catalog.get_items(recursive=True)}
    assert len(found) == 5
    assert found["hunza-2024-cube"].assets["cube"].get_absolute_href() == str(study.cube_path)
    for item in found.values():
        for asset in item.assets.values():
            assert Path(asset.get_absolute_href()).exists()


def test_publishing_again_gives_the_same_bytes(make_products):
    study = make_products()
    publish(study)
    before = bytes_of(study)
    assert publish(study)["changed"] == 0
    assert bytes_of(study) == before


def test_only_what_changed_is_updated(make_products, monkeypatch):
    study = make_products()
    publish(study)
    before = items_of(study)
    monkeypatch.setattr("rockglacier.publish.timestamp", lambda moment: "2099-01-01T00:00:00Z")
    (study.inventory_path / "hypsometry.csv").write_text("candidate_id\n")
    assert publish(study)["changed"] == 2  # the item and the table
    after = items_of(study)
    assert after["cubes"] == before["cubes"]
    assert after["inventories"]["properties"]["updated"] == "2099-01-01T00:00:00Z"
    assert (
        after["inventories"]["properties"]["created"]
        == before["inventories"]["properties"]["created"]
    )


def test_every_product_leads_back_to_scenes_elevation_and_what_made_it(published):
    study = published
    items = items_of(study)
    scenes = [
        "https://earth-search.example/v1/items/S2B_4",
        "../../stac/records/scenes.parquet#S2B_43SDA_20240814_0_L2A",
        "../../dem.parquet#Copernicus_DSM_COG_10_N36_00_E075_00_DEM",
    ]
    cube, model = "../cubes/hunza-2024-cube.json", "../models/hunza-2024-hrnet.json"
    assert sources_of(items["cubes"]) == scenes
    labels = "../inventories/hunza-2024-labels.json"
    assert sources_of(items["models"]) == [cube, labels, *scenes]
    assert sources_of(items["predictions"]) == [cube, model, *scenes]
    assert sources_of(items["inventories"]) == [
        "../predictions/hunza-2024-prediction.json", cube, model, *scenes,
    ]  # fmt: skip
    titles = [link["title"] for link in items["cubes"]["links"] if link["rel"] == "derived_from"]
    assert titles[1] == "S2B_43SDA_20240814_0_L2A"


def test_a_source_in_a_catalog_beside_the_products_is_a_relative_path(make_products, tmp_path):
    source = tmp_path / "catalog" / "ä item.json"
    source.parent.mkdir()
    source.write_text("{}")
    study = make_products(catalog=source)
    publish(study)
    assert "../../../catalog/ä item.json" in sources_of(items_of(study)["cubes"])
    assert validate_catalog(study.stac_path) == []


def test_a_source_elsewhere_on_this_machine_is_not_named_by_its_path(make_products, tmp_path):
    source = tmp_path / "somebody" / "item.json"
    source.parent.mkdir()
    source.write_text("{}")
    study = make_products(tmp_path / "deep" / "er", catalog=source)
    publish(study)
    assert "../../stac/records/scenes.parquet#S2B_43SDA_20240814_0_L2A" in sources_of(
        items_of(study)["cubes"]
    )


def test_no_secret_and_no_path_of_this_machine_is_published(published):
    for path, content in bytes_of(published).items():
        assert b"SECRET" not in content, path
        assert published.base.as_posix().encode() not in content, path
        assert Path.home().as_posix().encode() + b"/" not in content, path


def test_catalog_and_products_can_be_moved_together(make_products, tmp_path):
    study = make_products()
    publish(study)
    shutil.move(study.folder, tmp_path / "elsewhere")
    assert validate_catalog(tmp_path / "elsewhere" / "stac") == []


def test_files_carry_size_and_checksum(published):
    study = published
    assets = items_of(study)["predictions"]["assets"]
    path = study.prediction_path / "probability.tif"
    assert assets["probability"]["file:size"] == path.stat().st_size
    assert re.fullmatch("1220[0-9a-f]{64}", assets["probability"]["file:checksum"])


def test_rasters_are_described_with_their_exact_statistics(published):
    study = published
    item = items_of(study)["predictions"]
    band = item["assets"]["probability"]["bands"][0]
    assert band["nodata"] == 255
    assert (band["statistics"]["minimum"], band["statistics"]["maximum"]) == (3, 90)
    assert item["assets"]["probability"]["raster:bands"][0]["scale"] == 0.01
    assert [entry["value"] for entry in item["assets"]["classes"]["classification:classes"]] == [
        0, 1, 255,
    ]  # fmt: skip
    assert set(item["properties"]["renders"]) == {"probability", "classes"}


def test_rasters_of_an_ensemble_are_assets_too(make_products):
    study = make_products()
    group = zarr.open_group(study.prediction_path / "prediction.zarr", mode="r+")
    percent = group["probability"][:]
    for name, value in (("spread", 12), ("agreement", 67)):
        values = np.where(percent == 255, 255, value).astype(np.uint8)
        group.create_array(name, data=values, chunks=(64, 64))
    write_cogs(study, 0.5, {})
    publish(study)
    assets = items_of(study)["predictions"]["assets"]
    assert {"spread", "agreement"} < set(assets)
    band = assets["agreement"]["bands"][0]
    assert (band["nodata"], band["statistics"]["mean"]) == (255, 67)
    assert "percentage points" in assets["spread"]["title"]
    assert validate_catalog(study.stac_path) == []


def test_table_of_the_inventory_is_described_column_by_column(published):
    study = published
    properties = items_of(study)["inventories"]["properties"]
    assert properties["table:row_count"] == 2
    assert properties["table:primary_geometry"] == "geometry"
    columns = {column["name"]: column for column in properties["table:columns"]}
    assert columns["area_km2"]["description"] == "Geodesic area of the outline, km²."
    assert columns["bbox"]["type"] == "struct"


def test_model_says_its_scores_and_on_which_ground(published):
    study = published
    properties = items_of(study)["models"]["properties"]
    assert properties["rockglacier:scores"]["ground"] == "test (strip)"
    assert properties["rockglacier:scores"]["iou_rock_glacier"] == 0.6
    assert properties["mlm:hyperparameters"]["threshold"] == 0.5


def test_model_without_a_licence_may_not_be_passed_on(make_products, tmp_path):
    study = make_products(tmp_path / "a")
    publish(study)
    assert items_of(study)["models"]["properties"]["rockglacier:redistributable"] is False
    assert "ask the publisher" in (study.stac_path / "NOTICE.txt").read_text()
    study = make_products(tmp_path / "b", license="CC-BY-4.0")
    publish(study)
    assert items_of(study)["models"]["properties"]["rockglacier:redistributable"] is True


def test_publisher_and_reference_are_named_in_any_script(make_products):
    study = make_products(provider="Université de ہنزہ", attribution="Inventory of 洪扎, CC-BY-4.0")
    publish(study)
    collection = json.loads((study.stac_path / "cubes" / "collection.json").read_text("utf-8"))
    roles = {one["name"]: one["roles"] for one in collection["providers"]}
    assert roles["Université de ہنزہ"] == ["processor"]
    assert roles["European Space Agency (ESA)"] == ["producer"]
    assert roles["Copernicus Programme of the European Union"] == ["licensor"]
    assert "Inventory of 洪扎, CC-BY-4.0" in collection["description"]
    assert "洪扎" in (study.stac_path / "NOTICE.txt").read_text("utf-8")
    assert validate_catalog(study.stac_path) == []


def test_tables_of_scenes_are_published_without_what_opens_them(published):
    study = published
    assets = items_of(study)["cubes"]["assets"]
    told = gpd.read_parquet(study.stac_path / "cubes" / assets["scenes"]["href"])
    own = gpd.read_parquet(study.scenes_path)
    assert "https://earth-search.example/v1/items/S2B_4?token=***" in set(told["self_href"])
    assert told.drop(columns="self_href").equals(own.drop(columns="self_href"))
    assert own["self_href"].str.endswith("?token=SECRET").any()  # it is read with it
    assert assets["dem"]["href"] == "../../dem.parquet"  # nothing to hide


def test_no_path_of_this_machine_is_in_a_published_table_of_scenes(make_products, tmp_path):
    study = make_products()
    own = gpd.read_parquet(study.scenes_path)
    where = f"file://{tmp_path}/somebody/B02.tif"
    own["assets"] = json.dumps({"B02": {"href": where, "key": "blue", "scale": None}})
    own.to_parquet(study.scenes_path)
    publish(study)
    assets = items_of(study)["cubes"]["assets"]
    told = gpd.read_parquet(study.stac_path / "cubes" / assets["scenes"]["href"])
    assert json.loads(told["assets"].iloc[0]) == {
        "B02": {"href": "B02.tif", "key": "blue", "scale": None}
    }


def test_items_are_also_a_table_with_addresses_from_its_folder(published):
    study = published
    table = read_table(study.stac_path / "items.parquet")
    items = {item["id"]: item for item in stac_geoparquet.arrow.stac_table_to_items(table)}
    assert len(items) == 5
    href = items["hunza-2024-cube"]["assets"]["cube"]["href"]
    assert (study.stac_path / href).resolve() == study.cube_path


def test_items_that_are_gone_are_removed(make_products):
    study = make_products()
    publish(study)
    old = study.stac_path / "models" / "hunza-2024-unet.json"
    old.write_text("{}")
    publish(study)
    assert not old.exists()


def test_a_study_without_a_model_is_published_without_models(make_products):
    study = make_products(learned=False)
    assert publish(study)["collections"] == 3
    assert not (study.stac_path / "models").exists()
    assert validate_catalog(study.stac_path) == []


def given(study, folder):
    folder.mkdir()
    path = folder / "valley-hrnet.rgbundle.zip"
    path.write_bytes(b"packed")
    return SimpleNamespace(path=path, item=json.loads(json.dumps(model_item(study))))


def test_a_mapped_basin_publishes_the_model_it_was_given(make_products, tmp_path):
    bundle = given(make_products(tmp_path / "there", name="there"), tmp_path / "post")
    study = make_products(tmp_path / "here", learned=False)
    publish(study, bundle=bundle)
    assert validate_catalog(study.stac_path) == []
    items = items_of(study)
    assert items["models"]["id"] == "there-2024-hrnet"
    assert items["models"]["assets"]["model"]["href"] == "../../models/valley-hrnet.rgbundle.zip"
    assert "../models/there-2024-hrnet.json" in sources_of(items["inventories"])
    before = bytes_of(study)
    publish(study, bundle=bundle)
    assert bytes_of(study) == before


def test_a_packed_model_without_an_item_is_refused(make_products, tmp_path):
    study = make_products(learned=False)
    bundle = SimpleNamespace(path=tmp_path / "old.rgbundle.zip", item=None)
    with pytest.raises(ContractError, match=r"'old\.rgbundle\.zip' has no STAC item") as caught:
        publish(study, bundle=bundle)
    assert "rockglacier pack" in str(caught.value)


def test_item_of_a_packed_model_is_valid_and_needs_nothing_beside_it(published):
    item = model_item(published)
    link = {"rel": "collection", "href": "./collection.json"}
    assert validate_document({**item, "collection": "c", "links": [*item["links"], link]}) == []
    assert item["assets"]["model"]["href"] == "./model.ckpt"
    assert all("://" in href for href in sources_of(item))


@pytest.mark.parametrize(
    ("product", "stage"),
    [("cube.zarr", "cube"), ("predictions", "predict"), ("inventory", "inventory")],
)
def test_a_missing_product_is_told_with_the_stage_that_makes_it(make_products, product, stage):
    study = make_products()
    shutil.rmtree(study.folder / product)
    with pytest.raises(NotFoundError, match=f"rockglacier {stage} STUDY.yaml"):
        publish(study)


def test_place_across_the_antimeridian_is_cut_there():
    for outline in (
        shapely.box(179.5, 60, 180.5, 61),
        shapely.Polygon([(179.5, 60), (-179.5, 60), (-179.5, 61), (179.5, 61)]),
    ):
        place = place_of(outline)
        assert place.geometry["type"] == "MultiPolygon"
        assert place.bbox[0] == 179.5
        assert place.bbox[2] == -179.5


def test_channels_fused_from_several_layers_have_neutral_statistics(make_products):
    study = make_products()
    fusion = read_json(study.fusion_path)
    write_json(study.fusion_path, {**fusion, "layers": ["a", "B04"], "mean": [5, 2], "std": [1, 3]})
    scaling = model_item(study)["properties"]["mlm:input"][0]["value_scaling"]
    assert scaling[0] == {"type": "z-score", "mean": 0.0, "stddev": 1.0}
    assert scaling[1] == {"type": "z-score", "mean": 2.0, "stddev": 3.0}
