"""Differences between networks, with intervals: blocks of ground drawn anew, the same for all.

Neighbouring pixels fail together, so that an interval from pixels would be far too narrow; and two
networks fail on the same ground, so that the interval of their difference is narrower than those of
their scores would suggest.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rockglacier.errors import ContractError
from rockglacier.grid import Window
from rockglacier.model.metrics import confusion_matrix

DRAWS: Final = 2000
LEVEL: Final = 0.95
ENOUGH_BLOCKS: Final = 20
"""Blocks from which the interval is worth something."""
SMALLEST_PX: Final = 32

type Place = tuple[int, int]
type BlockCounts = dict[Place, NDArray[np.int64]]
"""Row and column of a block: its confusion, (2, 2), truth in rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A number with the interval that drawing blocks gives it."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float | None]:
        """Return the numbers, None where there is none."""
        values = {"value": self.value, "low": self.low, "high": self.high}
        return {name: round(v, 6) if np.isfinite(v) else None for name, v in values.items()}


def block_counts(
    truth: NDArray[np.uint8], predicted: NDArray[np.uint8], window: Window, *, edge: int
) -> BlockCounts:
    """Count right and wrong pixels in each block of a lattice over the whole raster.

    Parameters
    ----------
    truth, predicted
        (y, x) of the window: 0, 1, or 255 (not counted).
    window
        Where they lie in the raster.
    edge
        Of a block, pixels; blocks begin at pixel (0, 0) of the raster.

    Returns
    -------
    dict
        Blocks with at least one counted pixel.
    """
    found: BlockCounts = {}
    for row in range(window.y // edge, (window.y + window.height - 1) // edge + 1):
        for col in range(window.x // edge, (window.x + window.width - 1) // edge + 1):
            y, x = max(row * edge - window.y, 0), max(col * edge - window.x, 0)
            part = (
                slice(y, (row + 1) * edge - window.y),
                slice(x, (col + 1) * edge - window.x),
            )
            counts = confusion_matrix(truth[part], predicted[part])
            if counts.sum():
                found[row, col] = counts
    return found


def block_edge(windows: Sequence[Window], *, largest: int) -> int:
    """Return the edge of blocks: ``largest``, halved until there are enough of them.

    Parameters
    ----------
    windows
        The test ground.
    largest
        Pixels; as large as landforms are long, so that blocks fail for themselves.
    """
    pixels = sum(window.height * window.width for window in windows)
    edge = largest
    while edge // 2 >= SMALLEST_PX and pixels / edge**2 < ENOUGH_BLOCKS:
        edge //= 2
    return edge


def iou_of(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Return the IoU of rock glaciers of confusions (..., 2, 2); NaN without any pixel."""
    whole = counts[..., 1, 1] + counts[..., 0, 1] + counts[..., 1, 0]
    out = np.full(np.shape(whole), np.nan)
    return np.divide(counts[..., 1, 1], whole, out=out, where=whole > 0)


def f1_of(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Return the F1 of rock glaciers of confusions (..., 2, 2); NaN without any pixel."""
    whole = 2 * counts[..., 1, 1] + counts[..., 0, 1] + counts[..., 1, 0]
    out = np.full(np.shape(whole), np.nan)
    return np.divide(2 * counts[..., 1, 1], whole, out=out, where=whole > 0)


def weights_of(blocks: int, *, seed: int, draws: int = DRAWS) -> NDArray[np.int64]:
    """Return how often each block is drawn, (draws, blocks): each draw as many as there are."""
    share = np.full(blocks, 1 / blocks)
    return np.random.default_rng(seed).multinomial(blocks, share, size=draws)


def compare_networks(
    networks: Mapping[str, BlockCounts], *, seed: int = 0, draws: int = DRAWS
) -> dict[str, Any]:
    """Return each network's IoU and F1, and every difference of two, with intervals.

    Parameters
    ----------
    networks
        The counts of each, on the same blocks.
    seed
        Of the draws, which are the same for all networks: that makes the differences paired.
    draws
        How many.

    Returns
    -------
    dict
        ``blocks``, ``draws``, ``level``, ``few_blocks`` (too few for the intervals to mean much),
        ``networks`` (``iou_rock_glacier`` and ``f1_rock_glacier``: value, low, high) and
        ``differences``: a row a pair, the better one first, with ``iou_rock_glacier``,
        ``f1_rock_glacier`` and ``share_not_better`` (of the draws in which the IoU of the first is
        not larger).

    Raises
    ------
    ContractError
        The networks were counted on different blocks.
    """
    if not networks:
        raise ContractError("no network to compare", expected="at least one")
    places = sorted(next(iter(networks.values())))
    for name, counts in networks.items():
        if sorted(counts) != places:
            raise ContractError(
                f"{name!r} was counted on {len(counts)} blocks, another network on {len(places)}",
                expected="the same blocks for all",
            )
    stacked = {name: np.stack([by[p] for p in places]) for name, by in networks.items()}
    weights = weights_of(len(places), seed=seed, draws=draws)
    drawn = {name: np.tensordot(weights, counts, axes=1) for name, counts in stacked.items()}
    whole = {name: counts.sum(axis=0) for name, counts in stacked.items()}
    order = sorted(networks, key=lambda name: -np.nan_to_num(float(iou_of(whole[name]))))
    return {
        "blocks": len(places),
        "draws": draws,
        "level": LEVEL,
        "few_blocks": len(places) < ENOUGH_BLOCKS,
        "networks": {
            name: {
                "iou_rock_glacier": _interval(iou_of(whole[name]), iou_of(drawn[name])).as_dict(),
                "f1_rock_glacier": _interval(f1_of(whole[name]), f1_of(drawn[name])).as_dict(),
            }
            for name in networks
        },
        "differences": [
            _difference(one, other, whole, drawn) for one, other in itertools.combinations(order, 2)
        ],
    }


def _difference(
    one: str,
    other: str,
    whole: Mapping[str, NDArray[Any]],
    drawn: Mapping[str, NDArray[Any]],
) -> dict[str, Any]:
    iou = iou_of(drawn[one]) - iou_of(drawn[other])
    f1 = f1_of(drawn[one]) - f1_of(drawn[other])
    known = iou[np.isfinite(iou)]
    return {
        "first": one,
        "second": other,
        "iou_rock_glacier": _interval(iou_of(whole[one]) - iou_of(whole[other]), iou).as_dict(),
        "f1_rock_glacier": _interval(f1_of(whole[one]) - f1_of(whole[other]), f1).as_dict(),
        "share_not_better": round(float((known <= 0).mean()), 4) if known.size else None,
    }


def _interval(value: Any, drawn: NDArray[np.float64]) -> Interval:
    known = drawn[np.isfinite(drawn)]
    if not known.size:
        return Interval(value=float(value), low=np.nan, high=np.nan)
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(known, [tail, 100 - tail])
    return Interval(value=float(value), low=float(low), high=float(high))
