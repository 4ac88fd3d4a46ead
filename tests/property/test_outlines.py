"""Outlines of any set of pixels are valid, exact, disjoint and independent of the blocks."""

from __future__ import annotations

import numpy as np
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from odc.geo.geobox import GeoBox

from rockglacier.grid import Grid
from rockglacier.inventory.outlines import find_landforms, footprint_of, simplify, trace

ORIGIN = Affine(10, 0, 500_000, 0, -10, 4_000_000)
PERCENT = st.sampled_from([0, 0, 80, 80, 80, 255])
RASTERS = arrays(
    np.uint8, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=PERCENT, fill=st.nothing()
)


def outlines_of(probability, block):
    grid = Grid(geobox=GeoBox(probability.shape, ORIGIN, "EPSG:32643"), block=block)
    outlines = []
    for landform in find_landforms(probability, grid, threshold=0.5):
        footprint = footprint_of(probability, landform, threshold=0.5)
        transform = grid.window_geobox(footprint.window).affine
        outlines.append(trace(footprint.is_landform, transform))
    return outlines


@settings(deadline=None, max_examples=60)
@given(RASTERS, st.integers(1, 7))
def test_blocks_make_no_difference_and_every_pixel_is_drawn_once(probability, block):
    whole = outlines_of(probability, block=14)
    assert shapely.equals_exact(outlines_of(probability, block), whole).all()
    assert sum(outline.area for outline in whole) == 100 * (probability == 80).sum()


@settings(deadline=None, max_examples=60)
@given(RASTERS)
def test_simplified_outlines_are_valid_and_do_not_overlap(probability):
    exact = outlines_of(probability, block=5)
    simple = simplify(exact, tolerance_m=10)
    assert shapely.is_valid(np.array(simple, dtype=object)).all()
    total = sum(outline.area for outline in simple)
    assert abs(shapely.union_all(simple).area - total) < 1e-6 * max(total, 1)
