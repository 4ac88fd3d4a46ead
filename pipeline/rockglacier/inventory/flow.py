"""The length of a landform along its flow: a path over the DEM, from its head to its toe."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

FLOW_SHARE: Final = 0.1
"""Share of the pixels taken as the head and as the toe of a landform."""

MARGIN_COST: Final = 2.0
"""How much longer a step along the margin counts than one along the middle."""

CLIMB_COST: Final = 2.0
"""How much longer a step counts for each metre that it climbs on a metre of way."""

MAX_NODES: Final = 5_000
"""Pixels of a graph; a larger landform is taken at a coarser resolution."""

SMOOTH_STEPS: Final = 2.0
"""Steps over which the corners of a path are rounded: they are the grid's and not the ground's."""

LOOK_BACK: Final = 6
"""Steps that tell the direction of an end of the path."""

STEP: Final = np.array(
    [
        (row, column)
        for row in range(-2, 3)
        for column in range(-2, 3)
        if math.gcd(row, column) == 1 and abs(row) + abs(column) <= 3
    ]
)
"""To the 8 neighbours, and as the knight goes: directions are 27 degrees apart at most."""

WAY: Final = np.hypot(STEP[:, 0], STEP[:, 1])
"""Length of each step, pixels."""

PASSED: Final = np.stack([np.trunc(STEP / 2).astype(np.int64), np.sign(STEP)], axis=1)
"""Two pixels that each step passes over; of a short one, where it starts and where it ends."""

FloatArray = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ground:
    """A landform as a graph: its pixels, or squares of them."""

    is_landform: NDArray[np.bool_]
    elevation: FloatArray
    """Metres, known everywhere in the landform."""
    resolution: float
    """Metres."""


def flow_length_m(
    is_landform: NDArray[np.bool_], elevation: FloatArray, *, resolution: float
) -> float:
    """Return the horizontal length of a landform from the upper to the lower end, metres.

    Parameters
    ----------
    is_landform
        (y, x); one 4-connected component.
    elevation
        (y, x) metres, NaN = unknown.
    resolution
        Edge of a pixel, metres.

    Returns
    -------
    float
        Where heights tell nothing, the extent along the longest axis.

    Notes
    -----
    The cheapest path inside the landform from the centre of its highest tenth to that of its lowest
    tenth (of the largest connected part of either), where steps near the margin and steps uphill
    count more, so that it keeps to the middle and follows bends; with its corners rounded, plus
    what the highest and the lowest tenth reach beyond its ends.
    """
    heights = elevation[is_landform]
    known = np.isfinite(heights)
    if not known.any() or np.ptp(heights[known]) == 0:
        return _extent(is_landform, resolution)
    ground = _ground(is_landform, elevation, resolution)
    rows, columns = np.nonzero(ground.is_landform)
    places = np.stack([rows, columns], axis=1).astype(np.float64)
    order = np.argsort(ground.elevation[ground.is_landform], kind="stable")
    share = max(1, round(FLOW_SHARE * len(order)))
    head = _largest_part(places[order[-share:]])
    toe = _largest_part(places[order[:share]])
    ends = [_centre(head), _centre(toe)]
    path = _smoothed(_cheapest_path(ground, *ends))
    length = float(np.hypot(*np.diff(path, axis=0).T).sum())
    length += _beyond(path, head) + _beyond(path[::-1], toe)
    return (length + 1) * ground.resolution


def _extent(is_landform: NDArray[np.bool_], resolution: float) -> float:
    places = np.argwhere(is_landform).astype(np.float64)
    centred = places - places.mean(axis=0)
    along = centred @ np.linalg.eigh(centred.T @ centred)[1][:, -1]
    return float(np.ptp(along) + 1) * resolution


def _ground(is_landform: NDArray[np.bool_], elevation: FloatArray, resolution: float) -> _Ground:
    heights = _filled(is_landform, elevation.astype(np.float64))
    step = math.ceil(math.sqrt(np.count_nonzero(is_landform) / MAX_NODES))
    if step > 1:
        pad = [(0, -size % step) for size in is_landform.shape]
        squares = (slice(None), slice(None))
        is_in = _squares(np.pad(is_landform, pad), step)[squares]
        weight = is_in.sum(axis=(1, 3))
        total = (_squares(np.pad(heights, pad), step) * is_in).sum(axis=(1, 3))
        is_landform, heights = weight > 0, total / np.maximum(weight, 1)
    return _Ground(is_landform=is_landform, elevation=heights, resolution=resolution * step)


def _filled(is_landform: NDArray[np.bool_], heights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return heights of a landform, those that are not known from the nearest pixel; 0 outside."""
    is_known = is_landform & np.isfinite(heights)
    if not (is_landform & ~is_known).any():
        return np.where(is_landform, heights, 0.0)
    nearest = ndimage.distance_transform_edt(~is_known, return_distances=False, return_indices=True)
    return np.where(is_landform, heights[tuple(nearest)], 0.0)


def _squares(values: NDArray[Any], step: int) -> NDArray[Any]:
    rows, columns = values.shape
    return values.reshape(rows // step, step, columns // step, step)


def _largest_part(places: FloatArray) -> FloatArray:
    """Return the places of the largest part that hangs together."""
    corner = places.min(axis=0)
    rows, columns = (places - corner).astype(np.int64).T
    is_in = np.zeros((rows.max() + 1, columns.max() + 1), dtype=bool)
    is_in[rows, columns] = True
    labels, _ = ndimage.label(is_in, structure=np.ones((3, 3)))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.argwhere(labels == np.argmax(sizes)) + corner


def _centre(places: FloatArray) -> tuple[int, int]:
    """Return the place that is nearest to the mean of all."""
    row, column = places[np.argmin(((places - places.mean(axis=0)) ** 2).sum(axis=1))]
    return int(row), int(column)


def _cheapest_path(ground: _Ground, start: tuple[int, int], end: tuple[int, int]) -> FloatArray:
    """Return rows and columns (n, 2) from start to end."""
    is_in = np.pad(ground.is_landform, 2)
    heights = np.pad(ground.elevation, 2)
    number = np.full(is_in.shape, -1, dtype=np.int32)
    number[is_in] = np.arange(np.count_nonzero(is_in))
    inward = ndimage.distance_transform_edt(is_in)
    weight = 1 + MARGIN_COST * (1 - inward / inward.max()) ** 2
    rows, columns = np.nonzero(is_in)
    edges = _edges(number, heights, weight, rows, columns, ground.resolution)
    graph = csr_array(edges, shape=(len(rows), len(rows)))
    first, last = (int(number[row + 2, column + 2]) for row, column in (start, end))
    before = dijkstra(graph, indices=first, return_predecessors=True)[1]
    path = [last]
    while path[-1] != first:
        path.append(int(before[path[-1]]))
    path.reverse()
    return np.stack([rows[path] - 2, columns[path] - 2], axis=1).astype(np.float64)


@njit(nogil=True, cache=True)
def _edges(
    number: NDArray[np.int32],
    heights: FloatArray,
    weight: FloatArray,
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    resolution: float,
) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int32]]:
    """Return costs, targets and first edges of the steps from each pixel, targets ascending."""
    costs = np.empty(len(rows) * len(STEP), dtype=np.float64)
    targets = np.empty(len(rows) * len(STEP), dtype=np.int32)
    first = np.zeros(len(rows) + 1, dtype=np.int32)
    edge = 0
    for node in range(len(rows)):
        row, column = rows[node], columns[node]
        for step in range(len(STEP)):
            down, right = row + STEP[step, 0], column + STEP[step, 1]
            # of the pixels that it passes over too: it may not leave the landform on its way
            if (
                number[down, right] < 0
                or number[row + PASSED[step, 0, 0], column + PASSED[step, 0, 1]] < 0
                or number[row + PASSED[step, 1, 0], column + PASSED[step, 1, 1]] < 0
            ):
                continue
            climb = max(heights[down, right] - heights[row, column], 0.0) / (WAY[step] * resolution)
            mean = (weight[row, column] + weight[down, right]) / 2
            costs[edge] = WAY[step] * mean * (1 + CLIMB_COST * climb)
            targets[edge] = number[down, right]
            edge += 1
        first[node + 1] = edge
    return costs[:edge], targets[:edge], first


def _smoothed(path: FloatArray) -> FloatArray:
    smooth = ndimage.gaussian_filter1d(path, SMOOTH_STEPS, axis=0, mode="nearest")
    smooth[[0, -1]] = path[[0, -1]]
    return smooth


def _beyond(path: FloatArray, places: FloatArray) -> float:
    """Return how far places reach beyond the first point of a path, in its direction there."""
    away = path[0] - path[min(LOOK_BACK, len(path) - 1)]
    distance = float(np.hypot(*away))
    if distance == 0:
        return 0.0
    return max(0.0, float(((places - path[0]) @ (away / distance)).max()))
