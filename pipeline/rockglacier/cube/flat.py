"""Arrays as the kernels want them: one dimension of memory that is contiguous for sure.

The compiler makes vector loops only over arrays that it knows to be contiguous, which a window of a
larger array is not. Its memory as a whole is, and a piece of a row is a slice of that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from rockglacier.errors import ContractError

STRIP = 512
"""Pixels of a row that are worked on at once: their values fit the processor's first cache."""


def flat(array: NDArray[Any], *, is_output: bool = False) -> tuple[NDArray[Any], tuple[int, ...]]:
    """Return the memory of an array as one dimension, and the steps of its dimensions in it.

    Parameters
    ----------
    array
        Of any dimensions. One whose columns are not side by side in memory is copied.
    is_output
        It is written to, so that a copy would not do.

    Raises
    ------
    ContractError
        The columns of an output are not side by side in memory.
    """
    steps = tuple(step // array.itemsize for step in array.strides)
    if array.size == 0:
        return np.empty(0, array.dtype), steps
    if array.shape[-1] > 1 and (steps[-1] != 1 or min(steps) < 0):
        if is_output:
            raise ContractError(
                "an output whose columns are not side by side in memory",
                expected="whole rows, or slices of rows",
            )
        return flat(np.ascontiguousarray(array))
    length = 1 + sum((size - 1) * step for size, step in zip(array.shape, steps, strict=True))
    return as_strided(array, (length,), (array.itemsize,)), steps
