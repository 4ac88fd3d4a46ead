"""Terrain derivatives of a DEM in metres on a grid in metres: pure functions over arrays.

Every function returns an array of its input's shape whose outer *halo* is NaN: hand in a window
grown by the halo and cut it off again, and blocks have no seams. NaN spreads to every pixel whose
neighbourhood holds one. Sums are float64 in a fixed order, so that a pixel is the same bit for bit
in whatever window it is computed.
"""

from __future__ import annotations

import math

import numpy as np
from affine import Affine
from numba import njit
from numpy.typing import NDArray
from pyproj import CRS, Proj, Transformer

from rockglacier.grid import Window

SLOPE_HALO = 1
"""Pixels around a window that `slope_aspect` and `curvature` need."""

NODE = 128
"""Pixels between the nodes at which the meridian convergence is computed."""


def slope_aspect(
    elevation: NDArray[np.float32], resolution: float, convergence: NDArray[np.float64] | float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return slope and aspect by Horn's 3 x 3 formula; halo 1.

    Parameters
    ----------
    elevation
        (y, x) metres, rows from north to south.
    resolution
        Edge of a pixel, metres.
    convergence
        Meridian convergence, degrees: a number, or (y, x); see `meridian_convergence`.

    Returns
    -------
    slope
        (y, x) degrees, 0 to 90.
    aspect
        (y, x) degrees clockwise from *true* north in which the slope falls, 0 to below 360; NaN
        where it is flat.
    """
    grown = np.broadcast_to(np.asarray(convergence, np.float64), elevation.shape)
    slope = np.full(elevation.shape, np.nan, np.float32)
    aspect = np.full(elevation.shape, np.nan, np.float32)
    _horn(elevation, float(resolution), grown, slope, aspect)
    return slope, aspect


@njit(nogil=True, cache=True)
def _horn(
    z: NDArray[np.float32],
    resolution: float,
    convergence: NDArray[np.float64],
    slope: NDArray[np.float32],
    aspect: NDArray[np.float32],
) -> None:
    height, width = z.shape
    step = 8.0 * resolution
    degrees = 180.0 / math.pi
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            nw, n, ne = np.float64(z[y - 1, x - 1]), np.float64(z[y - 1, x]), z[y - 1, x + 1]
            w, e = np.float64(z[y, x - 1]), np.float64(z[y, x + 1])
            sw, s, se = np.float64(z[y + 1, x - 1]), np.float64(z[y + 1, x]), z[y + 1, x + 1]
            east = ((ne + 2.0 * e + se) - (nw + 2.0 * w + sw)) / step
            north = ((nw + 2.0 * n + ne) - (sw + 2.0 * s + se)) / step
            if math.isnan(east + north) or math.isnan(z[y, x]):
                continue
            slope[y, x] = math.atan(math.sqrt(east * east + north * north)) * degrees
            if east == 0.0 and north == 0.0:
                continue
            angle = np.float32((math.atan2(-east, -north) * degrees + convergence[y, x]) % 360.0)
            aspect[y, x] = 0.0 if angle >= 360.0 else angle


def meridian_convergence(transform: Affine, crs: CRS, window: Window) -> NDArray[np.float64]:
    """Return the angle from true to grid north at the pixels of a window, degrees, clockwise.

    A bearing on the grid plus this angle is the bearing from true north. It is computed at nodes of
    the whole grid and interpolated between them (error below 1e-5 degrees at 10 m), so that a
    pixel's angle does not depend on the window.

    Parameters
    ----------
    transform
        Pixel to CRS metres of the whole grid.
    crs
        Projected CRS.
    window
        May reach beyond the grid.
    """
    rows = np.arange(window.y // NODE, (window.y + window.height - 1) // NODE + 2)
    cols = np.arange(window.x // NODE, (window.x + window.width - 1) // NODE + 2)
    x, y = np.meshgrid(
        transform.c + transform.a * NODE * cols, transform.f + transform.e * NODE * rows
    )
    geodetic = crs.geodetic_crs
    lon, lat = Transformer.from_crs(crs, geodetic, always_xy=True).transform(x, y)
    nodes = np.asarray(Proj(crs).get_factors(lon, lat).meridian_convergence)
    angle = np.empty((window.height, window.width))
    _between_nodes(nodes, window.y - rows[0] * NODE, window.x - cols[0] * NODE, NODE, angle)
    return angle


@njit(nogil=True, cache=True)
def _between_nodes(
    nodes: NDArray[np.float64], top: int, left: int, step: int, out: NDArray[np.float64]
) -> None:
    for y in range(out.shape[0]):
        row, down = (top + y) // step, ((top + y) % step) / step
        for x in range(out.shape[1]):
            col, right = (left + x) // step, ((left + x) % step) / step
            upper = nodes[row, col] * (1.0 - right) + nodes[row, col + 1] * right
            lower = nodes[row + 1, col] * (1.0 - right) + nodes[row + 1, col + 1] * right
            out[y, x] = upper * (1.0 - down) + lower * down


def curvature(elevation: NDArray[np.float32], resolution: float) -> NDArray[np.float32]:
    """Return the curvature of the surface, per 100 m: positive on ridges, negative in hollows.

    It is minus the Laplacian of Zevenbergen and Thorne's surface, times 100; halo 1.

    Parameters
    ----------
    elevation
        (y, x) metres.
    resolution
        Edge of a pixel, metres.
    """
    z = elevation.astype(np.float64)
    bent = np.full(z.shape, np.nan, np.float32)
    middle = z[1:-1, 1:-1]
    along = z[1:-1, :-2] + z[1:-1, 2:] - 2 * middle
    across = z[:-2, 1:-1] + z[2:, 1:-1] - 2 * middle
    bent[1:-1, 1:-1] = -100.0 * (along + across) / resolution**2
    return bent


def roughness(elevation: NDArray[np.float32], radius: int) -> NDArray[np.float32]:
    """Return the spread of elevation about the plane that fits best nearby, metres.

    The standard deviation of the residuals in a square of ``2 * radius + 1`` pixels: a smooth slope
    has none, however steep. Halo ``radius``.

    Parameters
    ----------
    elevation
        (y, x) metres.
    radius
        At least 1, pixels.
    """
    rough = np.full(elevation.shape, np.nan, np.float32)
    _residuals(elevation, int(radius), rough)
    return rough


@njit(nogil=True, cache=True)
def _residuals(
    z: NDArray[np.float32],
    radius: int,
    rough: NDArray[np.float32],
) -> None:
    height, width = z.shape
    count = (2 * radius + 1) ** 2
    spread = 0.0  # sum of squared offsets along one axis
    for d in range(-radius, radius + 1):
        spread += (2 * radius + 1) * d * d
    for y in range(radius, height - radius):
        for x in range(radius, width - radius):
            middle = np.float64(z[y, x])
            total, squares, along, across = 0.0, 0.0, 0.0, 0.0
            for dy in range(-radius, radius + 1):
                for dx in range(-radius, radius + 1):
                    rise = z[y + dy, x + dx] - middle
                    total += rise
                    squares += rise * rise
                    along += rise * dx
                    across += rise * dy
            left = squares - total * total / count - (along * along + across * across) / spread
            if not math.isnan(left):
                rough[y, x] = math.sqrt(max(left, 0.0) / count)
