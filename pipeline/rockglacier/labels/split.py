"""The split of the ground: train, validation and test, and the guard bands that nothing uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from rockglacier.config import LabelConfig, fingerprint
from rockglacier.errors import InputError
from rockglacier.grid import Grid, Window
from rockglacier.labels.cells import CODES, LEAST_TRAIN_SHARE, Cell, SplitName, cells_of, painted
from rockglacier.labels.folds import fold_cells, sub_basin_cells

__all__ = [
    "CODES",
    "SplitName",
    "chip_lattice",
    "labelled_chips",
    "make_folds",
    "make_splits",
    "random_split",
    "split_mask",
    "windows_of",
]

LAYOUTS: Final = 32
"""Drawn layouts of scattered blocks, of which the one with most training ground is kept."""

HELD_OUT_SHARE: Final = 0.1
"""Of the 2025 study's random 9:1 split."""


RECIPE: Final = 1
"""Counts the changes of how the ground is divided under the same settings."""

DEPENDS_ON: Final = (
    "split", "split_block", "test_share", "validation_share", "guard", "seed", "folds", "fold",
)  # fmt: skip
"""Settings that the division of the ground depends on."""


def make_splits(
    grid: Grid, config: LabelConfig, *, sub_basins: Sequence[BaseGeometry] = ()
) -> gpd.GeoDataFrame:
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
        - ``folds``: strips of equal width along the longer side; that of number ``fold`` is test
          ground, and a strip at the end farther from it is validation ground;
        - ``sub-basins``: the sub-basin of number ``fold`` is test ground; of the others, the one
          that lies farthest from it is validation ground;
        - ``train-only``: everything trains.
    sub_basins
        Polygons in the CRS of the grid (``split: sub-basins``). Ground in none of them trains.

    Returns
    -------
    GeoDataFrame
        CRS of the grid; columns ``split``, ``row0``, ``col0``, ``height``, ``width`` (pixels),
        ``version`` (the same for the same division by the same settings) and ``geometry`` (the
        cell's box). Cells never overlap and cover the grid exactly.

    Raises
    ------
    InputError
        Less than 40 % of the ground would train, or there is no such sub-basin.

    Notes
    -----
    Test ground keeps ``guard`` pixels from everything else. Between validation and training ground
    lie half as many: validation only chooses, it is never reported.
    """
    table = _as_table(_divided(grid, config, sub_basins), grid)
    table.insert(len(table.columns) - 1, "version", _version(grid, config, table))
    return table


def make_folds(
    grid: Grid, config: LabelConfig, *, sub_basins: Sequence[BaseGeometry] = ()
) -> gpd.GeoDataFrame | None:
    """Return every fold of a division into folds or sub-basins, else None.

    Parameters
    ----------
    grid, config, sub_basins
        As for :func:`make_splits`; ``config.fold`` does not matter.

    Returns
    -------
    GeoDataFrame
        As of :func:`make_splits`, with a first column ``fold``. No pixel is test ground of two
        folds, and in none does a pixel that trains or chooses lie within the guard of its test
        ground.
    """
    if config.split not in ("folds", "sub-basins"):
        return None
    count = config.folds if config.split == "folds" else len(sub_basins)
    tables = []
    for fold in range(count):
        one = make_splits(grid, config.model_copy(update={"fold": fold}), sub_basins=sub_basins)
        one.insert(0, "fold", fold)
        tables.append(one)
    return gpd.GeoDataFrame(pd.concat(tables, ignore_index=True))


def _divided(grid: Grid, config: LabelConfig, sub_basins: Sequence[BaseGeometry]) -> list[Cell]:
    if config.split == "train-only":
        return [("train", grid.whole)]
    if config.split == "strip":
        return _strips(grid, config)
    if config.split == "folds":
        return fold_cells(grid, config)
    if config.split == "sub-basins":
        return sub_basin_cells(grid, config, sub_basins)
    return _blocks(grid, config)


def _version(grid: Grid, config: LabelConfig, table: gpd.GeoDataFrame) -> str:
    cells = table.drop(columns="geometry").to_numpy().tolist()
    settings = {name: getattr(config, name) for name in DEPENDS_ON}
    return fingerprint({"recipe": RECIPE, "grid": grid.to_dict(), **settings, "cells": cells})


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
        Those of :func:`labelled_chips`, usually at half overlap. A held-out chip then shares
        pixels with its neighbours that train: this is how the 2025 study split, and why its
        scores flatter.
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


def _strips(grid: Grid, config: LabelConfig) -> list[Cell]:
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
        return cells_of(codes[None, :], [0, height], edges)
    return cells_of(codes[:, None], edges, [0, width])


def labelled_chips(labels: Any, chips: Sequence[Window]) -> list[Window]:
    """Return the chips that hold a landform: the 2025 study had labels on no others.

    Parameters
    ----------
    labels
        (y, x) uint8 array, here or in a store; 1 is a landform.
    chips
        Inside the array.
    """
    return [chip for chip in chips if (np.asarray(labels[chip.slices]) == 1).any()]


def _blocks(grid: Grid, config: LabelConfig) -> list[Cell]:
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


def _best_layout(grid: Grid, config: LabelConfig, edge: int) -> tuple[list[Cell], float]:
    """Return the layout of blocks of about ``edge`` pixels with most training ground, its share."""
    rows, cols = (_equal_parts(length, edge) for length in grid.shape)
    best: tuple[list[Cell], float] = [], 0.0
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
) -> list[Cell]:
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
    return painted(
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


def _as_table(cells: Sequence[Cell], grid: Grid) -> gpd.GeoDataFrame:
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
