"""Which scenes make one look, and which of them lie near a window."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import shapely
from shapely.geometry.base import BaseGeometry

from rockglacier.grid import Grid, Window, projected
from rockglacier.scenes.cover import overpasses
from rockglacier.scenes.record import Scene

FOOTPRINT_MARGIN_M = 500.0
"""Footprints are simplified: a scene may hold data this far beyond its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One acquisition: the scenes (tiles) of one overpass with one radiometry."""

    scenes: tuple[Scene, ...]
    """Where tiles overlap, the first that holds data wins: those in the grid's CRS come first."""
    add: int
    """What turns valid stored numbers into those of baseline 04.00."""

    @property
    def datetime(self) -> datetime:
        """Time of the earliest scene."""
        return min(scene.datetime for scene in self.scenes)

    @property
    def cloud(self) -> float:
        """Mean cloud of its scenes, percent: over the basin, else over the tile, else 100."""
        return sum(_cloud(scene) for scene in self.scenes) / len(self.scenes)


def _cloud(scene: Scene) -> float:
    known = [value for value in (scene.basin_cloud, scene.cloud_cover) if value is not None]
    return known[0] if known else 100.0


def looks_of(scenes: Iterable[Scene], *, epsg: int) -> list[Look]:
    """Group scenes into looks, by time: the tiles of one overpass are one look, not several.

    Parameters
    ----------
    scenes
        In any order.
    epsg
        CRS of the grid.
    """
    scenes = list(scenes)
    groups: dict[int, list[Scene]] = {}
    for scene, number in zip(scenes, overpasses(scenes), strict=True):
        groups.setdefault(int(number), []).append(scene)
    looks = []
    for group in groups.values():
        group.sort(key=lambda scene: (scene.epsg != epsg, scene.id))
        for add in sorted({scene.offset_in_pixels for scene in group}):
            members = tuple(scene for scene in group if scene.offset_in_pixels == add)
            looks.append(Look(scenes=members, add=add))
    return sorted(looks, key=lambda look: (look.datetime, look.scenes[0].id))


class Footprints:
    """Where scenes hold data, on a grid; picklable.

    Parameters
    ----------
    scenes
        In any order.
    grid
        The study's grid.
    """

    def __init__(self, scenes: Sequence[Scene], grid: Grid) -> None:
        self.scenes, self.grid = tuple(scenes), grid
        outlines = [_outlines(scene, grid.epsg) for scene in self.scenes]
        self._owners = [number for number, some in enumerate(outlines) for _ in some]
        self._tree = shapely.STRtree([outline for some in outlines for outline in some])

    def near(self, window: Window) -> list[Scene]:
        """Return the scenes whose footprint comes near a window, in their order."""
        box = self.grid.window_geobox(window).boundingbox
        around = shapely.box(box.left, box.bottom, box.right, box.top).buffer(FOOTPRINT_MARGIN_M)
        found = self._tree.query(around, predicate="intersects")
        return [self.scenes[number] for number in sorted({self._owners[one] for one in found})]


def _outlines(scene: Scene, epsg: int) -> list[BaseGeometry]:
    """Return what an item says of where its pixels are: its footprint, and that of its raster."""
    outlines = [projected(scene.geometry, epsg=epsg)]
    if scene.epsg == epsg and scene.transform is not None and scene.shape is not None:
        a, _, c, _, e, f = scene.transform
        height, width = scene.shape
        outlines.append(shapely.box(c, f + e * height, c + a * width, f))
    return outlines
