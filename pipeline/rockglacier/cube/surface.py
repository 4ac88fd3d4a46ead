"""The terrain of a block and the light on it, computed with a halo, so that blocks fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from numpy.typing import NDArray

from rockglacier.cube.convergence import convergence_of, meridian_convergence
from rockglacier.cube.dem import DemMosaic
from rockglacier.cube.light import cast_shadow, illumination, shadow_window
from rockglacier.cube.sun import Sun, sun_of
from rockglacier.cube.terrain import SLOPE_HALO, slope_aspect
from rockglacier.grid import Grid, Window
from rockglacier.scenes.asset import Again, nothing
from rockglacier.scenes.record import Scene

SHADOW_REACH_M = 3000.0
"""Longest cast shadow that is seen; a 2500 m wall at a sun of 40 degrees throws one as long."""


def mean_sun(scenes: Sequence[Scene]) -> Sun:
    """Return the mean sun of at least one scene, its azimuth on the circle.

    Whole degrees, so that one scene more or less seldom changes it.
    """
    suns = [sun_of(scene) for scene in scenes]
    east = sum(math.sin(math.radians(sun.azimuth)) for sun in suns)
    north = sum(math.cos(math.radians(sun.azimuth)) for sun in suns)
    return Sun(
        azimuth=round(math.degrees(math.atan2(east, north))) % 360,
        elevation=round(sum(sun.elevation for sun in suns) / len(suns)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """The ground of a study and its sun."""

    grid: Grid
    dem: DemMosaic
    sun: Sun

    def layers(self, window: Window, *, again: Again = nothing) -> dict[str, NDArray[Any]]:
        """Return the terrain layers of a window, (y, x) each.

        ``again`` is called before every further try of a read.

        Raises
        ------
        RemoteError
            A DEM tile cannot be read.
        """
        crs, transform, resolution = self.grid.crs, self.grid.transform, self.grid.resolution
        near, wide = window.grown(SLOPE_HALO), self.reached(window)
        ground = self.dem.read(self.grid, wide, halo=self.halo, again=again)
        turn = convergence_of(transform, crs, near)
        close = ground[near.within(wide)]
        slope, aspect = slope_aspect(close, resolution, turn)
        slope, aspect = slope[window.within(near)], aspect[window.within(near)]
        lit = illumination(
            close,
            resolution,
            turn,
            sun_azimuth=self.sun.azimuth,
            sun_elevation=self.sun.elevation,
        )
        return {
            "elevation": ground[window.within(wide)],
            "slope": slope,
            "aspect": aspect,
            "illumination": lit[window.within(near)],
            "cast_shadow": cast_shadow(
                ground,
                resolution,
                bearing=bearing(self.grid, self.sun),
                sun_elevation=self.sun.elevation,
                reach=reach(self.grid),
                inner=window.within(wide),
            ),
        }

    def reached(self, window: Window) -> Window:
        """Return the window of elevation that the layers of a window depend on."""
        return reached(self.grid, window, self.sun)

    @property
    def halo(self) -> int:
        """Pixels around the grid that the terrain of its blocks may need."""
        return reach(self.grid) + 1


def reached(grid: Grid, window: Window, sun: Sun) -> Window:
    """Return the window of elevation that the terrain layers of a window depend on."""
    return shadow_window(window, bearing=bearing(grid, sun), reach=reach(grid))


@cache
def bearing(grid: Grid, sun: Sun) -> float:
    """Return the direction of the sun on a grid, at its centre, degrees."""
    height, width = grid.shape
    centre = Window(y=height // 2, x=width // 2, height=1, width=1)
    return sun.azimuth - float(meridian_convergence(grid.transform, grid.crs, centre)[0, 0])


def reach(grid: Grid) -> int:
    """Return the longest shadow that is seen, pixels."""
    return math.ceil(SHADOW_REACH_M / grid.resolution)
