"""The ground of studies becomes batches, and no pixel of other ground gets into them."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import torch
import zarr

from made_ground import HEIGHT, NODATA_ROWS, SPLIT, WEST, WIDTH, make_ground
from rockglacier.errors import InputError, NotFoundError
from rockglacier.grid import Window
from rockglacier.model.loaders import chips_of, grounds_of

pytestmark = pytest.mark.usefixtures("one_thread")


def chips_for(*studies, seed=0, is_random=False):
    config = studies[0].config
    grounds = grounds_of(studies, config, is_random=is_random)
    return chips_of(grounds, config.train, seed=seed)


def columns_of(batches):
    """First and end column of every chip."""
    for batch in batches:
        for bounds in batch["bounds"]:
            yield [(float(x) - WEST) / 10 for x in bounds[:2]]


def rewrite_labels(study, labels):
    zarr.open_array(study.labels_path / "labels", mode="r+")[:] = labels


def test_an_epoch_has_whole_batches_of_training_ground(tmp_path):
    study = make_ground(tmp_path, chips_per_epoch=10)
    chips = chips_for(study)
    assert chips.train_batches == 3
    batches = list(chips.train)
    assert [batch["image"].shape for batch in batches] == [(4, 2, 64, 64)] * 3
    first, end = SPLIT["train"]
    assert all(first <= left < right <= end for left, right in columns_of(batches))


def test_two_trials_of_one_seed_see_the_same_chips_and_epochs_differ(tmp_path):
    study = make_ground(tmp_path)
    one, two, other = chips_for(study), chips_for(study), chips_for(study, seed=1)
    first = [batch["image"] for batch in one.train]
    assert all(torch.equal(a, b["image"]) for a, b in zip(first, two.train, strict=True))
    assert not torch.equal(first[0], next(iter(one.train))["image"])
    assert not torch.equal(first[0], next(iter(other.train))["image"])


def test_validation_counts_each_validation_pixel_once(tmp_path):
    study = make_ground(tmp_path)
    counted = sum(int((batch["mask"] != 255).sum()) for batch in chips_for(study).validation)
    first, end = SPLIT["validation"]
    assert counted == (HEIGHT - NODATA_ROWS) * (end - first)


def test_random_split_trains_on_all_ground_and_holds_a_tenth_out(tmp_path):
    study = make_ground(tmp_path)
    (ground,) = grounds_of([study], study.config, is_random=True)
    assert len(ground.train) + len(ground.validation) == 7 * 11
    assert len(ground.validation) == 8
    assert not set(ground.train) & set(ground.validation)
    chips = chips_of([ground], study.config.train, seed=0)
    assert min(left for left, _ in columns_of(chips.train)) < SPLIT["test"][1]
    assert sum(len(batch["image"]) for batch in chips.validation) == 8


def test_neighbouring_training_cells_are_joined(tmp_path):
    study = make_ground(tmp_path)
    splits = gpd.read_parquet(study.splits_path)
    row = splits[splits["split"] == "train"].index[0]
    halves = splits.loc[[row, row]].copy()
    halves["width"] = 96
    halves["col0"] = [112, 208]
    pd.concat([splits.drop(row), halves]).to_parquet(study.splits_path)
    (ground,) = grounds_of([study], study.config)
    assert ground.train == (Window(y=0, x=112, height=HEIGHT, width=192),)


def test_basins_give_equally_many_chips_and_pool_their_validation(tmp_path):
    one = make_ground(tmp_path / "one", "one")
    two = make_ground(tmp_path / "two", "two", seed=1)
    alone, both = chips_for(one), chips_for(one, two)
    assert both.train_batches == alone.train_batches
    drawn = [basin for basin, _ in both.train.sampler]
    assert (drawn.count(0), drawn.count(1)) == (12, 12)
    assert len(both.validation.dataset) == 2 * len(alone.validation.dataset)


def test_a_basin_without_validation_ground_only_teaches(tmp_path):
    one = make_ground(tmp_path / "one", "one")
    two = make_ground(tmp_path / "two", "two", seed=1)
    splits = gpd.read_parquet(two.splits_path)
    splits["split"] = "train"
    splits.to_parquet(two.splits_path)
    chips = chips_for(one, two)
    assert len(chips.validation.dataset) == len(chips_for(one).validation.dataset)


@pytest.mark.parametrize(
    ("missing", "message", "todo"),
    [
        ("train", "no ground to train on in 'ground'", "labels.guard"),
        ("validation", "no labelled ground to choose on in 'ground'", "labels.validation_share"),
    ],
)
def test_missing_ground_says_what_to_do(tmp_path, missing, message, todo):
    study = make_ground(tmp_path)
    splits = gpd.read_parquet(study.splits_path)
    splits[splits["split"] != missing].to_parquet(study.splits_path)
    with pytest.raises(InputError, match=message) as caught:
        chips_for(study)
    assert "splits.parquet" in caught.value.expected
    assert todo in caught.value.todo


def test_training_ground_without_a_rock_glacier_is_refused(tmp_path):
    study = make_ground(tmp_path)
    rewrite_labels(study, np.zeros((HEIGHT, WIDTH), np.uint8))
    with pytest.raises(InputError, match="holds no rock glacier") as caught:
        chips_for(study)
    assert "labels.seed" in caught.value.todo


def test_basins_without_fusion_say_which_stage_makes_it(tmp_path):
    study = make_ground(tmp_path)
    study.fusion_path.unlink()
    with pytest.raises(NotFoundError, match="rockglacier fuse"):
        grounds_of([study], study.config)
