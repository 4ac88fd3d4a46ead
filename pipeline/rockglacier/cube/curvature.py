"""How the ground bends: derivatives with a halo as those of `terrain`."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rockglacier.cube.flat import flat
from rockglacier.cube.halo import ground_of, inside, rimmed


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
    bent = rimmed(elevation)
    z, (step, _) = ground_of(elevation)
    inner = inside(bent)
    target, (target_step, _) = flat(inner, is_output=True)
    _laplacian(z, step, float(resolution) ** 2, target, target_step, inner.shape)
    return bent


@njit(nogil=True, cache=True)
def _laplacian(
    z: NDArray[np.float32],
    step: int,
    area: float,
    bent: NDArray[np.float32],
    bent_step: int,
    shape: tuple[int, int],
) -> None:
    height, width = shape
    for y in range(height):
        up, mid, down, line = _rows(z, y * step, step, bent, y * bent_step, width)
        for x in range(width):
            twice = 2.0 * np.float64(mid[x + 1])
            along = (np.float64(mid[x]) + np.float64(mid[x + 2])) - twice
            across = (np.float64(up[x + 1]) + np.float64(down[x + 1])) - twice
            line[x] = -100.0 * (along + across) / area


@njit(nogil=True, cache=True)
def _rows(
    z: NDArray[np.float32], at: int, step: int, out: NDArray[np.float32], out_at: int, width: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return three rows of ``z`` from a pixel on, and the row of ``out`` inside them."""
    n = width + 2
    return (
        z[at : at + n],
        z[at + step : at + step + n],
        z[at + 2 * step : at + 2 * step + n],
        out[out_at : out_at + width],
    )
