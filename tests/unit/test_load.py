"""Windows of scenes on the grid: exact paste, warp, overpasses, broken files."""

import dataclasses
import itertools

import numpy as np
import pytest
import rasterio
from rasterio.errors import RasterioIOError

from made_study import write_raster
from rockglacier.cube import rows
from rockglacier.cube.load import SceneReader
from rockglacier.cube.look import Footprints, looks_of
from rockglacier.cube.rows import read_asset
from rockglacier.errors import RemoteError
from rockglacier.grid import Window
from rockglacier.scenes import asset
from rockglacier.scenes.record import read_scenes

WEST, NORTH = 760_010, 4_000_010


@pytest.fixture
def study(make_basin):
    return make_basin()


def read(study, name, window):
    scene = next(scene for scene in read_scenes(study.scenes_path) if scene.id == name)
    with SceneReader(study.grid, study.config.cube.bands) as reader:
        return reader.read(looks_of([scene], epsg=study.grid.epsg), window)


def at_place(asset, date, window):
    """What was written at the grid's pixels."""
    step = 10 if asset == "B04" else 20
    x = WEST + (np.arange(window.x, window.x + window.width) + 0.5) * 10
    y = NORTH - (np.arange(window.y, window.y + window.height) + 0.5) * 10
    # a 20 m pixel is known by its centre
    x, y = np.floor(x / step).astype(int), np.floor(y / step).astype(int)
    column, row = np.meshgrid(x, y)
    return (1100 + (7 * column + 13 * row) % 500 + 100 * date).astype(np.uint16)


def test_same_zone_scene_is_pasted_exactly_and_20_m_repeated_at_an_odd_offset(study):
    window = Window(y=7, x=11, height=60, width=83)
    dn, scl = read(study, "a1", window)
    np.testing.assert_array_equal(dn[0, 0], at_place("B04", 1, window))
    np.testing.assert_array_equal(dn[0, 1], at_place("B11", 1, window))
    assert set(np.unique(scl)) <= {5, 9, 11}


def test_window_beyond_the_scene_and_the_grid_is_nodata(study):
    window = Window(y=-300, x=-150, height=420, width=500)
    dn, scl = read(study, "a1", window)
    assert not dn[0, :, :200].any()  # north of the tile
    assert not dn[0, :, :, :69].any()  # west of its data: 20 m pixels end at column -81
    inside = (slice(310, 400), slice(160, 300))
    expected = at_place("B04", 1, Window(y=10, x=10, height=90, width=140))
    np.testing.assert_array_equal(dn[0, 0][inside], expected)
    assert scl[inside].all()
    assert not read(study, "a1", Window(y=5000, x=0, height=3, width=3))[0].any()


def test_any_window_reads_the_same_pixels(study):
    whole = Window(y=-5, x=-5, height=310, width=350)
    rng = np.random.default_rng(1)
    for name in ("a1", "z3"):
        dn, scl = read(study, name, whole)
        for _ in range(4):
            y, x = (int(value) for value in rng.integers(-5, 200, 2))
            part = Window(y=y, x=x, height=int(rng.integers(1, 80)), width=77)
            other, classes = read(study, name, part)
            rows, columns = part.within(whole)
            np.testing.assert_array_equal(other[0], dn[0][:, rows, columns])
            np.testing.assert_array_equal(classes[0], scl[0][rows, columns])


def test_other_zone_is_warped_with_its_nodata_respected(study):
    dn, scl = read(study, "z3", study.grid.whole)
    values = dn[dn > 0]
    assert values.min() >= 1100  # nothing mixed with the 0 of the wedge
    assert values.max() <= 1900
    assert set(np.unique(scl)) <= {0, 5, 11}
    assert (dn[0, 0] > 0).mean() > 0.8


def test_tiles_of_one_overpass_are_one_look(study):
    looks = looks_of(read_scenes(study.scenes_path), epsg=32643)
    assert [[scene.id for scene in look.scenes] for look in looks] == [["a1", "b1"], ["a2"], ["z3"]]
    assert [look.add for look in looks] == [0, 1000, 0]
    with SceneReader(study.grid, study.config.cube.bands) as reader:
        dn, _ = reader.read(looks[:1], Window(y=0, x=0, height=300, width=340))
    assert (dn[0, 0, 100:180] > 0).all()  # both tiles together cover these rows


def test_scenes_far_from_a_window_are_not_listed(study):
    scenes = read_scenes(study.scenes_path)
    near = Footprints(scenes, study.grid).near(Window(y=0, x=0, height=10, width=10))
    assert "b1" not in [scene.id for scene in near]
    assert "a1" in [scene.id for scene in near]


def test_missing_asset_names_item_and_asset(study):
    scenes = read_scenes(study.scenes_path)
    scene = dataclasses.replace(scenes[0], assets={"B04": scenes[0].assets["B04"]})
    with (
        SceneReader(study.grid, ["B04", "B11"]) as reader,
        pytest.raises(RemoteError, match=r"item 'a1'.*no asset for 'B11'; it has B04") as caught,
    ):
        reader.read(looks_of([scene], epsg=32643), study.grid.whole)
    assert "cube.bands" in caught.value.todo


def test_unreadable_file_names_item_asset_cause_and_next_step(study, monkeypatch):
    scenes = read_scenes(study.scenes_path)
    path = scenes[0].assets["B11"]
    monkeypatch.setattr(asset, "WAIT_S", 0.0)
    with open(path, "r+b") as file:  # noqa: PTH123
        file.truncate(900)
    raster_errors = pytest.raises(RemoteError, match="item 'a1', asset 'B11' cannot be read")
    with SceneReader(study.grid, ["B04", "B11"]) as reader, raster_errors as caught:
        reader.read(looks_of(scenes[:1], epsg=32643), study.grid.whole)
    assert "cause:" in str(caught.value)
    assert "on_unreadable: skip" in caught.value.todo
    assert (caught.value.item, caught.value.asset) == ("a1", "B11")


def test_missing_file_is_not_tried_again(study, monkeypatch):
    tries = []
    monkeypatch.setattr(asset, "sign", lambda href: tries.append(href) or href)
    scenes = read_scenes(study.scenes_path)
    scene = dataclasses.replace(scenes[0], assets={**scenes[0].assets, "SCL": "/nowhere/scl.tif"})
    with pytest.raises(RemoteError, match="no such file"):
        read_asset(scene, "SCL", study.grid, study.grid.whole)
    assert len(tries) == 1


def test_transient_failure_is_tried_again_and_counted(study, monkeypatch):
    failures = iter([RasterioIOError("HTTP response code: 503"), RasterioIOError("Read error")])

    def flaky(href, **options):
        for error in failures:
            raise error
        return opened(href, **options)

    opened = rasterio.open
    monkeypatch.setattr(asset.rasterio, "open", flaky)
    monkeypatch.setattr(asset, "WAIT_S", 0.0)
    scene = read_scenes(study.scenes_path)[0]
    with SceneReader(study.grid, ["B04"]) as reader:
        window = Window(y=20, x=20, height=4, width=4)
        dn, _ = reader.read(looks_of([scene], epsg=32643), window)
        assert reader.counts["retries"] == 2
    assert dn.all()


def test_message_holds_no_signature():
    def fails():
        raise RasterioIOError("response code: 404 at https://host/b.tif?sig=SECRET")

    with pytest.raises(RemoteError) as caught:
        asset.retried(
            fails, item="i", asset="B02", href="https://host/b.tif?sig=SECRET", again=lambda: None
        )
    assert "SECRET" not in str(caught.value) + caught.value.href
    assert "https://host/b.tif" in str(caught.value)


def test_off_grid_scene_of_the_same_zone_is_warped_not_shifted(study, tmp_path):
    path = tmp_path / "half.tif"
    x = WEST + 5 + np.arange(40) * 10.0  # pixel edges half a pixel off
    values = np.broadcast_to(1000 + np.arange(40) * 10, (30, 40)).astype(np.uint16)
    transform = rasterio.transform.from_origin(x[0], NORTH, 10, 10)
    write_raster(path, values, transform=transform, nodata=0)
    scene = dataclasses.replace(read_scenes(study.scenes_path)[0], assets={"B04": str(path)})
    read_back = read_asset(scene, "B04", study.grid, Window(y=5, x=0, height=1, width=30))
    # the centre of grid pixel k lies between file pixels k - 1 and k
    assert read_back[0, 2:20].tolist() == [1000 + 10 * k - 5 for k in range(2, 20)]


@pytest.mark.parametrize(
    ("href", "path"),
    [
        ("https://h/a.tif?x=1&y", "/vsicurl/https://h/a.tif?x=1&y"),
        ("s3://b/k.tif", "/vsis3/b/k.tif"),
        ("/vsicurl/x", "/vsicurl/x"),
    ],
)
def test_addresses_inside_a_virtual_raster(href, path):
    assert asset.gdal_path(href) == path


def test_unknown_scheme_is_refused():
    with pytest.raises(ValueError, match="unknown scheme 'ftp'"):
        asset.gdal_path("ftp://h/a.tif")


@pytest.mark.parametrize("height", [1, 7, 64, 128])
def test_strips_are_the_rows_of_one_read(study, height):
    looks = looks_of(read_scenes(study.scenes_path), epsg=32643)
    whole = Window(y=-3, x=11, height=290, width=240)
    cuts = range(whole.y, whole.y + whole.height, height)
    strips = [
        Window(y=y, x=11, height=min(height, whole.y + whole.height - y), width=240) for y in cuts
    ]
    with SceneReader(study.grid, study.config.cube.bands) as reader:
        dn, scl = reader.read(looks, whole)
        parts = [(a.copy(), b.copy()) for a, b in reader.strips(looks, strips)]
    np.testing.assert_array_equal(np.concatenate([part[0] for part in parts], axis=2), dn)
    np.testing.assert_array_equal(np.concatenate([part[1] for part in parts], axis=1), scl)
    assert dn.any()


def test_strips_may_leave_rows_out(study):
    looks = looks_of(read_scenes(study.scenes_path), epsg=32643)
    strips = [Window(y=y, x=0, height=20, width=340) for y in (0, 20, 150, 280)]
    with SceneReader(study.grid, study.config.cube.bands) as reader:
        for strip, (dn, scl) in zip(strips, reader.strips(looks, strips), strict=True):
            whole, classes = dn.copy(), scl.copy()
            with SceneReader(study.grid, study.config.cube.bands) as other:
                expected = other.read(looks, strip)
            np.testing.assert_array_equal(whole, expected[0])
            np.testing.assert_array_equal(classes, expected[1])


def test_strips_read_every_row_of_a_file_once(study, monkeypatch):
    scene = next(scene for scene in read_scenes(study.scenes_path) if scene.id == "a1")
    blocks = []

    class Counting:
        """A raster that notes the rows that are read, and says that its blocks are 64 rows."""

        def __init__(self, raster):
            self.raster = raster
            self.block_shapes = [(64, 64)]

        def __getattr__(self, name):
            return getattr(self.raster, name)

        def read(self, *args, window, **options):
            blocks.append((window.row_off, window.row_off + window.height))
            return self.raster.read(*args, window=window, **options)

    opened = rows.open_placed

    def counting(*args):
        placed = opened(*args)
        return dataclasses.replace(placed, raster=Counting(placed.raster))

    monkeypatch.setattr(rows, "open_placed", counting)
    strips = [Window(y=y, x=0, height=30, width=340) for y in range(0, 300, 30)]
    with SceneReader(study.grid, ()) as reader:
        for _ in reader.strips(looks_of([scene], epsg=32643), strips):
            pass
    assert all(one[1] == other[0] for one, other in itertools.pairwise(blocks))
    assert all(stop % 64 == 0 for _, stop in blocks[:-1])
