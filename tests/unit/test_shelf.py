"""Catalogs that several basins share, versions of items, and what every published file says."""

import json
import multiprocessing
import re
import shutil
import threading
from datetime import date
from pathlib import Path

import pystac
import pytest
from pyarrow.parquet import read_table

from rockglacier.addresses import with_base
from rockglacier.errors import InputError
from rockglacier.products import trained_model_item
from rockglacier.publish import publish
from rockglacier_stac.validate import validate_catalog


def bytes_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lease"
    }


def item(folder, name):
    return json.loads((folder / name).read_text(encoding="utf-8"))


def again(study, **publishing):
    """The same study with other settings of the publication."""
    values = study.config.publish.model_copy(update=publishing)
    config = study.config.model_copy(update={"publish": values})
    return study.__class__(config=config, base=study.base)


@pytest.fixture
def basin(make_products, tmp_path):
    def make(name, **settings):
        study = make_products(tmp_path / name, name=name, **settings)
        return again(study, catalog="../shared")

    return make


def test_a_second_basin_leaves_the_first_one_untouched(basin, tmp_path):
    shared = tmp_path / "shared"
    publish(basin("hunza"))
    before = bytes_of(shared)
    stamps = {path: path.stat().st_mtime_ns for path in shared.rglob("hunza-*.json")}
    publish(basin("gilgit", provider="University"))
    after = bytes_of(shared)
    for name, data in before.items():
        if "hunza" in name:
            assert after[name] == data
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert validate_catalog(shared) == []
    catalog = pystac.Catalog.from_file(str(shared / "catalog.json"))
    found = {one.id: one for one in catalog.get_items(recursive=True)}
    assert len(found) == 10
    for one in found.values():
        for asset in one.assets.values():
            assert Path(asset.get_absolute_href()).exists()
    assert read_table(shared / "items.parquet").num_rows == 10
    collection = item(shared, "cubes/collection.json")
    assert collection["summaries"]["rockglacier:basin"] == ["gilgit", "hunza"]
    names = [one["name"] for one in collection["providers"]]
    assert {"rockglacier", "University", "European Space Agency (ESA)"} < set(names)
    assert len(names) == len(set(names))


def test_publishing_into_a_shared_catalog_twice_changes_nothing(basin, tmp_path):
    studies = [basin("hunza"), basin("gilgit")]
    for study in studies:
        publish(study)
    before = bytes_of(tmp_path / "shared")
    for study in studies:
        assert publish(study)["changed_in_catalog"] == 0
    assert bytes_of(tmp_path / "shared") == before


def test_an_item_that_is_gone_leaves_the_shared_catalog_too(basin, tmp_path):
    publish(basin("gilgit"))
    study = basin("hunza")
    publish(study)
    study.selection_path.unlink()
    publish(study)
    models = {path.name for path in (tmp_path / "shared" / "models").iterdir()}
    assert models == {"collection.json", "gilgit-2024-hrnet.json"}
    assert validate_catalog(tmp_path / "shared") == []


def _publish(study):
    publish(study)


def test_a_longer_period_of_a_basin_is_not_taken_for_items_that_are_gone(basin, tmp_path):
    short = basin("hunza")
    end = date(2025, 12, 31)
    search = short.config.search.model_copy(update={"end": end})
    config = short.config.model_copy(update={"search": search})
    long = short.__class__(config=config, base=short.base)
    shutil.copytree(short.prediction_path, long.prediction_path)
    shutil.copytree(short.inventory_path, long.inventory_path)
    publish(long)
    publish(short)
    found = {path.stem for path in (tmp_path / "shared" / "inventories").glob("hunza-*.json")}
    assert found == {
        f"hunza-{period}-{kind}"
        for period in ("2024", "2024-2025")
        for kind in ("inventory", "labels")
    }


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_basins_published_at_the_same_time_are_all_there(basin, tmp_path, kind):
    studies = [basin(f"basin{number}") for number in range(4)]
    if kind == "threads":
        workers = [threading.Thread(target=_publish, args=(study,)) for study in studies]
    else:
        context = multiprocessing.get_context("fork")
        workers = [context.Process(target=_publish, args=(study,)) for study in studies]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    shared = tmp_path / "shared"
    assert validate_catalog(shared) == []
    assert read_table(shared / "items.parquet").num_rows == 20
    links = [
        link for link in item(shared, "cubes/collection.json")["links"] if link["rel"] == "item"
    ]
    assert len(links) == 4


def test_products_that_cannot_be_reached_are_told(make_products, tmp_path):
    study = make_products(tmp_path / "a" / "b" / "here")
    study = again(study, catalog=str(tmp_path / "other" / "root"))
    with pytest.raises(InputError, match="cannot be reached from the catalog") as caught:
        publish(study)
    assert "publish.href" in str(caught.value)
    publish(again(study, href="https://data.example/here"))
    found = item(tmp_path / "other" / "root", "predictions/hunza-2024-prediction.json")
    href = "https://data.example/here/predictions/2024/probability.tif"
    assert found["assets"]["probability"]["href"] == href


def test_no_path_of_this_machine_is_in_a_shared_catalog(basin, tmp_path):
    publish(basin("hunza"))
    for name, data in bytes_of(tmp_path / "shared").items():
        assert tmp_path.as_posix().encode() not in data, name
        assert b"SECRET" not in data, name


def test_a_new_version_keeps_the_old_one_as_its_predecessor(make_products):
    study = make_products(version="1.0")
    publish(study)
    (study.inventory_path / "hypsometry.csv").write_text("candidate_id\n1\n")
    study = again(study, version="1.1")
    publish(study)
    folder = study.stac_path / "inventories"
    new, old = (
        item(folder, name)
        for name in ("hunza-2024-inventory.json", "hunza-2024-inventory-v1.0.json")
    )
    relations = {link["rel"]: link["href"] for link in new["links"]}
    assert relations["predecessor-version"] == "./hunza-2024-inventory-v1.0.json"
    relations = {link["rel"]: link["href"] for link in old["links"]}
    assert relations["successor-version"] == "./hunza-2024-inventory.json"
    assert relations["latest-version"] == "./hunza-2024-inventory.json"
    assert (new["properties"]["version"], old["properties"]["version"]) == ("1.1", "1.0")
    assert old["properties"]["deprecated"] is True
    # what was written over is no asset of the old version
    assert set(old["assets"]) == set(new["assets"]) - {"hypsometry"}
    assert validate_catalog(study.stac_path) == []
    before = bytes_of(study.stac_path)
    assert publish(study)["changed"] == 0
    assert bytes_of(study.stac_path) == before
    publish(again(study, version="2.0"))
    chain = item(folder, "hunza-2024-inventory-v1.1.json")["links"]
    assert "predecessor-version" in {link["rel"] for link in chain}
    assert validate_catalog(study.stac_path) == []


def test_a_version_is_given_once(make_products):
    study = make_products(version="1.0")
    publish(study)
    publish(again(study, version="1.1"))
    with pytest.raises(InputError, match=r"published as version '1\.0' before"):
        publish(again(study, version="1.0"))


def test_every_table_of_the_inventory_is_an_asset(make_products):
    study = make_products()
    folder = study.inventory_path
    (folder / "tables").mkdir()
    for name in ("CHANGES.csv", "water.csv", "tables/by_aspect.csv"):
        (folder / name).write_text("a\n1\n")
    publish(study)
    assets = item(study.stac_path, "inventories/hunza-2024-inventory.json")["assets"]
    assert {"changes", "water", "table_by_aspect", "hypsometry"} <= set(assets)
    for name in ("changes", "water", "table_by_aspect"):
        assert assets[name]["type"] == "text/csv"
        assert re.fullmatch("1220[0-9a-f]{64}", assets[name]["file:checksum"])
        assert assets[name]["file:size"] == 4
    collection = item(study.stac_path, "inventories/collection.json")
    assert {*assets, "labels", "splits"} == set(collection["item_assets"])


def test_a_model_names_the_outlines_that_it_learnt_from(make_products):
    study = make_products()
    publish(study)
    model = item(study.stac_path, "models/hunza-2024-hrnet.json")
    learnt = [link["href"] for link in model["links"] if link["rel"] == "derived_from"]
    assert "../inventories/hunza-2024-labels.json" in learnt
    labels = item(study.stac_path, "inventories/hunza-2024-labels.json")
    assert labels["properties"]["table:row_count"] == 2
    assert labels["properties"]["table:primary_geometry"] == "geometry"
    assert set(labels["assets"]) == {"labels", "splits"}


def test_every_trained_network_has_an_item(make_products):
    study = make_products()
    chosen = study.models_path / "hrnet" / "trial-0"
    for trial, score in ((0, 0.4), (1, 0.5)):
        folder = study.models_path / "unet" / f"trial-{trial}"
        folder.mkdir(parents=True)
        settings = json.loads((chosen / "model.json").read_text())
        settings |= {"network": "unet", "validation": {"iou_rock_glacier": score}}
        (folder / "model.json").write_text(json.dumps(settings))
        (folder / "model.ckpt").write_bytes(b"other")
    assert publish(study)["items"] == 6
    unet = item(study.stac_path, "models/hunza-2024-unet.json")
    assert unet["assets"]["model"]["href"] == "../../models/unet/trial-1/model.ckpt"
    prediction = item(study.stac_path, "predictions/hunza-2024-prediction.json")
    sources = [link["href"] for link in prediction["links"] if link["rel"] == "derived_from"]
    assert "../models/hunza-2024-hrnet.json" in sources
    assert "../models/hunza-2024-unet.json" not in sources


def test_settings_are_told_without_paths_and_keys(make_products, tmp_path):
    study = make_products()
    search = study.config.search.model_copy(
        update={"catalog": "https://user:pass@stac.example/v1?key=SECRET"}
    )
    labels = study.config.labels.model_copy(update={"reference": str(tmp_path / "mine.gpkg")})
    compute = study.config.compute.model_copy(update={"cluster": "tcp://10.0.0.5:8786"})
    config = study.config.model_copy(
        update={"search": search, "labels": labels, "compute": compute}
    )
    study = study.__class__(config=config, base=study.base)
    publish(study)
    properties = item(study.stac_path, "cubes/hunza-2024-cube.json")["properties"]
    told = properties["processing:expression"]["expression"]
    assert told["search"]["catalog"] == "https://stac.example/v1"
    assert told["labels"]["reference"] == "mine.gpkg"
    assert "10.0.0.5" not in json.dumps(properties)
    assert told["search"]["scene_cloud_max"] == study.config.search.scene_cloud_max
    assert "rockglacier" in properties["processing:software"]


def test_products_under_an_address_have_no_relative_path(make_products):
    study = make_products()
    publish(study)
    for path in study.stac_path.glob("*/*.json"):
        placed = with_base(item(path.parent, path.name), base="https://data.example/hunza/")
        for asset in placed.get("assets", {}).values():
            assert asset["href"].startswith("https://data.example/hunza/")
            assert ".." not in asset["href"]


@pytest.mark.parametrize("href", ["/data", "file:///data", "https://u:p@host/", "https://h/?sig=1"])
def test_an_address_that_tells_too_much_is_refused(make_products, href):
    with pytest.raises(InputError, match=r"publish\.href"):
        make_products(href=href)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (None, None),
        ("/home/somebody/weights.pth", "weights.pth"),
        ("ResNet50_Weights.SENTINEL2_ALL_MOCO", "ResNet50_Weights.SENTINEL2_ALL_MOCO"),
    ],
)
def test_a_model_says_what_its_training_began_from(make_products, said, told):
    study = make_products()
    path = study.models_path / "hrnet" / "trial-0" / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "pretrained": said}))
    found = trained_model_item(study)["properties"]
    assert found["mlm:pretrained"] is (told is not None)
    assert found["mlm:pretrained_source"] == told
    assert f"trained from {told or 'random weights'};" in found["processing:lineage"]
