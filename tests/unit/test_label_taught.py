"""What is taught reaches the loss, and nothing else."""

import numpy as np
import pytest
import torch
import zarr

from rockglacier.chips.dataset import CubeDataset
from rockglacier.config import TrainConfig, parse_config
from rockglacier.model.fit import _content
from rockglacier.model.loaders import chips_of, grounds_of
from rockglacier.model.losses import HARD_WEIGHT, segmentation_loss
from rockglacier.model.task import SegmentationTask


def teach(study, change):
    """Give a study a second array of labels."""
    labels = zarr.open_array(study.labels_path / "labels", mode="r")[:]
    told = change(labels.copy())
    group = zarr.open_group(study.labels_path, mode="r+")
    group.create_array("taught", shape=told.shape, dtype="uint8", chunks=(128, 128))[:] = told
    return labels, told


def hard_and_ignored(labels):
    labels[100:140][labels[100:140] == 0] = 2
    labels[20:60] = 255
    return labels


def test_training_chips_hold_what_is_taught_and_validation_chips_the_labels(make_ground):
    study = make_ground()
    teach(study, hard_and_ignored)
    chips = chips_of(grounds_of([study], study.config), study.config.train, seed=0)
    trained = torch.cat([batch["mask"].ravel() for batch in chips.train])
    assert set(trained.unique().tolist()) == {0, 1, 2, 255}
    chosen = torch.cat([batch["mask"].ravel() for batch in chips.validation])
    assert 2 not in chosen.unique().tolist()
    rows = study.grid.shape[0] - 8
    assert int((chosen != 255).sum()) == rows * 80


def test_without_it_training_chips_hold_the_labels(make_ground):
    study = make_ground()
    chips = chips_of(grounds_of([study], study.config), study.config.train, seed=0)
    masks = torch.cat([batch["mask"].ravel() for batch in chips.train])
    assert set(masks.unique().tolist()) <= {0, 1, 255}


@pytest.mark.parametrize("cache", [True, False, "folder"])
def test_features_are_shared_and_labels_are_not_mixed(make_ground, tmp_path, cache):
    study = make_ground()
    labels, told = teach(study, hard_and_ignored)
    where = tmp_path / "copy" if cache == "folder" else cache
    dataset = CubeDataset(study.features_path, study.labels_path, cache=where)
    other = dataset.with_labels("taught")
    whole = study.grid.whole
    labels[:8] = told[:8] = 255  # where there are no features
    np.testing.assert_array_equal(other.labels(whole), told)
    np.testing.assert_array_equal(dataset.labels(whole), labels)
    again = CubeDataset(study.features_path, study.labels_path, cache=where)
    np.testing.assert_array_equal(again.labels(whole), labels)
    if cache is True:
        assert other._open_features() is dataset._open_features()


def test_training_is_other_training_where_it_is_taught_otherwise(make_ground):
    study = make_ground()
    before = _content(study)
    teach(study, hard_and_ignored)
    assert _content(study)["labels"] != before["labels"]
    assert _content(study)["features"] == before["features"]


KINDS = ["ce", "weighted-ce", "focal", "dice", "ce-dice"]


@pytest.mark.parametrize("kind", KINDS)
def test_hard_background_is_background_that_weighs_more(kind):
    logits = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(2, 8, 8, dtype=torch.long)
    mask[:, :4] = 1
    plain = segmentation_loss(logits, mask, kind=kind)
    wrong = logits.clone()
    wrong[:, 1, 6:] += 6  # takes the last rows for a landform
    hard = mask.clone()
    hard[:, 6:] = 2
    assert segmentation_loss(wrong, mask, kind=kind) > plain
    if kind == "dice":
        assert segmentation_loss(wrong, hard, kind=kind) == segmentation_loss(
            wrong, mask, kind=kind
        )
    else:
        assert segmentation_loss(wrong, hard, kind=kind) > segmentation_loss(wrong, mask, kind=kind)


@pytest.mark.parametrize("hard_weight", [None, 1.0, 5.0])
def test_the_weight_of_hard_background_is_as_said(hard_weight):
    logits = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(1, 4, 4, dtype=torch.long)
    mask[0, 0] = 2
    entropy = torch.nn.functional.cross_entropy(logits, torch.zeros_like(mask), reduction="none")
    weight = torch.ones_like(entropy)
    weight[0, 0] = hard_weight or HARD_WEIGHT
    expected = (entropy * weight).sum() / weight.sum()
    config = TrainConfig(loss="ce", **({"hard_weight": hard_weight} if hard_weight else {}))
    task = SegmentationTask(torch.nn.Identity(), config=config, total_steps=1, steps_an_epoch=1)
    assert task.loss(logits, mask) == pytest.approx(float(expected))


def test_the_random_split_is_over_chips_with_a_landform(make_ground):
    study = make_ground()
    array = zarr.open_array(study.labels_path / "labels", mode="r+")
    array[:, 200:] = 0
    config = parse_config(study.resolved(), source="test")
    (ground,) = grounds_of([study], config, is_random=True)
    labels = array[:]
    windows = [*ground.train, *ground.validation]
    assert all((labels[window.slices] == 1).any() for window in windows)
    assert max(window.x for window in windows) < 200
