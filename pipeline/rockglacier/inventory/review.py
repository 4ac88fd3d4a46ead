"""What to look at first: why an outline may be wrong, and a queue by that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason to look at an outline."""

    name: str
    weight: int
    """Reasons add up; the heaviest outlines come first."""
    holds: Callable[[Row, float], bool]
    """Of a row, and the threshold that the outline was drawn by."""


def _above(column: str, least: float) -> Callable[[Row, float], bool]:
    return lambda row, _: (row.get(column) or 0.0) >= least


def _disagrees(row: Row, threshold: float) -> bool:
    """Say whether networks disagree, or would: of one alone, by how near it is to its threshold."""
    agreement, spread = row.get("agreement"), row.get("spread_mean")
    if agreement is not None and agreement < LEAST_AGREEMENT:
        return True
    if spread is not None and spread >= WIDE_SPREAD:
        return True
    # half of the outline hardly reaches the threshold: another network may draw none of it
    return agreement is None and (row.get("probability_p50") or 1.0) < threshold + 0.1


LEAST_AGREEMENT: Final = 0.75
"""Below it, more than a quarter of the votes of networks on pixels are for background."""
WIDE_SPREAD: Final = 0.25
"""Standard deviation as of two networks that say 0.4 and 0.9."""

REASONS: Final = (
    Reason(name="glacier", weight=8, holds=_above("glaciers_share", 0.1)),
    Reason(
        name="disagreement",
        weight=6,
        holds=_disagrees,
    ),
    Reason(name="snow", weight=5, holds=_above("snow_share", 0.2)),
    Reason(name="shadow", weight=4, holds=_above("shadow_share", 0.2)),
    Reason(name="gaps", weight=3, holds=lambda row, _: (row.get("valid_share") or 0.0) < 0.95),
    Reason(name="edge", weight=2, holds=lambda row, _: bool(row.get("truncated"))),
    Reason(name="small", weight=1, holds=lambda row, _: (row.get("area_km2") or 0.0) < 0.03),
)
"""Small: at 10 m pixels, half a pixel all around is more than a tenth of the area."""


def review_queue(rows: Sequence[Row], *, threshold: float) -> list[dict[str, Any]]:
    """Return ``review_reason`` and ``review_rank`` of every row.

    Parameters
    ----------
    rows
        Columns of the inventory by name; of overlaps, ``glaciers_share``.
    threshold
        Probability (0 to 1) that the outlines were drawn by.

    Returns
    -------
    list of dict
        ``review_reason``: names of :data:`REASONS` with semicolons, None without one.
        ``review_rank``: 1 is the one to look at first: by the weight of its reasons, then the less
        probable, then the larger one.
    """
    found = [[reason for reason in REASONS if reason.holds(row, threshold)] for row in rows]

    def order(place: int) -> tuple[float, float, float, int]:
        row = rows[place]
        weight = sum(reason.weight for reason in found[place])
        return -weight, row.get("probability_mean") or 0.0, -(row.get("area_km2") or 0.0), place

    ranks = {place: rank for rank, place in enumerate(sorted(range(len(rows)), key=order), 1)}
    return [
        {
            "review_reason": "; ".join(reason.name for reason in reasons) or None,
            "review_rank": ranks[place],
        }
        for place, reasons in enumerate(found)
    ]
