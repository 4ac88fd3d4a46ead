"""Masked composites: tiers, counts, nodata, and what a median is."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from rockglacier.cube.composite import Composite, composite
from rockglacier.cube.flat import STRIP
from rockglacier.cube.tiers import NEVER, SHADOW, SNOW, tier_table
from rockglacier.errors import ContractError, InputError


def median_composite(*looks):
    return composite(*looks, method="median")


def first_composite(*looks):
    return composite(*looks, method="first-clear")


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
    dn, scl, add = one_pixel([5], [5])
    with pytest.raises(ContractError, match="int64"):
        composite(dn.astype(int), scl, add, method="mean")
    with pytest.raises(ContractError, match="blocked"):
        composite(dn, scl, add, method="mean", blocked=np.zeros((1, 2, 1), bool))
    with pytest.raises(ContractError, match="an output of shape"):
        composite(dn, scl, add, method="mean", out=Composite.empty(1, 1, 2))


def test_mean_of_the_best_looks_rounds_half_up():
    result = composite(*one_pixel([1001, 1002, 9000], [5, 5, 11]), method="mean")
    assert (result.reflectance[0, 0, 0], counts(result)) == (1002, (2, 0, 0))
    result = composite(*one_pixel([1000, 1000, 1001], [2, 2, 2]), method="mean")
    assert (result.reflectance[0, 0, 0], counts(result)) == (1000, (0, 0, 3))


def test_first_follows_the_order_given():
    looks = one_pixel([700, 900], [5, 5])
    assert composite(*looks, method="least-cloudy").reflectance[0, 0, 0] == 700
    turned = [values[::-1] for values in looks]
    assert composite(*turned, method="least-cloudy").reflectance[0, 0, 0] == 900


@pytest.mark.parametrize("method", ["median", "mean", "first-clear", "least-cloudy"])
def test_blocked_looks_never_count(method):
    looks = one_pixel([700, 900, 950], [5, 5, 11])
    blocked = np.array([True, False, False]).reshape(-1, 1, 1)
    result = composite(*looks, method=method, blocked=blocked)
    assert (result.reflectance[0, 0, 0], counts(result)) == (900, (1, 0, 0))
    result = composite(*looks, method=method, blocked=np.ones((3, 1, 1), bool))
    assert (result.reflectance[0, 0, 0], counts(result)) == (0, (0, 0, 0))


def test_classes_can_be_chosen():
    tiers = tier_table(clear=(5, 11), snow=(), shadow=(2, 3))
    looks = one_pixel([1000, 2000], [11, 4])
    result = composite(*looks, method="median", tiers=tiers)
    assert (result.reflectance[0, 0, 0], counts(result)) == (1000, (1, 0, 0))
    result = composite(*one_pixel([1000], [3]), method="median", tiers=tiers)
    assert (result.reflectance[0, 0, 0], counts(result)) == (1000, (0, 0, 1))


def test_default_tiers():
    table = tier_table()
    assert [int(table[scl]) for scl in (2, 11)] == [SHADOW, SNOW]
    assert np.nonzero(table == NEVER)[0].tolist() == [0, 1, 3, 8, 9, 10, *range(12, 256)]


@pytest.mark.parametrize(
    ("classes", "found"),
    [
        ({"clear": (4, 11)}, "class 11 .* twice"),
        ({"shadow": (0,)}, "class 0 "),
        ({"snow": (256,)}, "class 256 "),
    ],
)
def test_classes_that_make_no_sense_are_refused(classes, found):
    with pytest.raises(InputError, match=found):
        tier_table(**classes)


@pytest.mark.parametrize("method", ["median", "mean", "first-clear"])
def test_threads_fill_parts_of_one_output(method):
    rng = np.random.default_rng(1)
    shape = (5, 2, 37, STRIP + 77)
    dn = rng.integers(0, 3000, shape).astype(np.uint16)
    scl = rng.choice(np.array([2, 5, 9, 11], np.uint8), (5, *shape[2:]))
    blocked = rng.random(scl.shape) < 0.2
    add = rng.choice([0, 1000], 5).astype(np.int32)
    whole = composite(dn, scl, add, method=method, blocked=blocked)
    out = Composite.empty(*shape[1:])

    def fill(y):
        rows = slice(y, y + 5)
        composite(
            dn[:, :, rows],
            scl[:, rows],
            add,
            method=method,
            blocked=blocked[:, rows],
            out=out.part(rows),
        )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fill, range(0, 37, 5)))
    assert whole.n_clear.any()
    assert whole.n_shadow.any()
    for name in ("reflectance", "n_clear", "n_snow", "n_shadow"):
        np.testing.assert_array_equal(getattr(out, name), getattr(whole, name), err_msg=name)


def test_columns_may_be_turned_in_but_not_out():
    dn, scl, add = one_pixel([1, 2], [5, 5])
    wide, classes = np.tile(dn, (1, 1, 2, 3)), np.tile(scl, (1, 2, 3))
    wide[..., 0] = 9
    turned = composite(wide[..., ::-1], classes[..., ::-1], add, method="mean")
    assert turned.reflectance[0, 0].tolist() == [2, 2, 9]
    out = Composite.empty(1, 2, 6).part(slice(None), slice(None, None, 2))
    with pytest.raises(ContractError, match="side by side"):
        composite(wide, classes, add, method="mean", out=out)
