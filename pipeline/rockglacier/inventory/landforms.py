"""Landforms are found in probabilities: components by blocks, united across seams.

A landform is a set of pixels that hang together by their edges (4-connectivity); with hysteresis,
all that reach a low threshold around one that reaches the high one. Blocks are labelled one at a
time; labels that meet at a seam are united afterwards, so that no label raster of the basin ever
exists, and the landforms do not depend on how the grid is cut into blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from rockglacier.engine import Progress, silent
from rockglacier.errors import ContractError
from rockglacier.grid import Grid, Window
from rockglacier.inventory.pool import in_order
from rockglacier.prediction.blend import PERCENT_NODATA, threshold_percent


class Raster(Protocol):
    """What is read by rows and columns: a NumPy or a Zarr array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""

    def __getitem__(self, key: tuple[slice, slice]) -> Any:
        """Return a rectangle of pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Which pixels make a landform."""

    threshold: float
    """Probability (0 to 1) that at least one pixel of a landform has to reach."""
    low: float | None = None
    """Probability that all of its pixels reach; None: the same."""
    min_pixels: int = 1
    """Pixels of the smallest landform, before its holes are filled."""
    fill_pixels: int = 0
    """Pixels of the largest hole that is filled, unless another landform lies in it."""

    @property
    def extent(self) -> float:
        """The threshold that all pixels reach."""
        return self.threshold if self.low is None else min(self.low, self.threshold)

    @classmethod
    def of(
        cls,
        threshold: float,
        *,
        low: float | None,
        min_area_km2: float,
        fill_holes_km2: float,
        resolution: float,
    ) -> Rule:
        """Return the rule of areas in km² on pixels of ``resolution`` metres."""
        pixel_km2 = resolution**2 / 1e6
        return cls(
            threshold=threshold,
            low=low,
            min_pixels=max(1, math.ceil(min_area_km2 / pixel_km2 - 1e-6)),
            fill_pixels=math.floor(fill_holes_km2 / pixel_km2 + 1e-6),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Landform:
    """One connected set of pixels above the threshold."""

    window: Window
    """Its bounding rectangle on the grid."""
    pixels: int
    """Without holes that are filled."""
    peak: int
    """Its highest probability, percent."""
    seed: tuple[int, int]
    """Row and column of its first pixel in reading order; no other landform has it."""


def is_above(percent: NDArray[np.uint8], *, threshold: float) -> NDArray[np.bool_]:
    """Say which pixels belong to landforms; nodata (255) never does.

    Parameters
    ----------
    percent
        Stored probability, any shape.
    threshold
        0 to 1. A pixel belongs if its stored whole percent reaches it, which is the rule of the
        raster of classes too.
    """
    return (percent >= threshold_percent(threshold)) & (percent != PERCENT_NODATA)


def find_landforms(
    probability: Raster,
    grid: Grid,
    *,
    threshold: float,
    low: float | None = None,
    progress: Progress = silent,
) -> list[Landform]:
    """Find every landform of a basin, block by block.

    Parameters
    ----------
    probability
        (y, x) uint8 percent, nodata 255, on the grid; NumPy or Zarr.
    grid
        Its blocks are read one at a time, the next one meanwhile.
    threshold
        Probability (0 to 1) that at least one pixel of a landform reaches; see :func:`is_above`.
    low
        Probability that all its pixels reach; None: the same.
    progress
        Told after every block.

    Returns
    -------
    list of Landform
        In reading order of their first pixels, whatever the size of the blocks; of any size.

    Raises
    ------
    ContractError
        The raster does not have the grid's shape.

    Notes
    -----
    Memory is two blocks and their labels, one row of labels of the grid's width, and a few numbers
    for each component of each block.
    """
    if tuple(probability.shape) != grid.shape:
        raise ContractError(
            f"the probability raster has shape {tuple(probability.shape)}",
            expected=f"the grid's shape {grid.shape}",
            todo="run the stage `predict` again",
        )
    extent = Rule(threshold=threshold, low=low).extent
    blocks = list(grid.blocks())
    parts: list[_Parts] = []
    seams: list[NDArray[np.int64]] = []
    above = np.zeros(grid.shape[1], dtype=np.int64)
    left = np.zeros(0, dtype=np.int64)
    number = 0
    windows = [block.window for block in blocks]
    read = in_order(lambda window: np.asarray(probability[window.slices]), windows, threads=1)
    for done, (block, values) in enumerate(zip(blocks, read, strict=True), start=1):
        window = block.window
        labels, found = ndimage.label(is_above(values, threshold=extent), output=np.int32)
        parts.append(_describe(labels, found, values, window, width=grid.shape[1]))
        columns = window.slices[1]
        seams.append(_touching(above[columns], _numbered(labels[0], number)))
        if block.col > 0:
            seams.append(_touching(left, _numbered(labels[:, 0], number)))
        above[columns] = _numbered(labels[-1], number)
        left = _numbered(labels[:, -1], number)
        number += found
        progress("outlines: blocks", done, len(blocks))
    landforms = _united(parts, seams, number, width=grid.shape[1])
    peak = threshold_percent(threshold)
    return [landform for landform in landforms if landform.peak >= peak]


def _numbered(labels: NDArray[np.int32], number: int) -> NDArray[np.int64]:
    """Return labels of a block as those of the basin, 0 for none."""
    return np.where(labels > 0, labels.astype(np.int64) + number, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """The components of one block, an entry each."""

    pixels: NDArray[np.int64]
    bounds: NDArray[np.int64]
    """First row, first column, end row, end column on the grid."""
    seeds: NDArray[np.int64]
    """Index of the first pixel in reading order of the whole grid."""
    peaks: NDArray[np.int64]
    """Highest probability, percent."""


def _describe(
    labels: NDArray[np.int32],
    found: int,
    values: NDArray[np.uint8],
    window: Window,
    *,
    width: int,
) -> _Parts:
    bounds = np.empty((found, 4), dtype=np.int64)
    seeds = np.empty(found, dtype=np.int64)
    peaks = np.empty(found, dtype=np.int64)
    pixels = np.empty(found, dtype=np.int64)
    for index, (rows, columns) in enumerate(ndimage.find_objects(labels)):
        own = labels[rows, columns] == index + 1
        first = columns.start + int(np.argmax(own[0]))
        pixels[index] = np.count_nonzero(own)
        peaks[index] = (values[rows, columns] * own).max()
        bounds[index] = rows.start, columns.start, rows.stop, columns.stop
        seeds[index] = (window.y + rows.start) * width + window.x + first
    bounds += np.array([window.y, window.x, window.y, window.x])
    return _Parts(pixels=pixels, bounds=bounds, seeds=seeds, peaks=peaks)


def _touching(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the pairs of labels (n, 2) that face each other along a seam."""
    both = (one > 0) & (other > 0)
    return np.unique(np.stack([one[both], other[both]], axis=1), axis=0)


def _united(
    parts: Sequence[_Parts], seams: Sequence[NDArray[np.int64]], number: int, *, width: int
) -> list[Landform]:
    if number == 0:
        return []
    pairs = np.concatenate(seams) - 1
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(number, number))
    count, member = connected_components(graph, directed=False)
    pixels = np.zeros(count, dtype=np.int64)
    np.add.at(pixels, member, np.concatenate([part.pixels for part in parts]))
    peaks = np.zeros(count, dtype=np.int64)
    np.maximum.at(peaks, member, np.concatenate([part.peaks for part in parts]))
    seeds = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(seeds, member, np.concatenate([part.seeds for part in parts]))
    bounds = np.concatenate([part.bounds for part in parts])
    starts = np.full((count, 2), np.iinfo(np.int64).max)
    np.minimum.at(starts, member, bounds[:, :2])
    ends = np.zeros((count, 2), dtype=np.int64)
    np.maximum.at(ends, member, bounds[:, 2:])
    return [
        Landform(
            window=Window(
                y=int(starts[k, 0]),
                x=int(starts[k, 1]),
                height=int(ends[k, 0] - starts[k, 0]),
                width=int(ends[k, 1] - starts[k, 1]),
            ),
            pixels=int(pixels[k]),
            peak=int(peaks[k]),
            seed=(int(seeds[k] // width), int(seeds[k] % width)),
        )
        for k in np.argsort(seeds)
    ]
