"""Folds and sub-basins: no pixel is shared, and a split can be told from another."""

from itertools import pairwise

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from made_study import NORTH, WEST, grid_of
from rockglacier.config import LabelConfig
from rockglacier.errors import InputError
from rockglacier.labels.split import (
    chip_lattice,
    labelled_chips,
    make_folds,
    make_splits,
    random_split,
    windows_of,
)

PIXEL = 10


def pixels_of(windows, shape, *, grown=0):
    """The numbers of the pixels of windows, a number a pixel of the grid."""
    number = np.arange(shape[0] * shape[1]).reshape(shape)
    near = [window.grown(grown).clipped(shape) for window in windows]
    return set().union(*(number[window.slices].ravel().tolist() for window in near))


def require_apart(folds, shape, guard):
    """Every pixel is tested once; none that trains or chooses is near the test of its fold."""
    tested = []
    for _, fold in folds.groupby("fold"):
        parts = {
            name: pixels_of(windows_of(fold, name), shape)
            for name in ("train", "validation", "test", "guard")
        }
        assert sum(map(len, parts.values())) == len(set().union(*parts.values()))
        assert len(set().union(*parts.values())) == shape[0] * shape[1]
        near_test = pixels_of(windows_of(fold, "test"), shape, grown=guard)
        assert not near_test & (parts["train"] | parts["validation"])
        near_choice = pixels_of(windows_of(fold, "validation"), shape, grown=guard // 2)
        assert not near_choice & parts["train"]
        tested.append(parts["test"])
    assert sum(map(len, tested)) == len(set().union(*tested))
    return set().union(*tested)


@settings(max_examples=30, deadline=None)
@given(
    st.tuples(st.integers(60, 240), st.integers(60, 240)),
    st.integers(3, 7),
    st.integers(0, 20),
    st.sampled_from([0.0, 0.1, 0.2]),
)
def test_no_pixel_is_shared_between_folds_nor_within_their_guard(shape, count, guard, validation):
    config = LabelConfig(split="folds", folds=count, guard=guard, validation_share=validation)
    try:
        folds = make_folds(grid_of(shape), config)
    except InputError:
        return
    tested = require_apart(folds, shape, guard)
    assert len(tested) == shape[0] * shape[1]
    assert folds["fold"].nunique() == count


def valleys(shape):
    """Four sub-basins with slanted borders, that cover all but the last columns of the grid."""
    height, width = shape[0] * PIXEL, shape[1] * PIXEL
    edges = np.linspace(0, 0.95 * width, 5)
    return [
        shapely.Polygon(
            [
                (WEST + left, NORTH),
                (WEST + right, NORTH),
                (WEST + right + 300 * (right < edges[-1]), NORTH - height),
                (WEST + left + 300 * (left > 0), NORTH - height),
            ]
        )
        for left, right in pairwise(edges)
    ]


def test_no_pixel_is_shared_between_sub_basins_nor_within_their_guard():
    shape, guard = (300, 1280), 40
    config = LabelConfig(
        split="sub-basins", sub_basins="valleys.gpkg", guard=guard, validation_share=0.2
    )
    folds = make_folds(grid_of(shape), config, sub_basins=valleys(shape))
    tested = require_apart(folds, shape, guard)
    assert 0.9 < len(tested) / (shape[0] * shape[1]) < 1
    assert folds["fold"].unique().tolist() == [0, 1, 2, 3]


def test_a_tested_sub_basin_is_that_of_its_number():
    shape = (300, 1280)
    config = LabelConfig(split="sub-basins", sub_basins="v.gpkg", guard=20, fold=2)
    parts = valleys(shape)
    splits = make_splits(grid_of(shape), config, sub_basins=parts)
    ground = shapely.union_all(splits.geometry[splits["split"] == "test"])
    assert ground.intersection(parts[2]).area / parts[2].area > 0.85
    chosen = shapely.union_all(splits.geometry[splits["split"] == "validation"])
    assert chosen.intersection(parts[0]).area / parts[0].area > 0.85


def test_two_sub_basins_are_too_few():
    shape = (300, 1280)
    config = LabelConfig(split="sub-basins", sub_basins="v.gpkg", guard=20)
    with pytest.raises(InputError, match=r"2 of 2 sub-basins(.|\n)*at least three"):
        make_splits(grid_of(shape), config, sub_basins=valleys(shape)[:2])


def test_folds_that_leave_too_little_say_which_numbers():
    config = LabelConfig(split="folds", folds=5, fold=2, guard=100)
    with pytest.raises(InputError, match=r"fold 2 of 5 leaves(.|\n)*labels\.guard"):
        make_splits(grid_of((200, 500)), config)


def test_other_divisions_have_no_folds():
    assert make_folds(grid_of((200, 300)), LabelConfig(split="strip", guard=10)) is None


def test_the_version_is_that_of_the_division():
    grid = grid_of((200, 600))
    config = LabelConfig(split="folds", folds=4, guard=10)
    one = make_splits(grid, config)
    assert one["version"].nunique() == 1
    again = make_splits(grid, config.model_copy(update={"reference": "other.gpkg"}))
    assert one.equals(again)
    versions = {
        make_splits(grid, config.model_copy(update=change))["version"].iloc[0]
        for change in ({}, {"fold": 1}, {"guard": 12}, {"split": "strip"}, {"folds": 5})
    }
    assert len(versions) == 5


def test_a_fold_that_is_none_is_refused():
    with pytest.raises(ValidationError, match="fold 5 is none of 0 to 4"):
        LabelConfig(split="folds", fold=5)
    with pytest.raises(ValidationError, match="needs the polygon file"):
        LabelConfig(split="sub-basins")


def test_the_random_split_of_the_paper_is_over_chips_with_a_landform():
    labels = np.zeros((640, 640), np.uint8)
    labels[100:180, 40:600] = 1
    labels[400:420, 500:530] = 1
    labels[500:600, :200] = 255
    chips = labelled_chips(labels, chip_lattice(labels.shape, chip=64))
    assert 0 < len(chips) < 120
    assert all((labels[chip.slices] == 1).any() for chip in chips)
    train, held_out = random_split(chips, 0)
    assert len(held_out) == round(0.1 * len(chips))
    assert len(train) + len(held_out) == len(chips)


def test_a_table_of_folds_is_geoparquet(tmp_path):
    folds = make_folds(grid_of((200, 600)), LabelConfig(split="folds", folds=3, guard=10))
    folds.to_parquet(tmp_path / "folds.parquet")
    read = gpd.read_parquet(tmp_path / "folds.parquet")
    assert read.crs.to_epsg() == 32643
    assert read["version"].nunique() == 3
