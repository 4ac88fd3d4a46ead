"""The fused composites against plain numpy ones."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rockglacier.cube.composite import composite
from rockglacier.cube.flat import STRIP
from rockglacier.cube.tiers import CLEAR, NEVER, tier_table

LAYERS = ("reflectance", "n_clear", "n_snow", "n_shadow")


def made(seed, looks, bands, shape=(5, 7)):
    """Looks of every kind of pixel: with ties or over the whole range, harmonised or not."""
    rng = np.random.default_rng(seed)
    dn = rng.integers(0, [6, 65536][seed % 2], (looks, bands, *shape)).astype(np.uint16)
    scl = rng.integers(0, 13, (looks, *shape)).astype(np.uint8)
    return dn, scl, rng.choice([-1000, 0, 1000], looks).astype(np.int32)


def used_by(dn, scl, blocked=None):
    """Return where each look is of the best tier of its pixel, and that tier."""
    tier = tier_table()[scl]
    tier[(dn == 0).any(axis=1)] = NEVER
    if blocked is not None:
        tier[blocked] = NEVER
    best = tier.min(axis=0)
    return (tier == best) & (best < NEVER), best


def reference(dn, scl, add, method, blocked=None):
    """Composite by float stacks and masks."""
    used, best = used_by(dn, scl, blocked)
    if method == "first-clear":
        used &= used.cumsum(axis=0) == 1
    values = np.clip(dn.astype(float) + add[:, None, None, None], 1, 65535)
    values = np.where(used[:, None], values, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # pixels without a look
        one = np.nanmedian(values, axis=0) if method == "median" else np.nanmean(values, axis=0)
    return np.nan_to_num(np.floor(one + 0.5)).astype(np.uint16), (used & (best == CLEAR)).sum(0)


@pytest.mark.parametrize("method", ["median", "mean", "first-clear"])
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), looks=st.integers(1, 19), bands=st.integers(1, 3))
def test_fused_composite_equals_numpy(method, seed, looks, bands):
    dn, scl, add = made(seed, looks, bands)
    blocked = np.random.default_rng(seed).random(scl.shape) < [0, 0.3][seed % 3 == 0]
    result = composite(dn, scl, add, method=method, blocked=blocked)
    expected, clear = reference(dn, scl, add, method, blocked)
    np.testing.assert_array_equal(result.reflectance, expected)
    np.testing.assert_array_equal(result.n_clear - result.n_snow, clear)


@pytest.mark.parametrize("method", ["median", "mean"])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_order_of_looks_does_not_matter(method, seed):
    dn, scl, add = made(seed, 5, 2)
    order = np.random.default_rng(seed).permutation(5)
    one = composite(dn, scl, add, method=method)
    two = composite(dn[order], scl[order], add[order], method=method)
    for name in LAYERS:
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


@pytest.mark.parametrize("method", ["median", "mean", "first-clear"])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), left=st.integers(0, 700), width=st.integers(1, 600))
def test_a_window_equals_the_same_part_of_the_whole(method, seed, left, width):
    dn, scl, add = made(seed, 6, 2, (3, 2 * STRIP + 276))
    whole = composite(dn, scl, add, method=method)
    cols = slice(left, left + width)
    part = composite(dn[..., cols], scl[..., cols], add, method=method)
    for name in LAYERS:
        np.testing.assert_array_equal(getattr(whole, name)[..., cols], getattr(part, name))
