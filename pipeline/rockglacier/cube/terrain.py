"""Slope and aspect of a DEM in metres on a grid in metres: pure functions over arrays.

Every function returns an array of its input's shape whose outer *halo* is NaN: hand in a window
grown by the halo and cut it off again, and blocks have no seams. NaN spreads to every pixel whose
neighbourhood holds one. A pixel is computed from its neighbourhood by the same operations in the
same order wherever it lies, so that it is the same bit for bit in whatever window it is computed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rockglacier.cube.convergence import Convergence, turn_along, turn_of
from rockglacier.cube.flat import STRIP, flat
from rockglacier.cube.halo import ground_of, inside, rimmed
from rockglacier.errors import ContractError

SLOPE_HALO = 1
"""Pixels around a window that everything needs that has no radius."""


def slope_aspect(
    elevation: NDArray[np.float32],
    resolution: float,
    convergence: Convergence | NDArray[np.floating] | float,
    *,
    out: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return slope and aspect by Horn's 3 x 3 formula; halo 1.

    Parameters
    ----------
    elevation
        (y, x) metres, rows from north to south.
    resolution
        Edge of a pixel, metres.
    convergence
        Meridian convergence, degrees: that of the window, (y, x), or a number.
    out
        Where to write the pixels inside the halo, (y - 2, x - 2); default: new arrays.

    Returns
    -------
    slope
        (y, x) degrees, 0 to 90.
    aspect
        (y, x) degrees clockwise from *true* north in which the slope falls, 0 to below 360; NaN
        where it is flat.

    Raises
    ------
    ContractError
        Shapes that do not fit together.

    Notes
    -----
    In single precision, as differences of nearby elevations are exact in it: errors stay below
    0.00001 degrees of slope and 0.00005 of aspect. A plane that falls in one of the eight main
    directions gives exactly that direction.
    """
    slope, aspect = (rimmed(elevation), rimmed(elevation)) if out is None else out
    inner = (inside(slope), inside(aspect)) if out is None else out
    z, (step, _) = ground_of(elevation)
    turn = turn_of(convergence, elevation.shape)
    if any(layer.shape != inside(elevation).shape for layer in inner):
        raise ContractError(
            f"outputs of shape {inner[0].shape} and {inner[1].shape}",
            expected=f"{inside(elevation).shape}: elevation without its halo",
        )
    targets = [flat(layer, is_output=True) for layer in inner]
    _slope_aspect(
        z,
        step,
        np.float32(1 / (8 * resolution)),
        *turn,
        targets[0][0],
        targets[0][1][0],
        targets[1][0],
        targets[1][1][0],
        inner[0].shape,
    )
    return slope, aspect


@njit(nogil=True, cache=True)
def gradient(
    z: NDArray[np.float32],
    at: int,
    step: int,
    over: np.float32,
    east: NDArray[np.float32],
    north: NDArray[np.float32],
) -> None:
    """Fill a strip with how steeply the ground rises to the east and north, by Horn's formula.

    ``at`` is the pixel up and left of the strip's first; ``over`` is one eighth of a pixel's edge,
    inverted. Where the pixel or a neighbour is NaN, so are both.
    """
    n = east.size
    up, mid, down = (
        z[at : at + n + 2],
        z[at + step : at + step + n + 2],
        z[at + 2 * step : at + 2 * step + n + 2],
    )
    two = np.float32(2)
    for x in range(n):
        hole = mid[x + 1] - mid[x + 1]
        ne_sw, se_nw = up[x + 2] - down[x], down[x + 2] - up[x]
        across, along = mid[x + 2] - mid[x], up[x + 1] - down[x + 1]
        east[x] = (ne_sw + se_nw + two * across) * over + hole
        north[x] = (ne_sw - se_nw + two * along) * over + hole


ATAN = tuple(
    np.float32(value)
    for value in (
        57.295780181884766,
        -19.09842300415039,
        11.454499244689941,
        -8.13473892211914,
        6.083878040313721,
        -4.272463321685791,
        2.4143080711364746,
        -0.9013341665267944,
        0.15849636495113373,
    )
)
"""The arc tangent of 0 to 1 in degrees, over its argument, as a polynomial of the square of that:
interpolated at Chebyshev's nodes. In single precision it errs by 0.000008 degrees at most; 0 and 1
give exactly 0 and 45."""


@njit(nogil=True, cache=True)
def _atan(r: np.float32) -> np.float32:
    s = r * r
    tail = ATAN[5] + s * (ATAN[6] + s * (ATAN[7] + s * ATAN[8]))
    return r * (ATAN[0] + s * (ATAN[1] + s * (ATAN[2] + s * (ATAN[3] + s * (ATAN[4] + s * tail)))))


@njit(nogil=True, cache=True, error_model="numpy")
def _slope_aspect(
    z: NDArray[np.float32],
    step: int,
    over: np.float32,
    turn: NDArray[Any],
    turn_step: int,
    top: int,
    node: int,
    slope: NDArray[np.float32],
    slope_step: int,
    aspect: NDArray[np.float32],
    aspect_step: int,
    shape: tuple[int, int],
) -> None:
    height, width = shape
    east, north = np.empty(STRIP, np.float32), np.empty(STRIP, np.float32)
    turned = np.empty(STRIP, np.float32)
    for y in range(height):
        for x in range(0, width, STRIP):
            n = min(STRIP, width - x)
            gradient(z, y * step + x, step, over, east[:n], north[:n])
            at = y * slope_step + x
            _slope(east[:n], north[:n], slope[at : at + n])
            turn_along(turn, turn_step, top, node, y, x, turned[:n])
            at = y * aspect_step + x
            _aspect(east[:n], north[:n], turned[:n], aspect[at : at + n])


@njit(nogil=True, cache=True, error_model="numpy")
def _slope(
    east: NDArray[np.float32], north: NDArray[np.float32], slope: NDArray[np.float32]
) -> None:
    one, right_angle = np.float32(1), np.float32(90)
    for x in range(slope.size):
        rise = np.sqrt(east[x] * east[x] + north[x] * north[x])
        angle = _atan(one / rise if rise > one else rise)
        slope[x] = right_angle - angle if rise > one else angle


@njit(nogil=True, cache=True, error_model="numpy")
def _aspect(
    east: NDArray[np.float32],
    north: NDArray[np.float32],
    turn: NDArray[np.float32],
    aspect: NDArray[np.float32],
) -> None:
    zero, quarter, half, whole = np.float32(0), np.float32(90), np.float32(180), np.float32(360)
    for x in range(aspect.size):
        across, along = abs(east[x]), abs(north[x])
        is_across = across > along
        less = along if is_across else across
        more = across if is_across else along
        angle = _atan(less / more)  # flat ground: 0 / 0
        angle = quarter - angle if is_across else angle
        angle = half - angle if north[x] > zero else angle
        angle = whole - angle if east[x] > zero else angle
        angle += turn[x]
        angle = angle + whole if angle < zero else angle
        # the sum may round up to 360
        aspect[x] = angle - whole if angle >= whole else angle
