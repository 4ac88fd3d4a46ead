"""Slope, aspect and hillshade against gdaldem, where it is installed."""

import shutil
import subprocess

import numpy as np
import pytest
import rasterio
from affine import Affine

from made_study import write_raster
from rockglacier.cube.terrain import slope_aspect
from rockglacier.report.layers import hillshade

pytestmark = pytest.mark.skipif(
    shutil.which("gdaldem") is None, reason="gdaldem (Debian: gdal-bin) is not installed"
)


def gdaldem(kind, source, folder):
    target = folder / f"{kind}.tif"
    subprocess.run(
        ["gdaldem", kind, str(source), str(target), "-q"], check=True, capture_output=True
    )
    with rasterio.open(target) as raster:
        return raster.read(1, masked=True).astype(np.float32).filled(np.nan)


@pytest.fixture
def ground(tmp_path):
    """Hills with a hole, as an array and as a file."""
    rng = np.random.default_rng(5)
    ground = np.cumsum(np.cumsum(rng.normal(0, 0.4, (150, 170)), 0), 1).astype(np.float32) + 4000
    ground[70:73, 40] = -9999
    path = tmp_path / "dem.tif"
    transform = Affine(10, 0, 600_000, 0, -10, 4_000_000)
    write_raster(path, ground, transform=transform, nodata=-9999)
    ground[ground == -9999] = np.nan
    return ground, path


INNER = (slice(1, -1), slice(1, -1))


def test_slope_and_aspect_equal_gdaldem(ground, tmp_path):
    ground, path = ground
    slope, aspect = slope_aspect(ground, 10, 0.0)
    theirs = gdaldem("slope", path, tmp_path)
    known = np.isfinite(slope)
    assert known.mean() > 0.97
    assert np.nanmax(np.abs(slope - theirs)[known]) < 5e-3
    off = (aspect - gdaldem("aspect", path, tmp_path) + 180) % 360 - 180
    steep = slope > 3  # below that, their sums in single precision turn the bearing
    assert np.nanmax(np.abs(off[INNER][steep[INNER]])) < 0.05


def test_hillshade_equals_gdaldem(ground, tmp_path):
    ground, path = ground
    shade, theirs = hillshade(ground, pixel_m=10), gdaldem("hillshade", path, tmp_path)
    known = np.isfinite(shade) & np.isfinite(theirs)
    assert known.mean() > 0.97
    ours = np.floor(1.5 + 254 * shade[known])  # 1 (dark) to 255 (bright), 0 where there is none
    assert np.abs(ours - theirs[known]).max() <= 1
    assert (ours == theirs[known]).mean() > 0.99
