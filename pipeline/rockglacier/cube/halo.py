"""Halos: elevation is handed in with the ground around it, and comes back NaN there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rockglacier.cube.flat import flat
from rockglacier.errors import ContractError


def rimmed(elevation: NDArray[np.float32], halo: int = 1) -> NDArray[np.float32]:
    """Return a new array of the same shape, NaN in its halo."""
    result = np.empty(elevation.shape, np.float32)
    for edge in (slice(halo), slice(max(elevation.shape[0] - halo, 0), None)):
        result[edge] = np.nan
    for edge in (slice(halo), slice(max(elevation.shape[1] - halo, 0), None)):
        result[:, edge] = np.nan
    return result


def inside(array: NDArray[np.float32], halo: int = 1) -> NDArray[np.float32]:
    """Return a view of what lies inside the halo of an array."""
    height, width = (max(size - 2 * halo, 0) for size in array.shape)
    return array[halo : halo + height, halo : halo + width]


def ground_of(elevation: NDArray[np.float32]) -> tuple[NDArray[np.float32], tuple[int, ...]]:
    """Return elevation as `flat` does, (y, x) and float32 for sure.

    Raises
    ------
    ContractError
        It has other dimensions.
    """
    if elevation.ndim != 2:
        raise ContractError(f"elevation of shape {elevation.shape}", expected="(y, x)")
    return flat(np.asarray(elevation, np.float32))
