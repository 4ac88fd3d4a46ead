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
        _cubic(source, held.y, held.x, at, *phase, result)
    return result


@njit(nogil=True, cache=True)
def _weights(t: float, w: NDArray[np.float64]) -> None:
    """Fill the weights of the four pixels around a place ``t`` of the way from the second on."""
    t2, t3 = t * t, t * t * t
    w[0] = -0.5 * t + t2 - 0.5 * t3
    w[1] = 1.0 - 2.5 * t2 + 1.5 * t3
    w[2] = 0.5 * t + 2.0 * t2 - 1.5 * t3
    w[3] = -0.5 * t2 + 0.5 * t3


@njit(nogil=True, cache=True)
def _cubic(
    source: NDArray[np.float32],
    top: int,
    left: int,
    at: NDArray[np.float64],
    phase_y: int,
    phase_x: int,
    result: NDArray[np.float32],
) -> None:
    height, width = source.shape
    wx, wy = np.empty(4), np.empty(4)
    for y in range(result.shape[0]):
        j, v = (y + phase_y) // NODE, ((y + phase_y) % NODE) / NODE
        for x in range(result.shape[1]):
            i, u = (x + phase_x) // NODE, ((x + phase_x) % NODE) / NODE
            # the source's column and row, between four nodes
            a = at[0, j, i] * (1 - u) + at[0, j, i + 1] * u
            b = at[0, j + 1, i] * (1 - u) + at[0, j + 1, i + 1] * u
            col = a * (1 - v) + b * v - left
            a = at[1, j, i] * (1 - u) + at[1, j, i + 1] * u
            b = at[1, j + 1, i] * (1 - u) + at[1, j + 1, i + 1] * u
            row = a * (1 - v) + b * v - top
            if not (0.0 <= col < width and 0.0 <= row < height):
                continue
            if np.isnan(source[int(row), int(col)]):
                continue
            # pixel centres lie at halves
            x0, y0 = math.floor(col - 0.5), math.floor(row - 0.5)
            _weights(col - 0.5 - x0, wx)
            _weights(row - 0.5 - y0, wy)
            total, weight = 0.0, 0.0
            if 1 <= x0 < width - 2 and 1 <= y0 < height - 2:
                for k in range(4):
                    across = 0.0
                    for m in range(4):
                        across += wx[m] * source[y0 + k - 1, x0 + m - 1]
                    total += wy[k] * across
                if not np.isnan(total):
                    result[y, x] = total
                    continue
                total = 0.0
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
                result[y, x] = total / weight
