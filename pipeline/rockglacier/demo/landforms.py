"""Bodies that lie on the ground: a centre line down the slope, a width along it, a surface."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

from rockglacier.demo.noise import Field, smoothstep
from rockglacier.grid import Window

STEP_PIXELS = 1.0
"""Distance between the vertices of a centre line, pixels."""
INERTIA = 0.9
"""How much of its direction a centre line keeps from one vertex to the next."""
FLATTEST_TAN = 0.07
"""A descent ends where the ground is flatter than this (4 degrees)."""


class Cover(IntEnum):
    """What the ground is made of."""

    BEDROCK = 1
    TALUS = 2
    MORAINE = 3
    DEBRIS_COVERED_GLACIER = 4
    SNOW = 5
    VEGETATION = 6
    WATER = 7
    ROCK_GLACIER = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """One landform in its window of the terrain."""

    window: Window
    inside: NDArray[np.bool_]
    """(y, x) its pixels."""
    along_m: Field
    """(y, x) distance from its root along the centre line, metres."""
    across_m: Field
    """(y, x) distance from the centre line, metres, left positive."""
    edge_m: Field
    """(y, x) distance to its outline, metres, 0 outside."""
    length_m: float
    width_m: float


@njit(cache=True, nogil=True)
def descend(
    down: NDArray[np.float32],
    across: NDArray[np.float32],
    y: float,
    x: float,
    turn: float,
    steps: int,
) -> NDArray[np.float64]:
    """Follow the steepest descent from a point.

    Parameters
    ----------
    down, across
        (y, x) slope of the ground towards larger rows and columns, as tangents.
    y, x
        Start, pixels.
    turn
        Angle to the steepest descent, radians: 0 goes straight down, pi / 2 along the contour.
    steps
        Most vertices wanted.

    Returns
    -------
    ndarray
        (vertex, 2) rows and columns; fewer vertices where the ground ends or flattens.
    """
    path = np.empty((steps, 2))
    towards_y, towards_x = 0.0, 0.0
    for step in range(steps):
        row, column = int(y), int(x)
        if row < 1 or column < 1 or row >= down.shape[0] - 1 or column >= down.shape[1] - 1:
            return path[:step]
        slope_y, slope_x = -down[row, column], -across[row, column]
        steepness = np.hypot(slope_y, slope_x)
        if steepness < FLATTEST_TAN:
            return path[:step]
        new_y = (np.cos(turn) * slope_y - np.sin(turn) * slope_x) / steepness
        new_x = (np.sin(turn) * slope_y + np.cos(turn) * slope_x) / steepness
        keep = INERTIA if step else 0.0
        towards_y = keep * towards_y + (1 - keep) * new_y
        towards_x = keep * towards_x + (1 - keep) * new_x
        length = np.hypot(towards_y, towards_x)
        towards_y, towards_x = towards_y / length, towards_x / length
        path[step, 0], path[step, 1] = y, x
        y += STEP_PIXELS * towards_y
        x += STEP_PIXELS * towards_x
    return path


def lay_body(
    path: NDArray[np.float64],
    half_width_m: NDArray[np.float64],
    *,
    shape: tuple[int, int],
    resolution: float,
    ragged: Field,
) -> Body | None:
    """Lay a body of given half widths along a centre line.

    Parameters
    ----------
    path
        (vertex, 2) rows and columns.
    half_width_m
        (vertex,) half of the width, metres, 0 at both ends.
    shape
        Rows and columns of the terrain.
    resolution
        Edge of a pixel, metres.
    ragged
        (y, x) factor of the half width over the whole terrain, around 1: natural outlines.

    Returns
    -------
    Body or None
        None where it would reach beyond the terrain.
    """
    path = ndimage.gaussian_filter1d(path, 5, axis=0, mode="nearest")
    margin = int(1.4 * half_width_m.max() / resolution) + 4
    low = np.floor(path.min(axis=0)).astype(int) - margin
    high = np.ceil(path.max(axis=0)).astype(int) + margin + 1
    if low.min() < 0 or high[0] > shape[0] or high[1] > shape[1]:
        return None
    window = Window(y=low[0], x=low[1], height=high[0] - low[0], width=high[1] - low[1])
    nearest, along, across = _line_coordinates(path - low, (window.height, window.width))
    local = half_width_m[nearest] * ragged[window.slices]
    reach = (along >= 0) & (along <= len(path) - 1)
    inside = _largest(reach & (np.abs(across) * resolution < local))
    return Body(
        window=window,
        inside=inside,
        along_m=(along * resolution).astype(np.float32),
        across_m=(across * resolution).astype(np.float32),
        edge_m=(ndimage.distance_transform_edt(inside) * resolution).astype(np.float32),
        length_m=(len(path) - 1) * STEP_PIXELS * resolution,
        width_m=float(2 * half_width_m.max()),
    )


def _line_coordinates(
    path: NDArray[np.float64], shape: tuple[int, int]
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """Index of the nearest vertex, distance along and across the line (pixels) of every pixel."""
    vertex = np.full(shape, -1)
    cells = np.rint(path).astype(int)
    vertex[cells[:, 0], cells[:, 1]] = np.arange(len(path))
    at = ndimage.distance_transform_edt(vertex < 0, return_distances=False, return_indices=True)
    nearest = vertex[at[0], at[1]]
    tangent = np.gradient(path, axis=0)
    tangent /= np.hypot(tangent[:, 0], tangent[:, 1])[:, None]
    rows, columns = np.indices(shape)
    dy, dx = rows - path[nearest, 0], columns - path[nearest, 1]
    ty, tx = tangent[nearest, 0], tangent[nearest, 1]
    return nearest, nearest * STEP_PIXELS + dy * ty + dx * tx, dy * tx - dx * ty


def _largest(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    labels, count = ndimage.label(inside)
    if count > 1:
        sizes = np.bincount(labels.ravel())
        inside = labels == 1 + int(np.argmax(sizes[1:]))
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(inside)
    return filled


def tongue_half_width(
    vertices: int, width_m: float, *, bulge: float, resolution: float
) -> NDArray[np.float64]:
    """Half width (vertex,) of a tongue or lobe: a narrower root, a rounded front.

    ``bulge`` widens the snout, as a share of the width.
    """
    at = np.linspace(0, 1, vertices)
    length_m = (vertices - 1) * STEP_PIXELS * resolution
    body = 0.65 + 0.35 * smoothstep(at, 0, 0.45) + bulge * smoothstep(at, 0.45, 0.85)
    front = np.sqrt(
        np.clip(1 - np.clip(1 - (1 - at) * length_m / (0.55 * width_m), 0, 1) ** 2, 0, 1)
    )
    root = np.sqrt(np.clip(1 - np.clip(1 - at * length_m / (0.35 * width_m), 0, 1) ** 2, 0, 1))
    return width_m / 2 * body / (1 + bulge) * front * root


def _rounded(from_end: NDArray[np.float64]) -> NDArray[np.float64]:
    """Width of an elliptic end: 0 at the end, 1 from a distance of 1 on."""
    rounded: NDArray[np.float64] = np.sqrt(1 - (1 - np.clip(from_end, 0, 1)) ** 2)
    return rounded


def fan_half_width(vertices: int, width_m: float) -> NDArray[np.float64]:
    """Half width (vertex,) of a talus cone: an apex, a broad rounded foot."""
    at = np.linspace(0, 1, vertices)
    foot = _rounded((1 - at) / 0.2)
    return width_m / 2 * (0.12 + 0.88 * at) * foot


def ridge_half_width(vertices: int, width_m: float) -> NDArray[np.float64]:
    """Half width (vertex,) of a moraine: a long wall that thins out at both ends."""
    at = np.linspace(0, 1, vertices)
    return width_m / 2 * np.clip(np.sin(np.pi * at), 0, 1) ** 0.3


def rock_glacier_surface(
    body: Body, *, front_m: float, ridge_m: float, wavelength_m: float, wander: Field
) -> Field:
    """Height (y, x, metres) that a rock glacier adds to the ground.

    Parameters
    ----------
    body
        Where it lies.
    front_m
        Height of the front; the sides are lower towards the root.
    ridge_m
        Height from furrow to ridge.
    wavelength_m
        Distance from ridge to ridge.
    wander
        (y, x) phase in radians over the window, which makes ridges irregular.
    """
    share = np.clip(body.along_m / body.length_m, 0, 1)
    raised = front_m * (0.35 + 0.65 * share) * smoothstep(body.edge_m, 0, 38)
    # ridges are arcs that point downslope: near the sides the same arc lies further up
    arc_m = body.along_m + 0.8 / body.width_m * body.across_m**2
    waves = np.sin(2 * np.pi * arc_m / wavelength_m + wander)
    fade = smoothstep(body.edge_m, 8, 35) * smoothstep(share, 0.0, 0.1)
    return (raised + ridge_m / 2 * waves * fade).astype(np.float32)


def glacier_surface(body: Body, *, height_m: float) -> Field:
    """Height (y, x, metres) of a debris-covered glacier: a low back between lateral moraines."""
    raised = height_m * smoothstep(body.edge_m, 0, 45)
    lateral = 0.9 * height_m * np.exp(-(((body.edge_m - 32) / 16) ** 2)) * body.inside
    return (raised + lateral).astype(np.float32)


def cone_surface(
    body: Body, *, height_m: float, stripe_m: float, wavelength_m: float, wander: Field
) -> Field:
    """Height (y, x, metres) of a talus cone: convex across, with channels down the slope."""
    share = np.clip(body.along_m / body.length_m, 0.15, 1)
    raised = height_m * smoothstep(body.edge_m, 0, 0.35 * body.width_m)
    stripes = np.sin(2 * np.pi * body.across_m / (wavelength_m * (0.4 + 0.6 * share)) + wander)
    return (raised + stripe_m / 2 * stripes * smoothstep(body.edge_m, 5, 30)).astype(np.float32)


def moraine_surface(body: Body, *, height_m: float) -> Field:
    """Height (y, x, metres) of a moraine wall."""
    return (height_m * smoothstep(body.edge_m, 0, 0.45 * body.width_m)).astype(np.float32)
