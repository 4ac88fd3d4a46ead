"""Neighbouring landforms share a read: opening a window costs more than the pixels between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rockglacier.grid import Window
from rockglacier.inventory.landforms import Landform

PATCH: Final = 1024
"""Edge of the squares, pixels, whose landforms are read together."""

MAX_PIXELS: Final = 2 * PATCH**2
"""A patch may be so large; landforms that need a larger one are read one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """Landforms that are read together, by their place in the list, and what to read."""

    places: list[int]
    window: Window
    """Holds each of them and one pixel around it, where the raster has one."""


class Held:
    """Part of a raster in memory, read by the rows and columns of the whole.

    Parameters
    ----------
    values
        (y, x) of the window.
    window
        Where they lie in the raster.
    shape
        Rows and columns of the raster.
    """

    def __init__(self, values: NDArray[Any], window: Window, shape: tuple[int, ...]) -> None:
        self._values, self._window, self._shape = values, window, shape

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns of the whole raster."""
        return self._shape

    def __getitem__(self, key: tuple[slice, slice]) -> NDArray[Any]:
        """Return a rectangle of pixels that lies in the window."""
        rows, columns = key
        y, x = self._window.y, self._window.x
        return self._values[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]


def held(array: Any, window: Window, *, time: int = 0) -> Held:
    """Read a window of a (y, x) raster, or of one time of a (time, y, x) one."""
    key = (time, *window.slices) if array.ndim == 3 else window.slices
    return Held(np.asarray(array[key]), window, tuple(array.shape[-2:]))


def patches_of(landforms: Sequence[Landform], shape: tuple[int, int]) -> list[Patch]:
    """Return the patches that hold every landform once.

    Parameters
    ----------
    landforms
        In any order.
    shape
        Rows and columns of the raster.
    """
    squares: dict[tuple[int, int], list[int]] = {}
    for place, landform in enumerate(landforms):
        square = landform.window.y // PATCH, landform.window.x // PATCH
        squares.setdefault(square, []).append(place)
    patches = []
    for places in squares.values():
        together = _around([landforms[place] for place in places], shape)
        if together.height * together.width <= MAX_PIXELS:
            patches.append(Patch(places=places, window=together))
            continue
        patches += [
            Patch(places=[place], window=_around([landforms[place]], shape)) for place in places
        ]
    return patches


def _around(landforms: Sequence[Landform], shape: tuple[int, int]) -> Window:
    windows = [landform.window.grown(1).clipped(shape) for landform in landforms]
    y, x = min(window.y for window in windows), min(window.x for window in windows)
    return Window(
        y=y,
        x=x,
        height=max(window.y + window.height for window in windows) - y,
        width=max(window.x + window.width for window in windows) - x,
    )
