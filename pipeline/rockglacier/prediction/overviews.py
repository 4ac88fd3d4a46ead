"""Coarser versions of stored rasters, that leave out what is unknown."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from rockglacier.prediction.blend import PERCENT_NODATA

_SIDE: Final = np.zeros(256, np.int8)
_SIDE[0], _SIDE[1] = -1, 1


def halved_mean(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the rounded mean of the known values in cells of 2 x 2 pixels; 255 where none is.

    Parameters
    ----------
    values
        (H, W), 255 nodata.

    Returns
    -------
    ndarray
        (H / 2, W / 2), rounded up: cells at the lower and right edge may hold fewer pixels.
    """
    values = _even(values)
    is_known = values != PERCENT_NODATA
    if is_known.all():
        return ((_summed(values) + 2) >> 2).astype(np.uint8)
    count = _summed(is_known.view(np.uint8))
    total = _summed(np.where(is_known, values, np.uint8(0)))
    mean = (2 * total + count) // np.maximum(2 * count, 1)
    return np.where(count > 0, mean, PERCENT_NODATA).astype(np.uint8)


def halved_mode(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the commonest known class in cells of 2 x 2 pixels; 255 where none is known.

    Parameters
    ----------
    classes
        (H, W), 0, 1, or 255 nodata.

    Returns
    -------
    ndarray
        (H / 2, W / 2), rounded up; of two classes as common the one that comes first, row by row.
    """
    side = _SIDE[_even(classes)]
    # eight votes a pixel; the rest decides a tie for the first known pixel, and nothing else
    votes = 12 * side[::2, ::2] + 10 * side[::2, 1::2] + 9 * side[1::2, ::2] + 8 * side[1::2, 1::2]
    return np.where(votes > 0, 1, np.where(votes < 0, 0, PERCENT_NODATA)).astype(np.uint8)


def _even(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rows, cols = (side % 2 for side in values.shape)
    if not (rows or cols):
        return values
    return np.pad(values, ((0, rows), (0, cols)), constant_values=PERCENT_NODATA)


def _summed(values: NDArray[np.uint8]) -> NDArray[np.uint16]:
    rows = np.add(values[::2], values[1::2], dtype=np.uint16)
    return rows[:, ::2] + rows[:, 1::2]
