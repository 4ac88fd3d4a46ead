"""What of the searched time becomes one composite each."""

from datetime import date

import pytest

from rockglacier.config import parse_config
from rockglacier.cube.periods import periods_of
from rockglacier.errors import InputError


def spans(periods, start="2023-05-10", end="2025-03-01"):
    config = parse_config(
        {
            "name": "x",
            "area": [74, 36, 75, 37],
            "search": {"start": start, "end": end},
            "cube": {"periods": periods},
        },
        source="test",
    )
    return [(period.start.isoformat(), period.end.isoformat()) for period in periods_of(config)]


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
