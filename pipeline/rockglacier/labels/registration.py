"""What a reference scores against itself, moved by a few pixels.

Outlines drawn on other imagery lie a little off. However good a network is, it cannot score better
than the reference scores against itself at that distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from rockglacier.grid import Window

REACH: Final = 5
"""Farthest shift, pixels."""

DIRECTIONS: Final = ((0, 1), (0, -1), (1, 0), (-1, 0))
LANDFORM, IGNORE = 1, 255


def shift_scores(
    labels: Any, windows: Sequence[Window], *, reach: int = REACH
) -> dict[int, dict[str, float]]:
    """Score labels against themselves, moved along rows and columns.

    Parameters
    ----------
    labels
        (y, x) uint8 array, here or in a store: 1 landform, 255 ignored.
    windows
        Cover the array once; they are read with a halo, one at a time.
    reach
        Farthest shift, pixels.

    Returns
    -------
    dict
        Shift in pixels to ``mean`` and ``min`` IoU of the landforms over the four directions;
        empty where there is no landform. Pixels that either side ignores, or that lie beyond the
        edge, count in neither.
    """
    steps = range(1, reach + 1)
    counts = np.zeros((reach, len(DIRECTIONS), 2), np.int64)
    shape = int(labels.shape[0]), int(labels.shape[1])
    for window in windows:
        halo = window.grown(reach)
        inside = halo.clipped(shape)
        around = np.full((halo.height, halo.width), IGNORE, np.uint8)
        around[inside.within(halo)] = np.asarray(labels[inside.slices])
        if not (around == LANDFORM).any():
            continue
        here = around[window.within(halo)]
        for step in steps:
            for number, (dy, dx) in enumerate(DIRECTIONS):
                place = Window(
                    y=window.y + step * dy,
                    x=window.x + step * dx,
                    height=window.height,
                    width=window.width,
                )
                there = around[place.within(halo)]
                counts[step - 1, number] += _overlap(here, there)
    if not counts[..., 1].all():
        return {}
    scores = counts[..., 0] / counts[..., 1]
    return {
        step: {"mean": float(scores[step - 1].mean()), "min": float(scores[step - 1].min())}
        for step in steps
    }


def _overlap(here: np.ndarray, there: np.ndarray) -> tuple[int, int]:
    counted = (here != IGNORE) & (there != IGNORE)
    one, other = (here == LANDFORM) & counted, (there == LANDFORM) & counted
    return int((one & other).sum()), int((one | other).sum())
