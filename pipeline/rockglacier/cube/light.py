"""Light on terrain at one position of the sun: pure functions over arrays, without seams."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rockglacier.cube.convergence import Convergence, turn_along, turn_of
from rockglacier.cube.flat import STRIP, flat
from rockglacier.cube.halo import ground_of, inside, rimmed
from rockglacier.cube.terrain import gradient
from rockglacier.errors import InputError
from rockglacier.grid import Window


def illumination(
    elevation: NDArray[np.float32],
    resolution: float,
    convergence: Convergence | NDArray[np.floating] | float,
    *,
    sun_azimuth: float,
    sun_elevation: float,
) -> NDArray[np.float32]:
    """Return the cosine of the sun's angle of incidence, 0 where a slope turns away from it.

    Halo 1, as `slope_aspect`, by whose slopes it is.

    Parameters
    ----------
    elevation
        (y, x) metres, rows from north to south.
    resolution
        Edge of a pixel, metres.
    convergence
        Meridian convergence, degrees: that of the window, (y, x), or a number.
    sun_azimuth
        Degrees clockwise from true north.
    sun_elevation
        Degrees above the horizon.
    """
    lit = rimmed(elevation)
    z, (step, _) = ground_of(elevation)
    turn = turn_of(convergence, elevation.shape)
    inner = inside(lit)
    target, (target_step, _) = flat(inner, is_output=True)
    azimuth, height = math.radians(sun_azimuth), math.radians(sun_elevation)
    _illumination(
        z,
        step,
        np.float32(1 / (8 * resolution)),
        *turn,
        np.float32(math.cos(height) * math.sin(azimuth)),
        np.float32(math.cos(height) * math.cos(azimuth)),
        np.float32(math.sin(height)),
        target,
        target_step,
        inner.shape,
    )
    return lit


@njit(nogil=True, cache=True, error_model="numpy")
def _illumination(
    z: NDArray[np.float32],
    step: int,
    over: np.float32,
    turn: NDArray[Any],
    turn_step: int,
    top: int,
    node: int,
    sun_east: np.float32,
    sun_north: np.float32,
    sun_up: np.float32,
    lit: NDArray[np.float32],
    lit_step: int,
    shape: tuple[int, int],
) -> None:
    height, width = shape
    east, north = np.empty(STRIP, np.float32), np.empty(STRIP, np.float32)
    turned = np.empty(STRIP, np.float32)
    for y in range(height):
        for x in range(0, width, STRIP):
            n = min(STRIP, width - x)
            gradient(z, y * step + x, step, over, east[:n], north[:n])
            turn_along(turn, turn_step, top, node, y, x, turned[:n])
            at = y * lit_step + x
            _incidence(
                east[:n],
                north[:n],
                turned[:n],
                sun_east,
                sun_north,
                sun_up,
                lit[at : at + n],
            )


SINE = tuple(
    np.float32(value)
    for value in (
        0.01745329238474369,
        -8.860956768330652e-07,
        1.3495557969755989e-11,
        -9.772473884101529e-17,
        3.914911694994269e-22,
    )
)
"""The sine of -90 to 90 degrees, over its argument, as a polynomial of the argument's square:
interpolated at Chebyshev's nodes. In single precision it errs by less than 0.0000002."""


@njit(nogil=True, cache=True)
def _sine(degrees: np.float32) -> np.float32:
    s = degrees * degrees
    return degrees * (SINE[0] + s * (SINE[1] + s * (SINE[2] + s * (SINE[3] + s * SINE[4]))))


@njit(nogil=True, cache=True, error_model="numpy")
def _incidence(
    east: NDArray[np.float32],
    north: NDArray[np.float32],
    turn: NDArray[np.float32],
    sun_east: np.float32,
    sun_north: np.float32,
    sun_up: np.float32,
    lit: NDArray[np.float32],
) -> None:
    zero, one, quarter, half = np.float32(0), np.float32(1), np.float32(90), np.float32(180)
    for x in range(lit.size):
        # the sun as the grid has it: turned back by the convergence
        size = abs(turn[x])
        sine = _sine(half - size if size > quarter else size)
        sine = -sine if turn[x] < zero else sine
        cosine = _sine(quarter - size)
        toward_east = sun_east * cosine - sun_north * sine
        toward_north = sun_north * cosine + sun_east * sine
        facing = sun_up - (east[x] * toward_east + north[x] * toward_north)
        facing /= np.sqrt(one + (east[x] * east[x] + north[x] * north[x]))
        # NaN is neither below 0 nor above 1
        facing = zero if facing < zero else facing
        lit[x] = one if facing > one else facing


def cast_shadow(
    elevation: NDArray[np.float32],
    resolution: float,
    *,
    bearing: float,
    sun_elevation: float,
    reach: int,
    inner: tuple[slice, slice] = (slice(None), slice(None)),
) -> NDArray[np.uint8]:
    """Return 1 where terrain within ``reach`` pixels toward the sun hides it, else 0.

    The ray to the sun is followed pixel by pixel; the terrain below it is interpolated linearly
    between the two neighbours across the ray. Holes in the DEM and what lies beyond the array hide
    nothing; `shadow_window` says how far the array must reach.

    Parameters
    ----------
    elevation
        (y, x) metres, rows from north to south.
    resolution
        Edge of a pixel, metres.
    bearing
        Direction of the sun on the grid, degrees clockwise from grid north: its azimuth minus the
        meridian convergence.
    sun_elevation
        Degrees above the horizon, more than 0.
    reach
        Longest shadow that is seen, pixels.
    inner
        Rows and columns to compute; default: all.

    Returns
    -------
    NDArray
        (y, x) of ``inner``.

    Raises
    ------
    InputError
        The sun is not above the horizon.

    Notes
    -----
    All pixels of a stretch of a row take the same step at once, so that a step is a plain loop.
    Steps are left out while the lowest pixel's ray is above the highest terrain around them.
    """
    if not 0 < sun_elevation <= 90:
        raise InputError(f"a sun at {sun_elevation} degrees", expected="more than 0, at most 90")
    east, north = math.sin(math.radians(bearing)), math.cos(math.radians(bearing))
    longer = max(abs(east), abs(north))
    step_x, step_y = east / longer, -north / longer
    rise = math.tan(math.radians(sun_elevation)) * resolution / longer
    steps = math.floor(reach * longer)
    rows, cols = (part.indices(size) for part, size in zip(inner, elevation.shape, strict=True))
    shadow = np.zeros((rows[1] - rows[0], cols[1] - cols[0]), np.uint8)
    z, (step, _) = ground_of(elevation)
    if z.size:
        tops = _tops(z, step, elevation.shape)
        _march(
            z, step, elevation.shape, tops, rows[0], cols[0], step_y, step_x, rise, steps, shadow
        )
    return shadow


LEAP = 16
"""Edge of the squares whose highest pixel is known, and steps that are left out at once."""

STRETCH = 64
"""Pixels that take their steps together."""


@njit(nogil=True, cache=True)
def _tops(z: NDArray[np.float32], step: int, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return the highest pixel of each square, the lowest number where there is none."""
    height, width = shape
    tops = np.full((-(-height // LEAP), -(-width // LEAP)), -np.inf, np.float32)
    highest = np.empty(width, np.float32)
    for row in range(tops.shape[0]):
        highest[:] = -np.inf
        for y in range(row * LEAP, min(row * LEAP + LEAP, height)):
            line = z[y * step : y * step + width]
            for x in range(width):
                highest[x] = line[x] if line[x] > highest[x] else highest[x]
        for x in range(width):
            tops[row, x // LEAP] = max(tops[row, x // LEAP], highest[x])
    return tops


@njit(nogil=True, cache=True)
def _march(
    z: NDArray[np.float32],
    step: int,
    shape: tuple[int, int],
    tops: NDArray[np.float32],
    top: int,
    left: int,
    step_y: float,
    step_x: float,
    rise: float,
    steps: int,
    shadow: NDArray[np.uint8],
) -> None:
    highest = tops.max()
    hit = np.empty(STRETCH, np.uint32)
    for y in range(shadow.shape[0]):
        for x in range(0, shadow.shape[1], STRETCH):
            n = min(STRETCH, shadow.shape[1] - x)
            at_y, at_x = top + y, left + x
            base = z[at_y * step + at_x : at_y * step + at_x + n]
            lowest = np.float32(np.inf)
            for i in range(n):
                lowest = base[i] if base[i] < lowest else lowest
            hit[:] = 0
            k = 1
            while k <= steps and lowest + k * rise < highest:
                last = min(k + LEAP - 1, steps)
                around = _highest_under(tops, shape, at_y, at_x, n, k, last, step_y, step_x)
                if around > lowest + k * rise:
                    for j in range(k, last + 1):
                        _one_step(z, step, shape, at_y, at_x, n, j, step_y, step_x, rise, hit)
                    if hit[:n].all():
                        break
                k = last + 1
            for i in range(n):
                shadow[y, x + i] = hit[i]


@njit(nogil=True, cache=True)
def _highest_under(
    tops: NDArray[np.float32],
    shape: tuple[int, int],
    y: int,
    x: int,
    n: int,
    first: int,
    last: int,
    step_y: float,
    step_x: float,
) -> float:
    """Return a height that nothing exceeds under the steps from ``first`` to ``last``."""
    y0, y1 = math.floor(first * step_y), math.floor(last * step_y)
    x0, x1 = math.floor(first * step_x), math.floor(last * step_x)
    low_y, high_y = max(y + min(y0, y1), 0), min(y + max(y0, y1) + 1, shape[0] - 1)
    low_x, high_x = max(x + min(x0, x1), 0), min(x + n + max(x0, x1), shape[1] - 1)
    around = -np.inf
    for row in range(low_y // LEAP, high_y // LEAP + 1):
        for col in range(low_x // LEAP, high_x // LEAP + 1):
            around = max(around, tops[row, col])
    return around


@njit(nogil=True, cache=True)
def _one_step(
    z: NDArray[np.float32],
    step: int,
    shape: tuple[int, int],
    y: int,
    x: int,
    n: int,
    k: int,
    step_y: float,
    step_x: float,
    rise: float,
    hit: NDArray[np.uint32],
) -> None:
    """Mark the pixels whose ray is below the terrain after ``k`` steps."""
    down, right = math.floor(k * step_y), math.floor(k * step_x)
    # along its main axis a step is exactly one pixel
    if abs(step_x) >= 1.0:
        share, next_y, next_x = k * step_y - down, 1, 0
    else:
        share, next_y, next_x = k * step_x - right, 0, 1
    row, col = y + down, x + right
    if row < 0 or row + next_y >= shape[0]:
        return
    start, stop = max(0, -col), min(n, shape[1] - next_x - col)
    if stop <= start:
        return
    # unsigned: a signed index might count from the end, which no vector loop can check
    one = np.uint64(row * step + col + start)
    two = np.uint64(row * step + col + start + next_y * step + next_x)
    own, mark = np.uint64(y * step + x + start), np.uint64(start)
    of_two, ray = np.float32(share), np.float32(k * rise)
    of_one = np.float32(1) - of_two
    for i in range(np.uint64(stop - start)):
        ground = z[one + i] * of_one + z[two + i] * of_two
        hit[mark + i] |= np.uint32(ground > z[own + i] + ray)


def shadow_window(window: Window, *, bearing: float, reach: int) -> Window:
    """Return a window grown toward the sun by as much as `cast_shadow` looks, and 1 all around."""
    east, north = math.sin(math.radians(bearing)), math.cos(math.radians(bearing))
    across, up = math.ceil(reach * abs(east)) + 1, math.ceil(reach * abs(north)) + 1
    return Window(
        y=window.y - (up if north > 0 else 1),
        x=window.x - (across if east < 0 else 1),
        height=window.height + up + 1,
        width=window.width + across + 1,
    )
