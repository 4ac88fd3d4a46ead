"""Light on terrain at one position of the sun: pure functions over arrays, without seams."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from rockglacier.grid import Window


def illumination(
    slope: NDArray[np.float32],
    aspect: NDArray[np.float32],
    *,
    sun_azimuth: float,
    sun_elevation: float,
) -> NDArray[np.float32]:
    """Return the cosine of the sun's angle of incidence, 0 where a slope turns away from it.

    Parameters
    ----------
    slope, aspect
        (y, x) degrees, as `slope_aspect` gives them; aspect NaN = flat.
    sun_azimuth
        Degrees clockwise from true north.
    sun_elevation
        Degrees above the horizon.
    """
    lit = np.full(slope.shape, np.nan, np.float32)
    _incidence(slope, aspect, math.radians(sun_azimuth), math.radians(sun_elevation), lit)
    return lit


@njit(nogil=True, cache=True)
def _incidence(
    slope: NDArray[np.float32],
    aspect: NDArray[np.float32],
    azimuth: float,
    height: float,
    lit: NDArray[np.float32],
) -> None:
    radians = math.pi / 180.0
    for y in range(slope.shape[0]):
        for x in range(slope.shape[1]):
            tilt = slope[y, x] * radians
            cosine = math.sin(height) * math.cos(tilt)
            if not math.isnan(aspect[y, x]):
                toward = math.cos(azimuth - aspect[y, x] * radians)
                cosine += math.cos(height) * math.sin(tilt) * toward
            if not math.isnan(cosine):
                lit[y, x] = min(max(cosine, 0.0), 1.0)


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
        Degrees above the horizon.
    reach
        Longest shadow that is seen, pixels.
    inner
        Rows and columns to compute; default: all.

    Returns
    -------
    NDArray
        (y, x) of ``inner``.
    """
    east, north = math.sin(math.radians(bearing)), math.cos(math.radians(bearing))
    longer = max(abs(east), abs(north))
    step_x, step_y = east / longer, -north / longer
    rise = math.tan(math.radians(sun_elevation)) * resolution / longer
    steps = math.floor(reach * longer)
    rows, cols = (part.indices(size) for part, size in zip(inner, elevation.shape, strict=True))
    shadow = np.zeros((rows[1] - rows[0], cols[1] - cols[0]), np.uint8)
    if np.isfinite(elevation).any():
        around = _highest_around(elevation)
        along_x = abs(step_x) >= 1.0
        _march(elevation, around, rows[0], cols[0], step_y, step_x, rise, steps, along_x, shadow)
    return shadow


LEAP = 16
"""Steps of a ray that are left out at once where it is above all terrain around."""


def _highest_around(elevation: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the highest elevation of each LEAP x LEAP pixels and of the eight beside them."""
    height, width = (-(-size // LEAP) * LEAP for size in elevation.shape)
    padded = np.full((height, width), -np.inf, np.float32)
    padded[: elevation.shape[0], : elevation.shape[1]] = elevation
    np.copyto(padded, -np.inf, where=np.isnan(padded))
    tiles = padded.reshape(height // LEAP, LEAP, width // LEAP, LEAP).max(axis=(1, 3))
    return maximum_filter(tiles, size=3, mode="constant", cval=-np.inf)


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


@njit(nogil=True, cache=True)
def _march(
    z: NDArray[np.float32],
    around: NDArray[np.float32],
    top: int,
    left: int,
    step_y: float,
    step_x: float,
    rise: float,
    steps: int,
    along_x: bool,
    shadow: NDArray[np.uint8],
) -> None:
    height, width = z.shape
    for y in range(top, top + shadow.shape[0]):
        for x in range(left, left + shadow.shape[1]):
            start = np.float64(z[y, x])
            if math.isnan(start):
                continue
            k = 0
            while k < steps:
                k += 1
                ray = start + k * rise
                # the step along the main axis is exactly one pixel
                if along_x:
                    at_x = x + k * int(step_x)
                    across = k * step_y
                    low = math.floor(across)
                    share = across - low
                    at_y = y + low
                    next_y, next_x = at_y + 1, at_x
                else:
                    at_y = y + k * int(step_y)
                    across = k * step_x
                    low = math.floor(across)
                    share = across - low
                    at_x = x + low
                    next_y, next_x = at_y, at_x + 1
                if at_y < 0 or at_x < 0 or next_y >= height or next_x >= width:
                    break
                if k % 4 == 1 and ray >= around[at_y // LEAP, at_x // LEAP]:
                    k += LEAP - 1  # no step before that leaves the pixels looked at
                    continue
                ground = z[at_y, at_x] * (1.0 - share) + z[next_y, next_x] * share
                if ground > ray:
                    shadow[y - top, x - left] = 1
                    break
