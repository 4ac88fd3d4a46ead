"""Overlapping windows become one seamless raster, whose stored form is whole percent."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from rockglacier.grid import Window

FLOOR = 0.02
"""Least weight along one axis: the rim of a window counts little, never nothing."""
PERCENT_NODATA = 255
"""Stored value of pixels without a probability."""


def blend_weights(window: int) -> NDArray[np.float64]:
    """Return the weights of a window's pixels, (window, window), symmetric, in 0.0004 .. 1.

    Notes
    -----
    A raised cosine along each axis with a floor. Without the floor a pixel that only the rim of one
    window covers would be divided by zero, or by next to nothing.
    """
    angle = 2 * np.pi * (np.arange(window) + 0.5) / window
    taper = FLOOR + (1 - FLOOR) * 0.5 * (1 - np.cos(angle))
    return np.outer(taper, taper)


def blend(
    window: Window,
    parts: Iterable[tuple[Window, NDArray[np.float32]]],
    *,
    weights: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Return the weighted mean of overlapping probabilities over a rectangle.

    Parameters
    ----------
    window
        The rectangle that is wanted.
    parts
        Windows and their probabilities, (H, W) 0 to 1, in the lattice's global order. Each may
        reach beyond the rectangle.
    weights
        Of a window's pixels, (H, W), above 0.

    Returns
    -------
    ndarray
        (height, width) float32; NaN where no part reaches.

    Notes
    -----
    Sums are float64 and in the order of ``parts``. A pixel's terms and their order are thus the
    same in whatever rectangle it lies, and so is its result, bit for bit.
    """
    shape = (window.height, window.width)
    total, weight = np.zeros(shape), np.zeros(shape)
    for part, probability in parts:
        shared = part.shared(window)
        if shared is None:
            continue
        here, there = shared.within(window), shared.within(part)
        total[here] += weights[there] * probability[there]
        weight[here] += weights[there]
    mean = np.full(shape, np.nan)
    np.divide(total, weight, out=mean, where=weight > 0)
    return mean.astype(np.float32)


def to_percent(probability: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return probabilities 0 to 1 as whole percent, NaN as 255."""
    known = np.isfinite(probability)
    percent = np.rint(100 * np.where(known, probability, 0)).astype(np.uint8)
    return np.where(known, percent, np.uint8(PERCENT_NODATA))


def threshold_percent(threshold: float) -> int:
    """Return the least stored percent that reaches a threshold (0 to 1)."""
    return math.ceil(round(100 * threshold, 6))
