"""How rough the ground is against its surroundings, with a halo of their radius."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rockglacier.cube.flat import STRIP, flat
from rockglacier.cube.halo import ground_of, inside, rimmed


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
    rough = rimmed(elevation, radius)
    z, (step, _) = ground_of(elevation)
    inner = inside(rough, radius)
    target, (target_step, _) = flat(inner, is_output=True)
    _residuals(z, step, int(radius), target, target_step, inner.shape)
    return rough


@njit(nogil=True, cache=True)
def _residuals(
    z: NDArray[np.float32],
    step: int,
    radius: int,
    out: NDArray[np.float32],
    out_step: int,
    shape: tuple[int, int],
) -> None:
    height, width = shape
    edge = 2 * radius + 1
    spread = 0.0  # sum of squared offsets along one axis
    for d in range(-radius, radius + 1):
        spread += edge * d * d
    sums = np.empty((4, STRIP))
    for y in range(height):
        for x in range(0, width, STRIP):
            n = min(STRIP, width - x)
            at = (y + radius) * step + x + radius
            middle = z[at : at + n]
            sums[:] = 0.0
            total, squares, along, across = sums[0, :n], sums[1, :n], sums[2, :n], sums[3, :n]
            for dy in range(-radius, radius + 1):
                for dx in range(-radius, radius + 1):
                    near = z[at + dy * step + dx : at + dy * step + dx + n]
                    _add_rise(near, middle, dy, dx, total, squares, along, across)
            result = out[y * out_step + x : y * out_step + x + n]
            for k in range(n):
                plane = (along[k] * along[k] + across[k] * across[k]) / spread
                left = squares[k] - total[k] * total[k] / (edge * edge) - plane
                # NaN is not below 0
                result[k] = np.sqrt((0.0 if left < 0.0 else left) / (edge * edge))


@njit(nogil=True, cache=True)
def _add_rise(
    near: NDArray[np.float32],
    middle: NDArray[np.float32],
    dy: int,
    dx: int,
    total: NDArray[np.float64],
    squares: NDArray[np.float64],
    along: NDArray[np.float64],
    across: NDArray[np.float64],
) -> None:
    east, south = np.float64(dx), np.float64(dy)
    for x in range(near.size):
        rise = np.float64(near[x]) - np.float64(middle[x])
        total[x] += rise
        squares[x] += rise * rise
        along[x] += rise * east
        across[x] += rise * south
