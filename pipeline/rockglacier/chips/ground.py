"""Ground that is given as many rectangles: the largest that it holds, and chips that cover one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from rockglacier.grid import Window


def largest_rectangles(windows: Sequence[Window]) -> list[Window]:
    """Return every rectangle of the windows' union that cannot grow on any side.

    A chip lies inside the union exactly if it lies inside one of them, so that chips may cross the
    border between two cells of the same split.

    Parameters
    ----------
    windows
        Cells of one split; they may touch or overlap.

    Returns
    -------
    list of Window
        They overlap; from top to bottom.

    Notes
    -----
    Works on the raster between the cells' edges, in the order of rows squared times columns of it.
    """
    if not windows:
        return []
    rows = np.unique([edge for w in windows for edge in (w.y, w.y + w.height)])
    cols = np.unique([edge for w in windows for edge in (w.x, w.x + w.width)])
    is_ground = np.zeros((len(rows) - 1, len(cols) - 1), bool)
    for window in windows:
        top, bottom = np.searchsorted(rows, (window.y, window.y + window.height))
        left, right = np.searchsorted(cols, (window.x, window.x + window.width))
        is_ground[top:bottom, left:right] = True
    return [
        Window(
            y=int(rows[top]),
            x=int(cols[left]),
            height=int(rows[bottom] - rows[top]),
            width=int(cols[right] - cols[left]),
        )
        for top, bottom, left, right in _largest(is_ground)
    ]


def tile(ground: Window, *, chip: int, shape: tuple[int, int]) -> Iterator[tuple[Window, Window]]:
    """Yield the chips that cover a rectangle, each with the part of the rectangle it counts.

    Parameters
    ----------
    ground
        Rectangle inside the grid.
    chip
        Edge, pixels.
    shape
        Rows and columns of the grid; a chip leaves it only where the grid is smaller than a chip.
    """
    for y in range(ground.y, ground.y + ground.height, chip):
        for x in range(ground.x, ground.x + ground.width, chip):
            height = min(chip, ground.y + ground.height - y)
            width = min(chip, ground.x + ground.width - x)
            top = max(min(y, ground.y + ground.height - chip), 0)
            left = max(min(x, ground.x + ground.width - chip), 0)
            window = Window(
                y=max(min(top, shape[0] - chip), 0),
                x=max(min(left, shape[1] - chip), 0),
                height=chip,
                width=chip,
            )
            yield window, Window(y=y, x=x, height=height, width=width)


def _largest(is_ground: NDArray[np.bool_]) -> Iterator[tuple[int, int, int, int]]:
    """Yield top, bottom, left and right of the rectangles of a raster that cannot grow."""
    nothing = np.zeros((1, is_ground.shape[1]), bool)
    above = np.vstack([nothing, is_ground, nothing])
    for top in range(len(is_ground)):
        is_whole = np.ones(is_ground.shape[1], bool)
        for bottom in range(top + 1, len(is_ground) + 1):
            is_whole &= is_ground[bottom - 1]
            for left, right in _runs(is_whole):
                can_rise = above[top, left:right].all()
                can_sink = above[bottom + 1, left:right].all()
                if not (can_rise or can_sink):
                    yield top, bottom, left, right


def _runs(is_whole: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Yield first and end index of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_whole, [False]]).astype(np.int8)))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
