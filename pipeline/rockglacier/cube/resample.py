"""A coarser raster as a surface on the grid: cubic, and the same for any window.

GDAL's warp is exact only where every pixel is transformed by itself, which takes longer than all
the rest of a block. Here the transformation is exact at the nodes of a lattice that belongs to the
whole grid, and linear between them: with nodes every 160 m the error is below a millimetre.
"""

from __future__ import annotations

import math

import numpy as np
from affine import Affine
from numba import njit
from numpy.typing import NDArray
from pyproj import Transformer

from rockglacier.cube.flat import STRIP, flat
from rockglacier.grid import Grid, Window

NODE = 16
"""Grid pixels between the nodes of the lattice."""

TAPS = 2
"""Pixels of the source on each side that a value depends on."""


def nodes(
    grid: Grid, window: Window, source_crs: str, source_transform: Affine
) -> NDArray[np.float64]:
    """Return where the lattice under a window lies in a source raster.

    Parameters
    ----------
    grid
        The study's grid.
    window
        On the grid; may reach beyond it.
    source_crs
        CRS of the source, as WKT.
    source_transform
        Column and row of the source to its coordinates.

    Returns
    -------
    NDArray
        (2, node row, node column): columns and rows of the source, its first corner = (0, 0). The
        first node is the last one that is not below or right of the window's first pixel.
    """
    rows = _node_range(window.y, window.height)
    cols = _node_range(window.x, window.width)
    x, y = np.meshgrid(
        grid.transform.c + (cols + 0.5) * grid.transform.a,
        grid.transform.f + (rows + 0.5) * grid.transform.e,
    )
    transformer = Transformer.from_crs(grid.crs, source_crs, always_xy=True)
    east, north = transformer.transform(x, y)
    inverse = ~source_transform
    return np.stack(
        [
            inverse.a * east + inverse.b * north + inverse.c,
            inverse.d * east + inverse.e * north + inverse.f,
        ]
    )


def _node_range(start: int, size: int) -> NDArray[np.float64]:
    """Return the pixels of the nodes around pixels of one axis; nodes lie on their centres."""
    return np.arange(start // NODE, -(-(start + size) // NODE) + 1, dtype=np.float64) * NODE


def source_window(at: NDArray[np.float64], shape: tuple[int, int]) -> Window:
    """Return the window of a source of ``shape`` that `cubic` needs for the nodes ``at``."""
    finite = np.isfinite(at).all(axis=0)
    if not finite.any():
        return Window(y=0, x=0, height=0, width=0)
    cols, rows = at[0][finite], at[1][finite]
    y, x = math.floor(rows.min()) - TAPS, math.floor(cols.min()) - TAPS
    height = math.ceil(rows.max()) + TAPS + 1 - y
    width = math.ceil(cols.max()) + TAPS + 1 - x
    return Window(y=y, x=x, height=height, width=width).clipped(shape)


def cubic(
    source: NDArray[np.float32], held: Window, at: NDArray[np.float64], window: Window
) -> NDArray[np.float32]:
    """Return a source by cubic convolution (a = -0.5) at the pixels of a window.

    Parameters
    ----------
    source
        (y, x) values in ``held``; NaN = none.
    held
        Window of the source raster that ``source`` is.
    at
        From `nodes`.
    window
        On the grid.

    Returns
    -------
    NDArray
        (y, x) float32. NaN where the source's pixel under a centre is NaN or beyond its edge;
        elsewhere missing neighbours leave their weight to the others.
    """
    result = np.full((window.height, window.width), np.nan, np.float32)
    if source.size:
        phase = window.y % NODE, window.x % NODE
        flat_source, _ = flat(np.ascontiguousarray(source, np.float32))
        _cubic(flat_source, source.shape, (held.y, held.x), at, phase, result)
    return result


def cubic_along(source: NDArray[np.float32], cols: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return every row of a source by cubic convolution at places along it.

    Parameters
    ----------
    source
        (y, x) values; NaN = none.
    cols
        (column,) places in the source, its first edge = 0.

    Returns
    -------
    NDArray
        (y, column) float32, NaN as for `cubic`.
    """
    result = np.full((source.shape[0], cols.size), np.nan, np.float32)
    rows = np.full(cols.size, 0.5)
    for y in range(source.shape[0]):
        _carefully(source[y : y + 1], cols, rows, result[y])
    return result


@njit(nogil=True, cache=True)
def _cubic(
    source: NDArray[np.float32],
    shape: tuple[int, int],
    corner: tuple[int, int],
    at: NDArray[np.float64],
    phase: tuple[int, int],
    result: NDArray[np.float32],
) -> None:
    whole = source.reshape(shape)
    cols, rows = np.empty(STRIP), np.empty(STRIP)
    right, down = np.empty(STRIP, np.float32), np.empty(STRIP, np.float32)
    first = np.empty(STRIP, np.int64)
    for y in range(result.shape[0]):
        j, v = (y + phase[0]) // NODE, ((y + phase[0]) % NODE) / NODE
        for x in range(0, result.shape[1], STRIP):
            n = min(STRIP, result.shape[1] - x)
            _between_nodes(at[0, j], at[0, j + 1], v, phase[1] + x, corner[1], cols[:n])
            _between_nodes(at[1, j], at[1, j + 1], v, phase[1] + x, corner[0], rows[:n])
            _split(cols[:n], rows[:n], shape, first[:n], right[:n], down[:n])
            line = result[y, x : x + n]
            _sixteen(source, shape[1], first[:n], right[:n], down[:n], line)
            for k in range(n):
                # near the edges, and where one of the sixteen is missing
                if first[k] < 0 or np.isnan(line[k]):
                    line[k] = np.nan
                    _carefully(whole, cols[k : k + 1], rows[k : k + 1], line[k : k + 1])


@njit(nogil=True, cache=True)
def _between_nodes(
    upper: NDArray[np.float64],
    lower: NDArray[np.float64],
    v: float,
    start: int,
    origin: int,
    out: NDArray[np.float64],
) -> None:
    """Fill a strip with places in the source, ``v`` of the way from one row of nodes to the next.

    ``start`` is the strip's first pixel, counted from the first node.
    """
    done = 0
    while done < out.size:
        i, begin = (start + done) // NODE, (start + done) % NODE
        count = min(NODE - begin, out.size - done)
        a = upper[i] * (1.0 - v) + lower[i] * v
        b = upper[i + 1] * (1.0 - v) + lower[i + 1] * v
        for k in range(count):
            u = (begin + k) / NODE
            out[done + k] = a * (1.0 - u) + b * u - origin
        done += count


@njit(nogil=True, cache=True)
def _split(
    cols: NDArray[np.float64],
    rows: NDArray[np.float64],
    shape: tuple[int, int],
    first: NDArray[np.int64],
    right: NDArray[np.float32],
    down: NDArray[np.float32],
) -> None:
    """Fill the first of each place's sixteen pixels, or -1, and how far from the centre it lies."""
    height, width = shape
    for x in range(cols.size):
        # pixel centres lie at halves
        col, row = math.floor(cols[x] - 0.5), math.floor(rows[x] - 0.5)
        right[x], down[x] = cols[x] - 0.5 - col, rows[x] - 0.5 - row
        inside = (col >= 1) & (col < width - 2) & (row >= 1) & (row < height - 2)
        first[x] = (row - 1) * width + col - 1 if inside else -1


@njit(nogil=True, cache=True)
def _sixteen(
    source: NDArray[np.float32],
    width: int,
    first: NDArray[np.int64],
    right: NDArray[np.float32],
    down: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Fill a strip from the sixteen pixels around each place; NaN where one of them is NaN.

    The weights are of differences to one of the sixteen, which single precision holds.
    """
    row = np.uint64(width)
    for x in range(out.size):
        # unsigned: a signed index might count from the end, which no vector loop can check
        p = np.uint64(max(first[x], 0))
        base = source[p + row + np.uint64(1)]
        weights = _weights_single(right[x])
        one = _four(source, p, base, weights)
        two = _four(source, p + row, base, weights)
        three = _four(source, p + row + row, base, weights)
        four = _four(source, p + row + row + row, base, weights)
        above, upper, lower, below = _weights_single(down[x])
        out[x] = base + (above * one + upper * two + lower * three + below * four)


@njit(nogil=True, cache=True)
def _weights_single(t: np.float32) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    half, one, two = np.float32(0.5), np.float32(1), np.float32(2)
    t2 = t * t
    t3 = t2 * t
    return (
        t2 - half * (t + t3),
        one - (two + half) * t2 + (one + half) * t3,
        half * t + two * t2 - (one + half) * t3,
        half * (t3 - t2),
    )


@njit(nogil=True, cache=True)
def _four(
    source: NDArray[np.float32],
    p: np.uint64,
    base: np.float32,
    weights: tuple[np.float32, np.float32, np.float32, np.float32],
) -> np.float32:
    one = weights[0] * (source[p] - base)
    two = weights[1] * (source[p + np.uint64(1)] - base)
    three = weights[2] * (source[p + np.uint64(2)] - base)
    four = weights[3] * (source[p + np.uint64(3)] - base)
    return (one + two) + (three + four)


@njit(nogil=True, cache=True)
def _weights(t: float, w: NDArray[np.float64]) -> None:
    """Fill the weights of the four pixels around a place ``t`` of the way from the second on."""
    t2, t3 = t * t, t * t * t
    w[0] = -0.5 * t + t2 - 0.5 * t3
    w[1] = 1.0 - 2.5 * t2 + 1.5 * t3
    w[2] = 0.5 * t + 2.0 * t2 - 1.5 * t3
    w[3] = -0.5 * t2 + 0.5 * t3


@njit(nogil=True, cache=True)
def _carefully(
    source: NDArray[np.float32],
    cols: NDArray[np.float64],
    rows: NDArray[np.float64],
    out: NDArray[np.float32],
) -> None:
    """Fill places whose own pixel is known, whatever of the sixteen is missing."""
    height, width = source.shape
    wx, wy = np.empty(4), np.empty(4)
    for x in range(out.size):
        col, row = cols[x], rows[x]
        if not (0.0 <= col < width and 0.0 <= row < height):
            continue
        if np.isnan(source[int(row), int(col)]):
            continue
        x0, y0 = math.floor(col - 0.5), math.floor(row - 0.5)
        _weights(col - 0.5 - x0, wx)
        _weights(row - 0.5 - y0, wy)
        total, weight = 0.0, 0.0
        for k in range(4):
            sy = y0 + k - 1
            if sy < 0 or sy >= height:
                continue
            for m in range(4):
                sx = x0 + m - 1
                if sx < 0 or sx >= width:
                    continue
                value = source[sy, sx]
                if not np.isnan(value):
                    w = wy[k] * wx[m]
                    total += w * value
                    weight += w
        if weight > 1e-6:
            out[x] = total / weight
