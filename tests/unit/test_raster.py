"""Rasters on the grid: pasted, smoothed and warped, with no rim where their data ends."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import Resampling

from made_study import grid_of, write_raster
from rockglacier.cube.raster import place, read_window, warp
from rockglacier.grid import Window

GRID = grid_of((120, 140))


@pytest.fixture
def opened(tmp_path):
    """A function that writes values as a file and opens it."""
    held = []

    def open_(values, *, step, west, north, crs="EPSG:32643", nodata=None):
        path = tmp_path / f"{len(held)}.tif"
        transform = Affine(step, 0, west, 0, -step, north)
        write_raster(path, values, crs=crs, transform=transform, nodata=nodata)
        held.append(rasterio.open(path))
        return held[-1]

    yield open_
    for file in held:
        file.close()


def swath(shape, bright=5000):
    """Bright ground whose data ends along a slanting line."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.where(x - y // 3 > shape[1] // 3, bright, 0).astype(np.uint16)


def test_smooth_bands_have_no_dark_rim_at_the_edge_of_a_swath(opened):
    values = swath((80, 90))
    raster = opened(values, step=20, west=499_800, north=4_000_200, nodata=0)
    placed = place(raster, GRID)
    smooth = read_window(placed, GRID.whole, smooth=True)
    assert set(np.unique(smooth)) == {0, 5000}
    np.testing.assert_array_equal(smooth, read_window(placed, GRID.whole))


@pytest.mark.parametrize("step", [20, 60])
def test_smooth_windows_equal_the_same_part_of_the_whole(opened, step):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 9000, (41, 37)).astype(np.uint16)
    raster = opened(values, step=step, west=500_020 - 3 * step, north=4_000_000 + step)
    placed = place(raster, GRID)
    around = GRID.whole.grown(70)
    whole = read_window(placed, around, smooth=True)
    assert (whole > 0).any()
    for _ in range(40):
        y, x = (int(value) for value in rng.integers(-70, 130, 2))
        height, width = (int(value) for value in rng.integers(1, 60, 2))
        window = Window(y=y, x=x, height=height, width=width)
        got = read_window(placed, window, smooth=True)
        np.testing.assert_array_equal(got, whole[window.within(around)])


@pytest.mark.parametrize("tagged", [True, False])
@pytest.mark.parametrize("kernel", [Resampling.bilinear, Resampling.cubic])
def test_warped_bands_have_no_dark_rim_at_the_edge_of_a_swath(opened, tagged, kernel):
    """A scene of the neighbouring zone; its file need not say that 0 is no data."""
    to_degrees = rasterio.warp.transform("EPSG:32643", "EPSG:32642", [500_700], [3_999_400])
    west, north = to_degrees[0][0] - 1500, to_degrees[1][0] + 1500
    raster = opened(
        swath((300, 300)),
        step=10,
        west=west,
        north=north,
        crs="EPSG:32642",
        nodata=0 if tagged else None,
    )
    placed = warp(raster, GRID.geobox, resampling=kernel, nodata=0)
    with placed.raster:
        got = read_window(placed, GRID.whole)
    assert set(np.unique(got)) == {0, 5000}
    assert 0.1 < (got > 0).mean() < 0.95


@pytest.mark.parametrize("kernel", [Resampling.nearest, Resampling.bilinear, Resampling.cubic])
def test_any_window_of_a_warp_has_the_same_bits(opened, kernel):
    rng = np.random.default_rng(1)
    values = rng.normal(4000, 300, (200, 200)).astype(np.float32)
    box = rasterio.warp.transform_bounds("EPSG:32643", "EPSG:32644", *GRID.bounds)
    raster = opened(values, step=12.5, west=box[0] - 100, north=box[3] + 100, crs="EPSG:32644")
    placed = warp(raster, GRID.geobox, resampling=kernel, nodata=np.nan)
    with placed.raster:
        whole = read_window(placed, GRID.whole)
        assert np.isfinite(whole).mean() > 0.9
        for _ in range(10):
            y, x = (int(value) for value in rng.integers(0, 90, 2))
            window = Window(y=y, x=x, height=int(rng.integers(1, 30)), width=50)
            again = warp(raster, GRID.geobox, resampling=kernel, nodata=np.nan)
            with again.raster:
                got = read_window(again, window)
            np.testing.assert_array_equal(got, whole[window.slices])
