"""The meridian convergence: what turns a bearing on the grid into one from true north."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from affine import Affine
from numba import njit
from numpy.typing import NDArray
from pyproj import CRS, Proj, Transformer

from rockglacier.cube.flat import flat
from rockglacier.cube.halo import inside
from rockglacier.errors import ContractError
from rockglacier.grid import Window

NODE = 128
"""Pixels between the nodes at which the meridian convergence is computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Convergence:
    """The angle from true to grid north over a window, degrees, clockwise.

    A bearing on the grid plus this angle is the bearing from true north.
    """

    along: NDArray[np.float64]
    """(node row, x) angles, interpolated along the rows of the nodes."""
    top: int
    """Rows from the first row of nodes down to the window's first row."""
    step: int
    """Pixels between the rows of the nodes."""
    height: int
    """Rows of the window."""

    def array(self) -> NDArray[np.float32]:
        """Return the angle of every pixel, (y, x)."""
        angle = np.empty((self.height, self.along.shape[1]), np.float32)
        rows, step = _flat_rows(self.along)
        for y in range(self.height):
            turn_along(rows, step, self.top, self.step, y, 0, angle[y])
        return angle


def convergence_of(transform: Affine, crs: CRS, window: Window) -> Convergence:
    """Return the meridian convergence over a window.

    It is computed at nodes of the whole grid and interpolated between them (error below 1e-5
    degrees at 10 m), so that a pixel's angle does not depend on the window.

    Parameters
    ----------
    transform
        Pixel to CRS metres of the whole grid.
    crs
        Projected CRS.
    window
        May reach beyond the grid.

    Raises
    ------
    ContractError
        The CRS is not projected: slopes in metres per degree would mean nothing.
    """
    if not crs.is_projected:
        raise ContractError(
            f"terrain on the grid of {crs.name!r}", expected="a projected CRS in metres"
        )
    rows = np.arange(window.y // NODE, (window.y + window.height - 1) // NODE + 2)
    cols = np.arange(window.x // NODE, (window.x + window.width - 1) // NODE + 2)
    x, y = np.meshgrid(
        transform.c + transform.a * NODE * cols, transform.f + transform.e * NODE * rows
    )
    geodetic = crs.geodetic_crs
    lon, lat = Transformer.from_crs(crs, geodetic, always_xy=True).transform(x, y)
    nodes = np.asarray(Proj(crs).get_factors(lon, lat).meridian_convergence)
    col = np.arange(window.x, window.x + window.width)
    right = col % NODE / NODE
    col = col // NODE - cols[0]
    return Convergence(
        along=nodes[:, col] * (1.0 - right) + nodes[:, col + 1] * right,
        top=window.y - int(rows[0]) * NODE,
        step=NODE,
        height=window.height,
    )


def meridian_convergence(transform: Affine, crs: CRS, window: Window) -> NDArray[np.float32]:
    """Return the meridian convergence at the pixels of a window, (y, x); see `convergence_of`."""
    return convergence_of(transform, crs, window).array()


def turn_of(
    convergence: Convergence | NDArray[np.floating] | float, shape: tuple[int, ...]
) -> tuple[NDArray[Any], int, int, int]:
    """Return rows of the convergence inside the halo as `turn_along` takes them."""
    if isinstance(convergence, Convergence):
        if (convergence.height, convergence.along.shape[1]) != shape:
            raise ContractError(
                f"convergence of {convergence.height} x {convergence.along.shape[1]}",
                expected=f"of the elevation's window, {shape}",
            )
        rows = convergence.along[:, 1 : max(shape[1] - 1, 1)]
        return *_flat_rows(rows), convergence.top + 1, convergence.step
    values = np.asarray(convergence, np.float32)
    if values.ndim == 0:
        return np.full(max(shape[1], 1), values), 0, 0, max(shape[0], 1)
    if values.shape != shape:
        raise ContractError(f"convergence of {values.shape}", expected=f"a number, or {shape}")
    return *_flat_rows(inside(values)), 0, 1


def _flat_rows(rows: NDArray[Any]) -> tuple[NDArray[Any], int]:
    memory, steps = flat(rows)
    return memory, steps[0]


@njit(nogil=True, cache=True)
def turn_along(
    turn: NDArray[Any],
    turn_step: int,
    top: int,
    node: int,
    y: int,
    x: int,
    out: NDArray[np.float32],
) -> None:
    """Fill a strip with the convergence, between two of its rows if there is none for the pixels'.

    Rows of ``turn`` are ``node`` pixels apart; the first pixel lies ``top`` below the first row.
    """
    row, below = (top + y) // node, (top + y) % node
    at = row * turn_step + x
    upper = turn[at : at + out.size]
    if below == 0:
        for k in range(out.size):
            out[k] = upper[k]
        return
    share = below / node
    # a constant has one row, which is its own neighbour
    lower = turn[at + turn_step : at + turn_step + out.size]
    for k in range(out.size):
        out[k] = upper[k] * (1.0 - share) + lower[k] * share
