"""Elevation from tiles of any latitude, on both sides of the antimeridian, and in several CRSs."""

import dataclasses

import numpy as np
import pytest
import rasterio
import shapely
from pyproj import Transformer

from made_study import write_raster
from rockglacier.cube.dem import DemMosaic, Tile
from rockglacier.grid import Grid, Window

WIDENING = {36: 1, 55: 1.5, 65: 2, 72: 3, 82: 5, 86: 10}
"""Columns of GLO-30 are wider in the north; latitude to the factor."""


def height_at(longitude, latitude):
    """A surface in metres without any break at the antimeridian."""
    turn = np.radians(longitude)
    return 2000 + 500 * np.sin(40 * turn) + 300 * np.cos(3000 * np.radians(latitude))


def write_tile(folder, name, west, north, rows=180, step=1 / 3600, widening=1.0, **changes):
    """Write a tile whose pixel centres lie on whole seconds, as those of GLO-30 do."""
    across = step * widening
    columns = round(rows / widening)
    transform = rasterio.transform.from_origin(west - across / 2, north + step / 2, across, step)
    x = west + np.arange(columns) * across
    y = north - np.arange(rows) * step
    values = height_at(*np.meshgrid(x, y)).astype(np.float32)
    path = folder / f"{name}.tif"
    profile = {"crs": "EPSG:4326", "transform": transform, "nodata": None} | changes
    write_raster(path, values, **profile)
    return Tile(
        id=name,
        href=str(path),
        crs=rasterio.crs.CRS.from_user_input(profile["crs"]).to_wkt(),
        transform=tuple(transform)[:6],
        width=values.shape[1],
        height=values.shape[0],
        nodata=None,
    )


def grid_around(longitude, latitude, epsg, half=1000.0):
    x, y = Transformer.from_crs(4326, epsg, always_xy=True).transform(longitude, latitude)
    square = shapely.box(x - half, y - half, x + half, y + half)
    degrees = Transformer.from_crs(epsg, 4326, always_xy=True)
    area = shapely.transform(square, degrees.transform, interleaved=False)
    if area.bounds[2] - area.bounds[0] > 180:
        pytest.skip("an area across 180 degrees is made from its grid")
    return Grid.from_area(area, epsg=epsg, resolution=10, block=128)


def truth_on(grid):
    height, width = grid.shape
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    x, y = grid.transform.c + x * 10, grid.transform.f - y * 10
    return height_at(*Transformer.from_crs(grid.epsg, 4326, always_xy=True).transform(x, y))


@pytest.mark.parametrize("latitude", [36, 55, 65, 72, 82])
def test_a_seam_between_tiles_is_invisible_at_any_latitude(tmp_path, latitude):
    factor = WIDENING[latitude]
    span = 180 / 3600
    grid = grid_around(75.0, latitude - span / 2, 32643)
    size = {"rows": 360, "widening": factor}
    columns = round(size["rows"] / factor) * factor / 3600
    tiles = (
        write_tile(tmp_path, "west", 75.0 - columns, latitude + span / 2, **size),
        write_tile(tmp_path, "east", 75.0, latitude + span / 2, **size),
    )
    got = DemMosaic(tiles=tiles).read(grid, grid.whole, halo=20)
    known = np.isfinite(got)
    assert known.mean() > 0.95
    assert np.abs(got - truth_on(grid))[known].max() < 3.0
    part = Window(y=31, x=57, height=60, width=70)
    again = DemMosaic(tiles=tiles).read(grid, part, halo=20)
    np.testing.assert_array_equal(again, got[part.slices])


@pytest.mark.parametrize(
    ("latitude", "south", "north"),
    [(50, 1, 1.5), (60, 1.5, 2), (70, 2, 3), (80, 3, 5), (50, 1, 10)],
)
def test_rows_of_tiles_with_other_columns_meet_without_a_seam(tmp_path, latitude, south, north):
    span = 180 / 3600
    grid = grid_around(75.05, latitude, 32643, half=700)
    tiles = [
        write_tile(tmp_path, "south-west", 75.0, latitude, widening=south),
        write_tile(tmp_path, "south-east", 75.0 + span, latitude, widening=south),
        write_tile(tmp_path, "north-west", 75.0, latitude + span, widening=north),
        write_tile(tmp_path, "north-east", 75.0 + span, latitude + span, widening=north),
    ]
    got = DemMosaic(tiles=tuple(tiles)).read(grid, grid.whole, halo=20)
    assert np.isfinite(got).all()
    assert np.abs(got - truth_on(grid)).max() < 0.01
    turned = DemMosaic(tiles=tuple(tiles[::-1])).read(grid, grid.whole, halo=20)
    np.testing.assert_array_equal(turned, got)
    part = Window(y=31, x=27, height=60, width=70)
    again = DemMosaic(tiles=tuple(tiles)).read(grid, part, halo=20)
    np.testing.assert_array_equal(again, got[part.slices])


def test_a_missing_tile_leaves_no_elevation_there(tmp_path):
    grid = grid_around(75.0, 36.0, 32643)
    east = write_tile(tmp_path, "east", 75.0, 36.03)
    got = DemMosaic(tiles=(east,)).read(grid, grid.whole, halo=20)
    assert np.isnan(got[:, :80]).all()
    assert np.isfinite(got[:, -80:]).all()


def test_a_missing_tile_may_be_the_sea_but_a_hole_is_none(tmp_path):
    grid = grid_around(75.0, 36.0, 32643)
    east = write_tile(tmp_path, "east", 75.0, 36.03)
    with rasterio.open(east.href, "r+") as file:
        values = file.read(1)
        values[90:110, 20:30] = -32767
        file.write(values, 1)
    tile = dataclasses.replace(east, nodata=-32767)
    mosaic = DemMosaic(tiles=(tile,))
    got, covered = mosaic.read(grid, grid.whole, halo=20), mosaic.covers(grid, grid.whole)
    assert np.isnan(got[~covered]).all()
    holes = np.isnan(got) & covered
    assert 200 < holes.sum() < 5000
    sea = dataclasses.replace(mosaic, gaps="sea").read(grid, grid.whole, halo=20)
    assert (sea[~covered] == 0).all()
    np.testing.assert_array_equal(np.isnan(sea), holes)
    np.testing.assert_array_equal(sea[covered], got[covered])
    part = Window(y=31, x=57, height=60, width=70)
    again = dataclasses.replace(mosaic, gaps="sea").read(grid, part, halo=20)
    np.testing.assert_array_equal(again, sea[part.slices])


def test_ground_far_from_all_tiles_is_the_sea(tmp_path):
    grid = grid_around(76.0, 36.0, 32643)
    tile = write_tile(tmp_path, "far", 75.0, 36.03)
    assert np.isnan(DemMosaic(tiles=(tile,)).read(grid, grid.whole, halo=20)).all()
    got = DemMosaic(tiles=(tile,), gaps="sea").read(grid, grid.whole, halo=20)
    assert (got == 0).all()


def test_a_tile_of_points_lies_where_its_points_are(tmp_path):
    """Half a pixel of 30 m would show: the ground rises by a metre every three."""
    grid = grid_around(75.02, 36.0, 32643, half=400)
    tile = write_tile(tmp_path, "points", 75.0, 36.02)
    x = 75.0 + np.arange(180) / 3600
    y = 36.02 - np.arange(180) / 3600
    plane = (30_000 * (np.add.outer(-(y - 36.0), x - 75.0)) + 2000).astype(np.float32)
    with rasterio.open(tile.href, "r+") as file:
        file.update_tags(AREA_OR_POINT="Point")
        file.write(plane, 1)
    with rasterio.open(tile.href) as file:
        assert tuple(file.transform)[:6] == pytest.approx(tile.transform, abs=1e-12)
    with rasterio.Env(GTIFF_POINT_GEO_IGNORE=True), rasterio.open(tile.href) as file:
        assert file.transform.c == pytest.approx(75.0)  # what the file really says
    got = DemMosaic(tiles=(tile,)).read(grid, grid.whole, halo=20)
    height, width = grid.shape
    east, north = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    east, north = grid.transform.c + east * 10, grid.transform.f - north * 10
    lon, lat = Transformer.from_crs(grid.epsg, 4326, always_xy=True).transform(east, north)
    np.testing.assert_allclose(got, 30_000 * (lon - 75.0 - (lat - 36.0)) + 2000, atol=0.02)


def test_tiles_in_another_crs_fill_what_the_first_leave(tmp_path):
    grid = grid_around(75.0, 36.0, 32643)
    east = write_tile(tmp_path, "east", 75.0, 36.03)
    other = write_tile(tmp_path, "west", 74.95, 36.03, crs="EPSG:4258")
    both = DemMosaic(tiles=(east, other)).read(grid, grid.whole, halo=20)
    assert np.isfinite(both).all()
    assert np.abs(both - truth_on(grid)).max() < 12.0


@pytest.mark.parametrize("epsg", [32601, 32660])
def test_a_seam_at_the_antimeridian_is_invisible(tmp_path, epsg):
    east_of = write_tile(tmp_path, "a", 180.0 - 180 / 3600, 52.02)
    west_of = write_tile(tmp_path, "b", -180.0, 52.02)
    to_metres = Transformer.from_crs(4326, epsg, always_xy=True)
    x, y = to_metres.transform(180.0 if epsg == 32660 else -180.0, 52.0)
    from affine import Affine
    from odc.geo.geobox import GeoBox

    origin = Affine(10, 0, round(x, -1) - 800, 0, -10, round(y, -1) + 800)
    grid = Grid(geobox=GeoBox((160, 160), origin, f"EPSG:{epsg}"), block=128)
    got = DemMosaic(tiles=(east_of, west_of)).read(grid, grid.whole, halo=20)
    assert np.isfinite(got).all()
    assert np.abs(got - truth_on(grid)).max() < 3.0


def test_a_finer_dem_is_gathered(tmp_path):
    grid = grid_around(75.02, 36.0, 32643, half=400)
    fine = write_tile(tmp_path, "fine", 75.0, 36.02, rows=1300, step=1 / 36000)
    got = DemMosaic(tiles=(fine,)).read(grid, grid.whole, halo=20)
    assert np.isfinite(got).all()
    assert np.abs(got - truth_on(grid)).max() < 3.0
    part = Window(y=11, x=7, height=30, width=40)
    again = DemMosaic(tiles=(dataclasses.replace(fine, id="again"),)).read(grid, part, halo=20)
    np.testing.assert_array_equal(again, got[part.slices])
