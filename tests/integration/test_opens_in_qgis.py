"""The exported project in a real QGIS: layers, styles, forms, and an edit that comes back."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import geopandas as gpd
import pytest
import shapely

from made_products import make_products
from rockglacier.errors import InputError
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
def python():
    """The Python of a QGIS."""
    found = python_of_qgis()
    if found is None:
        pytest.skip("no PyQGIS here: apt-get install python3-qgis")
    return found


def environment(folder):
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "QT_QPA_PLATFORM": "offscreen",
            "XDG_RUNTIME_DIR": str(folder)}  # fmt: skip


def exported(folder):
    """Return a study with its inventory, and the GeoPackage and the project of it."""
    study = make_products(folder)
    shutil.rmtree(study.inventory_path)
    build_inventory(study)
    package, project, *_ = export_qgis(study, study.folder / "export" / "qgis")
    return study, package, project


@pytest.fixture(scope="module")
def opened(python, tmp_path_factory):
    """A study whose project was opened and edited, and what QGIS said of it."""
    folder = tmp_path_factory.mktemp("qgis")
    study, package, project = exported(folder)
    answer = folder / "answer.json"
    done = subprocess.run(
        [python, Path(__file__).with_name("in_qgis.py"), project, answer, "somebody"],
        check=False,
        capture_output=True,
        text=True,
        env=environment(folder),
    )
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


def test_what_is_cut_and_drawn_comes_back_while_qgis_is_open(python, tmp_path):
    study, package, project = exported(tmp_path)
    before = gpd.read_parquet(study.inventory_path / "inventory.parquet")
    west, south, _, _ = before.total_bounds
    drawn = shapely.box(west + 0.014, south, west + 0.015, south + 0.001)
    assert not before.intersects(drawn).any()
    qgis = subprocess.Popen(
        [python, Path(__file__).with_name("cut_in_qgis.py"), project, drawn.wkt, "somebody"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(tmp_path),
    )
    with qgis:
        if qgis.stdout.readline() != "saved\n":
            pytest.fail(qgis.stderr.read())
        with pytest.raises(InputError, match="is open in another program"):
            export_qgis(study, package.parent)
        taken = import_edited(study, package)
        qgis.stdin.close()
    assert (taken.edited, taken.added, taken.waiting) == (1, 2, 1)
    build_inventory(study)
    found = gpd.read_parquet(study.inventory_path / "inventory.parquet").set_index("candidate_id")
    name = before["candidate_id"].min()
    parts = found[(found.index == name) | (found["replaces"] == name)]
    assert sorted(parts["status"]) == ["edited", "edited"]
    assert parts["area_km2"].sum() == pytest.approx(
        before.set_index("candidate_id").loc[name, "area_km2"], rel=1e-6
    )
    assert found.intersects(drawn).sum() == 1
    *_, kept = export_qgis(study, package.parent)
    assert len(gpd.read_file(kept, layer="outlines")) == 4
