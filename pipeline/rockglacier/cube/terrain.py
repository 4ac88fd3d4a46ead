"""Terrain derivatives of a DEM in metres on a grid in metres: pure functions over arrays.

Every function returns an array of its input's shape whose outer *halo* is NaN: hand in a window
grown by the halo and cut it off again, and blocks have no seams. NaN spreads to every pixel whose
neighbourhood holds one. A pixel is computed from its neighbourhood by the same operations in the
same order wherever it lies, so that it is the same bit for bit in whatever window it is computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from affine import Affine
from numba import njit
from numpy.typing import NDArray
from pyproj import CRS, Proj, Transformer

from rockglacier.cube.flat import STRIP, flat
from rockglacier.errors import ContractError
from rockglacier.grid import Window

SLOPE_HALO = 1
"""Pixels around a window that everything needs that has no radius."""

NODE = 128
"""Pixels between the nodes at which the meridian convergence is computed."""


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


def rimmed(elevation: NDArray[np.float32], halo: int = 1) -> NDArray[np.float32]:
    """Return a new array of the same shape, NaN in its halo."""
    result = np.empty(elevation.shape, np.float32)
    for edge in (slice(halo), slice(max(elevation.shape[0] - halo, 0), None)):
        result[edge] = np.nan
    for edge in (slice(halo), slice(max(elevation.shape[1] - halo, 0), None)):
        result[:, edge] = np.nan
    return result


def inside(array: NDArray[np.float32], halo: int = 1) -> NDArray[np.float32]:
    """Return a view of what lies inside the halo of an array."""
    height, width = (max(size - 2 * halo, 0) for size in array.shape)
    return array[halo : halo + height, halo : halo + width]


def ground_of(elevation: NDArray[np.float32]) -> tuple[NDArray[np.float32], tuple[int, ...]]:
    """Return elevation as `flat` does, (y, x) and float32 for sure."""
    if elevation.ndim != 2:
        raise ContractError(f"elevation of shape {elevation.shape}", expected="(y, x)")
    return flat(np.asarray(elevation, np.float32))


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


def position(elevation: NDArray[np.float32], radius: int) -> NDArray[np.float32]:
    """Return the topographic position index (TPI), metres: positive above its surroundings.

    Elevation minus the mean of the other pixels in a square of ``2 * radius + 1``. Halo ``radius``.

    Parameters
    ----------
    elevation
        (y, x) metres.
    radius
        At least 1, pixels.
    """
    result = rimmed(elevation, radius)
    z, (step, _) = ground_of(elevation)
    inner = inside(result, radius)
    target, (target_step, _) = flat(inner, is_output=True)
    _position(z, step, int(radius), target, target_step, inner.shape)
    return result


@njit(nogil=True, cache=True)
def _position(
    z: NDArray[np.float32],
    step: int,
    radius: int,
    out: NDArray[np.float32],
    out_step: int,
    shape: tuple[int, int],
) -> None:
    height, width = shape
    edge = 2 * radius + 1
    column, total = np.empty(width + 2 * radius), np.empty(width)
    for y in range(height):
        column[:] = 0.0
        for k in range(edge):
            line = z[(y + k) * step : (y + k) * step + width + 2 * radius]
            for x in range(line.size):
                column[x] += line[x]
        total[:] = 0.0
        for k in range(edge):
            part = column[k : k + width]
            for x in range(width):
                total[x] += part[x]
        at = (y + radius) * step + radius
        middle, result = z[at : at + width], out[y * out_step : y * out_step + width]
        for x in range(width):
            own = np.float64(middle[x])
            result[x] = own - (total[x] - own) / (edge * edge - 1)


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
