"""Which outlines to look at first."""

from __future__ import annotations

from rockglacier.inventory.review import review_queue

FINE = {
    "area_km2": 0.2,
    "probability_mean": 0.9,
    "probability_p50": 0.9,
    "valid_share": 1.0,
    "snow_share": 0.0,
    "shadow_share": 0.0,
    "truncated": False,
}


def test_reasons_are_named_and_the_heaviest_comes_first():
    rows = [
        FINE,
        FINE | {"area_km2": 0.01, "truncated": True},
        FINE | {"glaciers_share": 0.4},
        FINE | {"snow_share": 0.5, "shadow_share": 0.5},
        FINE | {"probability_p50": 0.55, "valid_share": 0.5},
    ]
    queue = review_queue(rows, threshold=0.5)
    assert [row["review_reason"] for row in queue] == [
        None,
        "edge; small",
        "glacier",
        "snow; shadow",
        "disagreement; gaps",
    ]
    assert [row["review_rank"] for row in queue] == [5, 4, 3, 1, 2]


def test_of_equals_the_less_probable_then_the_larger_comes_first():
    rows = [
        FINE,
        FINE | {"probability_mean": 0.7},
        FINE | {"area_km2": 2.0},
    ]
    assert [row["review_rank"] for row in review_queue(rows, threshold=0.5)] == [3, 1, 2]


def test_unknown_values_are_no_reason():
    unknown = FINE | dict.fromkeys(("snow_share", "shadow_share", "glaciers_share"))
    assert review_queue([unknown], threshold=0.5) == [{"review_reason": None, "review_rank": 1}]
    assert review_queue([], threshold=0.5) == []
