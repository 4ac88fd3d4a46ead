"""What a trial makes of its settings, and what it leaves behind."""

import json

import geopandas as gpd
import numpy as np
import pytest
import torch
import zarr
from PIL import Image

from made_ground import make_ground
from rockglacier.model import history
from rockglacier.model.fit import load_model, train
from rockglacier.storage import read_json

pytestmark = pytest.mark.usefixtures("one_thread")
SHORT = {"epochs": 2, "chips_per_epoch": 12}


def trial_of(study, network="hrnet"):
    return study.models_path / network / "trial-0"


@pytest.mark.parametrize(
    ("given", "steps"),
    [
        ({"accumulate": 2}, 4),  # three batches an epoch: a step after two, and one at the end
        ({"loss": "focal", "optimizer": "sgd", "learning_rate": 0.01, "schedule": "poly"}, 6),
        ({"precision": "float32", "deterministic": True}, 6),
        ({"precision": "bfloat16", "loss": "dice", "warm_up": 0.0}, 6),
    ],
)
def test_settings_reach_the_training(make_ground, given, steps):
    study = make_ground(**SHORT, **given)
    train(study)
    found = read_json(trial_of(study) / "model.json")
    assert found["steps"] == steps
    wanted = {"float32": "32-true", "bfloat16": "bf16-mixed"}.get(given.get("precision"))
    assert wanted in (None, found["precision"])
    assert not torch.are_deterministic_algorithms_enabled()
    assert np.isfinite(float(found["temperature"]))


def test_losses_and_seeds_give_other_weights(make_ground):
    hashes = set()
    for number, given in enumerate([{}, {"loss": "ce"}, {"seed": 5}, {"accumulate": 3}]):
        study = make_ground(f"ground-{number}", epochs=1, chips_per_epoch=12, **given)
        train(study)
        hashes.add(read_json(trial_of(study) / "model.json")["weights"])
    assert len(hashes) == 4


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    study = make_ground(tmp_path_factory.mktemp("finished"), **SHORT)
    train(study)
    return study


def test_history_is_there_as_lines_events_and_curves(finished):
    folder = trial_of(finished)
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [0, 1]
    assert all(row["validation_loss"] > 0 for row in rows)
    (events,) = (folder / "events").iterdir()
    data = events.read_bytes()
    assert all(name in data for name in (b"train_loss", b"learning_rate", b"iou_rock_glacier"))
    with Image.open(folder / "curves.png") as picture:
        assert min(picture.size) > 300
    assert (folder / "curves.svg").read_text().rstrip().endswith("</svg>")
    assert not (folder / "resume.ckpt").exists()


def test_settings_tell_normalisation_data_and_oversampling(finished):
    found = read_json(trial_of(finished) / "model.json")
    fusion = read_json(finished.fusion_path)
    assert found["normalisation"] == {"mean": fusion["mean"], "std": fusion["std"]}
    assert set(found["data"][0]) == {"features", "labels", "splits"}
    shares = found["positives"]
    assert shares["share_of_chips"] == pytest.approx(
        0.5 + 0.5 * shares["share_of_ground"], abs=1e-4
    )
    assert shares["oversampled_by"] == pytest.approx(
        shares["share_of_chips"] / shares["share_of_ground"], abs=2e-3
    )


def test_footprints_of_chips_lie_on_their_ground(finished):
    chips = gpd.read_parquet(trial_of(finished) / "chips.parquet")
    splits = gpd.read_parquet(finished.splits_path).to_crs(32643)
    assert chips.crs.to_epsg() == 4326
    assert (chips["split"] == "train").sum() == 12
    local = chips.to_crs(32643)
    for split in ("train", "validation"):
        ground = splits.loc[splits["split"] == split].union_all().buffer(0.01)
        part = local[local["split"] == split]
        assert len(part)
        assert part.within(ground).all()
    assert chips["valid_share"].between(0, 1).all()
    assert (chips["positive_share"] > 0).sum() >= 6


def test_a_model_whose_place_is_taken_is_kept(make_ground):
    study = make_ground(epochs=1, chips_per_epoch=8)
    train(study)
    before = (trial_of(study) / "model.ckpt").read_bytes()
    labels = zarr.open_array(study.labels_path / "labels", mode="r+")
    for row in range(2):
        labels[row, 200] = 1
        assert train(study)["built"] == 1
    earlier = study.models_path / "earlier" / "hrnet"
    assert sorted(path.name for path in earlier.iterdir()) == ["trial-0.1", "trial-0.2"]
    assert (earlier / "trial-0.1" / "model.ckpt").read_bytes() == before
    assert load_model(earlier / "trial-0.1").settings["network"] == "hrnet"
    assert len(list(study.models_path.glob("*/trial-*/model.json"))) == 1


def test_a_fault_in_training_leaves_the_model_of_before(make_ground, monkeypatch):
    study = make_ground(epochs=1, chips_per_epoch=8)
    train(study)
    before = (trial_of(study) / "model.ckpt").read_bytes()
    zarr.open_array(study.labels_path / "labels", mode="r+")[0, 200] = 1

    def fails(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr("rockglacier.model.trial.write_history", fails)
    with pytest.raises(OSError, match="No space"):
        train(study)
    assert (trial_of(study) / "model.ckpt").read_bytes() == before
    assert load_model(trial_of(study)).name == "hrnet"


def test_a_loss_that_is_no_number_any_more_is_null_in_the_history():
    row = {"epoch": 3, "train_loss": float("nan"), "validation_loss": float("inf"), "score": 0.5}
    assert json.loads(history._line(row)) == {
        "epoch": 3, "train_loss": None, "validation_loss": None, "score": 0.5,
    }  # fmt: skip
