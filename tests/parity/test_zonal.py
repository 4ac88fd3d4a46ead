"""Statistics of landforms against exactextract, which weighs pixels by what of them lies inside."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
from affine import Affine
from exactextract import exact_extract
from odc.geo.geobox import GeoBox
from rasterio.io import MemoryFile
from scipy import ndimage

from rockglacier.grid import Grid
from rockglacier.inventory.attributes import Layers, measure
from rockglacier.inventory.footprints import footprint_of
from rockglacier.inventory.landforms import find_landforms
from rockglacier.inventory.outlines import trace

ORIGIN = Affine(10, 0, 500_000, 0, -10, 4_000_000)
SIZE = 300


@pytest.fixture(scope="module")
def ground():
    rng = np.random.default_rng(3)

    def field(sigma):
        values = ndimage.gaussian_filter(rng.standard_normal((SIZE, SIZE)), sigma)
        return (values / values.std()).astype(np.float32)

    probability = np.clip(50 + 25 * field(6), 0, 100).astype(np.uint8)
    elevation = 4500 + 200 * field(20)
    elevation[field(10) > 1.8] = np.nan
    return probability, elevation, 20 + 5 * field(4)


def saved(values):
    memory = MemoryFile()
    with memory.open(
        driver="GTiff", height=SIZE, width=SIZE, count=1, dtype=values.dtype.name,
        crs="EPSG:32643", transform=ORIGIN, nodata=np.nan if values.dtype.kind == "f" else None,
    ) as raster:  # fmt: skip
        raster.write(values, 1)
    return memory


def test_statistics_are_those_of_exactextract_on_the_exact_outlines(ground):
    probability, elevation, slope = ground
    grid = Grid(geobox=GeoBox((SIZE, SIZE), ORIGIN, "EPSG:32643"), block=128)
    outlines, rows = [], []
    zero = np.zeros((SIZE, SIZE), np.uint8)
    for landform in find_landforms(probability, grid, threshold=0.7):
        footprint = footprint_of(probability, landform, threshold=0.7)
        slices = footprint.window.slices
        layers = Layers(
            probability=footprint.probability,
            elevation=elevation[slices],
            slope=slope[slices],
            aspect=slope[slices],
            n_snow=zero[slices],
            n_shadow=zero[slices],
        )
        rows.append(measure(footprint.is_landform, layers, resolution=10))
        affine = grid.window_geobox(footprint.window).affine
        outlines.append(trace(footprint.is_landform, affine))
    assert len(rows) > 20
    table = gpd.GeoDataFrame(geometry=outlines, crs=32643)
    ours = {name: np.array([row[name] for row in rows], dtype=float) for name in rows[0]}

    def theirs(values, *operations):
        with saved(values).open() as raster:
            found = exact_extract(
                raster, table, list(operations), strategy="feature-sequential", output="pandas"
            )
        return [found[name].to_numpy(float) for name in found.columns]

    count, low, mean, high = theirs(elevation, "count", "min", "mean", "max")
    assert (count < ours["pixels"]).any()
    assert ours["elevation_min_m"] == pytest.approx(low, nan_ok=True)
    assert ours["elevation_mean_m"] == pytest.approx(mean, nan_ok=True)
    assert ours["elevation_max_m"] == pytest.approx(high, nan_ok=True)
    assert ours["slope_mean_deg"] == pytest.approx(theirs(slope, "mean")[0], rel=1e-6)
    assert 100 * ours["probability_mean"] == pytest.approx(theirs(probability, "mean")[0])
    assert ours["pixels"] == pytest.approx(theirs(probability, "count")[0])
