"""The terrain of a block and the light on it, computed with a halo, so that blocks fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rockglacier.cube.dem import DemMosaic
from rockglacier.cube.light import cast_shadow, illumination, shadow_window
from rockglacier.cube.sun import Sun
from rockglacier.cube.terrain import SLOPE_HALO, convergence_of, meridian_convergence, slope_aspect
from rockglacier.grid import Grid, Window
from rockglacier.scenes.record import Scene

SHADOW_REACH_M = 3000.0
"""Longest cast shadow that is seen; a 2500 m wall at a sun of 40 degrees throws one as long."""


def mean_sun(scenes: Sequence[Scene]) -> Sun | None:
    """Return the mean sun of scenes, its azimuth on the circle; None if no scene tells it.

    Whole degrees, so that one scene more or less seldom changes it.
    """
    known = [
        (math.radians(scene.sun_azimuth), scene.sun_elevation)
        for scene in scenes
        if scene.sun_azimuth is not None and scene.sun_elevation is not None
    ]
    if not known:
        return None
    east = sum(math.sin(azimuth) for azimuth, _ in known)
    north = sum(math.cos(azimuth) for azimuth, _ in known)
    return Sun(
        azimuth=round(math.degrees(math.atan2(east, north))) % 360,
        elevation=round(sum(elevation for _, elevation in known) / len(known)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """The ground of a study and its sun."""

    grid: Grid
    dem: DemMosaic
    sun: Sun | None

    def layers(self, window: Window) -> dict[str, NDArray[Any]]:
        """Return the terrain layers of a window, (y, x) each.

        Raises
        ------
        RemoteError
            A DEM tile cannot be read.
        """
        crs, transform, resolution = self.grid.crs, self.grid.transform, self.grid.resolution
        near, wide = window.grown(SLOPE_HALO), self.reached(window)
        ground = self.dem.read(self.grid, wide, halo=self.halo)
        turn = convergence_of(transform, crs, near)
        close = ground[near.within(wide)]
        slope, aspect = slope_aspect(close, resolution, turn)
        slope, aspect = slope[window.within(near)], aspect[window.within(near)]
        layers: dict[str, NDArray[Any]] = {
            "elevation": ground[window.within(wide)],
            "slope": slope,
            "aspect": aspect,
            "illumination": np.full(slope.shape, np.nan, np.float32),
            "cast_shadow": np.zeros(slope.shape, np.uint8),
        }
        if self.sun is not None:
            lit = illumination(
                close,
                resolution,
                turn,
                sun_azimuth=self.sun.azimuth,
                sun_elevation=self.sun.elevation,
            )
            layers["illumination"] = lit[window.within(near)]
            layers["cast_shadow"] = cast_shadow(
                ground,
                resolution,
                bearing=bearing(self.grid, self.sun),
                sun_elevation=self.sun.elevation,
                reach=reach(self.grid),
                inner=window.within(wide),
            )
        return layers

    def reached(self, window: Window) -> Window:
        """Return the window of elevation that the layers of a window depend on."""
        return reached(self.grid, window, self.sun)

    @property
    def halo(self) -> int:
        """Pixels around the grid that the terrain of its blocks may need."""
        return reach(self.grid) + 1


def reached(grid: Grid, window: Window, sun: Sun | None) -> Window:
    """Return the window of elevation that the terrain layers of a window depend on."""
    if sun is None:
        return window.grown(SLOPE_HALO)
    return shadow_window(window, bearing=bearing(grid, sun), reach=reach(grid))


def bearing(grid: Grid, sun: Sun) -> float:
    """Return the direction of the sun on a grid, at its centre, degrees."""
    height, width = grid.shape
    centre = Window(y=height // 2, x=width // 2, height=1, width=1)
    return sun.azimuth - float(meridian_convergence(grid.transform, grid.crs, centre)[0, 0])


def reach(grid: Grid) -> int:
    """Return the longest shadow that is seen, pixels."""
    return math.ceil(SHADOW_REACH_M / grid.resolution)
