"""One lattice of windows over a whole raster: what a network is shown, whoever asks for it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rockglacier.errors import InputError
from rockglacier.grid import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """Windows at fixed steps whose cores tile a raster.

    Notes
    -----
    The core of a window is its middle ``stride`` x ``stride`` pixels. The cores tile the raster
    from pixel (0, 0), so no pixel, not even one at the raster's border, relies on the rim of a
    window alone. Windows at the borders reach beyond the raster.
    """

    shape: tuple[int, int]
    """Rows and columns of the raster."""
    window: int
    """Edge of a window, pixels."""
    stride: int
    """Step from one window to the next, pixels."""

    def __post_init__(self) -> None:
        if not 1 <= self.stride <= self.window:
            raise InputError(
                f"windows of {self.window} px every {self.stride} px",
                expected="a step of at least 1 px and at most the window",
                todo="set predict.window and predict.overlap",
            )

    @property
    def margin(self) -> int:
        """Pixels from the upper and left edge of a window to its core."""
        return (self.window - self.stride) // 2

    @property
    def counts(self) -> tuple[int, int]:
        """Rows and columns of windows."""
        return math.ceil(self.shape[0] / self.stride), math.ceil(self.shape[1] / self.stride)

    def at(self, row: int, col: int) -> Window:
        """Return one window of the lattice; may reach beyond the raster."""
        return Window(
            y=row * self.stride - self.margin,
            x=col * self.stride - self.margin,
            height=self.window,
            width=self.window,
        )

    def __iter__(self) -> Iterator[Window]:
        """Yield every window, row by row: the global order."""
        rows, cols = self.counts
        return (self.at(row, col) for row in range(rows) for col in range(cols))


def windows_over(window: Window, *, lattice: Lattice) -> list[Window]:
    """Return all windows of the lattice that touch a rectangle, in the global order.

    Parameters
    ----------
    window
        Any rectangle of pixels; empty ones and ones outside the raster may touch nothing.
    lattice
        The windows of the whole raster.
    """
    if not (window.height and window.width):
        return []
    rows = _touching(window.y, window.height, lattice, lattice.counts[0])
    cols = _touching(window.x, window.width, lattice, lattice.counts[1])
    return [lattice.at(row, col) for row in rows for col in cols]


def _touching(start: int, size: int, lattice: Lattice, count: int) -> range:
    """Lattice indices ``k`` with a pixel of window ``k`` in ``start .. start + size - 1``."""
    origin = start + lattice.margin
    first = (origin - lattice.window) // lattice.stride + 1
    last = (origin + size - 1) // lattice.stride
    return range(max(first, 0), min(last, count - 1) + 1)


def reflected(start: int, size: int, *, length: int) -> NDArray[np.intp]:
    """Return which raster rows (or columns) fill a stretch that may reach beyond the raster.

    Parameters
    ----------
    start, size
        The stretch; ``start`` may be negative.
    length
        Rows (or columns) of the raster.

    Returns
    -------
    ndarray
        ``size`` indices in ``0 .. length - 1``: inside the raster the pixels themselves, beyond it
        their mirror images, the border pixel not repeated (again and again where the raster is
        smaller than the reach).
    """
    if length == 1:
        return np.zeros(size, np.intp)
    period = 2 * (length - 1)
    index = np.arange(start, start + size) % period
    return np.minimum(index, period - index).astype(np.intp)
