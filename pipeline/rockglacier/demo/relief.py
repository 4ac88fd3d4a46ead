"""Bare relief: mountains between trunk valleys, carved by running water, limited by their slope."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

from rockglacier.demo.noise import Field, coarse_spectral, enlarge, smooth, smoothstep, spectral

PIXEL_M = 10.0
"""Edge of a pixel of the landscape, metres."""
COARSE_M = 60.0
"""Edge of a cell of the erosion grid, metres."""
TRUNK_SPACING_M = 6500.0
"""Distance between the trunk valleys, metres."""
TRUNK_FLOOR_M = 3650.0
"""Elevation of the trunk rivers at the lower edge of the terrain, metres."""
TRUNK_GRADIENT = 0.018
"""Fall of the trunk rivers along their way south."""
UPLIFT_M = 22.0
"""Rise of the ground in one step of the erosion, metres."""
ERODIBILITY = 0.058
"""Stream-power factor of one step, drainage area in m² to the power 0.5, distance in metres."""
STEPS = 90
"""Steps of the erosion; enough for rivers to reach the divides."""
THRESHOLD_TAN = 0.78
"""Steepest slope of a hillside that stays up, as a tangent."""

FILL_M = 260.0
"""Deviation of the smoothing that shapes the filled valley floors, metres."""
FILL_DEPTH_M = 12.0
"""How far the fill stays below the smoothed ground, metres."""
FILL_SHARE = 0.8
"""How much of a hollow is filled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relief:
    """The ground before landforms."""

    elevation: Field
    """(y, x) metres."""
    drainage_km2: Field
    """(y, x) area that drains through the neighbourhood of a pixel, km²."""


def make_relief(shape: tuple[int, int], *, rng: np.random.Generator) -> Relief:
    """Carve mountains into a rectangle.

    Parameters
    ----------
    shape
        Rows and columns of 10 m pixels.
    rng
        Random stream.

    Notes
    -----
    Detachment-limited stream power with drainage exponent 0.5, solved implicitly from the lowest
    cell up, with hillsides limited to a threshold slope. The base level is a set of winding trunk
    rivers, so every part of the rectangle gets valleys of the same kind.

    References
    ----------
    Braun and Willett 2013, Geomorphology 180-181, 170-179 (the implicit scheme).
    """
    factor = max(1, round(COARSE_M / PIXEL_M))
    cell = factor * PIXEL_M
    coarse = (-(-shape[0] // factor) + 1, -(-shape[1] // factor) + 1)
    trunk = _trunks(coarse, cell, rng)
    start = _initial(coarse, cell, trunk, rng)
    variety = np.exp(
        0.5 * spectral(coarse, resolution=cell, longest=3000, shortest=150, rng=rng, slope=0.6)
    )
    eroded, drainage = _erode(start, trunk, variety.astype(np.float64), cell)
    elevation = ndimage.zoom(_filled(eroded, cell), factor, order=3, mode="nearest", grid_mode=True)
    elevation = elevation[: shape[0], : shape[1]].astype(np.float32)
    widest = ndimage.maximum_filter(drainage, 3)
    return Relief(
        elevation=_roughened(elevation, rng),
        drainage_km2=enlarge(widest / 1e6, factor, shape),
    )


def _trunks(shape: tuple[int, int], cell: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Cells of the trunk rivers, which wind from the upper to the lower edge."""
    rows, columns = shape
    count = max(1, round(columns * cell / TRUNK_SPACING_M))
    down = np.arange(rows) * cell
    trunk = np.zeros(shape, bool)
    for number in range(count):
        middle = (number + 0.5 + rng.uniform(-0.1, 0.1)) / count * columns
        winding = sum(
            rng.uniform(0.3, 1)
            * amplitude
            * np.sin(2 * np.pi * down / length + rng.uniform(0, 6.3))
            for amplitude, length in ((700, 9000), (250, 3700))
        )
        column = np.clip(np.rint(middle + winding / cell), 1, columns - 2).astype(int)
        for offset in (0, 1):
            trunk[np.arange(rows), column + offset] = True
    return trunk


def _initial(
    shape: tuple[int, int], cell: float, trunk: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.float64]:
    up_river = (shape[0] - 1 - np.arange(shape[0]))[:, None] * cell
    base = TRUNK_FLOOR_M + TRUNK_GRADIENT * up_river
    away = ndimage.distance_transform_edt(~trunk) * cell
    noise = spectral(shape, resolution=cell, longest=5000, shortest=130, rng=rng, slope=1.1)
    start = base + 0.03 * away + 170 * (noise - noise.min())
    return np.where(trunk, base, start).astype(np.float64)


@njit(cache=True, nogil=True)
def _erode(
    start: NDArray[np.float64],
    trunk: NDArray[np.bool_],
    erodibility: NDArray[np.float64],
    cell: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rows, columns = start.shape
    z = start.copy()
    receiver = np.zeros(rows * columns, np.int64)
    distance = np.zeros(rows * columns)
    area = np.zeros(rows * columns)
    flat = z.ravel()
    for _ in range(STEPS):
        for i in range(rows * columns):
            if not trunk.ravel()[i]:
                flat[i] += UPLIFT_M
        _route(z, receiver, distance, cell)
        order = np.argsort(flat)
        area[:] = cell * cell
        for k in range(rows * columns - 1, -1, -1):
            i = order[k]
            if receiver[i] != i:
                area[receiver[i]] += area[i]
        for k in range(rows * columns):
            i = order[k]
            j = receiver[i]
            if j == i or trunk.ravel()[i]:
                continue
            power = ERODIBILITY * erodibility.ravel()[i] * np.sqrt(area[i]) / distance[i]
            solved = (flat[i] + power * flat[j]) / (1 + power)
            flat[i] = min(solved, flat[j] + THRESHOLD_TAN * distance[i])
    return z, area.reshape((rows, columns))


@njit(cache=True, nogil=True)
def _route(
    z: NDArray[np.float64],
    receiver: NDArray[np.int64],
    distance: NDArray[np.float64],
    cell: float,
) -> None:
    rows, columns = z.shape
    for y in range(rows):
        for x in range(columns):
            i = y * columns + x
            receiver[i], distance[i], steepest = i, cell, 0.0
            for dy in range(-1, 2):
                for dx in range(-1, 2):
                    v, u = y + dy, x + dx
                    if (dy == 0 and dx == 0) or v < 0 or u < 0 or v >= rows or u >= columns:
                        continue
                    length = cell * np.sqrt(dy * dy + dx * dx)
                    slope = (z[y, x] - z[v, u]) / length
                    if slope > steepest:
                        receiver[i], distance[i], steepest = v * columns + u, length, slope


def _filled(elevation: NDArray[np.float64], cell: float) -> Field:
    """Widen the valley floors as glaciers and debris do."""
    filled = smooth(elevation, FILL_M, resolution=cell) - FILL_DEPTH_M
    lifted = np.maximum(filled - elevation, 0)
    return smooth(elevation + FILL_SHARE * lifted, 45, resolution=cell)


def _roughened(elevation: Field, rng: np.random.Generator) -> Field:
    """Soften the feet of slopes and add buttresses and gullies to the walls."""
    shape = elevation.shape
    wide = smooth(elevation, 160, resolution=PIXEL_M)
    steep = smoothstep(np.hypot(*slopes(wide, resolution=PIXEL_M)), 0.42, 0.75)
    softened = wide + (elevation - wide) * (0.25 + 0.75 * steep)
    ridged = 1 - np.abs(
        coarse_spectral(shape, resolution=PIXEL_M, longest=420, shortest=60, rng=rng, slope=0.9)
    )
    softened += 14 * steep * ridged
    softened += 7 * coarse_spectral(
        shape, resolution=PIXEL_M, longest=900, shortest=150, rng=rng, slope=0.8
    )
    return softened.astype(np.float32)


def slopes(elevation: Field, *, resolution: float) -> tuple[Field, Field]:
    """Return the slope (y, x) towards larger rows and towards larger columns, as tangents."""
    down: Field = np.gradient(elevation, resolution, axis=0).astype(np.float32)
    across: Field = np.gradient(elevation, resolution, axis=1).astype(np.float32)
    return down, across
