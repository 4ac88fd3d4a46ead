"""A coarse raster on the grid: against GDAL's exact warp, for any window, at holes and edges."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import Resampling

from made_study import write_raster
from rockglacier.cube.raster import read_window, warp
from rockglacier.cube.resample import cubic, nodes, source_window
from rockglacier.grid import Grid, Window

STEP = 1 / 3600
CRS = rasterio.crs.CRS.from_epsg(4326).to_wkt()


def grid_at(latitude):
    import shapely

    area = shapely.box(74.3, latitude, 74.32, latitude + 0.02)
    return Grid.from_area(area, epsg=32643, resolution=10, block=128)


def raster_at(latitude, size=240):
    """Waves of 300 m height over a few pixels, and the place of their first corner."""
    transform = Affine(STEP, 0, 74.28, 0, -STEP, latitude + 0.045)
    y, x = np.mgrid[:size, :size]
    values = 3000 + 300 * np.sin(x / 7) * np.cos(y / 5) + 3 * x
    return values.astype(np.float32), transform


def resampled(values, transform, grid, window):
    at = nodes(grid, window, CRS, transform)
    held = source_window(at, values.shape)
    return cubic(values[held.slices], held, at, window)


@pytest.mark.parametrize("latitude", [36.0, 55.0, 72.0])
def test_equals_the_exact_warp(tmp_path, latitude):
    grid = grid_at(latitude)
    values, transform = raster_at(latitude)
    path = tmp_path / "dem.tif"
    write_raster(path, values, crs="EPSG:4326", transform=transform, nodata=-9999)
    got = resampled(values, transform, grid, grid.whole)
    with rasterio.open(path) as file:
        warped = warp(file, grid.geobox, resampling=Resampling.cubic, nodata=-9999)
        with warped.raster:
            expected = read_window(warped, grid.whole, fill=np.nan)
    assert np.isfinite(got).all()
    # GDAL widens the kernel where columns of the source are narrower than pixels of the grid
    tolerance = 0.01 if latitude < 60 else 8.0
    np.testing.assert_allclose(got, expected, atol=tolerance)


def test_any_window_gives_the_same_bits():
    grid = grid_at(36.0)
    values, transform = raster_at(36.0)
    whole = grid.whole.grown(30)
    expected = resampled(values, transform, grid, whole)
    rng = np.random.default_rng(3)
    for _ in range(20):
        y, x = (int(value) for value in rng.integers(-30, 150, 2))
        height, width = (int(value) for value in rng.integers(1, 70, 2))
        window = Window(y=y, x=x, height=height, width=width)
        got = resampled(values, transform, grid, window)
        np.testing.assert_array_equal(got, expected[window.within(whole)])


def test_a_plane_stays_a_plane():
    grid = grid_at(36.0)
    values, transform = raster_at(36.0)
    values = np.broadcast_to(np.arange(240, dtype=np.float32) * 10, (240, 240)).copy()
    got = resampled(values, transform, grid, grid.whole)
    columns = nodes(grid, grid.whole, CRS, transform)[0]
    assert got[0, 0] == pytest.approx(10 * (columns[0, 0] - 0.5) + 0, abs=10)
    steps = np.diff(got.astype(float), axis=1)
    assert steps.std() < 0.01


def test_holes_and_edges_are_nan_and_do_not_bleed():
    grid = grid_at(36.0)
    values, transform = raster_at(36.0)
    values[:] = 1000.0
    values[100:110, 100:110] = np.nan
    got = resampled(values, transform, grid, grid.whole.grown(300))
    assert np.isnan(got[0, 0])
    assert np.isnan(got).sum() > 500
    np.testing.assert_allclose(got[np.isfinite(got)], 1000.0)


def test_a_window_without_source_is_nan():
    grid = grid_at(36.0)
    values, transform = raster_at(40.0)
    window = Window(y=0, x=0, height=10, width=12)
    assert np.isnan(resampled(values, transform, grid, window)).all()
