"""Test ground that goes round: strips of equal width, or one sub-basin after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

from rockglacier.config import LabelConfig
from rockglacier.errors import InputError
from rockglacier.grid import Grid, Window
from rockglacier.labels.cells import (
    CODES,
    LEAST_TRAIN_SHARE,
    Cell,
    SplitName,
    cells_of,
    painted,
)

CELL: Final = 64
"""Sub-basins are cells of so many pixels, each of that which holds its centre."""


def fold_cells(grid: Grid, config: LabelConfig) -> list[Cell]:
    """Return the cells of one strip that is tested, one that chooses, and guards beside them."""
    height, width = grid.shape
    length = max(height, width)
    edges = [round(part * length / config.folds) for part in range(config.folds + 1)]
    first, end = edges[config.fold], edges[config.fold + 1]
    size = round(config.validation_share * length)
    is_after = length - end >= first
    chosen = (length - size, length) if is_after else (0, size)

    def strip(start: int, stop: int) -> Window:
        if width >= height:
            return Window(y=0, x=start, height=height, width=stop - start)
        return Window(y=start, x=0, height=stop - start, width=width)

    tested, choosing = strip(first, end), strip(*chosen)
    near = strip(max(first - config.guard, 0), min(end + config.guard, length))
    around = strip(
        max(chosen[0] - config.guard // 2, 0), min(chosen[1] + config.guard // 2, length)
    )
    cells = painted(
        grid.shape,
        [
            ("guard", [around] if size else []),
            ("validation", [choosing] if size else []),
            ("guard", [near]),
            ("test", [tested]),
        ],
    )
    _require_training(cells, grid, config, f"fold {config.fold} of {config.folds}")
    return cells


def _require_training(cells: Sequence[Cell], grid: Grid, config: LabelConfig, what: str) -> None:
    found = {
        name: sum(window.height * window.width for part, window in cells if part == name)
        / (grid.shape[0] * grid.shape[1])
        for name in CODES
    }
    if found["train"] >= LEAST_TRAIN_SHARE and (found["validation"] or not config.validation_share):
        return
    raise InputError(
        f"{what} leaves {found['train']:.0%} of the ground to train on and "
        f"{found['validation']:.0%} to choose on: test {found['test']:.0%}, guard "
        f"{found['guard']:.0%} ({config.guard} px)",
        expected=f"at least {LEAST_TRAIN_SHARE:.0%} to train on",
        todo="lower labels.guard or labels.validation_share, or make more folds or sub-basins",
    )


def sub_basin_cells(
    grid: Grid, config: LabelConfig, sub_basins: Sequence[BaseGeometry]
) -> list[Cell]:
    """Return the cells of one sub-basin that is tested, one that chooses, and guards."""
    owner = _owners(grid, sub_basins)
    held = sorted(set(owner.ravel().tolist()) - {-1})
    if len(held) < 3 or config.fold not in held:
        raise InputError(
            f"{len(held)} of {len(sub_basins)} sub-basins lie on the grid, and number "
            f"{config.fold} is {'one' if config.fold in held else 'none'} of them",
            expected="at least three, one each to train, to choose and to test",
            todo="check labels.sub_basins and labels.fold",
        )
    centres = {number: sub_basins[number].representative_point() for number in held}
    others = [number for number in held if number != config.fold]
    farthest = max(others, key=lambda number: centres[number].distance(centres[config.fold]))
    test, choosing = _windows(owner, config.fold, grid), _windows(owner, farthest, grid)
    layers: list[tuple[SplitName, list[Window]]] = []
    if config.validation_share:
        layers.append(("guard", [window.grown(config.guard // 2) for window in choosing]))
        layers.append(("validation", choosing))
    layers += [("guard", [window.grown(config.guard) for window in test]), ("test", test)]
    cells = painted(grid.shape, layers)
    _require_training(cells, grid, config, f"sub-basin {config.fold}")
    return cells


def _owners(grid: Grid, sub_basins: Sequence[BaseGeometry]) -> NDArray[np.int32]:
    """Return for every cell of the grid the sub-basin that holds its centre, -1 for none."""
    shape = -(-grid.shape[0] // CELL), -(-grid.shape[1] // CELL)
    owner = np.full(shape, -1, np.int32)
    if sub_basins:
        pairs = [(shape, number) for number, shape in enumerate(sub_basins)]
        rasterize(pairs, out=owner, transform=grid.transform @ Affine.scale(CELL))
    return owner


def _windows(owner: NDArray[np.int32], number: int, grid: Grid) -> list[Window]:
    """Return the ground of one sub-basin as few rectangles."""
    rows, cols = (
        [min(CELL * place, length) for place in range(count + 1)]
        for count, length in zip(owner.shape, grid.shape, strict=True)
    )
    codes = np.where(owner == number, CODES["test"], CODES["guard"]).astype(np.uint8)
    return [window for name, window in cells_of(codes, rows, cols) if name == "test"]
