"""Coarser bands on finer pixels: exact on planes, no rim at swath edges, the same in any window."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rockglacier.cube.upsample import UPSAMPLE_HALO, upsample


def reference(values, factor, nodata):
    """Weights of the four nearest centres, pixel by pixel."""
    height, width = values.shape
    result = np.repeat(np.repeat(values, factor, 0), factor, 1).astype(float)
    for y in range(height * factor):
        for x in range(width * factor):
            if result[y, x] == nodata or np.isnan(result[y, x]):
                continue
            v, u = (y + 0.5) / factor - 0.5, (x + 0.5) / factor - 0.5
            total = weight = 0.0
            for j in (int(np.floor(v)), int(np.floor(v)) + 1):
                for i in (int(np.floor(u)), int(np.floor(u)) + 1):
                    if not (0 <= j < height and 0 <= i < width):
                        continue
                    if values[j, i] == nodata or np.isnan(values[j, i]):
                        continue
                    w = (1 - abs(v - j)) * (1 - abs(u - i))
                    total, weight = total + w * values[j, i], weight + w
            result[y, x] = total / weight
    return result


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), factor=st.integers(1, 6))
def test_equals_the_four_nearest_centres(seed, factor):
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 65536, (5, 6)).astype(np.uint16)
    values[rng.random(values.shape) < 0.3] = 0
    expected = np.floor(reference(values.astype(float), factor, 0) + 0.5 + 1e-9)
    np.testing.assert_array_equal(upsample(values, factor, nodata=0), expected)


def test_a_plane_stays_one_within_its_rim():
    y, x = np.mgrid[:6, :7]
    plane = (1000 + 16 * x - 8 * y).astype(np.float32)
    fine = upsample(plane, 2, nodata=0)
    y, x = (np.mgrid[:12, :14] + 0.5) / 2 - 0.5
    np.testing.assert_allclose(fine[1:-1, 1:-1], (1000 + 16 * x - 8 * y)[1:-1, 1:-1])


@pytest.mark.parametrize("factor", [2, 3, 6])
def test_the_edge_of_a_swath_has_no_dark_rim(factor):
    """Data ends along a slanting line: all that is left must be as bright as the data."""
    y, x = np.mgrid[:20, :20]
    values = np.where(x + y // 3 < 12, 5000, 0).astype(np.uint16)
    fine = upsample(values, factor, nodata=0)
    assert set(np.unique(fine)) == {0, 5000}
    np.testing.assert_array_equal(fine > 0, (values > 0).repeat(factor, 0).repeat(factor, 1))


def test_nan_is_no_data_whatever_else_is():
    values = np.array([[1, np.nan, 3], [1, -9999, 3]], np.float32)
    fine = upsample(values, 2, nodata=-9999)
    assert np.isnan(fine[:2, 2:4]).all()
    assert (fine[2:, 2:4] == -9999).all()
    assert (fine[:, :2] == 1).all()
    assert (fine[:, 4:] == 3).all()


def test_a_nodata_that_the_type_cannot_hold_is_no_pixel():
    values = np.array([[0, 4]], np.uint8)
    assert upsample(values, 2, nodata=float("nan")).tolist() == [[0, 1, 3, 4]] * 2


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 99), factor=st.integers(1, 4), top=st.integers(1, 8), left=st.integers(1, 9)
)
def test_a_window_with_its_halo_equals_the_same_part_of_the_whole(seed, factor, top, left):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 4, (20, 24)).astype(np.uint16) * 1000
    whole = upsample(values, factor, nodata=0)
    window = (
        slice(top - UPSAMPLE_HALO, top + 6 + UPSAMPLE_HALO),
        slice(left - UPSAMPLE_HALO, left + 8 + UPSAMPLE_HALO),
    )
    part = upsample(values[window], factor, nodata=0)[factor:-factor, factor:-factor]
    expected = whole[top * factor : (top + 6) * factor, left * factor : (left + 8) * factor]
    np.testing.assert_array_equal(part, expected)
