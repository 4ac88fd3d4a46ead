"""The split of the ground: train, validation and test, and the guard bands that nothing uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from rockglacier.config import LabelConfig
from rockglacier.errors import InputError
from rockglacier.grid import Grid, Window

SplitName = Literal["guard", "train", "validation", "test"]

CODES: Final[dict[SplitName, int]] = {"guard": 0, "train": 1, "validation": 2, "test": 3}
"""Numbers of the splits in :func:`split_mask`."""

LEAST_TRAIN_SHARE: Final = 0.4
"""A split that leaves less ground than this to train on is refused."""

LAYOUTS: Final = 32
"""Drawn layouts of scattered blocks, of which the one with most training ground is kept."""

HELD_OUT_SHARE: Final = 0.1
"""Of the 2025 study's random 9:1 split."""


def make_splits(grid: Grid, config: LabelConfig) -> gpd.GeoDataFrame:
    """Divide a grid into train, validation, test and guard cells.

    Parameters
    ----------
    grid
        The basin's pixels.
    config
        Its ``split`` says how:

        - ``strip``: along the longer side, a test strip at one end (the first rows or columns with
          an even seed, the last with an odd one), a validation strip at the other;
        - ``blocks``: equal blocks drawn with the seed, about ``split_block`` pixels wide, or the
          smallest multiple of it at which the guard bands leave enough to train on;
        - ``train-only``: everything trains.

    Returns
    -------
    GeoDataFrame
        CRS of the grid; columns ``split``, ``row0``, ``col0``, ``height``, ``width`` (pixels) and
        ``geometry`` (the cell's box). Cells never overlap and cover the grid exactly.

    Raises
    ------
    InputError
        Less than 40 % of the ground would train.

    Notes
    -----
    Test ground keeps ``guard`` pixels from everything else. Between validation and training ground
    lie half as many: validation only chooses, it is never reported.
    """
    if config.split == "train-only":
        return _as_table([("train", grid.whole)], grid)
    cells = _strips(grid, config) if config.split == "strip" else _blocks(grid, config)
    return _as_table(cells, grid)


def windows_of(splits: gpd.GeoDataFrame, name: SplitName) -> list[Window]:
    """Return the cells of one split as windows of the grid."""
    cells = splits[splits["split"] == name]
    return [
        Window(y=int(y), x=int(x), height=int(height), width=int(width))
        for y, x, height, width in zip(
            cells["row0"], cells["col0"], cells["height"], cells["width"], strict=True
        )
    ]


def split_mask(splits: gpd.GeoDataFrame, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the split of every pixel, (y, x) uint8: see :data:`CODES`; no cell is guard.

    Parameters
    ----------
    splits
        As from :func:`make_splits`.
    shape
        Rows and columns of the grid.
    """
    mask = np.zeros(shape, np.uint8)
    for name, code in CODES.items():
        for window in windows_of(splits, name):
            mask[window.slices] = code
    return mask


def chip_lattice(shape: tuple[int, int], *, chip: int, stride: int | None = None) -> list[Window]:
    """Return the chips of a raster at fixed steps, row by row; all lie inside it.

    Parameters
    ----------
    shape
        Rows and columns.
    chip
        Edge of a chip, pixels.
    stride
        Step; default: half a chip, as in the 2025 study.
    """
    step = stride or chip // 2
    return [
        Window(y=y, x=x, height=chip, width=chip)
        for y in range(0, shape[0] - chip + 1, step)
        for x in range(0, shape[1] - chip + 1, step)
    ]


def random_split(
    chips: Sequence[Window], seed: int, *, held_out_share: float = HELD_OUT_SHARE
) -> tuple[list[Window], list[Window]]:
    """Split chips at random into those that train and those that are held out: 9:1, leaking.

    Parameters
    ----------
    chips
        Of the whole ground, usually at half overlap. A held-out chip then shares pixels with its
        neighbours that train: this is how the 2025 study split, and why its scores flatter.
    seed
        Of the draw.
    held_out_share
        At least one chip is held out, and one trains.

    Raises
    ------
    InputError
        Fewer than two chips.
    """
    if len(chips) < 2:
        raise InputError(
            f"{len(chips)} chip(s) to split at random",
            expected="at least two",
            todo="use a smaller train.chip, or a larger area",
        )
    order = np.random.default_rng(seed).permutation(len(chips))
    count = min(max(1, round(held_out_share * len(chips))), len(chips) - 1)
    held_out = set(order[:count].tolist())
    train = [chip for index, chip in enumerate(chips) if index not in held_out]
    return train, [chip for index, chip in enumerate(chips) if index in held_out]


_Cell = tuple[SplitName, Window]


def _strips(grid: Grid, config: LabelConfig) -> list[_Cell]:
    height, width = grid.shape
    length = max(height, width)
    test = round(config.test_share * length)
    validation = round(config.validation_share * length)
    wide = config.guard if test else 0
    narrow = config.guard // 2 if validation else 0
    train = length - test - validation - wide - narrow
    if train < LEAST_TRAIN_SHARE * length:
        room = length * (1 - LEAST_TRAIN_SHARE) - test - validation
        bands = bool(test) + bool(validation) / 2
        raise InputError(
            f"the strip split leaves {max(train, 0)} of {length} px "
            f"({max(train, 0) / length:.0%}) to train on: test {test}, guard {wide}, "
            f"validation {validation}, guard {narrow}",
            expected=f"at least {LEAST_TRAIN_SHARE:.0%}",
            todo=f"lower labels.guard ({config.guard} px) to {int(room / bands)} px or less"
            if room >= 0 and bands
            else "lower labels.test_share or labels.validation_share",
        )
    parts: list[tuple[SplitName, int]] = [
        ("test", test),
        ("guard", wide),
        ("train", train),
        ("guard", narrow),
        ("validation", validation),
    ]
    if config.seed % 2:
        parts.reverse()
    edges = np.concatenate([[0], np.cumsum([size for _, size in parts])]).tolist()
    codes = np.array([CODES[name] for name, _ in parts], np.uint8)
    if width >= height:
        return _cells(codes[None, :], [0, height], edges)
    return _cells(codes[:, None], edges, [0, width])


def _blocks(grid: Grid, config: LabelConfig) -> list[_Cell]:
    """Draw blocks of growing size until the guard bands leave enough ground to train on."""
    best, edge = 0.0, 0
    while edge < max(grid.shape):
        edge += config.split_block
        cells, share = _best_layout(grid, config, edge)
        if share >= LEAST_TRAIN_SHARE:
            return cells
        best = max(best, share)
    raise InputError(
        f"the split into blocks leaves at most {best:.0%} of {grid.shape[0]} x {grid.shape[1]} px "
        f"to train on (blocks of {config.split_block} px or more, guard {config.guard} px, "
        f"test {config.test_share:.0%}, validation {config.validation_share:.0%})",
        expected=f"at least {LEAST_TRAIN_SHARE:.0%}",
        todo="lower labels.guard, labels.test_share or labels.validation_share, "
        "or use labels.split: strip",
    )


def _best_layout(grid: Grid, config: LabelConfig, edge: int) -> tuple[list[_Cell], float]:
    """Return the layout of blocks of about ``edge`` pixels with most training ground, its share."""
    rows, cols = (_equal_parts(length, edge) for length in grid.shape)
    best: tuple[list[_Cell], float] = [], 0.0
    for layout in range(LAYOUTS if config.guard else 1):
        draw = np.random.default_rng([config.seed, edge, layout])
        cells = _drawn_blocks(rows, cols, config, draw)
        train = sum(window.height * window.width for name, window in cells if name == "train")
        share = train / (grid.shape[0] * grid.shape[1])
        if share > best[1]:
            best = cells, share
    return best


def _equal_parts(length: int, edge: int) -> list[int]:
    """Return where equal parts of about ``edge`` pixels begin, and ``length`` last."""
    parts = max(1, round(length / edge))
    return [round(part * length / parts) for part in range(parts + 1)]


def _drawn_blocks(
    rows: Sequence[int], cols: Sequence[int], config: LabelConfig, draw: np.random.Generator
) -> list[_Cell]:
    """Draw test and validation blocks, and lay guard bands around them; empty if they don't fit."""
    blocks = [(row, col) for row in range(len(rows) - 1) for col in range(len(cols) - 1)]
    windows = [
        Window(y=rows[r], x=cols[c], height=rows[r + 1] - rows[r], width=cols[c + 1] - cols[c])
        for r, c in (blocks[index] for index in draw.permutation(len(blocks)))
    ]
    tests = _count(config.test_share, len(blocks))
    test, others = windows[:tests], windows[tests:]
    near = [window.grown(config.guard) for window in test]
    free = [window for window in others if not any(_overlap(window, band) for band in near)]
    validation = free[: _count(config.validation_share, len(blocks))]
    if len(validation) < _count(config.validation_share, len(blocks)):
        return []
    around = [window.grown(config.guard // 2) for window in validation]
    return _painted(
        (rows[-1], cols[-1]),
        [("guard", near), ("guard", around), ("validation", validation), ("test", test)],
    )


def _count(share: float, blocks: int) -> int:
    return max(1, round(share * blocks)) if share else 0


def _overlap(one: Window, other: Window) -> bool:
    return (
        one.y < other.y + other.height
        and other.y < one.y + one.height
        and one.x < other.x + other.width
        and other.x < one.x + one.width
    )


def _painted(
    shape: tuple[int, int], layers: Sequence[tuple[SplitName, Sequence[Window]]]
) -> list[_Cell]:
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
    return _cells(codes, rows, cols)


def _breaks(
    length: int, windows: Sequence[Window], ends: Callable[[Window], tuple[int, int]]
) -> list[int]:
    return sorted({0, length, *(end for window in windows for end in ends(window))})


def _cells(codes: NDArray[np.uint8], rows: Sequence[int], cols: Sequence[int]) -> list[_Cell]:
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
    cells: list[_Cell] = []

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


def _as_table(cells: Sequence[_Cell], grid: Grid) -> gpd.GeoDataFrame:
    rows = [
        {
            "split": name,
            "row0": window.y,
            "col0": window.x,
            "height": window.height,
            "width": window.width,
        }
        for name, window in cells
    ]
    boxes = [shapely.box(*grid.window_geobox(window).boundingbox.bbox) for _, window in cells]
    return gpd.GeoDataFrame(rows, geometry=boxes, crs=grid.epsg)
