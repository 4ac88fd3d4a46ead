"""Ground as rectangles of whole pixels: painted over each other, and cut into as few as can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from rockglacier.grid import Window

SplitName = Literal["guard", "train", "validation", "test"]

CODES: Final[dict[SplitName, int]] = {"guard": 0, "train": 1, "validation": 2, "test": 3}
"""Numbers of the splits in a raster of them."""

LEAST_TRAIN_SHARE: Final = 0.4
"""A split that leaves less ground than this to train on is refused."""

Cell = tuple[SplitName, Window]


def painted(
    shape: tuple[int, int], layers: Sequence[tuple[SplitName, Sequence[Window]]]
) -> list[Cell]:
    """Paint rectangles over training ground, later ones on top, and return the cells."""
    clipped = [(name, [window.clipped(shape) for window in windows]) for name, windows in layers]
    flat = [window for _, windows in clipped for window in windows]
    rows = _breaks(shape[0], flat, lambda window: (window.y, window.y + window.height))
    cols = _breaks(shape[1], flat, lambda window: (window.x, window.x + window.width))
    codes = np.full((len(rows) - 1, len(cols) - 1), CODES["train"], np.uint8)
    for name, windows in clipped:
        for window in windows:
            y0, y1 = np.searchsorted(rows, (window.y, window.y + window.height))
            x0, x1 = np.searchsorted(cols, (window.x, window.x + window.width))
            codes[y0:y1, x0:x1] = CODES[name]
    return cells_of(codes, rows, cols)


def _breaks(
    length: int, windows: Sequence[Window], ends: Callable[[Window], tuple[int, int]]
) -> list[int]:
    return sorted({0, length, *(end for window in windows for end in ends(window))})


def cells_of(codes: NDArray[np.uint8], rows: Sequence[int], cols: Sequence[int]) -> list[Cell]:
    """Join equal neighbours of a coarse raster into rectangles: along rows, then down.

    Parameters
    ----------
    codes
        (len(rows) - 1, len(cols) - 1), see :data:`CODES`.
    rows, cols
        Edges in pixels, ascending; parts of no pixels are left out.
    """
    names: dict[int, SplitName] = {code: name for name, code in CODES.items()}
    open_cells: dict[tuple[int, int, int], int] = {}
    cells: list[Cell] = []

    def close(run: tuple[int, int, int], top: int, bottom: int) -> None:
        code, left, right = run
        window = Window(y=top, x=left, height=bottom - top, width=right - left)
        cells.append((names[code], window))

    for line, top, bottom in zip(codes, rows, rows[1:], strict=False):
        if top == bottom:
            continue
        runs = _runs(line, cols)
        for run in [run for run in open_cells if run not in runs]:
            close(run, open_cells.pop(run), top)
        for run in runs:
            open_cells.setdefault(run, top)
    for run, top in open_cells.items():
        close(run, top, rows[-1])
    return sorted(cells, key=lambda cell: (cell[1].y, cell[1].x))


def _runs(line: NDArray[np.uint8], cols: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return code, first and end column of every run of equal codes in a row."""
    runs: list[tuple[int, int, int]] = []
    for code, left, right in zip(line.tolist(), cols, cols[1:], strict=False):
        if left == right:
            continue
        first = runs.pop()[1] if runs and runs[-1][0] == code else left
        runs.append((code, first, right))
    return runs
