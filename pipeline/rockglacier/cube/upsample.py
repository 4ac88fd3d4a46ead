"""Coarser bands between the centres of their pixels, without a dark rim where data ends."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

UPSAMPLE_HALO = 1
"""Pixels of the source around a window that `upsample` needs."""


def upsample(values: NDArray[Any], factor: int, *, nodata: float) -> NDArray[Any]:
    """Return a raster on pixels that are ``factor`` times finer, bilinear between pixel centres.

    Parameters
    ----------
    values
        (y, x) of any numeric type.
    factor
        Fine pixels along the edge of one of its own; 1 returns a copy.
    nodata
        What is no data; NaN always is.

    Returns
    -------
    NDArray
        (y * factor, x * factor) of the same type, integers rounded half up. A fine pixel has data
        exactly where the pixel that holds it has: data neither grows nor shrinks, and what is
        missing leaves its weight to the neighbours that are there. The outermost pixels know no
        neighbours: hand in `UPSAMPLE_HALO` more on each side where the raster goes on and cut
        ``factor`` fine pixels off again, and windows have no seams.
    """
    height, width = values.shape
    result = np.empty((height * factor, width * factor), values.dtype)
    source = np.ascontiguousarray(values)
    integers = np.issubdtype(values.dtype, np.integer)
    holds = not integers or (float(nodata).is_integer() and not math.isnan(nodata))
    none = values.dtype.type(nodata) if holds else values.dtype.type(0)
    _upsample(source, factor, holds, none, 0.5 if integers else 0.0, integers, result)
    return result


@njit(nogil=True, cache=True)
def _upsample(
    values: NDArray[Any],
    factor: int,
    holds_nodata: bool,
    nodata: Any,
    half: float,
    integers: bool,
    result: NDArray[Any],
) -> None:
    height, width = values.shape
    sums, weights = np.empty(width + 2), np.empty(width + 2)
    for y in range(result.shape[0]):
        row, phase = y // factor, y % factor
        # of 2 * factor parts, how many belong to the row above or below
        part = abs(2 * phase + 1 - factor)
        other = row - 1 if 2 * phase + 1 < factor else row + 1
        sums[:] = 0.0
        weights[:] = 0.0
        _add(values[row], 2.0 * factor - part, holds_nodata, nodata, sums, weights)
        if 0 <= other < height:
            _add(values[other], 1.0 * part, holds_nodata, nodata, sums, weights)
        source, into = values[row], result[y]
        for right in range(factor):
            part = abs(2 * right + 1 - factor)
            beside = 0 if 2 * right + 1 < factor else 2
            own = 2.0 * factor - part
            for x in range(width):
                weight = own * weights[x + 1] + part * weights[x + beside]
                total = own * sums[x + 1] + part * sums[x + beside]
                value = source[x]
                if not (np.isnan(value) or (holds_nodata and value == nodata)):
                    mean = total / weight + half
                    value = math.floor(mean) if integers else mean
                into[x * factor + right] = value


@njit(nogil=True, cache=True)
def _add(
    line: NDArray[Any],
    weight: float,
    holds_nodata: bool,
    nodata: Any,
    sums: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> None:
    for x in range(line.size):
        value = line[x]
        if not (np.isnan(value) or (holds_nodata and value == nodata)):
            sums[x + 1] += weight * value
            weights[x + 1] += weight
