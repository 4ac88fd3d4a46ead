"""Features: which pixels are fitted, what is stored, and that blocks leave no trace."""

import json
import pickle

import geopandas as gpd
import numpy as np
import pytest
import shapely
import zarr

from made_study import changed, grid_of, study_in
from rockglacier.cube.curvature import curvature
from rockglacier.cube.roughness import roughness
from rockglacier.cube.store import create_cube
from rockglacier.cube.terrain import slope_aspect
from rockglacier.cube.writer import CubeWriter
from rockglacier.engine import Receipts, Selection
from rockglacier.errors import InputError, NotFoundError
from rockglacier.features import build
from rockglacier.features.fitted import first_component
from rockglacier.features.fusion import Fusion, fit, fuse, fuse_tasks
from rockglacier.features.sets import FEATURE_SETS, LAYERS, ROUGHNESS_RADIUS
from rockglacier.storage import open_place, read_json, write_json, zarr_store
from rockglacier.study import Study

HEIGHT, WIDTH = 270, 301
BANDS = ["B02", "B03", "B04", "B08", "B11", "B12"]
NODATA = -32768
HOLE = (slice(40, 50), slice(60, 75))
SNOW = (slice(100, 140), slice(0, WIDTH))


def ground(bands):
    """Return the layers of a whole cube: a hole without looks, and snow that is far too bright."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    shade = 300 * np.sin(x / 19) * np.cos(y / 23)
    stored = np.stack(
        [2000 + 150 * i + shade + rng.normal(0, 60, y.shape) for i in range(len(bands))]
    )
    stored[:, SNOW[0], SNOW[1]] = 30_000
    stored[:, HOLE[0], HOLE[1]] = 0
    elevation = (4000 + 3 * x + 40 * np.sin(y / 9) + rng.normal(0, 0.5, y.shape)).astype(np.float32)
    elevation[200:240, 200:240] = 4500  # flat
    slope, aspect = (
        layer[1:-1, 1:-1] for layer in slope_aspect(np.pad(elevation, 1, "edge"), 10, 0)
    )
    snow = np.zeros(y.shape, np.uint8)
    snow[SNOW] = 2
    return {
        "reflectance": stored.astype(np.uint16),
        "n_snow": snow,
        "elevation": elevation,
        "slope": slope,
        "aspect": aspect,
    }


@pytest.fixture
def make_study(tmp_path):
    def make(name="basin", *, block=256, features="stack", bands=BANDS, change=None):
        grid = grid_of((HEIGHT, WIDTH), block=block)
        cube = {"bands": bands, "block": block}
        study = study_in(tmp_path, grid, name=name, cube=cube, features={"set": features})
        create_cube(study)
        layers = ground(bands)
        if change is not None:
            change(layers)
        for one in grid.blocks():
            part = {key: values[(..., *one.window.slices)] for key, values in layers.items()}
            CubeWriter(study.cube_path).write(one.window, part)
        return study

    return make


def write_splits(study, columns):
    rows = [
        {"split": split, "row0": 0, "col0": x0, "height": HEIGHT, "width": x1 - x0}
        for split, (x0, x1) in columns.items()
    ]
    boxes = [shapely.box(row["col0"], 0, row["col0"] + row["width"], HEIGHT) for row in rows]
    gpd.GeoDataFrame(rows, geometry=boxes, crs=32643).to_parquet(study.splits_path)


def stored(study):
    return zarr.open_array(study.features_path / "features", mode="r")[:]


def held(study):
    return Fusion.from_dict(read_json(study.fusion_path))


@pytest.mark.parametrize("name", ["paper-pc1", "stack"])
def test_blocks_and_strips_change_no_bit(make_study, monkeypatch, name):
    large = make_study("large", block=512, features=name)
    fuse(large)
    monkeypatch.setattr(build, "STRIP", 48)
    small = make_study("small", block=128, features=name)
    assert fuse(small)["blocks"] == 9
    assert held(small).hash == held(large).hash
    np.testing.assert_array_equal(stored(small), stored(large))


@pytest.mark.parametrize(
    ("name", "channels"),
    [("paper-pc1", 3), ("paper-rgb", 9), ("triplets", 7), ("stack", 11), ("bands", 6)],
)
def test_every_set_has_its_channels_and_contract(make_study, name, channels):
    study = make_study(features=name)
    facts = fuse(study)
    array = zarr.open_array(study.features_path / "features", mode="r")
    group = zarr.open_group(study.features_path, mode="r")
    fusion = held(study)
    assert (array.shape, array.dtype) == ((channels, HEIGHT, WIDTH), np.int16)
    assert array.shards == (channels, 256, 256)
    assert array.chunks == (channels, 128, 128)
    assert dict(group.attrs) == {
        "channels": list(fusion.channels),
        "fusion": fusion.hash,
        "scale": 0.001,
        "nodata": NODATA,
        "crs": "EPSG:32643",
        "transform": [10, 0, 500_000, 0, -10, 4_000_000],
    }
    assert len(set(fusion.channels)) == channels == facts["channels"]
    assert facts["set"] == name
    shards = (study.features_path / "features" / "c").rglob("*")
    assert facts["written_bytes"] == sum(one.stat().st_size for one in shards if one.is_file())
    receipts = [receipt for _, receipt in Receipts(study.receipts_path / "fuse").all()]
    assert len(receipts) == 4
    assert all(receipt["read_bytes"] > 0 for receipt in receipts)
    assert facts["read_bytes"] == sum(receipt["read_bytes"] for receipt in receipts)
    json.dumps(facts)


def test_unknown_input_leaves_every_channel_without_data(make_study):
    study = make_study()
    facts = fuse(study)
    features = stored(study)
    missing = (features == NODATA).any(axis=0)
    np.testing.assert_array_equal(missing, (features == NODATA).all(axis=0))
    assert missing[HOLE].all()
    assert missing.sum() == 10 * 15
    assert facts["valid_percent"] == round(100 * (1 - 150 / (HEIGHT * WIDTH)), 2)


def test_ground_without_elevation_loses_what_its_neighbours_need(make_study):
    def lose(layers):
        for name in ("elevation", "slope", "aspect"):
            layers[name][30, 30] = np.nan

    study = make_study(change=lose)
    fuse(study)
    lost = stored(study)[0, 20:41, 20:41] == NODATA
    assert lost[10 - ROUGHNESS_RADIUS : 11 + ROUGHNESS_RADIUS].any(axis=1).all()
    assert lost.sum() == (2 * ROUGHNESS_RADIUS + 1) ** 2


def test_features_are_a_thousand_times_the_standardised_layers(make_study):
    study = make_study()
    fuse(study)
    fusion, features, layers = held(study), stored(study), ground(BANDS)
    inner = (slice(20, 35), slice(20, 50))
    expected = {
        "B04": layers["reflectance"][2] * 1e-4 - 0.1,
        "slope": layers["slope"],
        "aspect_sin": np.sin(np.radians(layers["aspect"])),
        "curvature": curvature(layers["elevation"], 10),
        "roughness": roughness(layers["elevation"], ROUGHNESS_RADIUS),
    }
    for name, values in expected.items():
        index = fusion.channels.index(name)
        z = (values[inner] - fusion.mean[index]) / fusion.std[index]
        np.testing.assert_allclose(features[index][inner], 1000 * z, atol=0.6, err_msg=name)


def test_flat_ground_faces_nowhere(make_study):
    study = make_study()
    fuse(study)
    fusion, features = held(study), stored(study)
    for name in ("aspect_sin", "aspect_cos"):
        index = fusion.channels.index(name)
        expected = round(-1000 * fusion.mean[index] / fusion.std[index])
        assert (features[index, 205:235, 205:235] == expected).all()


def test_rim_of_a_plane_is_as_flat_as_the_plane(make_study):
    def tilt(layers):
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        layers["elevation"][:] = 4000 + 4 * x - 2 * y

    study = make_study(change=tilt)
    fuse(study)
    fusion, features = held(study), stored(study)
    for name in ("curvature", "roughness"):
        channel = features[fusion.channels.index(name)]
        assert set(np.unique(channel)) <= {0, NODATA}


def test_only_training_pixels_without_snow_are_fitted(make_study):
    study = make_study()
    held_out = {"guard": (120, 150), "validation": (150, 220), "test": (220, WIDTH)}
    write_splits(study, {"train": (0, 120), **held_out})
    facts = fuse(study)
    layers = ground(BANDS)
    chosen = np.zeros((HEIGHT, WIDTH), bool)
    chosen[::7, 0:120:7] = True
    chosen[HOLE] = chosen[SNOW] = False
    assert facts["training_pixels"] == chosen.sum()
    values = (layers["reflectance"][0] * 1e-4 - 0.1)[chosen]
    fusion = held(study)
    np.testing.assert_allclose(
        (fusion.mean[0], fusion.std[0]), (values.mean(), values.std()), rtol=1e-6
    )


def test_other_ground_can_change_without_changing_the_fit(make_study):
    def brighten(layers):
        layers["reflectance"][:, :, 120:] += 5000
        layers["reflectance"][:, SNOW[0], :] += 999

    one, two = make_study("one"), make_study("two", change=brighten)
    for study in (one, two):
        write_splits(study, {"train": (0, 120), "validation": (120, 200), "test": (200, WIDTH)})
        fuse(study)
    assert held(one).hash == held(two).hash
    assert (stored(one) != stored(two)).any()


def test_no_training_pixel_is_an_error_that_says_what_to_do(make_study):
    study = make_study()
    write_splits(study, {"test": (0, WIDTH)})
    with pytest.raises(InputError, match="no pixel to fit the features to") as caught:
        fuse(study)
    assert "clear looks and elevation" in caught.value.expected
    assert "labels.guard" in caught.value.todo
    assert not study.features_path.exists()


def test_component_points_where_its_largest_loading_is_positive():
    base = np.random.default_rng(1).normal(size=4000)
    standard = [-base, base, -base + np.random.default_rng(2).normal(0, 0.3, 4000)]
    standard = [(values - values.mean()) / values.std() for values in standard]
    vector, share = first_component(standard)
    assert max(vector, key=abs) > 0
    assert np.hypot.reduce(vector) == pytest.approx(1)
    assert 0.9 < share < 1
    flipped, _ = first_component([-values for values in standard])
    assert flipped == pytest.approx(vector)


def test_components_are_standardised_and_report_what_they_keep(make_study):
    study = make_study(features="paper-pc1")
    facts = fuse(study)
    fusion, features = held(study), stored(study)
    assert list(facts["explained_variance"]) == list(fusion.channels)
    assert list(fusion.loadings["swir-pc1"]) == ["B11", "B12", "B02"]
    assert all(1 / 3 <= share <= 1 for share in facts["explained_variance"].values())
    lattice = features[:, ::7, ::7]
    seen = (lattice[0] != NODATA) & (ground(BANDS)["n_snow"][::7, ::7] == 0)
    np.testing.assert_allclose(lattice[:, seen].std(axis=1), 1000, rtol=2e-3)
    np.testing.assert_allclose(lattice[:, seen].mean(axis=1), 0, atol=1)


def test_false_colour_runs_from_0_to_1_between_the_training_percentiles(make_study):
    study = make_study(features="paper-rgb")
    fuse(study)
    features = stored(study)
    known = features[features != NODATA]
    assert (known.min(), known.max()) == (0, 1000)
    assert held(study).channels[:4] == ("swir-B11", "swir-B12", "swir-B02", "visible-B02")
    np.testing.assert_array_equal(features[2], features[3])
    assert ((features[0] == 0) & (ground(BANDS)["n_snow"] == 0)).mean() == pytest.approx(
        0.017, abs=0.01
    )


def test_values_are_clipped_and_a_constant_layer_is_0():
    samples = {name: np.linspace(0, 1, 50) for name in FEATURE_SETS["triplets"].layers}
    samples["slope"] = np.full(50, 0.1)
    fusion = fit(samples, name="triplets", bands=BANDS)
    layers = {name: np.array([[1e6, -1e6, 0.5, np.nan]], np.float32) for name in fusion.layers}
    layers["slope"] = np.full((1, 4), 0.1, np.float32)
    features = fusion.apply(layers)
    assert features[0, 0].tolist() == [32000, -32000, 0, NODATA]
    assert features[-1, 0].tolist() == [0, 0, 0, NODATA]


@pytest.mark.parametrize("name", FEATURE_SETS)
def test_fusion_survives_json_and_pickle_with_its_hash(name):
    rng = np.random.default_rng(3)
    layers = FEATURE_SETS[name].inputs(BANDS)
    fusion = fit({layer: rng.normal(3, 2, 500) for layer in layers}, name=name, bands=BANDS)
    again = Fusion.from_dict(json.loads(json.dumps(fusion.to_dict(), allow_nan=False)))
    assert again == fusion
    assert again.hash == fusion.hash == fusion.to_dict()["hash"]
    assert pickle.loads(pickle.dumps(fusion)).hash == fusion.hash  # noqa: S301


def test_hash_is_of_the_content_and_not_believed():
    samples = {layer: np.arange(9.0) for layer in FEATURE_SETS["triplets"].layers}
    values = fit(samples, name="triplets", bands=BANDS).to_dict()
    other = Fusion.from_dict({**values, "mean": [9.0, *values["mean"][1:]]})
    assert other.hash != values["hash"]


def test_broken_fusion_is_refused():
    with pytest.raises(InputError, match="cannot be read: KeyError") as caught:
        Fusion.from_dict({"set": "stack", "channels": []})
    assert "channels, mean and std" in caught.value.expected


def test_frozen_fusion_is_used_as_it_is(make_study):
    def brighten(layers):
        layers["reflectance"][:] += 700

    here, there = make_study("here"), make_study("there", change=brighten)
    fuse(here)
    facts = fuse(there, fusion=held(here))
    assert read_json(there.fusion_path) == read_json(here.fusion_path)
    assert facts["frozen"]
    assert facts["training_pixels"] is None
    assert (stored(there)[0] != stored(here)[0]).any()
    np.testing.assert_array_equal(stored(there)[6:, 0:30], stored(here)[6:, 0:30])


def test_frozen_fusion_ignores_bands_that_it_does_not_know(make_study):
    here = make_study("here", bands=["B02", "B04"])
    there = make_study("there", bands=["B02", "B04", "B08"])
    fuse(here)
    fuse(there, fusion=held(here))
    assert stored(there).shape == stored(here).shape
    np.testing.assert_array_equal(stored(there)[:2], stored(here)[:2])  # B02 and B04


def test_frozen_fusion_of_another_set_is_refused(make_study):
    one, two = make_study("one", features="triplets"), make_study("two")
    fuse(one)
    with pytest.raises(
        InputError, match="made for other bands or features: feature set 'triplets'"
    ) as caught:
        fuse(two, fusion=held(one))
    assert "'stack'" in caught.value.expected
    assert "features.set" in caught.value.todo


def test_frozen_fusion_of_other_bands_is_refused(make_study):
    one, two = make_study("one"), make_study("two", bands=["B02", "B04", "B08"])
    fuse(one)
    with pytest.raises(InputError, match="a model made for other bands or features") as caught:
        fuse(two, fusion=held(one))
    assert "it needs B03, B11, B12" in caught.value.found
    assert "this one has B02, B04, B08" in caught.value.expected
    assert "cube.bands" in caught.value.todo
    assert not two.fusion_path.exists()


def test_set_that_needs_more_bands_than_the_cube_has_is_refused(make_study):
    study = make_study(features="paper-pc1", bands=["B02", "B03", "B04", "B08"])
    with pytest.raises(InputError, match="needs B11, B12, which the cube does not have") as caught:
        fuse(study)
    assert "it has B02, B03, B04, B08" in caught.value.expected
    assert "cube.bands" in caught.value.todo


def test_no_cube_names_the_stage_that_makes_it(make_study, tmp_path):
    with pytest.raises(NotFoundError, match=r"cube\.zarr") as caught:
        fuse(study_in(tmp_path))
    assert "rockglacier cube" in caught.value.todo


def test_finished_blocks_are_kept_and_an_interrupted_stage_goes_on(make_study):
    study = make_study(block=128)

    def interrupt(what, done, total):
        if what == "fuse" and done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fuse(study, progress=interrupt)
    assert not study.fusion_path.exists()
    facts = fuse(study)
    assert facts["kept"] >= 3
    assert facts["built"] == 9 - facts["kept"]
    assert fuse(study)["built"] == 0
    other = make_study("other", block=128)
    fuse(other)
    np.testing.assert_array_equal(stored(study), stored(other))


def test_another_fusion_makes_the_store_anew(make_study):
    study = make_study()
    fuse(study)
    fusion = held(study)
    other = Fusion.from_dict({**fusion.to_dict(), "mean": [0.0] * 11})
    assert fuse(study, fusion=other)["built"] == 4
    assert zarr.open_group(study.features_path, mode="r").attrs["fusion"] == other.hash


def test_a_block_of_the_cube_built_again_rebuilds_what_it_reaches(make_study):
    study = make_study(block=128)
    cube = Receipts(study.receipts_path / "cube")
    for block in study.grid.blocks():
        write_json(cube.path(block.name), {"inputs": "a", "seconds": 1.0, "retries": 0})
    fuse(study)
    write_json(cube.path("r0000c0000"), {"inputs": "a", "seconds": 9.0, "retries": 4})
    assert fuse(study)["built"] == 0
    write_json(cube.path("r0000c0000"), {"inputs": "b", "seconds": 9.0, "retries": 4})
    assert fuse(study)["built"] == 4


def receive(study, changed=(), layer="reflectance/c/0/0"):
    """Write receipts of the cube as its stage does; some blocks have an object of other content."""
    cube = Receipts(study.receipts_path / "cube")
    for block in study.grid.blocks():
        keys = ("reflectance/c/0/0", "n_clear/c/0", "slope/c", "aspect/c", "elevation/c")
        objects = {f"{key}/{block.row}/{block.col}": [100, 7] for key in keys}
        if block.name in changed:
            objects[f"{layer}/{block.row}/{block.col}"] = [100, 8]
        facts = {"inputs": block.name + str(changed), "seconds": 1.0, "objects": objects}
        write_json(cube.path(block.name), facts)


def shards(study):
    folder = study.features_path / "features" / "c"
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_scene_that_joins_rebuilds_the_blocks_it_touches_and_leaves_the_fusion(make_study):
    study = make_study(block=128)
    receive(study)
    fuse(study)
    fusion, before = study.fusion_path.read_bytes(), shards(study)
    layers = ground(BANDS)
    for row, col in ((0, 1), (1, 1)):
        window = next(b.window for b in study.grid.blocks() if (b.row, b.col) == (row, col))
        brighter = layers["reflectance"][(slice(None), *window.slices)] + np.uint16(900)
        CubeWriter(study.cube_path).write(window, {"reflectance": brighter})
    receive(study, changed=("r0000c0001", "r0001c0001"))
    facts = fuse(study)
    assert (facts["built"], facts["kept"], facts["frozen"]) == (2, 7, True)
    assert facts["training_pixels"] > 1000
    assert study.fusion_path.read_bytes() == fusion
    after = shards(study)
    assert {key for key in before if before[key] != after[key]} == {"0/0/1", "0/1/1"}


def test_what_does_not_go_into_features_rebuilds_none(make_study):
    study = make_study(block=128)
    receive(study)
    fuse(study)
    receive(study, changed=("r0001c0001",), layer="n_clear/c/0")
    assert fuse(study)["built"] == 0


def test_other_elevation_rebuilds_the_blocks_around_too(make_study):
    study = make_study(block=128)
    receive(study)
    fuse(study)
    receive(study, changed=("r0000c0000",), layer="elevation/c")
    assert fuse(study)["built"] == 4
    flat = make_study("flat", block=128, features="triplets")
    receive(flat)
    fuse(flat)
    receive(flat, changed=("r0000c0000",), layer="elevation/c")
    assert fuse(flat)["built"] == 1


def test_numbers_are_fitted_anew_on_request_and_for_other_ground(make_study):
    study = make_study()
    write_splits(study, {"train": (0, 150), "test": (150, WIDTH)})
    assert not fuse(study)["frozen"]
    first = held(study).hash
    layers = ground(BANDS)
    layers["reflectance"][:, :, :] += 200
    for block in study.grid.blocks():
        part = layers["reflectance"][(slice(None), *block.window.slices)]
        CubeWriter(study.cube_path).write(block.window, {"reflectance": part})
    assert fuse(study)["frozen"]
    assert held(study).hash == first
    assert not fuse(study, refit=True)["frozen"]
    second = held(study)
    assert second.hash != first
    write_splits(study, {"train": (0, 140), "test": (140, WIDTH)})
    facts = fuse(study)
    assert not facts["frozen"]
    assert held(study).hash not in (first, second.hash)


def test_an_interrupted_stage_keeps_its_numbers(make_study):
    study = make_study(block=128)

    def interrupt(what, done, total):
        if what == "fuse":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fuse(study, progress=interrupt)
    assert not study.fusion_path.exists()
    facts = fuse(study)
    assert facts["frozen"]
    assert facts["training_pixels"] > 0


def test_numbers_of_a_model_do_not_become_those_of_the_study(make_study):
    study, other = make_study(), make_study("other", change=lambda layers: layers["slope"].fill(9))
    fuse(study)
    fuse(other)
    own = held(study).hash
    fuse(study, fusion=held(other))
    assert held(study).hash == held(other).hash
    fuse(study)
    assert held(study).hash == own


def test_the_store_may_lie_in_an_object_store(make_study, tmp_path):
    study = make_study()
    fuse(study)
    place = open_place(f"memory://{tmp_path.name}/features.zarr")
    assert build.create_store(place, study.grid, held(study))
    assert not build.create_store(place, study.grid, held(study))
    work = build.FuseWork(
        source=build.LayerSource(cube=study.cube_path, grid=study.grid, layers=held(study).layers),
        fusion=held(study),
        store=place,
    )
    receipts = Receipts(study.receipts_path / "cube")
    for block in study.grid.blocks():
        work(build.task_of(block, work, receipts))
    got = zarr.open_group(zarr_store(place, read_only=True), mode="r")["features"][:]
    np.testing.assert_array_equal(got, stored(study))


def test_every_layer_of_every_set_exists():
    assert all(layer in LAYERS for form in FEATURE_SETS.values() for layer in form.inputs(BANDS))
    assert "illumination" not in LAYERS


def test_some_blocks_then_the_rest(make_study):
    study, whole = make_study(block=128), make_study("whole", block=128)
    fuse(whole)
    facts = fuse(study, selection=Selection.parse("0:2,1:3"))
    assert (facts["built"], facts["kept"], facts["left"]) == (4, 0, 5)
    assert not study.fusion_path.exists()
    tasks, receipts = fuse_tasks(study)
    assert receipts.current(tasks) == {f"r000{row}c000{col}" for row in (0, 1) for col in (1, 2)}
    facts = fuse(study)
    assert (facts["built"], facts["kept"], facts["left"]) == (5, 4, 0)
    assert held(study).hash == held(whole).hash
    np.testing.assert_array_equal(stored(study), stored(whole))


def test_features_of_a_part_of_a_cube_are_neither_fitted_nor_taken_for_all(make_study):
    study = make_study(block=128)
    receive(study)
    cube = Receipts(study.receipts_path / "cube")
    whole, some = cube.read("r0001c0002"), Selection.parse("0:1,0:1")
    cube.drop("r0001c0002")
    for selection in (Selection(), some):
        with pytest.raises(
            NotFoundError, match=r"1 block.s. of the cube are not built: r0001c0002"
        ):
            fuse(study, selection=selection)
    write_json(cube.path("r0001c0002"), whole)
    fuse(study)
    cube.drop("r0001c0002")
    with pytest.raises(NotFoundError, match="r0001c0002"):
        fuse(study)
    assert fuse(study, selection=some)["left"] == 6  # the block and its neighbours, by elevation


SUMMERS = [["2023-07-01", "2023-09-30"], ["2024-07-01", "2024-09-30"]]


def in_periods(study, summers, brighter):
    """Return a study whose cube has a period for each number, which is added to its reflectance."""
    several = changed(study, cube={"periods": summers})
    create_cube(several)
    layers = ground(BANDS)
    for one in several.grid.blocks():
        for index, more in enumerate(brighter):
            part = {key: values[(..., *one.window.slices)] for key, values in layers.items()}
            looks = part["reflectance"] != 0
            part["reflectance"] = part["reflectance"] + looks * np.uint16(more)
            CubeWriter(several.cube_path).write(one.window, part, period=index)
    return several


def test_every_period_gets_features_by_the_numbers_of_the_one_that_teaches(make_study):
    alone = make_study("alone")
    fuse(alone)
    several = in_periods(make_study("several"), SUMMERS, [0, 700])
    facts = fuse(several)
    assert (facts["periods"], facts["built"], facts["kept"]) == (2, 8, 0)
    first, second = several.each_period()
    assert (first.period.name, second.period.name) == ("2023", "2024")
    assert held(several).hash == held(alone).hash
    np.testing.assert_array_equal(stored(first), stored(alone))
    bright = in_periods(make_study("bright"), SUMMERS[1:], [700])
    fuse(bright, fusion=held(alone))
    np.testing.assert_array_equal(stored(second), stored(bright))
    assert (stored(first) != stored(second)).any()
    assert fuse(several)["kept"] == 8


def test_a_period_that_joins_leaves_the_numbers_and_the_other_features(make_study):
    study = make_study("joined")
    one = in_periods(study, SUMMERS[:1], [0])
    receive(one)
    fuse(one)
    before, features = one.fusion_path.read_bytes(), stored(one)
    two = in_periods(study, SUMMERS, [0, 700])
    receive(two)
    facts = fuse(two)
    assert facts["frozen"]
    assert (facts["built"], facts["kept"]) == (4, 4)
    assert two.fusion_path.read_bytes() == before
    np.testing.assert_array_equal(stored(two), features)


def test_another_period_to_learn_from_has_other_numbers(make_study):
    several = in_periods(make_study("other"), SUMMERS, [0, 700])
    fuse(several)
    first = held(several)
    features = several.config.features.model_copy(update={"period": "2024"})
    later = Study(
        config=several.config.model_copy(update={"features": features}), base=several.base
    )
    assert not fuse(later)["frozen"]
    red = first.layers.index("B04")
    assert held(later).mean[red] == pytest.approx(first.mean[red] + 0.07, abs=1e-5)
    assert later.features_path == several.features_path
