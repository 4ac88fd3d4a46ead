"""The reference as it comes, burnt labels, and the split of the ground."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from made_reference import AREA, BOW_TIE, LANDFORM, label_study, make_grid, write_outlines
from made_study import grid_of
from rockglacier.config import LabelConfig
from rockglacier.errors import InputError
from rockglacier.grid import Window
from rockglacier.labels.burn import Outlines, burn, label_basin
from rockglacier.labels.reference import read_reference
from rockglacier.labels.split import (
    chip_lattice,
    make_splits,
    random_split,
    split_mask,
    windows_of,
)

OTHER = shapely.box(74.05, 36.02, 74.06, 36.03)
FAR = shapely.box(80.0, 30.0, 80.1, 30.1)


def actions(table):
    return table["action"].tolist()


def test_other_crs_is_transformed(tmp_path):
    shapes = list(gpd.GeoSeries([LANDFORM], crs=4326).to_crs(32643))
    table = read_reference(write_outlines(tmp_path / "r.gpkg", shapes, crs=32643), area=AREA)
    assert table.geometry[0].symmetric_difference(LANDFORM).area < 1e-3 * LANDFORM.area


def test_invalid_ring_is_repaired_with_both_lobes(tmp_path):
    table = read_reference(write_outlines(tmp_path / "r.gpkg", [LANDFORM, BOW_TIE]), area=AREA)
    assert actions(table) == ["kept", "repaired"]
    assert table.geometry.is_valid.all()
    assert table.geometry[1].area == pytest.approx(0.5 * 1e-4, rel=1e-6)
    assert table["area_change_km2"][1] > 0.4


def test_landform_drawn_twice_is_used_once(tmp_path):
    shifted = shapely.affinity.translate(LANDFORM, 1e-5, 0)
    table = read_reference(
        write_outlines(tmp_path / "r.gpkg", [LANDFORM, shifted, OTHER]), area=AREA
    )
    assert actions(table) == ["kept", "duplicate", "kept"]
    assert table["used"].tolist() == [True, False, True]


def test_polygon_outside_the_area_is_counted(tmp_path):
    table = read_reference(write_outlines(tmp_path / "r.gpkg", [LANDFORM, FAR]), area=AREA)
    assert actions(table) == ["kept", "outside"]


def test_reference_without_overlap_says_where_both_lie(tmp_path):
    with pytest.raises(InputError) as caught:
        read_reference(write_outlines(tmp_path / "r.gpkg", [FAR]), area=AREA)
    message = str(caught.value)
    assert "none of the 1 polygons" in message
    assert "80.000 30.000" in message
    assert "74.000 36.000" in message
    assert "swapped" in message


@pytest.mark.parametrize(
    ("shape", "ground"),
    [
        (shapely.MultiPolygon([LANDFORM, shapely.affinity.translate(LANDFORM, 5e-3, 0)]), 1.5),
        (shapely.MultiPolygon([LANDFORM, LANDFORM.buffer(-2e-3)]), 1.0),
        (
            shapely.Polygon(
                LANDFORM.exterior,
                [shapely.affinity.translate(LANDFORM, 5e-3, 0).exterior.coords],
            ),
            0.5,
        ),
    ],
    ids=["overlapping parts", "a part in a part", "a hole beyond its shell"],
)
def test_repair_neither_loses_nor_invents_ground(tmp_path, shape, ground):
    table = read_reference(write_outlines(tmp_path / "r.gpkg", [shape]), area=AREA)
    assert actions(table) == ["repaired"]
    assert table.geometry[0].area == pytest.approx(ground * LANDFORM.area, rel=1e-6)


def test_reference_without_crs_is_refused(tmp_path):
    path = write_outlines(tmp_path / "r.shp", [LANDFORM])
    (tmp_path / "r.prj").unlink()
    with pytest.raises(InputError, match=r"has no CRS(.|\n)*Set CRS"):
        read_reference(path, area=AREA)


def test_filter_that_keeps_nothing_lists_the_values(tmp_path):
    path = write_outlines(
        tmp_path / "r.gpkg", [LANDFORM, OTHER], OutType=["Restricted", "extended"]
    )
    with pytest.raises(InputError, match="keeps none of the 2 polygons") as caught:
        read_reference(path, area=AREA, where={"OutType": ("Extended",)})
    assert "Restricted, extended" in caught.value.expected


def test_first_layer_with_polygons_is_read(tmp_path):
    path = tmp_path / "r.gpkg"
    points = gpd.GeoDataFrame(geometry=[shapely.Point(74.05, 36.03)], crs=4326)
    points.to_file(path, layer="markers")
    gpd.GeoDataFrame(geometry=[LANDFORM], crs=4326).to_file(path, layer="outlines")
    assert len(read_reference(str(path), area=AREA)) == 1


def test_missing_column_of_a_filter_lists_the_columns(tmp_path):
    path = write_outlines(tmp_path / "r.gpkg", [LANDFORM], Outline=["Extended"])
    with pytest.raises(InputError, match=r"no column 'OutType'(.|\n)*Outline"):
        read_reference(path, area=AREA, where={"OutType": ("Extended",)})


def test_reference_without_polygons_is_refused(tmp_path):
    path = write_outlines(tmp_path / "r.gpkg", [shapely.Point(74.05, 36.03)])
    with pytest.raises(InputError, match="no polygon"):
        read_reference(path, area=AREA)


@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "parquet", "shp"])
def test_empty_reference_is_believed_only_where_the_ground_is_said_to_be_complete(tmp_path, suffix):
    path = tmp_path / f"r.{suffix}"
    nothing = gpd.GeoDataFrame({"OutType": []}, geometry=[], crs=32643)
    if suffix == "parquet":
        nothing.to_parquet(path)
    elif suffix == "geojson":
        nothing.to_file(path)
    else:
        nothing.to_file(path, geometry_type="Polygon")
    with pytest.raises(InputError, match=r"0 feature\(s\) and no polygon(.|\n)*complete_within"):
        read_reference(str(path), area=AREA)
    where = {"OutType": ("Extended",)}
    table = read_reference(str(path), area=AREA, where=where, may_be_empty=True)
    assert table.empty
    assert table.crs.to_epsg() == 4326


def test_points_are_no_empty_reference(tmp_path):
    path = write_outlines(tmp_path / "r.gpkg", [shapely.Point(74.05, 36.03)])
    with pytest.raises(InputError, match="no polygon"):
        read_reference(path, area=AREA, may_be_empty=True)


def test_geoparquet_and_geopackage_read_the_same(tmp_path):
    table = gpd.GeoDataFrame(geometry=[LANDFORM, OTHER], crs=4326)
    table.to_parquet(tmp_path / "r.parquet")
    table.to_file(tmp_path / "r.gpkg")
    one = read_reference(str(tmp_path / "r.parquet"), area=AREA)
    other = read_reference(str(tmp_path / "r.gpkg"), area=AREA)
    assert one.geometry.geom_equals(other.geometry).all()


def outlines_on(grid, *, landforms=(), ignored=(), complete):
    def boxes(windows):
        return tuple(shapely.box(*grid.window_geobox(w).boundingbox.bbox) for w in windows)

    return Outlines(
        landforms=boxes(landforms), ignored=boxes(ignored), complete_within=boxes([complete])[0]
    )


def test_burnt_by_pixel_centres():
    grid = make_grid()
    inside = Window(y=10, x=20, height=7, width=9)
    labels = burn(outlines_on(grid, landforms=[inside], complete=grid.whole), grid, grid.whole)
    expected = np.zeros(grid.shape, "uint8")
    expected[inside.slices] = 1
    np.testing.assert_array_equal(labels, expected)


def test_ground_outside_the_complete_area_is_ignored():
    grid = make_grid()
    complete = Window(y=0, x=0, height=50, width=40)
    inside = Window(y=40, x=30, height=20, width=20)
    labels = burn(outlines_on(grid, landforms=[inside], complete=complete), grid, grid.whole)
    assert labels[5, 5] == 0
    assert labels[55, 45] == 1
    assert labels[80, 80] == 255


def test_filtered_polygons_are_ignored_ground():
    grid = make_grid()
    filtered = Window(y=10, x=10, height=10, width=10)
    kept = Window(y=15, x=15, height=10, width=10)
    shapes = outlines_on(grid, landforms=[kept], ignored=[filtered], complete=grid.whole)
    labels = burn(shapes, grid, grid.whole)
    assert labels[11, 11] == 255
    assert labels[17, 17] == 1


def test_labels_do_not_depend_on_the_block(tmp_path):
    path = write_outlines(tmp_path / "r.gpkg", [LANDFORM, OTHER, BOW_TIE], OutType=["a", "b", "a"])
    stored = []
    for block in (128, 512):
        folder = tmp_path / str(block)
        study = label_study(folder, block=block, reference=path, where={"OutType": ["a"]})
        facts = label_basin(study)
        stored.append(zarr.open_array(study.labels_path / "labels", mode="r")[:])
        assert facts["actions"] == {"kept": 1, "filtered": 1, "repaired": 1}
    np.testing.assert_array_equal(*stored)
    assert set(np.unique(stored[0])) == {0, 1, 255}


def test_ground_without_a_landform_is_told(tmp_path, caplog):
    reference = write_outlines(tmp_path / "r.gpkg", [shapely.box(74.045, 36.02, 74.055, 36.03)])
    facts = label_basin(label_study(tmp_path, reference=reference))
    assert facts["landform_pixels"]["train"] > 0
    assert facts["landform_pixels"]["test"] == facts["landform_pixels"]["validation"] == 0
    assert "the test ground holds no rock glacier" in caplog.text
    assert "the train ground" not in caplog.text
    assert "labels.guard, 10 px, is narrower than a chip, 256 px" in caplog.text


def test_basin_without_rock_glaciers_is_background_where_it_is_complete(tmp_path, caplog):
    gpd.GeoDataFrame(geometry=[], crs=4326).to_file(tmp_path / "r.gpkg", geometry_type="Polygon")
    complete = write_outlines(tmp_path / "c.gpkg", [shapely.box(74.0, 36.0, 74.05, 36.06)])
    reference = str(tmp_path / "r.gpkg")
    with pytest.raises(InputError, match="no polygon"):
        label_basin(label_study(tmp_path, reference=reference))
    study = label_study(tmp_path, reference=reference, complete_within=complete)
    facts = label_basin(study)
    labels = zarr.open_array(study.labels_path / "labels", mode="r")[:]
    assert 0.4 < (labels == 0).mean() < 0.6
    assert set(np.unique(labels)) == {0, 255}
    assert facts["used"] == facts["area_km2"] == facts["landform_share"] == 0
    assert gpd.read_parquet(study.label_table_path).empty
    assert "no ground is a rock glacier" in caplog.text
    assert "choose another labels.seed" not in caplog.text


def test_changed_reference_is_burnt_again(tmp_path):
    path = tmp_path / "r.gpkg"
    study = label_study(tmp_path, reference=write_outlines(path, [LANDFORM]))
    label_basin(study)
    path.unlink()
    write_outlines(path, [LANDFORM, OTHER])
    before = zarr.open_array(study.labels_path / "labels", mode="r")[:].copy()
    label_basin(study)
    after = zarr.open_array(study.labels_path / "labels", mode="r")[:]
    assert (after == 1).sum() > 1.5 * (before == 1).sum()


def test_study_without_reference_cannot_be_labelled(tmp_path):
    with pytest.raises(InputError, match="rockglacier map"):
        label_basin(label_study(tmp_path))


GRIDS = st.tuples(st.integers(60, 400), st.integers(60, 400))


def split_config(kind, **values):
    return LabelConfig(split=kind, **values)


@settings(deadline=None)
@given(GRIDS, st.sampled_from(["strip", "blocks"]), st.integers(0, 20), st.integers(0, 5))
def test_cells_cover_the_grid_once(shape, kind, guard, seed):
    config = split_config(kind, guard=guard, seed=seed, split_block=64, test_share=0.15)
    try:
        splits = make_splits(grid_of(shape), config)
    except InputError:
        return
    cover = np.zeros(shape, int)
    for part in ("train", "validation", "test", "guard"):
        for window in windows_of(splits, part):
            cover[window.slices] += 1
    assert (cover == 1).all()


@settings(deadline=None)
@given(GRIDS, st.sampled_from(["strip", "blocks"]), st.integers(1, 20), st.integers(0, 5))
def test_no_other_ground_within_the_guard_of_the_test(shape, kind, guard, seed):
    config = split_config(kind, guard=guard, seed=seed, split_block=64, test_share=0.15)
    try:
        splits = make_splits(grid_of(shape), config)
    except InputError:
        return
    codes = split_mask(splits, shape)
    for window in windows_of(splits, "test"):
        near = codes[window.grown(guard).clipped(shape).slices]
        assert not np.isin(near, [1, 2]).any()


def test_strips_are_contiguous_with_the_guard_between():
    splits = make_splits(
        grid_of((160, 200)),
        split_config("strip", guard=20, test_share=0.2, validation_share=0.15),
    )
    (test,) = windows_of(splits, "test")
    (train,) = windows_of(splits, "train")
    (validation,) = windows_of(splits, "validation")
    assert (test.width, test.height) == (40, 160)
    assert train.x == test.x + test.width + 20
    assert validation.x == train.x + train.width + 10


def test_split_that_leaves_too_little_says_which_numbers():
    with pytest.raises(InputError, match=r"labels\.guard \(100 px\) to 33 px"):
        make_splits(grid_of((100, 200)), split_config("strip", guard=100))


def test_train_only_trains_everywhere():
    splits = make_splits(grid_of((100, 200)), split_config("train-only"))
    assert (split_mask(splits, (100, 200)) == 1).all()


def test_random_split_is_nine_to_one_and_shares_pixels():
    train, held_out = random_split(chip_lattice((512, 512), chip=64), 0)
    assert len(train) / (len(train) + len(held_out)) == pytest.approx(0.9, abs=0.01)
    used = np.zeros((512, 512), bool)
    for window in train:
        used[window.slices] = True
    assert all(used[window.slices].any() for window in held_out)


def test_chips_beyond_the_border_are_not_on_the_lattice():
    chips = chip_lattice((100, 130), chip=64)
    assert {(chip.y, chip.x) for chip in chips} == {(y, x) for y in (0, 32) for x in (0, 32, 64)}


@pytest.mark.parametrize("shape", [(200, 160), (160, 200)])
def test_strip_without_test_ground_keeps_its_other_strips(shape):
    splits = make_splits(grid_of(shape), split_config("strip", guard=20, test_share=0))
    sizes = {
        name: sum(window.height * window.width for window in windows_of(splits, name)) // 160
        for name in ("test", "train", "guard", "validation")
    }
    assert sizes == {"test": 0, "train": 160, "guard": 10, "validation": 30}


def test_an_odd_seed_turns_the_strips_round():
    splits = make_splits(grid_of((160, 200)), split_config("strip", guard=20, seed=1))
    (test,) = windows_of(splits, "test")
    assert test.x + test.width == 200


def test_the_demo_basin_splits_into_known_strips():
    config = split_config("strip", guard=256, test_share=0.22, validation_share=0.15)
    splits = make_splits(grid_of((1600, 2000)), config)
    widths = splits[["split", "width"]].to_numpy().tolist()
    assert widths == [
        ["test", 440],
        ["guard", 256],
        ["train", 876],
        ["guard", 128],
        ["validation", 300],
    ]


def test_blocks_grow_until_the_guard_leaves_ground_to_train_on():
    shape = (2000, 2600)
    splits = make_splits(grid_of(shape), split_config("blocks"))
    codes = split_mask(splits, shape)
    assert (codes == 1).mean() >= 0.4
    assert 0.1 < (codes == 3).mean() < 0.3
    assert 0.1 < (codes == 2).mean() < 0.3
    for window in windows_of(splits, "validation"):
        assert not (codes[window.grown(128).clipped(shape).slices] == 1).any()


def test_blocks_that_cannot_keep_their_guard_say_which_numbers():
    with pytest.raises(InputError, match=r"blocks leaves at most(.|\n)*guard 256 px(.|\n)*strip"):
        make_splits(grid_of((300, 300)), split_config("blocks", split_block=64))
