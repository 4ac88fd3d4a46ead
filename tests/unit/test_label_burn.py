"""What the loss is told beside the labels, what is burnt again, and how far off outlines may be."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from made_reference import LANDFORM, label_study, make_grid, write_outlines
from rockglacier.engine import Selection
from rockglacier.grid import Window
from rockglacier.labels.burn import (
    Outlines,
    Teaching,
    burn,
    frame_of,
    label_basin,
    label_tasks,
    taught,
)
from rockglacier.labels.registration import shift_scores
from rockglacier.stages import stage_named

OTHER = shapely.box(74.07, 36.03, 74.08, 36.04)
ICE = shapely.box(74.025, 36.015, 74.05, 36.035)


def stored(study, name="labels"):
    return zarr.open_array(study.labels_path / name, mode="r")[:]


def box_on(grid, window):
    return shapely.box(*grid.window_geobox(window).boundingbox.bbox)


def test_the_band_is_as_wide_as_said_and_only_the_loss_sees_it():
    grid = make_grid()
    inside = Window(y=30, x=40, height=20, width=30)
    outlines = Outlines(
        landforms=(box_on(grid, inside),), ignored=(), complete_within=box_on(grid, grid.whole)
    )
    labels = burn(outlines, grid, grid.whole)
    told = taught(labels, outlines, Teaching(band_m=40), grid, grid.whole)
    assert set(np.unique(labels)) == {0, 1}
    assert (told[40, 40:70] == 255).sum() == 4  # two pixels of 20 m from each side
    assert (told[40, 42:68] == 1).all()
    assert (told[40, 38:40] == 255).all()
    assert told[40, 37] == 0
    assert (told != labels).sum() == (told == 255).sum()


def test_neighbours_have_no_band_between_them():
    grid = make_grid()
    one, other = Window(y=30, x=40, height=20, width=10), Window(y=30, x=50, height=20, width=10)
    outlines = Outlines(
        landforms=(box_on(grid, one), box_on(grid, other)),
        ignored=(),
        complete_within=box_on(grid, grid.whole),
    )
    told = taught(burn(outlines, grid, grid.whole), outlines, Teaching(band_m=40), grid, grid.whole)
    assert (told[40, 42:58] == 1).all()


@pytest.mark.parametrize(("meaning", "value"), [("ignore", 255), ("hard", 2)])
def test_background_on_glaciers_is_ignored_or_hard_and_landforms_stay(tmp_path, meaning, value):
    study = label_study(
        tmp_path,
        reference=write_outlines(tmp_path / "r.gpkg", [LANDFORM, OTHER]),
        glaciers=write_outlines(tmp_path / "g.gpkg", [ICE]),
        in_glaciers=meaning,
    )
    label_basin(study)
    labels, told = stored(study), stored(study, "taught")
    assert set(np.unique(labels)) == {0, 1, 255}
    np.testing.assert_array_equal(told == 1, labels == 1)
    on_ice = (told == value) & (told != labels)
    assert on_ice.any()
    assert (labels[on_ice] == 0).all()
    np.testing.assert_array_equal(told[~on_ice], labels[~on_ice])
    flags = zarr.open_array(study.labels_path / "taught", mode="r").attrs
    assert flags["flag_values"] == [0, 1, 2, 255]


def test_without_band_and_glaciers_there_is_no_second_array(tmp_path):
    reference = write_outlines(tmp_path / "r.gpkg", [LANDFORM])
    study = label_study(tmp_path, reference=reference, ignore_band_m=50)
    assert label_basin(study)["untaught_share"] > 0
    labels, told = stored(study), stored(study, "taught")
    assert ((told == 255) & (labels == 1)).any()
    assert ((told == 255) & (labels == 0)).any()
    study = label_study(tmp_path, reference=reference)
    assert label_basin(study)["untaught_share"] == 0
    assert not (study.labels_path / "taught").exists()
    np.testing.assert_array_equal(stored(study), labels)


def test_what_is_told_does_not_depend_on_the_block(tmp_path):
    reference = write_outlines(tmp_path / "r.gpkg", [LANDFORM, OTHER])
    glaciers = write_outlines(tmp_path / "g.gpkg", [ICE])
    found = []
    for block in (128, 512):
        study = label_study(
            tmp_path / str(block),
            block=block,
            reference=reference,
            glaciers=glaciers,
            in_glaciers="hard",
            ignore_band_m=70,
        )
        label_basin(study)
        found.append((stored(study), stored(study, "taught")))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def burnt(study):
    """When each block was burnt."""
    folder = study.receipts_path / "label"
    return {path.stem: path.stat().st_mtime_ns for path in folder.glob("*.json")}


def rewritten(path, shapes, **columns):
    path.unlink()
    return write_outlines(path, shapes, **columns)


def test_some_blocks_then_the_rest(tmp_path):
    reference = write_outlines(tmp_path / "r.gpkg", [LANDFORM, OTHER])
    study = label_study(tmp_path, reference=reference)
    facts = label_basin(study, selection=Selection.parse("0:2,1:3"))
    assert (facts["built"], facts["kept"]) == (4, 0)
    assert facts["left"] == facts["blocks"] - 4 > 0
    assert not study.splits_path.exists()
    tasks, receipts = label_tasks(study)
    assert receipts.current(tasks) == {f"r000{row}c000{col}" for row in (0, 1) for col in (1, 2)}
    facts = label_basin(study)
    assert (facts["kept"], facts["left"], facts["used"]) == (4, 0, 2)
    assert study.splits_path.exists()
    again = label_basin(study, selection=Selection.parse("0:1,0:1"))
    assert (again["left"], again["used"]) == (0, 2)


@pytest.mark.parametrize("band", [0, 60])
def test_only_blocks_whose_outlines_changed_are_burnt_again(tmp_path, band):
    path = tmp_path / "r.gpkg"
    study = label_study(
        tmp_path, reference=write_outlines(path, [LANDFORM, OTHER]), ignore_band_m=band
    )
    label_basin(study)
    before = burnt(study)
    assert len(before) > 4
    rewritten(path, [OTHER, LANDFORM])  # the order is no change
    label_basin(study)
    assert burnt(study) == before
    moved = shapely.affinity.translate(OTHER, 1e-3, 0)
    rewritten(path, [LANDFORM, moved])
    label_basin(study)
    after = burnt(study)
    grid = study.grid
    shapes = gpd.GeoSeries([OTHER, moved], crs=4326).to_crs(grid.epsg)
    teaching = Teaching(band_m=band)
    touched = {
        block.name
        for block in grid.blocks()
        if shapes.intersects(frame_of(grid, block.window, teaching)).any()
    }
    assert {name for name in after if after[name] != before[name]} == touched
    assert 0 < len(touched) < len(before)
    fresh = label_study(tmp_path / "fresh", reference=str(path), ignore_band_m=band)
    label_basin(fresh)
    np.testing.assert_array_equal(stored(study), stored(fresh))


def test_complete_ground_that_changed_elsewhere_burns_no_block_again(tmp_path):
    path = tmp_path / "c.gpkg"
    study = label_study(
        tmp_path,
        reference=write_outlines(tmp_path / "r.gpkg", [LANDFORM]),
        complete_within=write_outlines(path, [shapely.box(74.0, 36.0, 74.08, 36.06)]),
    )
    label_basin(study)
    before = burnt(study)
    rewritten(path, [shapely.box(74.0, 36.0, 74.085, 36.06)])
    label_basin(study)
    after = burnt(study)
    changed = {name for name in after if after[name] != before[name]}
    west, east = (
        float(gpd.GeoSeries([shapely.Point(lon, 36.03)], crs=4326).to_crs(32643).x[0])
        for lon in (74.08, 74.085)
    )
    boxes = {block.name: box_on(study.grid, block.window).bounds for block in study.grid.blocks()}
    touched = {name for name, box in boxes.items() if box[0] < east + 100 and box[2] > west - 100}
    assert changed
    assert changed <= touched
    assert len(touched) < len(before)


def test_a_square_scores_against_its_shift_as_geometry_says():
    labels = np.zeros((80, 90), np.uint8)
    labels[20:50, 30:60] = 1
    scores = shift_scores(labels, [Window(y=0, x=0, height=80, width=90)])
    for shift, score in scores.items():
        expected = (30 - shift) / (30 + shift)
        assert score == pytest.approx({"mean": expected, "min": expected})
    assert list(scores) == [1, 2, 3, 4, 5]


@settings(max_examples=15, deadline=None)
@given(st.integers(8, 60), st.integers(8, 60), st.integers(0, 5))
def test_shifts_do_not_depend_on_the_windows(height, width, seed):
    labels = np.random.default_rng(seed).choice(
        np.array([0, 1, 255], np.uint8), size=(70, 65), p=[0.6, 0.3, 0.1]
    )
    windows = [
        Window(y=y, x=x, height=height, width=width).clipped(labels.shape)
        for y in range(0, 70, height)
        for x in range(0, 65, width)
    ]
    whole = shift_scores(labels, [Window(y=0, x=0, height=70, width=65)])
    assert shift_scores(labels, windows) == whole


def test_labels_without_a_landform_have_no_score():
    assert shift_scores(np.zeros((20, 20), np.uint8), [Window(y=0, x=0, height=20, width=20)]) == {}


def test_labelling_tells_what_a_misregistration_costs(tmp_path):
    facts = label_basin(
        label_study(tmp_path, reference=write_outlines(tmp_path / "r.gpkg", [LANDFORM]))
    )
    by_shift = facts["iou_by_shift_px"]
    means = [by_shift[str(shift)]["mean"] for shift in (1, 2, 3, 4, 5)]
    assert means == sorted(means, reverse=True)
    assert facts["iou_of_reference_moved_5_px"] == means[-1]
    assert 0.5 < means[-1] < means[0] < 1


def test_every_split_that_was_used_is_kept(tmp_path):
    reference = write_outlines(tmp_path / "r.gpkg", [LANDFORM, OTHER])
    versions = set()
    for guard in (10, 12):
        study = label_study(tmp_path, reference=reference, guard=guard)
        versions.add(label_basin(study)["split_version"])
        current = gpd.read_parquet(study.splits_path)
        kept = gpd.read_parquet(study.folder / "splits" / f"{current['version'].iloc[0]}.parquet")
        assert kept.equals(current)
    assert len(list((study.folder / "splits").glob("*.parquet"))) == len(versions) == 2


def test_folds_are_written_and_go_where_they_are_not_asked_for(tmp_path):
    reference = write_outlines(tmp_path / "r.gpkg", [LANDFORM, OTHER])
    study = label_study(tmp_path, reference=reference, split="folds", folds=4, fold=1, guard=4)
    label_basin(study)
    folds = gpd.read_parquet(study.folder / "folds.parquet")
    splits = gpd.read_parquet(study.splits_path)
    assert folds["fold"].unique().tolist() == [0, 1, 2, 3]
    one = folds[folds["fold"] == 1].drop(columns="fold").reset_index(drop=True)
    assert one.equals(splits)
    label_basin(label_study(tmp_path, reference=reference))
    assert not (study.folder / "folds.parquet").exists()


def test_sub_basins_are_read_from_their_file(tmp_path):
    strips = [shapely.box(74.0 + 0.025 * k, 36.0, 74.025 + 0.025 * k, 36.06) for k in range(4)]
    study = label_study(
        tmp_path,
        reference=write_outlines(tmp_path / "r.gpkg", [LANDFORM, OTHER]),
        split="sub-basins",
        sub_basins=write_outlines(tmp_path / "s.gpkg", strips),
        fold=3,
        guard=4,
        validation_share=0.2,
    )
    facts = label_basin(study)
    assert 0.1 < facts["ground"]["test"] < 0.35
    splits = gpd.read_parquet(study.splits_path).to_crs(4326)
    tested = shapely.union_all(splits.geometry[splits["split"] == "test"])
    assert tested.representative_point().x > 74.07


def test_files_of_the_settings_make_the_stage_stale(tmp_path):
    study = label_study(
        tmp_path,
        reference="r.gpkg",
        glaciers="g.gpkg",
        split="sub-basins",
        sub_basins="s.gpkg",
    )
    files = {Path(file).name for of in stage_named("label").files if (file := of(study))}
    assert files == {"r.gpkg", "g.gpkg", "s.gpkg"}
