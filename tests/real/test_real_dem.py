"""Real SRTM of the Karakoram through our warp and terrain, against gdaldem on the same surface."""

import math
import shutil
import subprocess

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.warp import transform_bounds

from rockglacier.cube.raster import read_window, warp
from rockglacier.cube.terrain import slope_aspect
from rockglacier.grid import Grid

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        shutil.which("gdaldem") is None, reason="gdaldem (Debian: gdal-bin) is not installed"
    ),
]


@pytest.mark.parametrize(
    "name", ["liligo_karakoram/srtm_dem_30m.tif", "hunza_RGI60-14.03439_srtm90.tif"]
)
def test_real_slopes_equal_gdaldem(shared_data, tmp_path, name):
    with rasterio.open(shared_data / "dem" / name) as source:
        west, south, east, north = transform_bounds(source.crs, 32643, *source.bounds)
        grid = Grid.from_dict(
            {
                "crs": "EPSG:32643",
                "transform": [30.0, 0.0, round(west, -1), 0.0, -30.0, round(north, -1)],
                "shape": [int((north - south) / 30), int((east - west) / 30)],
                "block": 512,
            }
        )
        placed = warp(
            source,
            grid.geobox,
            resampling=Resampling.cubic,
            nodata=-32768,
            dtype="float32",
        )
        with placed.raster:
            ground = read_window(placed, grid.whole, fill=math.nan)
    path = tmp_path / "dem.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=ground.shape[0],
        width=ground.shape[1],
        count=1,
        dtype="float32",
        crs="EPSG:32643",
        transform=grid.transform,
        nodata=math.nan,
    ) as raster:
        raster.write(ground, 1)
    theirs = {}
    for kind in ("slope", "aspect"):
        target = tmp_path / f"{kind}.tif"
        subprocess.run(
            ["gdaldem", kind, str(path), str(target), "-q"], check=True, capture_output=True
        )
        with rasterio.open(target) as raster:
            theirs[kind] = raster.read(1, masked=True).filled(np.nan)
    slope, aspect = slope_aspect(ground, 30, 0.0)
    apart = np.nanmax(np.abs(slope - theirs["slope"]))
    turned = np.abs((aspect - theirs["aspect"] + 180) % 360 - 180)
    turned = np.nanmax(turned[slope > 1])
    assert np.isfinite(slope).sum() > 1000
    assert apart < 5e-3
    assert turned < 0.05
