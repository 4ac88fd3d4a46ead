"""A raster decoded once into a memory-mapped file on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rockglacier.storage import require_space

ROWS = 1024
"""Rows that are decoded at a time: what is in memory beside the file's own pages."""


def local_copy(array: Any, path: Path) -> NDArray[Any]:
    """Return a Zarr array as a memory-mapped ``.npy`` file, which is written if it is not there.

    Parameters
    ----------
    array
        (..., y, x), any type.
    path
        Of the file; whoever chooses it makes it differ where the pixels differ.

    Returns
    -------
    array
        The same pixels, read-only.

    Notes
    -----
    The file gets its name when it is whole, so that one left by a process that was killed is never
    read. Two processes may write it at once: the later one replaces the same bytes.
    """
    if not path.is_file():
        _decode(array, path)
    return np.load(path, mmap_mode="r")


def _decode(array: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    require_space(path.parent, int(np.prod(array.shape)) * array.dtype.itemsize, what=path.name)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        copy = np.lib.format.open_memmap(
            partial, mode="w+", dtype=array.dtype, shape=tuple(array.shape)
        )
        for row in range(0, array.shape[-2], ROWS):
            rows = np.s_[..., row : row + ROWS, :]
            copy[rows] = array[rows]
        copy.flush()
        del copy
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
