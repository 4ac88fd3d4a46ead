"""Test ground in whole pieces: rectangles that touch are looked at together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from rockglacier.grid import Window
from rockglacier.model.metrics import IGNORE
from rockglacier.model.scoring import Map
from rockglacier.prediction.blend import PERCENT_NODATA, to_percent

MAX_PIXELS: Final = 64 * 2**20
"""Of a piece: rectangles that would need more are looked at one by one."""

type ReadLabels = Callable[[Window], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Ground that hangs together, with what is true and what a map says."""

    window: Window
    truth: NDArray[np.uint8]
    """(y, x): 0, 1, 255 where nothing is known or the ground is not test ground."""
    probability: NDArray[np.float32]
    """(y, x), 0..1; NaN without data and off the test ground."""

    def classes(self, threshold: float) -> NDArray[np.uint8]:
        """Return 1 from the threshold on, 0 below, 255 without data."""
        called = (self.probability >= threshold).astype(np.uint8)
        called[np.isnan(self.probability)] = IGNORE
        return called


def pieces_of(maps: Sequence[Map], read_labels: ReadLabels) -> list[Piece]:
    """Return the test ground in pieces, each pixel of it in one piece.

    Parameters
    ----------
    maps
        Rectangles that do not overlap; those that touch, if only at a corner, make one piece.
    read_labels
        Gives the labels of a rectangle.

    Notes
    -----
    A boundary of a landform may lie along the border between two rectangles, or a few pixels to
    either side of it.
    """
    groups: dict[int, list[Map]] = {}
    for group, one in zip(_groups([m.window for m in maps]), maps, strict=True):
        groups.setdefault(group, []).append(one)
    return [
        _piece(part, read_labels)
        for together in groups.values()
        for part in (
            [together] if _pixels_around(together) <= MAX_PIXELS else [[m] for m in together]
        )
    ]


def _groups(windows: Sequence[Window]) -> list[int]:
    pairs = [
        (i, j) for i, one in enumerate(windows) for j, other in enumerate(windows)
        if i < j and _touch(one, other)
    ]  # fmt: skip
    rows, columns = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(len(windows),) * 2)
    return [int(group) for group in connected_components(graph, directed=False)[1]]


def _touch(one: Window, other: Window) -> bool:
    return (
        one.y <= other.y + other.height
        and other.y <= one.y + one.height
        and one.x <= other.x + other.width
        and other.x <= one.x + one.width
    )


def _around(maps: Sequence[Map]) -> Window:
    y, x = min(m.window.y for m in maps), min(m.window.x for m in maps)
    bottom = max(m.window.y + m.window.height for m in maps)
    right = max(m.window.x + m.window.width for m in maps)
    return Window(y=y, x=x, height=bottom - y, width=right - x)


def _pixels_around(maps: Sequence[Map]) -> int:
    window = _around(maps)
    return window.height * window.width


def _piece(maps: Sequence[Map], read_labels: ReadLabels) -> Piece:
    window = _around(maps)
    truth = np.full((window.height, window.width), IGNORE, np.uint8)
    probability = np.full(truth.shape, np.nan, np.float32)
    for one in maps:
        here = one.window.within(window)
        truth[here] = read_labels(one.window)
        probability[here] = one.probability[one.window.within(one.reach)]
    return Piece(window=window, truth=truth, probability=probability)


class Mosaic:
    """Maps as one raster of whole percent, 255 where there is none; read by rows and columns.

    Parameters
    ----------
    maps
        In any order; where they overlap they say the same.
    shape
        Rows and columns of the raster.
    """

    ndim = 2

    def __init__(self, maps: Sequence[Map], shape: tuple[int, int]) -> None:
        self._maps = [(one.reach, to_percent(one.probability)) for one in maps]
        self.shape = shape

    def __getitem__(self, key: tuple[slice, slice]) -> NDArray[np.uint8]:
        """Return a rectangle of pixels."""
        rows, columns = key
        wanted = Window(
            y=rows.start,
            x=columns.start,
            height=rows.stop - rows.start,
            width=columns.stop - columns.start,
        )
        result = np.full((wanted.height, wanted.width), PERCENT_NODATA, np.uint8)
        for reach, percent in self._maps:
            y, x = max(reach.y, wanted.y), max(reach.x, wanted.x)
            shared = Window(
                y=y,
                x=x,
                height=min(reach.y + reach.height, wanted.y + wanted.height) - y,
                width=min(reach.x + reach.width, wanted.x + wanted.width) - x,
            )
            if shared.height > 0 and shared.width > 0:
                result[shared.within(wanted)] = percent[shared.within(reach)]
        return result
