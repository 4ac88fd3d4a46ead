"""How unlike new ground is: nothing for the same ground, more the farther it lies."""

import json

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from rockglacier.errors import ContractError
from rockglacier.features.shift import Profile, profile_of, shift_of, verdict_of

CHANNELS = ("a", "b", "c")


def ground(seed, *, shift=0.0, scale=1.0, n=20_000):
    """Three channels; the third is nearly the sum of the others."""
    rng = np.random.default_rng(seed)
    two = rng.normal(0, 1, (n, 2)) * scale + shift
    return np.column_stack([two, two.sum(1) + rng.normal(0, 0.01, n)]).astype(np.float32)


@pytest.fixture(scope="module")
def known():
    return profile_of(ground(0), CHANNELS)


def test_other_pixels_of_the_same_ground_are_alike(known):
    found = shift_of(known, ground(1))
    assert found["distance"] < 0.03
    assert found["beyond"] == pytest.approx(0.01, abs=0.004)
    assert verdict_of(found, None) == "alike"


@pytest.mark.parametrize("shift", [0.25, 0.5, 2.0])
def test_distance_of_a_shifted_channel_is_its_shift_in_deviations(known, shift):
    found = shift_of(known, ground(1, shift=shift))
    by_name = {row["name"]: row for row in found["channels"]}
    assert by_name["a"]["distance"] == pytest.approx(shift, abs=0.03)
    assert by_name["c"]["distance"] == pytest.approx(2 * shift / np.sqrt(2), abs=0.03)
    assert by_name["a"]["median"] - by_name["a"]["trained_median"] == pytest.approx(shift, abs=0.05)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_ground_with_another_spread_is_as_far_as_the_earth_that_has_to_move(known, scale):
    there, here = ground(0), ground(1, scale=scale)
    found = shift_of(known, here)
    for k, row in enumerate(found["channels"]):
        moved = wasserstein_distance(there[:, k], here[:, k]) / there[:, k].std()
        assert row["distance"] == pytest.approx(moved, abs=0.03)  # 50 quantiles, without the ends


def test_ground_of_other_correlations_lies_beyond_though_every_channel_is_alike(known):
    other = ground(1)
    other[:, 2] = np.random.default_rng(2).permutation(other[:, 2])
    found = shift_of(known, other)
    assert found["distance"] < 0.03
    assert found["beyond"] > 0.8
    assert verdict_of(found, None) == "unlike"


def test_words_follow_the_held_out_ground_of_the_training():
    own = {"distance": 0.2, "beyond": 0.04}
    assert verdict_of({"distance": 0.39, "beyond": 0.07}, own) == "alike"
    assert verdict_of({"distance": 0.41, "beyond": 0.07}, own) == "shifted"
    assert verdict_of({"distance": 0.39, "beyond": 0.09}, own) == "shifted"
    assert verdict_of({"distance": 1.0, "beyond": 0.0}, own) == "unlike"
    assert verdict_of({"distance": 0.0, "beyond": 0.25}, own) == "unlike"


def test_profile_survives_json(known):
    again = Profile.from_dict(json.loads(json.dumps(known.to_dict())))
    a, b = shift_of(known, ground(3, shift=0.3)), shift_of(again, ground(3, shift=0.3))
    assert a["distance"] == pytest.approx(b["distance"], abs=1e-3)
    assert a["beyond"] == pytest.approx(b["beyond"], abs=1e-2)


def test_damaged_profile_is_refused(known):
    values = known.to_dict()
    with pytest.raises(ContractError, match="cannot be read"):
        Profile.from_dict({**values, "mean": [0.0]})
    del values["radius"]
    with pytest.raises(ContractError, match="radius"):
        Profile.from_dict(values)


def test_channel_that_never_changes_is_no_error():
    flat = ground(0)
    flat[:, 1] = 1.0
    found = shift_of(profile_of(flat, CHANNELS), flat)
    assert np.isfinite(found["distance"])
    assert found["beyond"] <= 0.011
