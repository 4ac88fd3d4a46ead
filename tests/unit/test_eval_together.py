"""The networks that predict together are scored as one, at the threshold that they are cut at."""

import csv
import json
import shutil

import numpy as np
import pytest

from rockglacier.evaluation.judge import evaluate
from rockglacier.evaluation.outputs import read_outputs
from rockglacier.evaluation.show import network_table
from rockglacier.labels.split import windows_of
from rockglacier.model.metrics import best_threshold, confusion_matrix
from rockglacier.model.trained import load_model
from rockglacier.prediction.ground import prediction_of
from rockglacier.prediction.rectangle import infer_window
from rockglacier.prediction.together import threshold_of
from rockglacier.scenes.record import read_table
from rockglacier.storage import open_array, read_json
from rockglacier.study import Study

TEST, VALIDATION = slice(0, 96), slice(304, 384)


@pytest.fixture(scope="module")
def judged(trained_ground, tmp_path_factory):
    """Two trials that predict together: one trained, and its copy, which is less sure."""
    folder = tmp_path_factory.mktemp("together")
    shutil.copytree(trained_ground.folder, folder / trained_ground.config.name)
    config = trained_ground.config
    train = config.train.model_copy(update={"trials": 2, "random_split": ()})
    predict = config.predict.model_copy(update={"ensemble": "trials"})
    study = Study(
        config=config.model_copy(update={"train": train, "predict": predict}), base=folder
    )
    first, second = (study.models_path / "hrnet" / f"trial-{number}" for number in (0, 1))
    shutil.copytree(first, second)
    settings = read_json(second / "model.json") | {"trial": 1, "temperature": 6.0}
    (second / "model.json").write_text(json.dumps(settings))
    evaluate(study, infer=infer_window)
    return study, read_json(study.evaluation_path)


def mean_of(study):
    """The mean of both trials where the ground is tested or chosen on, NaN elsewhere."""
    features = open_array(study.features_path / "features")
    found = np.full(features.shape[1:], np.nan, np.float32)
    folders = [study.models_path / "hrnet" / f"trial-{number}" for number in (0, 1)]
    models = [load_model(folder) for folder in folders]
    for split in ("test", "validation"):
        for window in windows_of(read_table(study.splits_path), split):
            maps = [
                infer_window(model, features, window, settings=study.config.predict)
                for model in models
            ]
            found[window.slices] = np.mean(maps, axis=0)
    return found


def test_each_pixel_counts_once_at_the_threshold_chosen_for_both(judged):
    study, found = judged
    row, mean = found["networks"]["ensemble"], mean_of(study)
    labels = np.asarray(open_array(study.labels_path / "labels"))
    threshold, iou = best_threshold(mean[:, VALIDATION], labels[:, VALIDATION])
    assert row["threshold"] == threshold
    assert row["validation_iou"] == pytest.approx(iou, abs=1e-6)
    assert threshold_of(study, prediction_of(study, None, stay_here=True)) == threshold
    called = np.where(np.isnan(mean), 255, mean >= threshold)[:, TEST]
    assert row["confusion"] == confusion_matrix(labels[:, TEST], called.astype(int)).tolist()
    assert row["members"] == ["hrnet/trial-0", "hrnet/trial-1"]
    kept = np.asarray(read_outputs(study, "ensemble", 0))[8:, TEST]
    np.testing.assert_allclose(kept, 100 * mean[8:, TEST], atol=0.51)


def test_it_stands_beside_its_members_in_every_table(judged):
    study, found = judged
    assert [row["network"] for row in found["table"]] == ["hrnet", "ensemble"]
    own, together = found["table"]
    assert (own["trials"], own["members"], together["members"]) == (2, None, 2)
    assert together["parameters"] == 2 * own["parameters"]
    assert together["boundary_f"]["best"] == found["networks"]["ensemble"]["boundary_f"]
    headers = [str(column.header) for column in network_table(found["table"]).columns]
    assert headers == ["", "hrnet (2 trials)", "ensemble of 2"]
    assert "| ensemble of 2 | 1 |" in (study.models_path / "table.md").read_text()
    (pair,) = found["paired"]["differences"]
    assert {pair["first"], pair["second"]} == {"hrnet", "ensemble"}
    lines = (study.models_path / "evaluation" / "reliability.csv").read_text().splitlines()
    assert {row["network"] for row in csv.DictReader(lines)} == {"hrnet", "ensemble"}


def test_the_choice_is_kept_until_the_members_or_the_windows_change(judged):
    study, _ = judged
    path = study.models_path / "together.json"
    (key,) = held = read_json(path)
    path.write_text(json.dumps({key: {**held[key], "threshold": 0.11}}))
    assert threshold_of(study, prediction_of(study, None, stay_here=True)) == 0.11
    wider = study.config.predict.model_copy(update={"overlap": 0.25})
    other = Study(config=study.config.model_copy(update={"predict": wider}), base=study.base)
    assert threshold_of(other, prediction_of(other, None, stay_here=True)) != 0.11
