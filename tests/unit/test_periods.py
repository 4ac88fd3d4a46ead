"""What of the searched time becomes one composite each."""

from datetime import date

import pytest

from rockglacier.config import parse_config
from rockglacier.errors import InputError
from rockglacier.periods import periods_of
from rockglacier.study import Study


def configured(periods, start="2023-05-10", end="2025-03-01", **features):
    return parse_config(
        {
            "name": "x",
            "area": [74, 36, 75, 37],
            "search": {"start": start, "end": end},
            "cube": {"periods": periods},
            "features": features,
        },
        source="test",
    )


def spans(periods, *days):
    found = periods_of(configured(periods, *days))
    return [(period.start.isoformat(), period.end.isoformat()) for period in found]


def names(periods, *days):
    return [period.name for period in periods_of(configured(periods, *days))]


def test_one_period_is_the_whole_time():
    assert spans("one") == [("2023-05-10", "2025-03-01")]


def test_years_are_cut_at_new_year_and_at_the_ends():
    assert spans("years") == [
        ("2023-05-10", "2023-12-31"),
        ("2024-01-01", "2024-12-31"),
        ("2025-01-01", "2025-03-01"),
    ]


def test_seasons_are_the_meteorological_ones():
    assert spans("seasons", "2023-06-01", "2024-03-10") == [
        ("2023-06-01", "2023-08-31"),
        ("2023-09-01", "2023-11-30"),
        ("2023-12-01", "2024-02-29"),
        ("2024-03-01", "2024-03-10"),
    ]


def test_days_may_be_given():
    given = [["2023-07-01", "2023-08-31"], [date(2024, 7, 1), date(2024, 8, 31)]]
    assert spans(given) == [("2023-07-01", "2023-08-31"), ("2024-07-01", "2024-08-31")]


@pytest.mark.parametrize(
    "given",
    [
        [],
        [["2024-07-01", "2024-06-01"]],
        [["2024-07-01", "2024-07-02"], ["2023-07-01", "2023-07-02"]],
    ],
)
def test_periods_that_make_no_sense_are_refused(given):
    with pytest.raises(InputError, match="periods"):
        spans(given)


def test_periods_are_named_by_their_years_where_that_tells_them_apart():
    assert names("one") == ["2023-2025"]
    assert names("years") == ["2023", "2024", "2025"]
    assert names([["2022-12-01", "2023-02-28"], ["2023-12-01", "2024-02-28"]]) == [
        "2022-2023",
        "2023-2024",
    ]
    assert names("seasons", "2023-06-01", "2023-10-31") == [
        "2023-06-01_2023-08-31",
        "2023-09-01_2023-10-31",
    ]


def test_products_of_one_period_lie_where_they_always_did(tmp_path):
    study = Study(config=configured("one"), base=tmp_path)
    (same,) = study.each_period()
    for one in (study, same):
        assert one.features_path == tmp_path / "x" / "features" / "stack.zarr"
        assert one.prediction_path == tmp_path / "x" / "predictions" / "2023-2025"
        assert one.inventory_path == tmp_path / "x" / "inventory" / "2023-2025"
        assert one.receipts_path == tmp_path / "x" / "receipts"


def test_every_period_has_products_of_its_own(tmp_path):
    study = Study(config=configured("years", period="2024"), base=tmp_path)
    every = study.each_period()
    assert [one.period.name for one in every] == ["2024", "2023", "2025"]
    assert [one.period.index for one in every] == [1, 0, 2]
    for place in ("features_path", "prediction_path", "inventory_path", "receipts_path"):
        assert len({getattr(one, place) for one in every}) == 3
        assert getattr(every[0], place) == getattr(study, place)
    assert {one.fusion_path for one in every} == {study.fusion_path}
    assert {one.cube_receipts_path for one in every} == {study.receipts_path / "cube"}


def test_a_period_to_learn_from_that_is_none_is_refused(tmp_path):
    study = Study(config=configured("years", period="2022"), base=tmp_path)
    with pytest.raises(InputError, match="no period '2022'") as caught:
        study.each_period()
    assert caught.value.expected == "2023, 2024, 2025"
