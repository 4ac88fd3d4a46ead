"""The cube stage on a made basin: pixels, blocks, resume, faults, what xarray sees."""

import dataclasses
import errno
import hashlib
import pickle
from pathlib import Path

import numpy as np
import odc.geo.xr  # noqa: F401  registers the accessor
import pytest
import xarray as xr

from rockglacier.cube import build, store
from rockglacier.cube.build import build_cube
from rockglacier.cube.dem import dem_mosaic
from rockglacier.cube.group import GroupWork
from rockglacier.cube.load import SceneReader
from rockglacier.cube.look import looks_of
from rockglacier.cube.store import create_cube, open_arrays, open_cube
from rockglacier.cube.sun import sun_at
from rockglacier.cube.surface import mean_sun
from rockglacier.cube.writer import CubeWriter
from rockglacier.engine import Receipts, Selection
from rockglacier.errors import BlocksFailedError, ContractError, InputError, NotFoundError
from rockglacier.grid import Window
from rockglacier.scenes.asset import Retries
from rockglacier.scenes.record import (
    read_dem_tiles,
    read_scenes,
    write_dem_tiles,
    write_scenes,
)
from rockglacier.storage import read_json
from rockglacier.validation.cube import cube_findings

LAYERS = tuple(store.LAYERS)


@pytest.fixture(autouse=True)
def short_shadows(monkeypatch):
    """Shadows of 500 m keep the halo, and the tests, small."""
    monkeypatch.setattr("rockglacier.cube.surface.SHADOW_REACH_M", 500.0)


def pixels(study):
    group = open_arrays(study.cube_path)
    return {name: group[name][...] for name in LAYERS}


def assert_same(one, two):
    for name in LAYERS:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)


def shard_hashes(study):
    return {
        str(path.relative_to(study.cube_path)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(study.cube_path.rglob("c/**/*"))
        if path.is_file()
    }


def test_composite_equals_numpy_on_the_looks(make_basin):
    study = make_basin()
    facts = build_cube(study)
    assert (facts["blocks"], facts["built"], facts["scenes"], facts["looks"]) == (4, 4, 4, 3)
    looks = looks_of(read_scenes(study.scenes_path), epsg=study.grid.epsg)
    with SceneReader(study.grid, study.config.cube.bands) as reader:
        dn, scl = reader.read(looks, study.grid.whole)
    add = np.array([look.add for look in looks])
    held = (dn > 0).all(axis=1)
    clear, snowy = held & np.isin(scl, [4, 5, 6, 7]), held & (scl == 11)
    use = np.where(clear.any(axis=0), clear, snowy)
    values = np.where(use[:, None], dn + add[:, None, None, None], np.nan)
    got = pixels(study)
    seen = use.any(axis=0)
    median = np.floor(np.nanmedian(values[:, :, seen], axis=0) + 0.5)
    np.testing.assert_array_equal(got["reflectance"][0][:, seen], median)
    assert not got["reflectance"][0][:, ~seen].any()
    np.testing.assert_array_equal(got["n_clear"][0], use.sum(axis=0))
    np.testing.assert_array_equal(got["n_snow"][0] > 0, ~clear.any(axis=0) & seen)


def test_least_cloudy_mosaic_takes_the_scene_with_least_cloud_first(make_basin):
    study = make_basin(composite="least-cloudy")
    build_cube(study)
    got = pixels(study)
    assert got["n_clear"].max() == 1
    with SceneReader(study.grid, study.config.cube.bands) as reader:
        look = next(
            look
            for look in looks_of(read_scenes(study.scenes_path), epsg=32643)
            if look.scenes[0].id == "z3"
        )  # its basin cloud is 0
        dn, scl = reader.read([look], study.grid.whole)
    first = (scl[0] == 5) & (dn[0] > 0).all(axis=0)
    np.testing.assert_array_equal(got["reflectance"][0][:, first], dn[0][:, first])


@pytest.mark.parametrize("method", ["mean", "first-clear"])
def test_other_composites_equal_numpy_on_the_looks(make_basin, method):
    study = make_basin(composite=method, clear_classes=[4, 5, 6, 7, 11], snow_classes=[])
    build_cube(study)
    looks = looks_of(read_scenes(study.scenes_path), epsg=study.grid.epsg)
    with SceneReader(study.grid, study.config.cube.bands) as reader:
        dn, scl = reader.read(looks, study.grid.whole)
    add = np.array([look.add for look in looks])
    use = (dn > 0).all(axis=1) & np.isin(scl, [4, 5, 6, 7, 11])
    values = np.where(use[:, None], dn + add[:, None, None, None], np.nan)
    seen = use.any(axis=0)
    if method == "mean":
        expected = np.floor(np.nanmean(values[:, :, seen], axis=0) + 0.5)
    else:
        first = use.argmax(axis=0)
        expected = np.take_along_axis(values, first[None, None], axis=0)[0][:, seen]
    got = pixels(study)
    np.testing.assert_array_equal(got["reflectance"][0][:, seen], expected)
    assert not got["n_snow"].any()


def test_a_class_of_two_kinds_is_refused(make_basin):
    with pytest.raises(InputError, match=r"class 11 .* is named twice"):
        build_cube(make_basin(clear_classes=[4, 5, 11]))


def test_blocks_leave_no_seam(make_basin):
    small, large = make_basin("small", block=128), make_basin("large", block=512)
    build_cube(small)
    build_cube(large)
    assert_same(pixels(small), pixels(large))


@pytest.mark.parametrize(("memory", "strips"), [(1, (16,)), (1, (100, 7)), (3e6, (64, 32))])
def test_read_groups_and_strips_of_any_size_give_the_same_pixels(
    make_basin, monkeypatch, memory, strips
):
    plain, other = make_basin("plain", block=128), make_basin("other", block=128)
    build_cube(plain)
    monkeypatch.setattr("rockglacier.cube.group.LOOKS_BYTES", memory)
    monkeypatch.setattr("rockglacier.cube.group.STRIPS", strips)
    build_cube(other)
    assert_same(pixels(plain), pixels(other))
    assert shard_hashes(plain) == shard_hashes(other)


def test_every_period_has_a_composite_of_its_own_scenes(make_basin):
    whole = make_basin("whole")
    scenes = read_scenes(whole.scenes_path)
    days = sorted({scene.datetime.date() for scene in scenes})
    assert len(days) > 1
    spans = [[days[0], days[0]], [days[1], days[-1]]]
    parts = make_basin("parts", periods=[[a.isoformat(), b.isoformat()] for a, b in spans])
    facts = build_cube(parts)
    assert facts["periods"] == 2
    group = open_arrays(parts.cube_path)
    assert group["reflectance"].shape[0] == 2
    assert group["reflectance"].shards[0] == 1
    for index, (first, last) in enumerate(spans):

        def inside(made, first=first, last=last):
            return [scene for scene in made if first <= scene.datetime.date() <= last]

        alone = make_basin(f"alone{index}", scenes=inside)
        build_cube(alone)
        for name in ("reflectance", "n_clear", "n_snow", "n_shadow"):
            np.testing.assert_array_equal(group[name][index], pixels(alone)[name][0])
    cube = open_cube(parts.cube_path)
    assert cube.time.values.tolist() == [np.datetime64(a, "ns").astype(int) for a, _ in spans]
    assert cube.time_bounds.values[1, 1] == np.datetime64(days[-1]) + 1


def test_scenes_that_join_leave_the_sun_of_the_cube(make_basin):
    study = make_basin(block=128)
    scenes = read_scenes(study.scenes_path)
    write_scenes([scene for scene in scenes if scene.id != "b1"], study.scenes_path)
    build_cube(study)
    sun = open_arrays(study.cube_path).attrs["sun"]
    late = [
        dataclasses.replace(scene, sun_azimuth=100.0) if scene.id == "b1" else scene
        for scene in scenes
    ]
    write_scenes(late, study.scenes_path)
    facts = build_cube(study)
    assert (facts["built"], facts["kept"]) == (6, 3)
    assert open_arrays(study.cube_path).attrs["sun"] == sun


def test_blocks_depend_on_the_dem_tiles_near_them(make_basin, monkeypatch):
    monkeypatch.setattr(build, "DEM_MARGIN_DEG", 0.001)
    study = make_basin(block=128)
    build_cube(study)
    tiles = read_dem_tiles(study.dem_path)
    east = max(tiles, key=lambda tile: tile.geometry.bounds[0])
    moved = Path(east.href).with_name("renamed.tif")
    Path(east.href).rename(moved)
    write_dem_tiles(
        [dataclasses.replace(t, href=str(moved)) if t is east else t for t in tiles],
        study.dem_path,
    )
    before = shard_hashes(study)
    facts = build_cube(study)
    assert 0 < facts["built"] < 9
    assert shard_hashes(study) == before


def test_chosen_blocks_are_built_and_the_rest_left(make_basin):
    study = make_basin(block=128)
    facts = build_cube(study, selection=Selection.parse("0:2,1:3"))
    assert (facts["built"], facts["left"]) == (4, 5)
    assert build_cube(study)["kept"] == 4


def test_seam_of_the_dem_is_invisible(make_basin):
    seam, whole = make_basin("seam"), make_basin("whole", seam=False)
    build_cube(seam)
    build_cube(whole)
    assert_same(pixels(seam), pixels(whole))


def test_terrain_follows_the_surface(make_basin):
    study = make_basin()
    build_cube(study)
    got = pixels(study)
    assert np.isfinite(got["elevation"]).all()
    assert np.isfinite(got["slope"]).all()
    y, x = np.gradient(got["elevation"].astype(float), 10)
    inner = (slice(2, -2), slice(2, -2))
    rough = np.degrees(np.arctan(np.hypot(x, y)))[inner]
    assert np.abs(got["slope"][inner] - rough).mean() < 0.5
    assert 5 < got["slope"].mean() < 50
    assert got["cast_shadow"].any()
    shaded = got["illumination"][got["cast_shadow"] == 0]
    assert got["illumination"].min() >= 0
    assert shaded.mean() > got["illumination"][got["cast_shadow"] == 1].mean()


def test_ground_without_dem_is_nan_and_reported(make_basin):
    study = make_basin()
    dem = dem_mosaic(study)
    west = dataclasses.replace(dem, tiles=dem.tiles[:1])
    elevation = west.read(study.grid, study.grid.whole, halo=1)
    assert np.isfinite(elevation[:, 0]).all()
    assert np.isnan(elevation[:, -1]).all()


def test_interrupted_build_goes_on_and_stores_the_same_bytes(make_basin):
    whole, broken = make_basin("whole"), make_basin("broken")
    build_cube(whole)

    def interrupt(what, done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_cube(broken, progress=interrupt)
    seen = []
    facts = build_cube(broken, progress=lambda what, done, total: seen.append((done, total)))
    assert facts["kept"] >= 2
    assert facts["built"] == 4 - facts["kept"]
    assert seen[-1] == (4, 4)
    assert shard_hashes(broken) == shard_hashes(whole)
    assert build_cube(broken)["built"] == 0


def test_a_block_built_twice_stores_the_same_bytes(make_basin):
    study = make_basin()
    build_cube(study)
    before = shard_hashes(study)
    (study.receipts_path / "cube" / "r0001c0001.json").unlink()
    assert build_cube(study)["built"] == 1
    assert shard_hashes(study) == before


def test_only_blocks_that_saw_a_changed_scene_are_built_again(make_basin):
    study = make_basin(block=128)
    build_cube(study)
    scenes = read_scenes(study.scenes_path)
    write_scenes([scene for scene in scenes if scene.id != "b1"], study.scenes_path)
    facts = build_cube(study)
    assert (facts["built"], facts["kept"]) == (6, 3)


def test_receipts_of_a_lost_cube_mean_nothing(make_basin):
    study = make_basin()
    build_cube(study)
    assert create_cube(study) is False
    (study.cube_path / "zarr.json").unlink()
    assert build_cube(study)["built"] == 4


def test_receipt_says_what_was_read(make_basin):
    study = make_basin(block=128)
    build_cube(study)
    receipt = read_json(study.receipts_path / "cube" / "r0000c0000.json")
    assert receipt["items"] == ["a1", "a2", "z3"]
    assert receipt["skipped"] == []
    assert receipt["retries"] == 0
    assert 0 < receipt["clear_share"] <= 1
    assert receipt["pixels"] == 128 * 128


def test_receipt_names_the_objects_and_what_they_are(make_basin):
    study = make_basin(block=128)
    build_cube(study)
    receipts = dict(Receipts(study.receipts_path / "cube").all())
    written = {key for receipt in receipts.values() for key in receipt["objects"]}
    stored = {key for key in shard_hashes(study) if key.split("/")[0] in LAYERS}
    assert written == stored
    objects = receipts["r0001c0002"]["objects"]
    key = "slope/c/1/2"
    assert objects[key][0] == (study.cube_path / key).stat().st_size
    assert list(cube_findings(study.cube_path)) == []
    data = bytearray((study.cube_path / key).read_bytes())
    data[5] ^= 1
    (study.cube_path / key).write_bytes(data)
    (study.cube_path / "aspect/c/1/2").write_bytes(data[:10])
    (study.cube_path / "elevation/c/1/2").unlink()
    (found,) = [one for one in cube_findings(study.cube_path) if "block" in one.found]
    assert found.found == (
        "block r0001c0002: elevation/c/1/2 is missing, "
        "slope/c/1/2 has other content than was written, "
        f"aspect/c/1/2 has 10 bytes; {objects['aspect/c/1/2'][0]} were written"
    )
    assert "delete receipts/cube/r0001c0002.json" in found.todo
    told = []
    quick = cube_findings(study.cube_path, quick=True, progress=lambda *step: told.append(step))
    (found,) = [one for one in quick if "block" in one.found]
    assert "slope" not in found.found  # of the same size: only its content tells
    assert "elevation/c/1/2 is missing" in found.found
    assert "aspect/c/1/2 has 10 bytes" in found.found
    assert told[-1] == ("validate: blocks of the cube", len(receipts), len(receipts))


def test_unreadable_scene_fails_the_block_by_name(make_basin, monkeypatch):
    monkeypatch.setattr("rockglacier.scenes.asset.WAIT_S", 0.0)
    monkeypatch.setattr("rockglacier.scenes.asset.ATTEMPTS", 1)
    study = make_basin()
    scene = read_scenes(study.scenes_path)[2]
    Path(scene.assets["B11"]).write_bytes(b"<html>503</html>")
    with pytest.raises(BlocksFailedError) as caught:
        build_cube(study)
    message = str(caught.value)
    assert "item 'a2', asset 'B11' cannot be read" in message
    assert "cause:" in message
    assert "on_unreadable: skip" in message


def test_unreadable_scene_is_skipped_and_counted_on_request(make_basin, monkeypatch):
    monkeypatch.setattr("rockglacier.scenes.asset.ATTEMPTS", 1)
    study = make_basin("skips", on_unreadable="skip")
    scene = read_scenes(study.scenes_path)[2]
    Path(scene.assets["B11"]).unlink()
    facts = build_cube(study)
    assert facts["skipped"] == ["a2"]
    without = make_basin("without", scenes=lambda made: [s for s in made if s.id != "a2"])
    build_cube(without)
    np.testing.assert_array_equal(pixels(study)["reflectance"], pixels(without)["reflectance"])
    receipt = read_json(study.receipts_path / "cube" / "r0000c0000.json")
    assert receipt["skipped"][0]["item"] == "a2"
    assert "B11" in receipt["skipped"][0]["why"]


def test_full_disk_is_said_before_and_during_the_work(make_basin, monkeypatch):
    study = make_basin()
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(InputError, match=r"0\.0 MB free .*the cube needs 2\.4 MB") as caught:
        build_cube(study)
    assert "larger disk" in caught.value.todo
    monkeypatch.undo()
    monkeypatch.setattr("rockglacier.cube.surface.SHADOW_REACH_M", 50.0)
    create_cube(study)

    def full(*args, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store.zarr, "open_group", full)
    window = Window(y=0, x=0, height=128, width=128)
    with pytest.raises(InputError, match="is full") as caught:
        CubeWriter(study.cube_path).write(window, {"slope": np.zeros((128, 128), np.float32)})
    assert "finished blocks are kept" in caught.value.todo


def test_no_scene_says_what_to_change(make_basin):
    study = make_basin(scenes=lambda made: [])
    with pytest.raises(NotFoundError, match="no scene is left") as caught:
        build_cube(study)
    assert "scene_cloud_max" in caught.value.todo


def test_part_of_a_block_is_not_written(make_basin):
    study = make_basin()
    create_cube(study)
    with pytest.raises(ContractError, match="not a whole block"):
        CubeWriter(study.cube_path).write(
            Window(y=0, x=0, height=64, width=128),
            {"slope": np.zeros((64, 128), np.float32)},
        )


def test_xarray_sees_reflectance_places_and_crs(make_basin):
    study = make_basin()
    build_cube(study)
    cube = open_cube(study.cube_path)
    stored = pixels(study)["reflectance"]
    assert cube.reflectance.dtype == np.float32
    assert cube.reflectance.dims == ("time", "band", "y", "x")
    assert cube.reflectance.chunks is not None
    values = cube.reflectance.values
    assert np.isnan(values[stored == 0]).all()
    np.testing.assert_allclose(values[stored > 0], stored[stored > 0] * 1e-4 - 0.1, atol=1e-6)
    assert cube.band.values.tolist() == ["B04", "B11"]
    assert cube.time.values[0] == np.datetime64(study.config.search.start)
    assert cube.odc.crs.epsg == 32643
    assert cube.odc.geobox == study.grid.geobox
    assert cube.slope.odc.geobox == study.grid.geobox
    assert float(cube.x[0]) == study.grid.bounds[0] + 5
    assert float(cube.y[0]) == study.grid.bounds[3] - 5
    plain = xr.open_zarr(str(study.cube_path), consolidated=False)
    assert plain.attrs["proj:code"] == "EPSG:32643"
    assert [scene["id"] for scene in plain.attrs["scenes"]] == ["a1", "b1", "a2", "z3"]


def test_store_is_sharded_by_block(make_basin):
    study = make_basin()
    build_cube(study)
    array = open_arrays(study.cube_path)["reflectance"]
    assert array.shards == (1, 2, 256, 256)
    assert array.chunks == (1, 2, 128, 128)
    files = [name for name in shard_hashes(study) if name.startswith("reflectance")]
    assert files == [f"reflectance/c/0/0/{row}/{col}" for row in (0, 1) for col in (0, 1)]


def test_work_travels_to_another_process(make_basin):
    study = make_basin()
    work = build._work(study, Retries())
    again = pickle.loads(pickle.dumps(work))  # noqa: S301
    assert isinstance(again, GroupWork)
    assert again.grid == work.grid
    assert again.footprints.scenes == work.footprints.scenes
    assert again.footprints.near(study.grid.whole) == work.footprints.near(study.grid.whole)


def test_mean_sun_is_taken_on_the_circle(make_basin):
    scene = read_scenes(make_basin().scenes_path)[0]
    scenes = [
        dataclasses.replace(scene, sun_azimuth=azimuth, sun_elevation=elevation)
        for azimuth, elevation in ((350.0, 30.0), (20.0, 40.0))
    ]
    sun = mean_sun(scenes)
    assert sun.azimuth == pytest.approx(5)
    assert sun.elevation == 35


def test_scene_that_does_not_say_its_sun_gets_the_computed_one(make_basin):
    def without_sun(made):
        return [dataclasses.replace(scene, sun_azimuth=None) for scene in made]

    study = make_basin(scenes=without_sun, block=512)
    build_cube(study)
    got = pixels(study)
    assert np.isfinite(got["illumination"]).all()
    azimuth, elevation = open_arrays(study.cube_path).attrs["sun"]
    middle = study.area.centroid
    sun = sun_at(middle.y, middle.x, read_scenes(study.scenes_path)[0].datetime)
    assert azimuth == pytest.approx(sun.azimuth, abs=1.5)
    assert elevation == pytest.approx(sun.elevation, abs=1.5)
