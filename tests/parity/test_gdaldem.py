"""Slope and aspect against gdaldem, where it is installed."""

import shutil
import subprocess

import numpy as np
import pytest
import rasterio
from affine import Affine

from rockglacier.cube.terrain import slope_aspect

pytestmark = pytest.mark.skipif(
    shutil.which("gdaldem") is None, reason="gdaldem (Debian: gdal-bin) is not installed"
)


def gdaldem(kind, source, folder):
    target = folder / f"{kind}.tif"
    subprocess.run(
        ["gdaldem", kind, str(source), str(target), "-q"], check=True, capture_output=True
    )
    with rasterio.open(target) as raster:
        return raster.read(1, masked=True).filled(np.nan)


def test_slope_and_aspect_equal_gdaldem(tmp_path):
    rng = np.random.default_rng(5)
    ground = np.cumsum(np.cumsum(rng.normal(0, 0.4, (150, 170)), 0), 1).astype(np.float32) + 4000
    path = tmp_path / "dem.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=150,
        width=170,
        count=1,
        dtype="float32",
        crs="EPSG:32643",
        transform=Affine(10, 0, 600_000, 0, -10, 4_000_000),
    ) as raster:
        raster.write(ground, 1)
    slope, aspect = slope_aspect(ground, 10, 0.0)
    inner = (slice(1, -1), slice(1, -1))
    assert np.abs(slope - gdaldem("slope", path, tmp_path))[inner].max() < 5e-3
    off = (aspect - gdaldem("aspect", path, tmp_path) + 180) % 360 - 180
    steep = slope > 3  # below that, float32 sums turn the bearing
    assert np.nanmax(np.abs(off[inner][steep[inner]])) < 0.05
