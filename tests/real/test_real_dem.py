"""Real DEMs through our mosaic, warp and terrain, against GDAL on the same ground."""

import math
import shutil
import subprocess

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.warp import transform_bounds

from rockglacier.cube.dem import DemMosaic, Tile
from rockglacier.cube.raster import read_window, warp
from rockglacier.cube.terrain import slope_aspect
from rockglacier.grid import Grid, Window

pytestmark = pytest.mark.real


@pytest.mark.skipif(
    shutil.which("gdaldem") is None, reason="gdaldem (Debian: gdal-bin) is not installed"
)
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


def header(path):
    with rasterio.open(path) as file:
        return Tile(
            id=path.stem,
            href=str(path),
            crs=file.crs.to_wkt(),
            transform=tuple(file.transform)[:6],
            width=file.width,
            height=file.height,
            nodata=file.nodata,
        )


@pytest.mark.parametrize(
    ("name", "epsg"),
    [
        ("karakoram_baltoro_srtm90.tif", 32643),
        ("alps_Copernicus_DSM_10_N45_00_E005_00_DEM_decimated222m.tif", 32631),
    ],
)
def test_a_real_tile_cut_in_two_is_one_surface_and_that_of_gdal(shared_data, tmp_path, name, epsg):
    path = shared_data / "dem" / name
    halves = []
    with rasterio.open(path) as source:
        middle = source.width // 2 + 7
        for left, right in ((0, middle), (middle, source.width)):
            window = rasterio.windows.Window(left, 0, right - left, source.height)
            half = tmp_path / f"{left}.tif"
            profile = source.profile | {
                "width": right - left,
                "transform": source.window_transform(window),
                "driver": "GTiff",
            }
            with rasterio.open(half, "w", **profile) as file:
                file.write(source.read(window=window))
            halves.append(header(half))
        seam = source.transform.c + middle * source.transform.a
        latitude = source.transform.f + source.height / 2 * source.transform.e
        (x,), (y,) = rasterio.warp.transform(4326, epsg, [seam], [latitude])
        grid = Grid.from_dict(
            {
                "crs": f"EPSG:{epsg}",
                "transform": [10.0, 0.0, round(x, -1) - 4000, 0.0, -10.0, round(y, -1) + 4000],
                "shape": [800, 800],
                "block": 256,
            }
        )
        placed = warp(
            source, grid.geobox, resampling=Resampling.cubic, nodata=-32768, dtype="float32"
        )
        with placed.raster:
            theirs = read_window(placed, grid.whole, fill=math.nan)
    ours = DemMosaic(tiles=tuple(halves)).read(grid, grid.whole, halo=20)
    assert np.isfinite(ours).all()
    assert ours.std() > 50
    np.testing.assert_allclose(ours, theirs, atol=0.02)
    whole = DemMosaic(tiles=(header(path),)).read(grid, grid.whole, halo=20)
    np.testing.assert_allclose(ours, whole, atol=1e-3)
    for block in (
        Window(y=0, x=256, height=256, width=256),
        Window(y=411, x=3, height=9, width=700),
    ):
        part = DemMosaic(tiles=tuple(halves)).read(grid, block, halo=20)
        np.testing.assert_array_equal(part, ours[block.slices])
