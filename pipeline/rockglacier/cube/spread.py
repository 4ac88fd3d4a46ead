"""Masks that reach a little farther than what they mask: the ground around clouds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rockglacier.cube.flat import flat
from rockglacier.errors import InputError
from rockglacier.scenes import cloud

SPREAD_CLASSES = (3, *cloud.CLOUD)
"""Shadow of clouds and clouds: what a classification draws too small."""

FAR = 65_535
"""Pixels along a row that are as good as infinitely far."""


def spread_halo(radius: float) -> int:
    """Return the pixels around a window that `spread` and `cloud_mask` need."""
    return math.floor(radius)


def cloud_mask(
    scl: NDArray[np.uint8], *, radius: float, classes: Sequence[int] = SPREAD_CLASSES
) -> NDArray[np.bool_]:
    """Return where the scene classification has one of some classes no farther than ``radius``.

    Parameters
    ----------
    scl
        (y, x), or (look, y, x), on the grid.
    radius
        Pixels of the grid, from centre to centre: metres over the resolution.
    classes
        Of Sen2Cor's classification.

    Returns
    -------
    NDArray
        The shape of ``scl``. Beyond its edges there is nothing: hand in a window grown by
        `spread_halo` and cut the halo off, and blocks have no seams.

    Raises
    ------
    InputError
        The radius is negative.
    """
    table = np.zeros(256, np.bool_)
    table[list(classes)] = True
    return spread(table[scl], radius)


def spread(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """Return the pixels whose centre lies no farther than ``radius`` from one of a mask.

    Parameters
    ----------
    mask
        (y, x), or (look, y, x) with each look by itself.
    radius
        Pixels.

    Returns
    -------
    NDArray
        The shape of ``mask``; see `cloud_mask` for the halo.

    Raises
    ------
    InputError
        The radius is negative.
    """
    if not 0 <= radius < FAR:
        raise InputError(f"a mask spread by {radius} pixels", expected=f"0 to less than {FAR}")
    if radius < 1:
        return mask.copy()
    # how far a disk reaches along the row that lies so many rows off
    rows = np.arange(math.floor(radius) + 1)
    reach = np.floor(np.sqrt(radius * radius - rows * rows)).astype(np.uint16)
    result = np.zeros(mask.shape, np.bool_)
    looks = mask.shape[0] if mask.ndim == 3 else 1
    source = np.ascontiguousarray(mask).reshape(looks, *mask.shape[-2:])
    target = result.reshape(source.shape)
    for look in range(looks):
        _spread(flat(source[look])[0], reach, flat(target[look])[0], target[look].shape)
    return result


@njit(nogil=True, cache=True)
def _spread(
    mask: NDArray[np.bool_],
    reach: NDArray[np.uint16],
    result: NDArray[np.bool_],
    shape: tuple[int, int],
) -> None:
    height, width = shape
    away = np.empty(width, np.uint16)
    for y in range(height):
        line = mask[y * width : y * width + width]
        if not line.any():
            continue
        _along_row(line, away)
        first, last = max(y - reach.size + 1, 0), min(y + reach.size, height)
        for row in range(first, last):
            limit = reach[abs(row - y)]
            into = result[row * width : row * width + width]
            for x in range(width):
                into[x] |= away[x] <= limit


@njit(nogil=True, cache=True)
def _along_row(line: NDArray[np.bool_], away: NDArray[np.uint16]) -> None:
    """Fill how many columns each pixel lies from the nearest one that is masked."""
    since = FAR
    for x in range(line.size):
        since = 0 if line[x] else min(since + 1, FAR)
        away[x] = since
    since = FAR
    for x in range(line.size - 1, -1, -1):
        since = 0 if line[x] else min(since + 1, FAR)
        away[x] = min(away[x], np.uint16(since))
