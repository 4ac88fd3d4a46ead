"""Sunlight on the landscape: angle of incidence, shadows that mountains cast."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rockglacier.demo.noise import Field

SHADOW_MARGIN_M = 1.0
"""A pixel is in shadow when the line to the sun passes this far below a summit, metres."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sun:
    """Where the sun stands."""

    azimuth: float
    """Degrees clockwise from grid north."""
    elevation: float
    """Degrees above the horizon."""


def incidence_cosine(elevation: Field, sun: Sun, *, resolution: float) -> Field:
    """Return the cosine of the angle of incidence (y, x), 0 where the ground faces away.

    Parameters
    ----------
    elevation
        (y, x) metres, rows from north to south.
    sun
        Where the sun stands.
    resolution
        Edge of a pixel, metres.
    """
    down, across = np.gradient(elevation, resolution)
    azimuth, height = math.radians(sun.azimuth), math.radians(sun.elevation)
    east = math.sin(azimuth) * math.cos(height)
    north = math.cos(azimuth) * math.cos(height)
    cosine = (down * north - across * east + math.sin(height)) / np.sqrt(
        1 + down * down + across * across
    )
    return np.maximum(cosine, 0).astype(np.float32)


def cast_shadow(elevation: Field, sun: Sun, *, resolution: float) -> NDArray[np.bool_]:
    """Return where the direct sun is hidden by other ground (y, x).

    Parameters
    ----------
    elevation
        (y, x) metres, rows from north to south.
    sun
        Where the sun stands.
    resolution
        Edge of a pixel, metres.

    Notes
    -----
    One pass away from the sun carries the height of the shadow's upper edge from row to row (or
    column to column), falling with the tangent of the sun's elevation.
    """
    azimuth = math.radians(sun.azimuth)
    # away from the sun, in rows (south positive) and columns
    dy, dx = math.cos(azimuth), -math.sin(azimuth)
    along_rows = abs(dy) >= abs(dx)
    ground = elevation if along_rows else elevation.T
    main, side = (dy, dx) if along_rows else (dx, dy)
    flip = main < 0
    ground = np.ascontiguousarray(ground[::-1] if flip else ground, dtype=np.float32)
    shift = side / abs(main)
    fall = math.tan(math.radians(sun.elevation)) * resolution * math.hypot(1, shift)
    shadow = _sweep(ground, shift, fall)
    shadow = shadow[::-1] if flip else shadow
    return np.ascontiguousarray(shadow if along_rows else shadow.T)


@njit(cache=True, nogil=True)
def _sweep(ground: NDArray[np.float32], shift: float, fall: float) -> NDArray[np.bool_]:
    rows, columns = ground.shape
    shadow = np.zeros((rows, columns), np.bool_)
    edge = ground[0].astype(np.float64)
    for y in range(1, rows):
        before = edge.copy()
        for x in range(columns):
            position = min(max(x - shift, 0.0), columns - 1.0)
            left = min(int(position), columns - 2)
            share = position - left
            height = before[left] * (1 - share) + before[left + 1] * share - fall
            shadow[y, x] = height > ground[y, x] + SHADOW_MARGIN_M
            edge[x] = max(height, ground[y, x])
    return shadow
