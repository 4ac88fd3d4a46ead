"""Masked composites: tiers, counts, nodata, and what a median is."""

import numpy as np
import pytest

from rockglacier.cube.composite import first_composite, median_composite
from rockglacier.errors import ContractError


def one_pixel(values, scl, add=None):
    """Looks of one pixel and one band."""
    dn = np.array(values, np.uint16).reshape(-1, 1, 1, 1)
    classes = np.array(scl, np.uint8).reshape(-1, 1, 1)
    return dn, classes, np.array(add or [0] * len(values), np.int32)


def counts(result):
    return int(result.n_clear[0, 0]), int(result.n_snow[0, 0]), int(result.n_shadow[0, 0])


def test_cloudy_looks_never_count():
    for scl in (0, 1, 3, 8, 9, 10, 200):
        result = median_composite(*one_pixel([5000, 1500], [scl, 5]))
        assert result.reflectance[0, 0, 0] == 1500
        assert counts(result) == (1, 0, 0)


def test_snow_counts_only_without_a_snow_free_look():
    result = median_composite(*one_pixel([9000, 1500, 9100], [11, 5, 11]))
    assert (result.reflectance[0, 0, 0], counts(result)) == (1500, (1, 0, 0))
    result = median_composite(*one_pixel([9000, 3000, 9100], [11, 9, 11]))
    assert (result.reflectance[0, 0, 0], counts(result)) == (9050, (2, 2, 0))


def test_shadow_is_used_only_where_there_is_nothing_else():
    result = median_composite(*one_pixel([1200, 9000], [2, 11]))
    assert (result.reflectance[0, 0, 0], counts(result)) == (9000, (1, 1, 0))
    result = median_composite(*one_pixel([1200, 1300, 8000], [2, 2, 8]))
    assert (result.reflectance[0, 0, 0], counts(result)) == (1250, (0, 0, 2))


def test_no_look_is_nodata():
    result = median_composite(*one_pixel([5000, 0], [9, 5]))
    assert (result.reflectance[0, 0, 0], counts(result)) == (0, (0, 0, 0))


def test_even_median_rounds_half_up():
    assert median_composite(*one_pixel([1001, 1002], [5, 5])).reflectance[0, 0, 0] == 1002


def test_offset_is_added_after_nodata_and_clipped():
    result = median_composite(*one_pixel([0, 500], [5, 5], add=[1000, 1000]))
    assert result.reflectance[0, 0, 0] == 1500
    assert median_composite(*one_pixel([65000], [5], add=[1000])).reflectance[0, 0, 0] == 65535
    assert median_composite(*one_pixel([500], [5], add=[-1000])).reflectance[0, 0, 0] == 1


def test_a_look_without_one_band_takes_no_part_in_any():
    dn = np.array([[1000, 0], [3000, 4000]], np.uint16).reshape(2, 2, 1, 1)
    result = median_composite(dn, np.full((2, 1, 1), 5, np.uint8), np.zeros(2, np.int32))
    assert result.reflectance[:, 0, 0].tolist() == [3000, 4000]


def test_more_looks_than_a_byte_holds():
    result = median_composite(*one_pixel(range(1, 301), [5] * 300))
    assert (result.reflectance[0, 0, 0], counts(result)) == (151, (255, 0, 0))


def test_no_look_at_all():
    result = median_composite(
        np.zeros((0, 2, 3, 4), np.uint16), np.zeros((0, 3, 4), np.uint8), np.zeros(0, np.int32)
    )
    assert result.reflectance.shape == (2, 3, 4)
    assert not result.reflectance.any()


def test_first_clear_look_wins():
    result = first_composite(*one_pixel([9000, 700, 900], [9, 5, 5], add=[0, 1000, 0]))
    assert (result.reflectance[0, 0, 0], counts(result)) == (1700, (1, 0, 0))
    result = first_composite(*one_pixel([9000, 700], [11, 2]))
    assert (result.reflectance[0, 0, 0], counts(result)) == (9000, (1, 1, 0))


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ContractError, match="expected"):
        median_composite(
            np.zeros((2, 1, 3, 3), np.uint16), np.zeros((1, 3, 3), np.uint8), np.zeros(2, np.int32)
        )
