"""Outlines from probabilities: thresholds, components across blocks, tracing, simplification."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from rockglacier.errors import ContractError
from rockglacier.grid import Grid
from rockglacier.inventory.footprints import footprint_of
from rockglacier.inventory.landforms import Rule, find_landforms, is_above
from rockglacier.inventory.outlines import simplify, trace
from rockglacier.inventory.pool import in_order

ORIGIN = Affine(10, 0, 500_000, 0, -10, 4_000_000)


def grid_of(shape, block):
    return Grid(geobox=GeoBox(shape, ORIGIN, "EPSG:32643"), block=block)


def outlines_of(probability, block, threshold=0.5, low=None, **filling):
    grid = grid_of(probability.shape, block)
    found = find_landforms(probability, grid, threshold=threshold, low=low)
    outlines = []
    for landform in found:
        footprint = footprint_of(probability, landform, threshold=threshold, low=low, **filling)
        transform = grid.window_geobox(footprint.window).affine
        outlines.append(trace(footprint.is_landform, transform))
    return found, outlines


def percent(is_landform):
    return np.where(is_landform, 80, 10).astype(np.uint8)


def diagonal_landform(size=90, width=7):
    rows, columns = np.mgrid[:size, :size]
    return np.abs(rows - columns) <= width


@pytest.mark.parametrize(
    ("threshold", "least"), [(0.5, 50), (0.485, 49), (0.48, 48), (0.29, 29), (0.001, 1)]
)
def test_pixel_belongs_if_its_whole_percent_reaches_the_threshold(threshold, least):
    percent = np.arange(101, dtype=np.uint8)
    assert percent[is_above(percent, threshold=threshold)].min() == least


def test_nodata_is_never_above_a_threshold():
    probability = np.array([0, 49, 50, 100, 255], dtype=np.uint8)
    assert is_above(probability, threshold=0.5).tolist() == [False, False, True, True, False]


def test_diagonal_landform_across_nine_blocks_is_one_outline():
    is_landform = diagonal_landform()
    found, outlines = outlines_of(percent(is_landform), block=30)
    assert len(outlines) == 1
    assert found[0].pixels == is_landform.sum()
    assert outlines[0].area == is_landform.sum() * 100


@pytest.mark.parametrize("block", [7, 16, 30, 45, 89])
def test_any_block_size_gives_the_same_outlines(block):
    probability = np.random.default_rng(0).integers(0, 101, (90, 90)).astype(np.uint8)
    probability[40:50, 20:60] = 255
    whole, expected = outlines_of(probability, block=90, threshold=0.45)
    cut, outlines = outlines_of(probability, block=block, threshold=0.45)
    assert len(expected) > 100
    assert cut == whole
    assert shapely.equals_exact(outlines, expected).all()


def test_landform_that_winds_through_a_seam_many_times_is_one():
    comb = np.zeros((20, 40), dtype=bool)
    comb[:, ::2] = True
    comb[0, :] = True
    found, _ = outlines_of(percent(comb), block=10)
    assert [landform.pixels for landform in found] == [comb.sum()]


def test_pixels_that_touch_by_a_corner_are_two_landforms():
    is_landform = np.zeros((4, 4), dtype=bool)
    is_landform[1, 1] = is_landform[2, 2] = True
    for block in (2, 4):
        found, outlines = outlines_of(percent(is_landform), block=block)
        assert [landform.seed for landform in found] == [(1, 1), (2, 2)]
        assert [outline.area for outline in outlines] == [100, 100]


def test_no_landform_gives_no_outline():
    found, outlines = outlines_of(np.zeros((8, 8), dtype=np.uint8), block=4)
    assert (found, outlines) == ([], [])


def test_holes_are_kept():
    is_landform = np.ones((10, 10), dtype=bool)
    is_landform[4:6, 4:6] = False
    outline = outlines_of(percent(is_landform), block=5)[1][0]
    assert len(outline.interiors) == 1
    assert outline.area == 96 * 100


def test_landform_inside_the_window_of_another_is_left_out_of_its_footprint():
    is_landform = np.ones((12, 12), dtype=bool)
    is_landform[2:10, 2:10] = False
    is_landform[5:7, 5:7] = True
    probability = percent(is_landform)
    found, _ = outlines_of(probability, block=6)
    footprints = [footprint_of(probability, landform, threshold=0.5) for landform in found]
    assert [footprint.is_landform.sum() for footprint in footprints] == [80, 4]


def test_outlines_lie_along_pixel_edges_of_the_grid():
    is_landform = np.zeros((6, 6), dtype=bool)
    is_landform[2:4, 1:4] = True
    outline = outlines_of(percent(is_landform), block=3)[1][0]
    assert outline.bounds == (500_010, 3_999_960, 500_040, 3_999_980)


def test_raster_of_another_shape_is_refused():
    with pytest.raises(ContractError, match=r"shape \(5, 5\)\n.*grid's shape \(6, 6\)"):
        find_landforms(np.zeros((5, 5), np.uint8), grid_of((6, 6), 3), threshold=0.5)


def test_raster_that_changed_meanwhile_is_refused():
    probability = percent(np.ones((4, 4), dtype=bool))
    (landform,) = find_landforms(probability, grid_of((4, 4), 4), threshold=0.5)
    probability[3, 3] = 0
    with pytest.raises(ContractError, match=r"has 15 pixels\n.*16 pixels"):
        footprint_of(probability, landform, threshold=0.5)


def test_pixels_that_are_not_one_component_are_refused():
    with pytest.raises(ContractError, match="2 pixels were traced as 2 outline"):
        trace(np.eye(2, dtype=bool), ORIGIN)


def test_simplification_takes_out_stairs_and_keeps_area():
    (outline,) = outlines_of(percent(diagonal_landform()), block=90)[1]
    (simple,) = simplify([outline], tolerance_m=10)
    assert len(simple.exterior.coords) < len(outline.exterior.coords) / 4
    assert simple.area == pytest.approx(outline.area, rel=0.02)


def test_outline_that_would_lose_its_shape_stays_exact():
    pixel = trace(np.ones((1, 1), dtype=bool), ORIGIN)
    assert simplify([pixel], tolerance_m=10) == [pixel]


def test_tolerance_zero_keeps_the_exact_outlines():
    outlines = outlines_of(percent(diagonal_landform()), block=90)[1]
    assert simplify(outlines, tolerance_m=0) == outlines
    assert simplify([], tolerance_m=10) == []


def test_hysteresis_follows_weak_pixels_only_from_strong_ones():
    probability = np.full((6, 30), 10, np.uint8)
    probability[2:4, 2:12] = 40
    probability[2, 5] = 80
    probability[2:4, 15:25] = 40
    for block in (3, 4, 30):
        found, outlines = outlines_of(probability, block, low=0.4)
        assert [(landform.pixels, landform.peak) for landform in found] == [(20, 80)]
        assert [outline.area for outline in outlines] == [2000]
    assert [landform.pixels for landform in outlines_of(probability, 30)[0]] == [1]


def test_low_threshold_above_the_high_one_changes_nothing():
    probability = np.random.default_rng(0).integers(0, 101, (20, 20)).astype(np.uint8)
    plain, high = (outlines_of(probability, 20, low=low)[0] for low in (None, 0.9))
    assert plain == high


def ring_with(hole, *, island=None):
    """A square of 12 pixels with a square hole of ``hole`` pixels, and an island in it."""
    is_landform = np.zeros((14, 14), dtype=bool)
    is_landform[1:13, 1:13] = True
    is_landform[2 : 2 + hole, 2 : 2 + hole] = False
    if island:
        is_landform[4 : 4 + island, 4 : 4 + island] = True
    return is_landform


@pytest.mark.parametrize(("fill", "area"), [(0, 135), (8, 135), (9, 144), (100, 144)])
def test_holes_up_to_an_area_are_filled(fill, area):
    probability = percent(ring_with(3))
    probability[3, 3] = 255
    _, (outline,) = outlines_of(probability, block=5, fill_pixels=fill)
    assert outline.area == area * 100
    assert len(outline.interiors) == (area == 135)


def test_hole_stays_around_another_landform_and_goes_around_a_dropped_one():
    probability = percent(ring_with(7, island=2))
    landforms = find_landforms(probability, grid_of((14, 14), 14), threshold=0.5)

    def pixels(min_pixels):
        footprint = footprint_of(
            probability, landforms[0], threshold=0.5, fill_pixels=49, min_pixels=min_pixels
        )
        return footprint.is_landform.sum()

    assert pixels(min_pixels=4) == 144 - 49
    assert pixels(min_pixels=5) == 144


def test_bay_at_the_edge_of_the_raster_is_no_hole():
    probability = percent(np.ones((6, 6), dtype=bool))
    probability[0:2, 2:4] = 10
    _, (outline,) = outlines_of(probability, block=6, fill_pixels=10)
    assert outline.area == 32 * 100


def test_rule_counts_pixels_of_areas():
    rule = Rule.of(0.5, low=0.4, min_area_km2=0.01, fill_holes_km2=0.001, resolution=10)
    assert (rule.min_pixels, rule.fill_pixels, rule.extent) == (100, 10, 0.4)
    rule = Rule.of(0.5, low=None, min_area_km2=0, fill_holes_km2=0, resolution=30)
    assert (rule.min_pixels, rule.fill_pixels, rule.extent) == (1, 0, 0.5)


def test_results_come_in_order_and_errors_with_them():
    assert list(in_order(lambda k: k * k, range(20), threads=3)) == [k * k for k in range(20)]
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda k: 1 / k, [1, 0], threads=2))
