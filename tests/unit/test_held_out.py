"""Scores on held-out ground: what is counted, and what the random split is compared with."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import zarr

from rockglacier.errors import InputError
from rockglacier.grid import Window
from rockglacier.model.held_out import evaluate, held_out, leak_of
from rockglacier.model.scoring import Ground, score_ground, to_classes
from rockglacier.model.trained import load_model
from rockglacier.storage import read_json

TEST_COLUMNS = slice(0, 96)
NODATA_ROWS = 8


def knows_all(study):
    """An inference that gives the labels themselves, but misses what lies left of column 16."""
    labels = zarr.open_array(study.labels_path / "labels", mode="r")[:]

    def infer(model, features, window, *, settings=None):
        probability = (labels == 1).astype(np.float32)
        probability[:, :16] = 0
        probability[:NODATA_ROWS] = np.nan
        return probability[window.slices]

    return infer, labels


@pytest.fixture(scope="module")
def evaluated(trained_ground):
    infer, labels = knows_all(trained_ground)
    facts = evaluate(trained_ground, infer=infer)
    return facts, read_json(trained_ground.evaluation_path), labels


def test_every_pixel_of_the_test_ground_counts_once(evaluated):
    _, found, labels = evaluated
    scores = found["networks"]["hrnet"]
    truth = labels[NODATA_ROWS:, TEST_COLUMNS] == 1
    hit = truth.copy()
    hit[:, :16] = False
    assert scores["confusion"] == [
        [int((~truth).sum()), 0],
        [int((truth & ~hit).sum()), int(hit.sum())],
    ]
    assert scores["iou_rock_glacier"] == pytest.approx(hit.sum() / truth.sum(), abs=1e-6)
    assert scores["pixels_without_data"] == NODATA_ROWS * 96
    assert found["split"] == "test (strip)"


def test_the_leak_is_what_the_random_split_claims_more(evaluated):
    facts, found, _ = evaluated
    leak = found["leak"]["hrnet"]
    claimed = found["random"]["hrnet"]["iou_rock_glacier"]
    assert leak["random_split_iou"] == claimed
    assert leak["test_iou"] == found["networks"]["hrnet"]["iou_rock_glacier"]
    assert leak["leak"] == pytest.approx(claimed - leak["test_iou"], abs=1e-6)
    assert facts["leak"] == {"hrnet": leak["leak"]}
    assert "leaking" in found["random"]["hrnet"]["split"]


def test_table_has_a_row_a_model_with_its_confusion(trained_ground, evaluated):
    path = trained_ground.models_path / "evaluation.csv"
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["ground"] for row in rows] == ["test", "random held-out"]
    counts = [int(rows[0][name]) for name in ("tn", "fp", "fn", "tp")]
    assert sum(counts) == int(rows[0]["pixels"])
    assert float(rows[0]["mpa_code"]) == float(rows[0]["mean_recall"])


def test_speed_names_its_device_and_batch(evaluated):
    _, found, _ = evaluated
    speed = found["networks"]["hrnet"]["speed"]
    assert speed["images_per_s"] > 0
    assert speed["km2_per_s"] > 0
    assert "threads" in speed["device"]
    assert (speed["batch"], speed["chip"]) == (8, 64)


def test_held_out_chips_are_windows(trained_ground):
    model = load_model(trained_ground.models_path / "hrnet-random" / "trial-0")
    assert all((chip.height, chip.width) == (64, 64) for chip in held_out(model))


def test_an_empty_class_is_null_and_has_no_leak():
    assert leak_of({"iou_rock_glacier": None}, {"iou_rock_glacier": 0.5})["leak"] is None


def test_pixels_without_probability_are_nodata():
    classes = to_classes(np.array([0.2, 0.5, np.nan], np.float32), 0.5)
    assert classes.tolist() == [0, 1, 255]


def test_a_split_without_test_ground_cannot_be_scored(make_ground):
    study = make_ground()
    import geopandas as gpd

    splits = gpd.read_parquet(study.splits_path)
    splits[splits["split"] != "test"].to_parquet(study.splits_path)
    with pytest.raises(InputError, match=r"no test ground(.|\n)*labels.test_share above 0"):
        evaluate(study, infer=knows_all(study)[0])


def test_ignored_labels_are_not_scored(trained_ground):
    infer, labels = knows_all(trained_ground)
    spoilt = labels.copy()
    spoilt[:, :16] = 255
    ground = Ground(
        features=labels,
        labels=spoilt,
        windows=(Window(y=0, x=0, height=256, width=96),),
        settings=trained_ground.config.predict,
    )
    model = load_model(trained_ground.models_path / "hrnet" / "trial-0")
    matrix = score_ground(model, ground, infer=infer).counts
    assert matrix[1, 0] == 0
    assert matrix.sum() == (256 - NODATA_ROWS) * 80
    halves = replace(
        ground,
        windows=(
            Window(y=0, x=0, height=100, width=96),
            Window(y=100, x=0, height=156, width=96),
        ),
    )
    assert (score_ground(model, halves, infer=infer).counts == matrix).all()
