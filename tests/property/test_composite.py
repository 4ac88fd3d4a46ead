"""The fused median against the plain numpy one."""

import warnings

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rockglacier.cube.composite import CLEAR, NEVER, median_composite, tier_table


def reference(dn, scl, add):
    """Median by float stacks, masks and nanmedian."""
    tier = tier_table()[scl]
    tier[(dn == 0).any(axis=1)] = NEVER
    best = tier.min(axis=0)
    used = (tier == best) & (best < NEVER)
    values = np.clip(dn.astype(float) + add[:, None, None, None], 1, 65535)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # pixels without a look
        median = np.nanmedian(np.where(used[:, None], values, np.nan), axis=0)
    return np.nan_to_num(np.floor(median + 0.5)).astype(np.uint16), (used & (best == CLEAR)).sum(0)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), looks=st.integers(1, 9), bands=st.integers(1, 3))
def test_fused_median_equals_nanmedian(seed, looks, bands):
    rng = np.random.default_rng(seed)
    dn = rng.integers(0, [6, 65536][seed % 2], (looks, bands, 5, 7)).astype(np.uint16)
    scl = rng.integers(0, 13, (looks, 5, 7)).astype(np.uint8)
    add = rng.choice([0, 1000], looks).astype(np.int32)
    result = median_composite(dn, scl, add)
    median, clear = reference(dn, scl, add)
    np.testing.assert_array_equal(result.reflectance, median)
    np.testing.assert_array_equal(result.n_clear - result.n_snow, clear)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_order_of_looks_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    dn = rng.integers(0, 4000, (5, 2, 4, 4)).astype(np.uint16)
    scl = rng.integers(0, 12, (5, 4, 4)).astype(np.uint8)
    add = rng.choice([0, 1000], 5).astype(np.int32)
    order = rng.permutation(5)
    one, two = median_composite(dn, scl, add), median_composite(dn[order], scl[order], add[order])
    np.testing.assert_array_equal(one.reflectance, two.reflectance)
    np.testing.assert_array_equal(one.n_shadow, two.n_shadow)
