"""The folder for a data repository: whole, valid, and said in words that the run recorded."""

import csv
import hashlib
import json
import shutil

import numpy as np
import pytest
import rasterio
import yaml

from rockglacier.errors import NotFoundError
from rockglacier.inventory.export import export_qgis
from rockglacier.inventory.tables import build_inventory
from rockglacier.publish import deposit, publish
from rockglacier.validation.target import validate_target
from rockglacier_stac.validate import validate_catalog


@pytest.fixture
def deposited(make_products):
    def make(**settings):
        study = make_products(**settings)
        publish(study)
        return study, deposit(study)

    return make


def test_it_is_complete_and_stands_alone(deposited, tmp_path):
    study, folder = deposited(license="CC-BY-4.0", provider="University")
    shutil.move(folder, tmp_path / "elsewhere")
    folder = tmp_path / "elsewhere"
    shutil.rmtree(study.folder)
    assert validate_catalog(folder / "stac") == []
    sums = dict(
        reversed(line.split("  ", 1)) for line in (folder / "SHA256SUMS").read_text().splitlines()
    )
    files = {
        path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()
    }
    assert set(sums) == set(files) - {"SHA256SUMS"}
    for name, digest in sums.items():
        assert hashlib.sha256(files[name].read_bytes()).hexdigest() == digest
    assert {
        "README.md", "LICENSE", "ATTRIBUTION.md", "CITATION.cff", "methods.md", "fields.csv",
        "inventory/2024/inventory.parquet", "predictions/2024/probability.tif",
        "models/hrnet/trial-0/model.ckpt", "scenes.parquet",
    } <= set(files)  # fmt: skip
    assert not any("cube.zarr" in name for name in files)


def test_methods_tell_what_the_run_recorded(deposited):
    study, folder = deposited()
    text = (folder / "methods.md").read_text()
    for words in (
        "2 scene(s) of `sentinel-2-c1-l2a`, taken from 2024-08-04 to 2024-08-14",
        "1 tile(s) of `cop-dem-glo-30`",
        "HRNetV2 (small), 5 channels of feature set `stack`",
        "temperature 1.100, and cut at 0.50",
        "HRNetV2: IoU 0.600",
        "U-Net: IoU 0.500",
        "2 outline(s)",
    ):
        assert words in text, words
    assert str(study.base) not in text


def test_every_column_of_the_inventory_is_explained(deposited):
    from pyarrow.parquet import read_schema

    study, folder = deposited()
    with (folder / "fields.csv").open() as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    columns = set(read_schema(study.inventory_path / "inventory.parquet").names) - {"bbox"}
    assert columns <= set(rows)
    assert rows["area_km2"]["unit"] == "km²"
    assert rows["slope_mean_deg"]["unit"] == "degrees"
    assert rows["probability"]["nodata"] == "255"


def test_without_a_licence_neither_model_nor_labels_are_passed_on(deposited):
    _, folder = deposited()
    names = {path.name for path in folder.rglob("*")}
    assert not {"model.ckpt", "labels.parquet", "splits.parquet"} & names
    assert "ask the publisher" in (folder / "LICENSE").read_text()
    assert validate_catalog(folder / "stac") == []
    prediction = json.loads((folder / "stac/predictions/hunza-2024-prediction.json").read_text())
    assert not any("/models/" in link["href"] for link in prediction["links"])


@pytest.mark.parametrize(
    ("identifier", "said"),
    [
        ("Apache-2.0", "You must give any other recipients of the Work or"),
        ("CC-BY-4.0", "The text: https://spdx.org/licenses/CC-BY-4.0.html"),
    ],
)
def test_the_licence_is_named_and_its_text_is_there_if_it_must_be(deposited, identifier, said):
    _, folder = deposited(license=identifier)
    text = (folder / "LICENSE").read_text(encoding="utf-8")
    assert text.startswith(f"SPDX-License-Identifier: {identifier}\n")
    assert said in text


def test_citation_names_publisher_version_and_method(deposited):
    _, folder = deposited(license="CC-BY-4.0", provider="Université", version="1.2")
    citation = yaml.safe_load((folder / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["authors"] == [{"name": "Université"}]
    assert (citation["version"], citation["license"]) == ("1.2", "CC-BY-4.0")
    assert citation["references"][0]["doi"] == "10.3390/rs17243942"
    assert "doi" not in citation


def test_writing_it_again_gives_the_same_bytes(deposited):
    study, folder = deposited()
    before = (folder / "SHA256SUMS").read_bytes()
    (folder / "left-over.txt").write_text("old")
    deposit(study)
    assert (folder / "SHA256SUMS").read_bytes() == before


def test_what_is_not_published_cannot_be_deposited(make_products):
    with pytest.raises(NotFoundError, match="rockglacier publish"):
        deposit(make_products())


def test_rasters_too_large_for_one_file_are_published_and_deposited_in_parts(
    deposited, tmp_path, monkeypatch
):
    monkeypatch.setattr("rockglacier.prediction.cog.LARGEST", 128)
    study, folder = deposited(license="CC-BY-4.0", provider="University")
    whole = {
        name: rasterio.open(study.raster_path(name)).read(1) for name in ("probability", "classes")
    }
    assert study.raster_path("probability").suffix == ".vrt"
    assert [verdict for verdict in validate_target(str(study.stac_path)) if verdict.findings] == []
    facts = build_inventory(study)
    assert facts["objects"] == 2
    assert export_qgis(study, tmp_path / "qgis")

    shutil.move(folder, tmp_path / "elsewhere")
    shutil.rmtree(study.folder)
    folder = tmp_path / "elsewhere"
    assert [verdict for verdict in validate_target(str(folder)) if verdict.findings] == []
    (path,) = (folder / "stac" / "predictions").glob("*-prediction.json")
    assets = json.loads(path.read_text())["assets"]
    for name, values in whole.items():
        with rasterio.open(path.parent / assets[name]["href"]) as raster:
            np.testing.assert_array_equal(raster.read(1), values)
        part = assets[f"{name}-128-128"]
        with rasterio.open(path.parent / part["href"]) as raster:
            np.testing.assert_array_equal(raster.read(1), values[128:, 128:])
            assert part["proj:shape"] == list(raster.shape) == [64, 128]
            assert part["proj:transform"] == list(raster.transform)[:6]
        assert "proj:shape" not in assets[name]
