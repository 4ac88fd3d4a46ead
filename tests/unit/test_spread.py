"""The ground around clouds: disks in pixels, whatever the window."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from rockglacier.cube.spread import cloud_mask, spread, spread_halo
from rockglacier.errors import InputError


def test_a_pixel_becomes_a_disk():
    mask = np.zeros((7, 7), bool)
    mask[3, 3] = True
    y, x = np.mgrid[:7, :7] - 3
    for radius in (0, 0.9, 1, 1.5, 2, 2.9, 3):
        np.testing.assert_array_equal(spread(mask, radius), np.hypot(x, y) <= radius)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), radius=st.floats(0, 12), share=st.floats(0, 0.05))
def test_equals_the_distance_transform(seed, radius, share):
    mask = np.random.default_rng(seed).random((2, 31, 45)) < share
    got = spread(mask, radius)
    for one, of in zip(got, mask, strict=True):
        expected = distance_transform_edt(~of) <= radius if of.any() else of
        np.testing.assert_array_equal(one, expected)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    radius=st.floats(0, 9),
    top=st.integers(9, 60),
    left=st.integers(9, 80),
)
def test_a_window_with_its_halo_equals_the_same_part_of_the_whole(seed, radius, top, left):
    scl = np.random.default_rng(seed).choice(
        np.array([4, 5, 9], np.uint8), (90, 110), p=[0.5, 0.495, 0.005]
    )
    whole = cloud_mask(scl, radius=radius)
    halo = spread_halo(radius)
    window = (slice(top - halo, top + 15 + halo), slice(left - halo, left + 11 + halo))
    part = cloud_mask(scl[window], radius=radius)
    inner = (slice(halo, halo + 15), slice(halo, halo + 11))
    np.testing.assert_array_equal(part[inner], whole[top : top + 15, left : left + 11])


def test_clouds_and_their_shadows_spread_and_snow_does_not():
    for scl in range(12):
        mask = cloud_mask(np.array([[4, 4, scl, 4]], np.uint8), radius=1)
        assert mask.tolist() == [[False, *[scl in (3, 8, 9, 10)] * 3]]
    assert cloud_mask(np.array([[4, 11]], np.uint8), radius=1, classes=(11,)).all()


def test_a_negative_radius_is_refused():
    with pytest.raises(InputError, match="spread by -1"):
        spread(np.zeros((2, 2), bool), -1)
