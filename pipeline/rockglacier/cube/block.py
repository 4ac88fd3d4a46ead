"""One block of the cube: its looks composited by strips, its terrain computed with a halo."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rockglacier.cube.composite import Composite, first_composite, median_composite
from rockglacier.cube.dem import DemMosaic
from rockglacier.cube.light import cast_shadow, illumination, shadow_window
from rockglacier.cube.load import Look, SceneReader, looks_of, scenes_in
from rockglacier.cube.store import write_window
from rockglacier.cube.terrain import SLOPE_HALO, meridian_convergence, slope_aspect
from rockglacier.engine import Task
from rockglacier.errors import RemoteError
from rockglacier.grid import Grid, Window
from rockglacier.scenes.record import Scene

logger = logging.getLogger(__name__)

STRIP = 512
"""Rows of a block whose stack of looks is in memory at once."""

SHADOW_REACH_M = 3000.0
"""Longest cast shadow that is seen; a 2500 m wall at a sun of 40 degrees throws one as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sun:
    """The mean sun of the scenes used."""

    azimuth: float
    """Degrees clockwise from true north."""
    elevation: float
    """Degrees above the horizon."""


def mean_sun(scenes: Sequence[Scene]) -> Sun | None:
    """Return the mean sun of scenes, its azimuth on the circle; None if no scene tells it.

    Whole degrees, so that one scene more or less seldom changes the blocks that do not see it.
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
class BlockWork:
    """Builds one block and writes it; picklable, so that it runs on any worker."""

    path: Path
    """The cube."""
    grid: Grid
    bands: tuple[str, ...]
    composite: Literal["median", "least-cloudy"]
    skip_unreadable: bool
    scenes: tuple[Scene, ...]
    """Of the whole study."""
    dem: DemMosaic
    sun: Sun | None

    def __call__(self, task: Task) -> dict[str, Any]:
        """Build the block of a task; return what its receipt says beside inputs and time."""
        y, x, height, width = task.inputs["window"]
        window = Window(y=y, x=x, height=height, width=width)
        terrain = self.terrain(window)
        looks, facts = self.reflectance(window)
        layers: dict[str, NDArray[Any]] = {
            "reflectance": looks.reflectance,
            "n_clear": looks.n_clear,
            "n_snow": looks.n_snow,
            "n_shadow": looks.n_shadow,
            **terrain,
        }
        write_window(self.path, window, layers)
        pixels = height * width
        seen = (looks.n_clear > 0) | (looks.n_shadow > 0)
        return {
            **facts,
            "pixels": pixels,
            "clear_share": _share((looks.n_clear > 0) & (looks.n_snow == 0)),
            "snow_share": _share(looks.n_snow > 0),
            "shadow_share": _share(looks.n_shadow > 0),
            "empty_share": _share(~seen),
            "no_elevation_share": _share(np.isnan(terrain["elevation"])),
        }

    def reflectance(self, window: Window) -> tuple[Composite, dict[str, Any]]:
        """Return the composite of a window, and what was read for it.

        Raises
        ------
        RemoteError
            A scene cannot be read, and such scenes are not to be skipped.
        """
        scenes = scenes_in(self.scenes, self.grid, window)
        skipped: dict[str, str] = {}
        retries = 0
        while True:
            used = [scene for scene in scenes if scene.id not in skipped]
            with SceneReader(self.grid, self.bands) as reader:
                try:
                    result = self._strips(reader, self._ordered(used), window)
                except RemoteError as error:
                    if not self.skip_unreadable or error.item in skipped:
                        raise
                    skipped[error.item] = str(error)
                    logger.warning("left out of one block: %s", error)
                    continue
                finally:
                    retries += reader.retries
            facts = {
                "items": [scene.id for scene in used],
                "skipped": [{"item": item, "why": why} for item, why in skipped.items()],
                "retries": retries,
            }
            return result, facts

    def _ordered(self, scenes: Sequence[Scene]) -> list[Look]:
        looks = looks_of(scenes, epsg=self.grid.epsg)
        if self.composite == "least-cloudy":
            looks.sort(key=lambda look: look.cloud)
        return looks

    def _strips(self, reader: SceneReader, looks: Sequence[Look], window: Window) -> Composite:
        """Composite a window by strips of rows, so that the stack of its looks is never whole."""
        compose = median_composite if self.composite == "median" else first_composite
        add = np.array([look.add for look in looks], np.int32)
        parts = []
        for y in range(window.y, window.y + window.height, STRIP):
            height = min(STRIP, window.y + window.height - y)
            strip = Window(y=y, x=window.x, height=height, width=window.width)
            parts.append(compose(*reader.read(looks, strip), add))
        return Composite(
            reflectance=np.concatenate([part.reflectance for part in parts], axis=1),
            n_clear=np.concatenate([part.n_clear for part in parts]),
            n_snow=np.concatenate([part.n_snow for part in parts]),
            n_shadow=np.concatenate([part.n_shadow for part in parts]),
        )

    def terrain(self, window: Window) -> dict[str, NDArray[Any]]:
        """Return the terrain layers of a window, computed with a halo, so that blocks fit."""
        crs, transform, resolution = self.grid.crs, self.grid.transform, self.grid.resolution
        near = window.grown(SLOPE_HALO)
        wide = near
        if self.sun is not None:
            wide = shadow_window(window, bearing=self._bearing(self.sun), reach=self.reach)
        ground = self.dem.read(self.grid, wide, halo=self.halo)
        turn = meridian_convergence(transform, crs, near)
        slope, aspect = slope_aspect(ground[near.within(wide)], resolution, turn)
        slope, aspect = slope[window.within(near)], aspect[window.within(near)]
        layers: dict[str, NDArray[Any]] = {
            "elevation": ground[window.within(wide)],
            "slope": slope,
            "aspect": aspect,
            "illumination": np.full(slope.shape, np.nan, np.float32),
            "cast_shadow": np.zeros(slope.shape, np.uint8),
        }
        if self.sun is not None:
            layers["illumination"] = illumination(
                slope, aspect, sun_azimuth=self.sun.azimuth, sun_elevation=self.sun.elevation
            )
            layers["cast_shadow"] = cast_shadow(
                ground,
                resolution,
                bearing=self._bearing(self.sun),
                sun_elevation=self.sun.elevation,
                reach=self.reach,
                inner=window.within(wide),
            )
        return layers

    def _bearing(self, sun: Sun) -> float:
        """Return the direction of the sun on the grid, at its centre, degrees."""
        height, width = self.grid.shape
        centre = Window(y=height // 2, x=width // 2, height=1, width=1)
        turn = meridian_convergence(self.grid.transform, self.grid.crs, centre)
        return sun.azimuth - float(turn[0, 0])

    @property
    def reach(self) -> int:
        """Longest shadow that is seen, pixels."""
        return math.ceil(SHADOW_REACH_M / self.grid.resolution)

    @property
    def halo(self) -> int:
        """Pixels around the grid that the terrain of its blocks may need."""
        return self.reach + 1


def _share(mask: NDArray[np.bool_]) -> float:
    return round(float(np.count_nonzero(mask)) / mask.size, 6)
