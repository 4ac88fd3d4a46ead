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


def curvatures(
    elevation: NDArray[np.float32], resolution: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the profile and the plan curvature, per 100 m: positive where the ground is convex.

    Halo 1. Their sum is `curvature`.

    Parameters
    ----------
    elevation
        (y, x) metres, rows from north to south.
    resolution
        Edge of a pixel, metres.

    Returns
    -------
    profile
        (y, x) along the fall line: positive where a slope steepens downhill, as at the brink of a
        rock glacier's front.
    plan
        (y, x) across the fall line: positive on spurs, negative in gullies. Level ground has no
        fall line: both are half of `curvature` there, the mean over all directions.

    References
    ----------
    L. W. Zevenbergen and C. R. Thorne, Earth Surface Processes and Landforms 12 (1987), 47-56,
    with the signs turned so that convex is positive in both.
    """
    profile, plan = rimmed(elevation), rimmed(elevation)
    z, (step, _) = ground_of(elevation)
    inner = inside(profile), inside(plan)
    (along, along_step), (across, across_step) = (flat(layer, is_output=True) for layer in inner)
    _bend(z, step, float(resolution), along, along_step[0], across, across_step[0], inner[0].shape)
    return profile, plan


@njit(nogil=True, cache=True, error_model="numpy")
def _bend(
    z: NDArray[np.float32],
    step: int,
    resolution: float,
    profile: NDArray[np.float32],
    profile_step: int,
    plan: NDArray[np.float32],
    plan_step: int,
    shape: tuple[int, int],
) -> None:
    height, width = shape
    area = resolution * resolution
    for y in range(height):
        up, mid, down, along = _rows(z, y * step, step, profile, y * profile_step, width)
        across = plan[y * plan_step : y * plan_step + width]
        for x in range(width):
            middle = np.float64(mid[x + 1])
            n, s = np.float64(up[x + 1]) - middle, np.float64(down[x + 1]) - middle
            w, e = np.float64(mid[x]) - middle, np.float64(mid[x + 2]) - middle
            twist = np.float64(up[x + 2]) + np.float64(down[x])
            twist -= np.float64(up[x]) + np.float64(down[x + 2])
            bent_x, bent_y, bent_xy = (e + w) / area, (n + s) / area, twist / (4.0 * area)
            rise_x, rise_y = (e - w) / (2.0 * resolution), (n - s) / (2.0 * resolution)
            steep = rise_x * rise_x + rise_y * rise_y
            total = bent_x + bent_y
            down_slope = bent_x * rise_x * rise_x + bent_y * rise_y * rise_y
            down_slope = (down_slope + 2.0 * bent_xy * rise_x * rise_y) / steep
            down_slope = 0.5 * total if steep == 0.0 else down_slope
            # the corners take part, so that a hole among them is seen on level ground too
            down_slope += bent_xy - bent_xy
            along[x] = -100.0 * down_slope
            across[x] = -100.0 * (total - down_slope)
