"""Probabilities become outlines: components by blocks, united across seams, traced one by one.

A landform is a set of pixels that hang together by their edges (4-connectivity); with hysteresis,
all that reach a low threshold around one that reaches the high one. Blocks are labelled one at a
time; labels that meet at a seam are united afterwards. A landform is then read once more, in its
own window, so that neither a label raster nor a mosaic of the basin ever exists, and the outlines
do not depend on how the grid is cut into blocks.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import shapes
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from shapely.geometry import Polygon, shape

from rockglacier.engine import Progress, silent
from rockglacier.errors import ContractError
from rockglacier.grid import Grid, Window
from rockglacier.prediction.blend import PERCENT_NODATA, threshold_percent

MAX_AREA_CHANGE = 0.1
"""Share of its area that an outline may gain or lose when it is simplified."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """The pixels of one landform."""

    window: Window
    """The landform's rectangle and one pixel around it, where the grid has one."""
    is_landform: NDArray[np.bool_]
    """(y, x) of the window, filled holes included."""
    probability: NDArray[np.uint8]
    """(y, x) of the window; percent, 255 = nodata."""


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


def in_order[Part, Result](
    work: Callable[[Part], Result], parts: Sequence[Part], *, threads: int
) -> Iterator[Result]:
    """Yield the results in the order of the parts, worked at by threads, twice as many ahead."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Result]] = deque()
        for part in parts:
            waiting.append(pool.submit(work, part))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


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


def footprint_of(
    probability: Raster,
    landform: Landform,
    *,
    threshold: float,
    low: float | None = None,
    min_pixels: int = 1,
    fill_pixels: int = 0,
) -> Footprint:
    """Read the pixels of one landform; the same raster and thresholds as it was found with.

    Parameters
    ----------
    probability, landform, threshold, low
        As for and from :func:`find_landforms`.
    min_pixels
        Smaller landforms are none, and keep no hole open.
    fill_pixels
        Holes of up to so many pixels are filled.

    Raises
    ------
    ContractError
        The raster no longer holds the landform.
    """
    rows, columns = int(probability.shape[0]), int(probability.shape[1])
    window = landform.window.grown(1).clipped((rows, columns))
    values = np.asarray(probability[window.slices])
    extent = Rule(threshold=threshold, low=low).extent
    labels, _ = ndimage.label(is_above(values, threshold=extent))
    own = labels[landform.seed[0] - window.y, landform.seed[1] - window.x]
    is_landform = (labels == own) & (own > 0)
    if int(is_landform.sum()) != landform.pixels:
        raise ContractError(
            f"the landform at row {landform.seed[0]}, column {landform.seed[1]} has "
            f"{int(is_landform.sum())} pixels",
            expected=f"{landform.pixels} pixels, as when it was found",
            todo="leave the prediction alone while the inventory is being made, and run it again",
        )
    if fill_pixels:
        peak = threshold_percent(threshold)
        others = _others(labels, int(own), values, peak=peak, min_pixels=min_pixels)
        is_landform = is_landform | _small_holes(is_landform, others, fill_pixels)
    return Footprint(window=window, is_landform=is_landform, probability=values)


def _others(
    labels: NDArray[np.int32], own: int, values: NDArray[np.uint8], *, peak: int, min_pixels: int
) -> NDArray[np.bool_]:
    """Say which pixels of a window belong to other landforms."""
    every = np.arange(labels.max() + 1)
    sizes = np.bincount(labels.ravel())
    is_other = (sizes >= min_pixels) & (ndimage.maximum(values, labels, every) >= peak)
    is_other[[0, own]] = False
    return is_other[labels]


def _small_holes(
    is_landform: NDArray[np.bool_], is_other: NDArray[np.bool_], fill_pixels: int
) -> NDArray[np.bool_]:
    """Return the pixels of the holes to fill.

    Holes hang together by their edges, as the rings of a polygon do: one that only touches the
    outside at a corner of pixels is a hole.
    """
    holes, count = ndimage.label(~is_landform)
    is_filled = np.bincount(holes.ravel(), minlength=count + 1) <= fill_pixels
    rim = np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]])
    is_filled[np.concatenate([[0], rim, holes[is_other]])] = False
    return is_filled[holes]


def trace(is_landform: NDArray[np.bool_], transform: Affine) -> Polygon:
    """Return the exact outline of one landform, holes kept.

    Parameters
    ----------
    is_landform
        (y, x); one 4-connected component.
    transform
        Pixel corners to CRS metres.

    Returns
    -------
    Polygon
        Along pixel edges, valid; its area is the number of pixels times the area of a pixel.

    Raises
    ------
    ContractError
        The pixels are not one component, or the outline does not hold exactly their area.
    """
    pieces = [
        shape(geometry)
        for geometry, _ in shapes(
            is_landform.astype(np.uint8), mask=is_landform, connectivity=4, transform=transform
        )
    ]
    expected = int(is_landform.sum()) * abs(transform.determinant)
    if (
        len(pieces) != 1
        or not pieces[0].is_valid
        or not math.isclose(pieces[0].area, expected, rel_tol=1e-9)
    ):
        raise ContractError(
            f"{int(is_landform.sum())} pixels were traced as {len(pieces)} outline(s) of "
            f"{sum(piece.area for piece in pieces):.1f} m²",
            expected=f"one valid outline of {expected:.1f} m²",
        )
    return shapely.orient_polygons(pieces[0])


def simplify(outlines: Sequence[Polygon], *, tolerance_m: float) -> list[Polygon]:
    """Take the pixel stairs out of outlines, as one coverage: none comes to overlap another.

    Parameters
    ----------
    outlines
        Exact outlines in CRS metres; they may touch at corners.
    tolerance_m
        Visvalingam-Whyatt tolerance, metres: a corner goes where the triangle that it makes with
        its neighbours is smaller than the tolerance squared. One pixel takes a single step of the
        stairs (half a square pixel) and keeps larger shapes. 0 keeps the exact outlines.

    Returns
    -------
    list of Polygon
        In the same order, valid. An outline that would collapse, or change its area by more than a
        tenth, stays exact.
    """
    if tolerance_m == 0 or not outlines:
        return list(outlines)
    exact = np.array(outlines, dtype=object)
    simple = shapely.orient_polygons(shapely.coverage_simplify(exact, tolerance_m))
    is_kept = (
        shapely.is_valid(simple)
        & ~shapely.is_empty(simple)
        & (shapely.get_type_id(simple) == shapely.GeometryType.POLYGON)
        & (np.abs(shapely.area(simple) / shapely.area(exact) - 1) <= MAX_AREA_CHANGE)
    )
    return list(np.where(is_kept, simple, exact))
