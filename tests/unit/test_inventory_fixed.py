"""Outlines and attributes of made-up ground are those that they were, whatever the blocks."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import pytest
import shapely
from scipy import ndimage

from made_study import grid_of, study_in
from rockglacier.grid import projected
from rockglacier.inventory.candidates import draw, measured

SIZE = 320
TOLERANCE = 1e-9
"""Relative: processors round sines and square roots differently."""

SUMS = {
    "pixels": 37001,
    "elevation_min_m": 162066.633789,
    "elevation_front_m": 162909.344385,
    "elevation_median_m": 165783.083496,
    "elevation_mean_m": 165791.060125,
    "elevation_max_m": 169706.183105,
    "relief_m": 7639.54931641,
    "slope_mean_deg": 739.547661797,
    "slope_p90_deg": 1186.5,
    "aspect_mean_deg": 4680.41400331,
    "aspect_resultant": 25.7796312389,
    "aspect_sector": 133,
    "length_m": 17994.5746909,
    "width_m": 5053.10838952,
    "probability_mean": 23.4785601378,
    "probability_p10": 19.275,
    "probability_p50": 23.08,
    "probability_p90": 28.522,
    "valid_share": 31,
    "snow_share": 8.13931590556,
    "shadow_share": 5.55681767097,
    "area_km2": 3.70851592997,
    "area_uncertainty_km2": 0.332918525015,
    "perimeter_km": 66.5837050029,
    "truncated": 15,
}
"""Of every column over all landforms: as they came out before anything was made faster."""
OUTLINES = "c0cd371010364d28"
HYPSOMETRY = 165_020_650


def made_up():
    """Return probability with gaps, and ground, of smooth noise."""
    rng = np.random.default_rng(7)
    field = ndimage.gaussian_filter(rng.random((SIZE, SIZE)), 6)
    percent = np.rint(50 + 30 * (field - field.mean()) / field.std()).clip(0, 100)
    percent[200:230, 100:140] = 255
    rows, columns = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    elevation = 4500 + 6 * np.hypot(rows - 90, columns - 200)
    elevation[::17, ::13] = np.nan
    return percent.astype(np.uint8), {
        "elevation": elevation,
        "slope": np.abs(rows - columns) % 50,
        "aspect": (2 * rows + columns) % 360,
        "n_snow": ((rows // 9) % 4 == 0).astype(np.uint8)[None],
        "n_shadow": ((columns // 7) % 5 == 0).astype(np.uint8)[None],
    }


def drawn_with(tmp_path, block):
    grid = grid_of((SIZE, SIZE), block=block, north=3_995_000)
    inventory = {"threshold_low": 0.6, "fill_holes_km2": 0.004, "min_area_km2": 0.005}
    study = study_in(tmp_path, grid, name="fixed", inventory=inventory)
    study.__dict__["area"] = projected(
        shapely.box(*grid.bounds).buffer(100), epsg=4326, source_epsg=32643
    )
    percent, ground = made_up()
    drawn = draw(study, percent, threshold=0.75)
    rows, bands = measured(study, drawn, percent, ground)
    return drawn, pd.DataFrame(rows), bands


@pytest.mark.parametrize("block", [64, 2048])
def test_outlines_and_attributes_are_those_that_they_were(tmp_path, block):
    drawn, table, bands = drawn_with(tmp_path, block)
    found = hashlib.sha256(b"".join(drawn.exact.to_wkb()))
    numbers = table.select_dtypes(["number", "bool"]).sum()
    assert found.hexdigest()[:16] == OUTLINES
    assert numbers.to_dict() == pytest.approx(SUMS, rel=TOLERANCE)
    assert sum(low * n for band in bands for low, n in band.items()) == HYPSOMETRY
