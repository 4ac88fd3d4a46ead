"""The exported project in a real QGIS: layers, styles, forms, and an edit that comes back."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from rockglacier.inventory.domains import RGIK_DOMAINS
from rockglacier.inventory.edited import import_edited
from rockglacier.inventory.export import export_qgis
from rockglacier.inventory.reviews import read_reviews
from rockglacier.inventory.tables import build_inventory

LAYERS = {"to review", "outlines", "markers", "moving areas", "reference", "matches", "area"}


def python_of_qgis():
    """Return the Python that QGIS is installed for, or None."""
    for name in ("/usr/bin/python3", shutil.which("python3")):
        if name and Path(name).exists():
            asked = subprocess.run(
                [name, "-c", "import qgis.core"], check=False, capture_output=True
            )
            if asked.returncode == 0:
                return name
    return None


@pytest.fixture(scope="module")
def opened(products_module, tmp_path_factory):
    """A study whose project was opened and edited, and what QGIS said of it."""
    python = python_of_qgis()
    if python is None:
        pytest.skip("no PyQGIS here: apt-get install python3-qgis")
    folder = tmp_path_factory.mktemp("qgis")
    study = products_module.make_products(folder)
    shutil.rmtree(study.inventory_path)
    build_inventory(study)
    package, project, *_ = export_qgis(study, study.folder / "export" / "qgis")
    answer = folder / "answer.json"
    done = subprocess.run(
        [python, Path(__file__).with_name("in_qgis.py"), project, answer, "somebody"],
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "QT_QPA_PLATFORM": "offscreen",
             "XDG_RUNTIME_DIR": str(folder)},
    )  # fmt: skip
    assert answer.is_file(), done.stderr
    return study, package, json.loads(answer.read_text())


def test_every_layer_is_there_and_knows_where_it_lies(opened):
    _, _, told = opened
    assert told["is_read"]
    assert told["crs"] == "EPSG:4326"
    assert set(told["layers"]) == {*LAYERS, "probability"}
    assert all(layer["valid"] for layer in told["layers"].values())
    assert {told["layers"][name]["crs"] for name in LAYERS} == {"EPSG:4326"}
    assert told["layers"]["probability"]["crs"] == "EPSG:32643"
    assert told["layers"]["outlines"]["count"] == 2


def test_forms_let_choose_what_may_be_chosen(opened):
    _, _, told = opened
    for name in ("to review", "outlines"):
        layer = told["layers"][name]
        assert layer["tabs"] == ["Review", "RGIK", "Measured"]
        assert layer["sorted_by"] == '"review_rank"'
        assert layer["categories"] == ["candidate", "confirmed", "edited", "rejected"]
        for column, values in RGIK_DOMAINS.items():
            if column in layer["widgets"]:
                assert layer["choices"][column] == list(values)
        assert layer["widgets"]["review_date"] == "DateTime"
        assert layer["widgets"]["drawn_hash"] == "Hidden"
        assert {"area_km2", "candidate_id", "split"} <= set(layer["read_only"])
        assert not {"status", "reviewer", "Comment"} & set(layer["read_only"])


def test_a_decision_made_in_qgis_comes_back(opened):
    study, package, told = opened
    taken = import_edited(study, package)
    reviews = read_reviews(study)
    assert list(reviews["candidate_id"]) == [told["decided"]]
    assert list(reviews["status"]) == ["confirmed"]
    assert list(reviews["reviewer"]) == ["somebody"]
    assert taken.older == ()
