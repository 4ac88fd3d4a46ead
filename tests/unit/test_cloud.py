"""Cloud over the basin from the scene classification, counted and read."""

import dataclasses
from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin

from rockglacier.errors import InputError, RemoteError
from rockglacier.grid import projected
from rockglacier.scenes.cloud import (
    MASKED,
    basin_shares,
    classes_at,
    is_seen,
    read_scl_over,
)
from rockglacier.scenes.ground import clear_ground, read_ground
from rockglacier.scenes.record import Scene

WEST, NORTH = 500_000, 4_000_000  # EPSG:32643, on its central meridian


def make_scene(**assets):
    return Scene(
        id="S2A",
        collection="c",
        datetime=datetime(2024, 8, 1, tzinfo=UTC),
        tile="43SDA",
        platform="sentinel-2a",
        epsg=32643,
        cloud_cover=1.0,
        baseline="05.11",
        sequence=0,
        datatake="",
        nodata_percent=None,
        offset_in_pixels=0,
        offset_reason="",
        assets={key: str(path) for key, path in assets.items()},
        self_href="",
        sun_azimuth=None,
        sun_elevation=None,
        geometry=shapely.box(0, 0, 1, 1),
        bbox=(0, 0, 1, 1),
    )


def write_raster(path, pixels, *, edge, crs="EPSG:32643"):
    profile = {
        "driver": "GTiff",
        "height": pixels.shape[0],
        "width": pixels.shape[1],
        "count": 1,
        "dtype": pixels.dtype,
        "crs": crs,
        "transform": from_origin(WEST, NORTH, edge, edge),
    }
    with rasterio.open(path, "w", **profile) as file:
        file.write(pixels, 1)
    return path


def area_of(west, south, east, north):
    return projected(shapely.box(west, south, east, north), epsg=4326, source_epsg=32643)


def test_shares_are_of_the_basin_alone():
    scl = np.full((10, 10), 9, np.uint8)
    scl[:, :5] = 5
    is_basin = np.zeros((10, 10), bool)
    is_basin[:, :4] = True
    shares = basin_shares(scl, is_basin)
    assert (shares.cloud, shares.clear, shares.cover) == (0, 100, 100)


def test_every_class_goes_where_it_belongs():
    scl = np.arange(12, dtype=np.uint8)[None].repeat(2, axis=0)  # one pixel pair a class
    shares = basin_shares(scl, np.ones(scl.shape, bool))
    one = 100 / 11  # class 0 is no data
    assert shares.cover == pytest.approx(100 * 11 / 12)
    assert shares.cloud == pytest.approx(3 * one)
    assert shares.snow == pytest.approx(one)
    assert shares.shadow == pytest.approx(one)
    assert shares.clear == pytest.approx((12 - len(MASKED) - 1) * one)


def test_cloud_is_a_share_of_what_the_scene_covers():
    scl = np.zeros((1, 10), np.uint8)
    scl[0, :2] = (9, 5)
    shares = basin_shares(scl, np.ones((1, 10), bool))
    assert (shares.cloud, shares.cover) == (50, 20)


def test_scene_without_data_over_the_basin_covers_nothing():
    shares = basin_shares(np.zeros((2, 2), np.uint8), np.ones((2, 2), bool))
    assert (shares.cloud, shares.cover) == (0, 0)


def test_window_over_the_basin_is_read_at_full_resolution(tmp_path):
    scl = np.full((100, 100), 9, np.uint8)
    scl[20:40, 30:60] = 5
    scene = make_scene(SCL=write_raster(tmp_path / "scl.tif", scl, edge=20))
    area = area_of(WEST + 30 * 20, NORTH - 40 * 20, WEST + 60 * 20, NORTH - 20 * 20)
    classes = read_scl_over(scene, area)
    shares = classes.shares()
    assert classes.is_basin.sum() == 20 * 30
    assert (shares.cloud, shares.clear, round(shares.cover)) == (0, 100, 100)


def test_cover_counts_the_basin_beyond_the_scene(tmp_path):
    scene = make_scene(SCL=write_raster(tmp_path / "s.tif", np.full((50, 50), 5, "u1"), edge=20))
    classes = read_scl_over(scene, area_of(WEST - 1000, NORTH - 1000, WEST + 1000, NORTH))
    assert classes.shares().cover == pytest.approx(50, abs=0.5)


def test_scene_beside_the_area_covers_nothing(tmp_path):
    scene = make_scene(SCL=write_raster(tmp_path / "s.tif", np.full((50, 50), 5, "u1"), edge=20))
    far = area_of(WEST + 50_000, NORTH - 1000, WEST + 51_000, NORTH)
    assert read_scl_over(scene, far).shares().cover == 0


def test_points_are_seen_where_the_scene_is_clear(tmp_path):
    scl = np.full((50, 50), 9, np.uint8)
    scl[:, :25] = 11  # snow is seen
    scene = make_scene(SCL=write_raster(tmp_path / "s.tif", scl, edge=20))
    area = area_of(WEST, NORTH - 1000, WEST + 1000, NORTH)
    points = [area_of(x, NORTH - 510, x + 1, NORTH - 509).centroid for x in
              (WEST + 250, WEST + 750, WEST + 5000)]  # fmt: skip
    scl = classes_at(read_scl_over(scene, area), shapely.get_coordinates(points))
    assert scl.tolist() == [11, 9, 0]
    assert is_seen(scl).tolist() == [True, False, False]


def test_clear_pixels_come_from_the_band_without_shade_snow_and_cloud(tmp_path):
    scl = np.full((50, 50), 9, np.uint8)
    scl[10:20, 10:20], scl[20:30, 10:20], scl[30:40, 10:20] = 4, 2, 11
    blue = np.full((100, 100), 5000, np.uint16)
    blue[20:40, 20:40], blue[40:60, 20:40] = 300, 7
    scene = make_scene(
        SCL=write_raster(tmp_path / "s.tif", scl, edge=20),
        B02=write_raster(tmp_path / "b.tif", blue, edge=10),
    )
    classes = read_scl_over(scene, area_of(WEST, NORTH - 1000, WEST + 1000, NORTH))
    header, dn = read_ground(scene, "B02", clear_ground(classes))
    assert dn.tolist() == [300] * 100
    assert (header.epsg, header.shape) == (32643, (100, 100))
    assert header.transform == (10, 0, WEST, 0, -10, NORTH)


def test_no_clear_ground_gives_no_pixels(tmp_path):
    scene = make_scene(SCL=write_raster(tmp_path / "s.tif", np.full((9, 9), 11, "u1"), edge=20))
    classes = read_scl_over(scene, area_of(WEST, NORTH - 100, WEST + 100, NORTH))
    assert clear_ground(classes) == ()


def test_unreadable_classification_names_item_asset_and_address(tmp_path):
    path = tmp_path / "scl.tif"
    path.write_bytes(b"no raster")
    with pytest.raises(RemoteError, match="item 'S2A', asset 'SCL' cannot be read") as caught:
        read_scl_over(make_scene(SCL=path), shapely.box(75, 36, 76, 37))
    assert (caught.value.item, caught.value.asset) == ("S2A", "SCL")
    assert caught.value.href == str(path)
    assert "cube.on_unreadable: skip" in caught.value.todo


def test_crs_of_the_file_wins_over_that_of_the_item(tmp_path):
    scl = np.full((50, 50), 5, "u1")
    path = write_raster(tmp_path / "s.tif", scl, edge=20)
    lying = dataclasses.replace(make_scene(SCL=path), epsg=32644)
    classes = read_scl_over(lying, area_of(WEST, NORTH - 1000, WEST + 1000, NORTH))
    assert classes.epsg == classes.header.epsg == 32643
    assert classes.shares().cover == pytest.approx(100, abs=0.5)


def test_file_in_a_crs_without_code_is_refused(tmp_path):
    pixels = np.full((9, 9), 5, "u1")
    local = "+proj=tmerc +lon_0=75.2 +x_0=500000 +datum=WGS84"
    scene = make_scene(SCL=write_raster(tmp_path / "s.tif", pixels, edge=20, crs=local))
    with pytest.raises(InputError, match="files of item 'S2A' are in no CRS that has an EPSG code"):
        read_scl_over(scene, area_of(WEST, NORTH - 100, WEST + 100, NORTH))
