"""Whether pixels carry the offset: evidence, its rank, and the proof from the pixels."""

import itertools

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rockglacier.errors import ContractError, InputError
from rockglacier.scenes.radiometry import (
    Darkness,
    Decision,
    check_pixels,
    darkness,
    decide,
    harmonise,
)


def make_item(*, flag=None, offset=None, baseline=None, when="2024-08-01T00:00:00Z", **properties):
    properties = {"datetime": when, **properties}
    if flag is not None:
        properties["earthsearch:boa_offset_applied"] = flag
    if baseline is not None:
        properties["s2:processing_baseline"] = baseline
    asset = {"href": "b.tif"}
    if offset is not None:
        asset["raster:bands"] = [{"scale": 0.0001, "offset": offset}]
    return {"id": "it", "properties": properties, "assets": {"blue": asset}, "links": []}


@pytest.mark.parametrize(
    ("evidence", "add"),
    [
        ({"flag": True, "offset": 0, "baseline": "05.11"}, 1000),
        ({"flag": True, "offset": -0.1, "baseline": "05.09"}, 1000),  # claims both: the flag wins
        ({"flag": False, "offset": -0.1, "baseline": "05.11"}, 0),
        ({"flag": False, "offset": 0, "baseline": "02.14"}, 1000),
        ({"flag": False, "offset": -0.1, "baseline": "02.14"}, 1000),  # it never had one
        ({"offset": -0.1, "baseline": "05.11"}, 0),
        ({"offset": 0, "baseline": "05.11"}, 1000),
        ({"offset": -0.1}, 0),
        ({"baseline": "05.11"}, 0),
        ({"baseline": "04.00"}, 0),
        ({"baseline": "03.01"}, 1000),
        ({"flag": True}, 1000),
    ],
)
def test_evidence_is_ranked(evidence, add):
    assert decide(make_item(**evidence)).add == add


@pytest.mark.parametrize(
    ("when", "baseline", "add"),
    [("2019-07-01T00:00:00Z", "05.00", 0), ("2022-06-01T00:00:00Z", "03.01", 1000)],
)
def test_date_is_never_evidence(when, baseline, add):
    assert decide(make_item(when=when, baseline=baseline)).add == add


def test_offset_of_raster_extension_v2_is_read():
    item = make_item(baseline="05.00")
    item["assets"]["blue"] |= {"raster:scale": 0.0001, "raster:offset": -0.1}
    assert "asset says" in decide(item).reason


def test_baseline_is_read_from_the_product_name():
    product = "S2B_MSIL2A_20220107T063239_N0301_R077_T42TUM_20220107T084202.SAFE"
    decision = decide(make_item(**{"sentinel:product_id": product}))
    assert (decision.add, "03.01" in decision.reason) == (1000, True)


def test_item_without_any_evidence_is_refused():
    with pytest.raises(InputError, match="does not say whether its pixels carry") as caught:
        decide(make_item())
    assert "processing baseline" in caught.value.expected


@pytest.mark.parametrize(
    ("flag", "removed"), list(itertools.product([True, False], [True, False])), ids=str
)
def test_pixels_settle_every_lie_that_they_can(flag, removed):
    """The flag says one thing, the pixels were written another way."""
    reflectance = np.random.default_rng(0).normal(0.04, 0.01, 5000)  # vegetation in blue
    dn = (1e4 * reflectance + (0 if removed else 1000)).astype(np.uint16)
    decision = check_pixels(decide(make_item(flag=flag, baseline="05.11")), dn)
    if removed:
        assert decision.add == 1000
    elif not flag:
        assert decision.add == 0


def test_flag_that_lies_is_named_in_the_reason():
    decision = check_pixels(decide(make_item(flag=False, baseline="05.11")), np.full(999, 350))
    assert decision.add == 1000
    assert "against the metadata (baseline 05.11, and the provider says" in decision.reason


@pytest.mark.parametrize("dn", [np.full(999, 4000), np.zeros(999, int), np.zeros(0, int)])
def test_no_dark_pixels_prove_nothing(dn):
    metadata = Decision(add=0, reason="m")
    assert check_pixels(metadata, dn) == metadata


def test_a_few_dark_pixels_prove_nothing():
    dn = np.full(10_000, 1400)
    dn[:120] = 850  # shade that was corrected too far
    assert check_pixels(Decision(add=0, reason="m"), dn).add == 0


def test_harmonise_adds_to_valid_pixels_only():
    dn = np.array([0, 1, 500, 65000], np.uint16)
    result = harmonise(dn, 1000)
    assert result.tolist() == [0, 1001, 1500, 65535]
    assert result.dtype == np.uint16


def test_harmonise_with_nothing_to_add_changes_nothing():
    dn = np.array([0, 1, 500], np.uint16)
    assert harmonise(dn, 0).tolist() == [0, 1, 500]


def test_harmonise_marks_an_array_and_refuses_it_the_second_time():
    dn = xr.DataArray(np.array([[0, 400]], np.uint16), dims=("y", "x"))
    once = harmonise(dn, 1000)
    assert once.values.tolist() == [[0, 1400]]
    assert once.dtype == np.uint16
    assert "harmonised" not in dn.attrs
    with pytest.raises(ContractError, match="harmonised before"):
        harmonise(once, 1000)


def test_harmonise_refuses_other_types():
    with pytest.raises(ContractError, match="float64"):
        harmonise(np.zeros(3), 1000)


# every combination of what an item can say, true or not

FLAGS = (True, False, None)
OFFSETS = (-0.1, 0.0, None)
BASELINES = ("02.14", "03.01", "04.00", "05.11", None)
DATES = ("2017-07-01T00:00:00Z", "2022-01-24T00:00:00Z", "2025-08-01T00:00:00Z")


def expected_of(flag, offset, baseline):
    """The ranking in words: who took it off, who never had it, who says so, who carries it."""
    if flag:
        return 1000, "flag"
    if baseline in ("02.14", "03.01"):
        return 1000, "baseline"
    if flag is False and baseline:
        return 0, "flag"
    if offset is not None:
        return (0 if offset else 1000), "asset"
    return (0, "baseline") if baseline else None


@pytest.mark.parametrize("when", DATES)
@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("baseline", BASELINES)
def test_truth_table_of_the_evidence(flag, offset, baseline, when):
    item = make_item(flag=flag, offset=offset, baseline=baseline, when=when)
    expected = expected_of(flag, offset, baseline)
    if expected is None:
        with pytest.raises(InputError, match="does not say"):
            decide(item)
        return
    found = decide(item)
    assert (found.add, found.evidence) == expected
    assert found.reason


DECIDED = [said for said in itertools.product(FLAGS, OFFSETS, BASELINES) if expected_of(*said)]


@pytest.mark.parametrize(("flag", "offset", "baseline"), DECIDED)
@pytest.mark.parametrize("carries", [True, False])
@pytest.mark.parametrize("ground", ["dark", "bright"])
def test_whatever_is_said_nothing_is_added_twice_and_dark_pixels_have_the_last_word(
    flag, offset, baseline, carries, ground
):
    """Where the truth can be seen it wins; where it cannot, the metadata stand."""
    reflectance = np.random.default_rng(1).normal(0.04 if ground == "dark" else 0.5, 0.01, 4000)
    dn = np.rint(1e4 * reflectance + 1000 * carries).astype(np.uint16)
    said = decide(make_item(flag=flag, offset=offset, baseline=baseline))
    found = check_pixels(said, dn)
    if said.add == 0 and not carries and ground == "dark":
        assert (found.add, found.evidence) == (1000, "pixels")
        assert said.reason in found.reason
        assert np.median(harmonise(dn, found.add)) == pytest.approx(1400, abs=10)
    else:
        assert found == said


@pytest.mark.parametrize(
    ("offsets", "evidence"),
    [((-0.1, -0.1), "asset"), ((-0.1, None), "asset"), ((-0.1, 0.0), "baseline")],
)
def test_bands_that_contradict_each_other_say_nothing(offsets, evidence):
    item = make_item(baseline="05.11")
    for key, offset in zip(("blue", "red"), offsets, strict=True):
        said = {} if offset is None else {"raster:offset": offset}
        item["assets"][key] = {"href": "b.tif", **said}
    assert decide(item, ("B02", "B04")).evidence == evidence


def test_numbers_of_another_kind_are_refused():
    item = make_item(baseline="05.11")
    item["assets"]["blue"] |= {"raster:scale": 0.0000275, "raster:offset": -0.2}
    with pytest.raises(InputError, match=r"its pixels have the scale 2\.75e-05"):
        decide(item)


def test_darkness_counts_valid_pixels_only():
    found = darkness(np.array([[0, 1, 900], [901, 5000, 0]], np.uint16))
    assert found == Darkness(pixels=4, dark=2)
    assert found.dark_percent == 50
    assert not found.is_proof
    assert darkness(np.zeros(3, np.uint16)).dark_percent == 0


@given(
    arrays(np.uint16, (4, 5), elements=st.integers(0, 65535)),
    st.sampled_from([0, 1000]),
)
def test_harmonised_pixels_keep_their_nodata_and_their_order(dn, add):
    found = harmonise(dn, add)
    assert ((found == 0) == (dn == 0)).all()
    valid = dn > 0
    assert (found[valid] == np.minimum(dn[valid].astype(int) + add, 65535)).all()
    array = xr.DataArray(dn, dims=("y", "x"))
    marked = harmonise(array, add)
    np.testing.assert_array_equal(marked.values, found)
    for again in (0, 1000):
        with pytest.raises(ContractError, match="harmonised before"):
            harmonise(marked, again)
