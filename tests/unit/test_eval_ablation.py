"""The ablation: other features under the same conditions, their difference, and what is kept."""

import csv
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from made_ground import make_taught
from rockglacier.errors import InputError
from rockglacier.evaluation.ablation import ablate, against, cost_lines, variants_of
from rockglacier.evaluation.judge import evaluate
from rockglacier.evaluation.paired import iou_of
from rockglacier.evaluation.worth import lines_of, read_ablation
from rockglacier.features.fusion import fuse
from rockglacier.model.fit import train
from rockglacier.prediction.infer import infer_window
from rockglacier.storage import read_json, write_json
from rockglacier.study import Study


@pytest.fixture(scope="module")
def study(tmp_path_factory, one_thread):
    study = make_taught(tmp_path_factory.mktemp("ablation"), epochs=4)
    fuse(study)
    train(study)
    evaluate(study, infer=infer_window)
    return study


@pytest.fixture(scope="module")
def found(study):
    return ablate(study, network="hrnet", infer=infer_window)


def test_only_feature_sets_that_the_cube_allows_are_compared(study):
    assert [v.config.features.set for v in variants_of(study, network="hrnet")] == ["bands"]
    with pytest.raises(InputError, match="needs B02"):
        variants_of(study, network="hrnet", sets=["triplets"])
    with pytest.raises(InputError, match="does not train 'unet'"):
        variants_of(study, network="unet")
    with pytest.raises(InputError, match="no feature set 'everything'"):
        variants_of(study, network="hrnet", sets=["everything"])
    with pytest.raises(InputError, match="nothing to compare"):
        variants_of(study, network="hrnet", sets=["stack"])


def test_variants_see_the_same_chips_with_the_same_budget_and_leave_the_study_alone(study, found):
    base, other = found["rows"]
    assert (base["set"], other["set"]) == ("stack", "bands")
    assert base["is_base"]
    assert not other["is_base"]
    assert other["same_chips"]
    assert (base["channels"], other["channels"]) == (7, 2)
    assert base["pixels"] == other["pixels"] > 0
    own = read_json(study.models_path / "hrnet" / "trial-0" / "model.json")
    (variant,) = variants_of(study, network="hrnet")
    its = read_json(variant.models_path / "hrnet" / "trial-0" / "model.json")
    for key in ("seed", "steps", "size", "split", "chip", "batch", "positives"):
        assert own[key] == its[key]
    assert read_json(study.fusion_path)["set"] == "stack"
    assert read_json(variant.fusion_path)["set"] == "bands"


def test_terrain_is_worth_something_where_only_terrain_shows_the_landforms(found):
    base, other = found["rows"]
    assert base["iou_rock_glacier"] > other["iou_rock_glacier"]
    assert other["low"] <= other["difference"] <= other["high"]
    assert other["difference"] == pytest.approx(
        other["iou_rock_glacier_best"] - base["iou_rock_glacier_best"], abs=1e-5
    )


def test_the_table_is_written_and_read_again(study, found):
    with (study.models_path / "ablation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["set"] for row in rows] == ["stack", "bands"]
    assert float(rows[1]["difference"]) == found["rows"][1]["difference"]
    read = read_ablation(study)
    assert read["is_current"]
    assert read["rows"] == found["rows"]
    assert "base" in lines_of(read)[1]
    assert "bands (2 channels)" in lines_of(read)[2]


def test_the_report_shows_the_table_and_says_when_it_is_old(study, found, tmp_path):
    from rockglacier.report.ablated import ablation

    section = ablation(SimpleNamespace(study=study))
    frame = section.tables[0].frame
    assert frame["feature set"].tolist() == ["stack", "bands"]
    assert frame["IoU minus that of the base"][1] == found["rows"][1]["difference"]
    assert "blocks of test ground" in section.notes[0]
    assert not section.warning
    copy = Study(config=study.config, base=tmp_path)
    shutil.copytree(study.models_path, copy.models_path)
    model = copy.models_path / "hrnet" / "trial-0" / "model.json"
    write_json(model, read_json(model) | {"inputs": "other"})
    assert "anew" in ablation(SimpleNamespace(study=copy)).warning
    (copy.models_path / "ablation.json").unlink()
    assert "--ablation all" in ablation(SimpleNamespace(study=copy)).missing


def test_what_is_finished_is_kept_and_said_before(study, found):
    (variant,) = variants_of(study, network="hrnet")
    files = [variant.evaluation_path, *variant.models_path.rglob("weights.pt")]
    before = [path.stat().st_mtime_ns for path in files]
    assert "trained before" in "\n".join(cost_lines([variant]))
    again = ablate(study, network="hrnet", infer=infer_window, sets=["bands"])
    assert again == found
    assert [path.stat().st_mtime_ns for path in files] == before


def test_the_cost_of_what_is_not_trained_is_told(tmp_path):
    study = make_taught(tmp_path)
    head, one, whole = cost_lines(variants_of(study, network="hrnet"), steps=1)
    assert "stack is trained already" in head
    assert "bands: 2 channels, at most" in one
    assert "together at most" in whole
    assert "GB" in whole


def test_a_difference_has_the_sign_of_its_value():
    rng = np.random.default_rng(0)
    good = {(0, k): np.array([[50, 5], [5, int(n)]]) for k, n in enumerate(rng.integers(20, 40, 9))}
    bad = {place: counts + np.array([[0, 9], [9, -9]]) for place, counts in good.items()}
    worse, better = against(bad, good), against(good, bad)
    exact = float(iou_of(sum(bad.values())) - iou_of(sum(good.values())))
    assert worse["difference"] == pytest.approx(exact, abs=1e-6)
    assert exact < 0
    assert worse["low"] <= worse["difference"] <= worse["high"] < 0
    assert (better["low"], better["high"]) == (-worse["high"], -worse["low"])
    bad[9, 9] = np.ones((2, 2), np.int64)  # ground where the base has no features
    assert against(bad, good) == worse
