"""A few labelled chips beside the probabilities of a mapped basin."""

import geopandas as gpd
import numpy as np
import pytest
import shapely

from rockglacier.errors import InputError
from rockglacier.evaluation.few import calibrate_on, lines_of
from rockglacier.storage import open_group, read_json

WEST, NORTH = 500_000, 4_000_000
LANDFORM = (60, 180, 60, 50)
"""Row, column, height, width; its probability is 90 %, that of the rest 3 %."""


def box(row, column, height, width):
    west, north = WEST + 10 * column, NORTH - 10 * row
    return shapely.box(west, north - 10 * height, west + 10 * width, north)


@pytest.fixture
def mapped(make_products, tmp_path):
    study = make_products(tmp_path / "here", learned=False)

    def check(landforms, chips):
        table = gpd.GeoDataFrame(geometry=[box(*one) for one in landforms], crs=32643)
        table.to_crs(4326).to_file(tmp_path / "drawn.gpkg")
        table = gpd.GeoDataFrame(geometry=[box(*one) for one in chips], crs=32643)
        table.to_crs(4326).to_file(tmp_path / "chips.gpkg")
        return calibrate_on(study, str(tmp_path / "drawn.gpkg"), str(tmp_path / "chips.gpkg"))

    check.study = study
    return check


def test_map_that_is_right_keeps_its_threshold_range(mapped):
    facts = mapped([LANDFORM], [(40, 160, 100, 90)])
    assert (facts["chips"], facts["pixels"]) == (1, 9000)
    assert facts["prevalence"] == pytest.approx(3000 / 9000, abs=1e-3)
    assert facts["best_iou"] == 1.0
    assert 0.03 < facts["best_threshold"] <= 0.9
    assert facts["ece_after"] <= facts["ece"]
    assert read_json(mapped.study.prediction_path / "calibration.json") == facts
    assert "fewer than 10 chips" in lines_of(facts)[-1]


def test_map_that_sounds_unsure_is_told_a_temperature(mapped):
    stored = open_group(mapped.study.prediction_path / "prediction.zarr", "r+")["probability"]
    values = np.asarray(stored)
    stored[:] = np.where(values == 90, 60, values)
    facts = mapped([LANDFORM], [(40, 160, 100, 90)])
    assert 0.03 < facts["best_threshold"] <= 0.6
    assert facts["best_iou"] == 1.0
    assert facts["temperature"] < 1  # it sounds less sure than it may


def test_ground_beyond_the_chips_does_not_count(mapped):
    left = mapped([(60, 180, 60, 25)], [(60, 180, 60, 25), (0, 100, 50, 50)])
    assert left["pixels"] == 60 * 25 + 2500
    assert left["best_iou"] == 1.0


def test_chips_that_say_nothing_are_told(mapped):
    with pytest.raises(InputError, match="lies on the prediction"):
        mapped([LANDFORM], [(5000, 5000, 50, 50)])
    with pytest.raises(InputError, match="hold no landform alone"):
        mapped([LANDFORM], [(0, 100, 50, 50)])
    with pytest.raises(InputError, match="hold landforms alone"):
        mapped([LANDFORM], [(70, 190, 20, 20)])
