"""Outlines of any set of pixels are valid, exact, disjoint and independent of the blocks."""

from __future__ import annotations

import numpy as np
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from odc.geo.geobox import GeoBox
from scipy import ndimage

from rockglacier.grid import Grid
from rockglacier.inventory.footprints import footprint_of
from rockglacier.inventory.landforms import find_landforms
from rockglacier.inventory.outlines import simplify, trace

ORIGIN = Affine(10, 0, 500_000, 0, -10, 4_000_000)
PERCENT = st.sampled_from([0, 0, 80, 80, 80, 255])
GRADED = st.sampled_from([0, 40, 40, 40, 80, 255])
RASTERS = arrays(
    np.uint8, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=PERCENT, fill=st.nothing()
)
GRADED_RASTERS = arrays(
    np.uint8, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=GRADED, fill=st.nothing()
)


def outlines_of(probability, block, low=None, **filling):
    grid = Grid(geobox=GeoBox(probability.shape, ORIGIN, "EPSG:32643"), block=block)
    outlines = []
    for landform in find_landforms(probability, grid, threshold=0.5, low=low):
        footprint = footprint_of(probability, landform, threshold=0.5, low=low, **filling)
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


@settings(deadline=None, max_examples=60)
@given(GRADED_RASTERS, st.integers(1, 7), st.integers(0, 20))
def test_hysteresis_and_filled_holes_know_no_blocks_and_never_overlap(probability, block, fill):
    whole = outlines_of(probability, block=14, low=0.3, fill_pixels=fill)
    cut = outlines_of(probability, block, low=0.3, fill_pixels=fill)
    assert shapely.equals_exact(cut, whole).all()
    total = sum(outline.area for outline in whole)
    assert shapely.union_all(whole).area == total
    is_strong, reaches_low = probability == 80, (probability == 80) | (probability == 40)
    labels, count = ndimage.label(reaches_low)
    is_seeded = np.zeros(count + 1, dtype=bool)
    is_seeded[labels[is_strong]] = True
    drawn = 100 * is_seeded[labels].sum()
    assert total == drawn if fill == 0 else total >= drawn
    holes = [shapely.Polygon(ring).area for outline in whole for ring in outline.interiors]
    inside = [
        any(shapely.Polygon(ring).covers(other) for other in whole)
        for outline in whole
        for ring in outline.interiors
    ]
    assert all(area > 100 * fill for area, full in zip(holes, inside, strict=True) if not full)
