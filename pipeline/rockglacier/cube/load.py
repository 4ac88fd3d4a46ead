"""Scenes as stacks of looks on the study's grid: the `window` engine of the cube.

A scene of the grid's CRS whose pixels fall on the grid is pasted by a whole number of pixels, 20 m
and 60 m bands repeated 2 x 2 and 6 x 6: exact, no warp. Any other scene is warped once (bilinear
with nodata respected, the scene classification by nearest neighbour).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.enums import Resampling
from shapely.geometry.base import BaseGeometry

from rockglacier.cube.raster import Placed, place, read_window, warp
from rockglacier.errors import RemoteError
from rockglacier.grid import Grid, Window, projected
from rockglacier.scenes.asset import open_raster, retried
from rockglacier.scenes.record import Scene

SCL = "SCL"
"""Key of the scene classification among a scene's assets."""

READS_IN_FLIGHT = 16
"""Assets that one block reads at once, however many cores there are: latency, not work."""

FOOTPRINT_MARGIN_M = 500.0
"""Footprints are simplified: a scene may hold data this far beyond its own."""

OVERPASS_S = 600.0
"""Scenes of one platform closer in time than this belong to one overpass."""


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
    overpasses: list[list[Scene]] = []
    for scene in sorted(scenes, key=lambda scene: (scene.platform, scene.datetime, scene.id)):
        if overpasses and _same_overpass(overpasses[-1][0], scene):
            overpasses[-1].append(scene)
        else:
            overpasses.append([scene])
    looks = []
    for overpass in overpasses:
        overpass.sort(key=lambda scene: (scene.epsg != epsg, scene.id))
        for add in sorted({scene.offset_in_pixels for scene in overpass}):
            members = tuple(scene for scene in overpass if scene.offset_in_pixels == add)
            looks.append(Look(scenes=members, add=add))
    return sorted(looks, key=lambda look: (look.datetime, look.scenes[0].id))


def _same_overpass(first: Scene, scene: Scene) -> bool:
    if first.platform != scene.platform:
        return False
    if first.datatake and scene.datatake:
        return first.datatake == scene.datatake
    return (scene.datetime - first.datetime).total_seconds() < OVERPASS_S


def scenes_in(scenes: Iterable[Scene], grid: Grid, window: Window) -> list[Scene]:
    """Return the scenes whose footprint comes near a window, in their order."""
    box = grid.window_geobox(window).boundingbox
    near = shapely.box(box.left, box.bottom, box.right, box.top).buffer(FOOTPRINT_MARGIN_M)
    return [
        scene
        for scene in scenes
        if any(outline.intersects(near) for outline in _outlines(scene, grid.epsg))
    ]


def _outlines(scene: Scene, epsg: int) -> list[BaseGeometry]:
    """Return what an item says of where its pixels are: its footprint, and that of its raster."""
    outlines = [projected(scene.geometry, epsg=epsg)]
    if scene.epsg == epsg and scene.transform is not None and scene.shape is not None:
        a, _, c, _, e, f = scene.transform
        height, width = scene.shape
        outlines.append(shapely.box(c, f + e * height, c + a * width, f))
    return outlines


def asset_href(scene: Scene, asset: str) -> str:
    """Return where a scene's asset lies.

    Raises
    ------
    RemoteError
        The item has no such asset.
    """
    href = scene.assets.get(asset)
    if href:
        return href
    raise RemoteError(
        f"item {scene.id!r} of {scene.collection!r} has no asset for {asset!r}; "
        f"it has {', '.join(sorted(scene.assets)) or 'none'}",
        expected="an item with every configured band and SCL",
        todo="choose another collection, take the band out of cube.bands, or set "
        "cube.on_unreadable: skip to leave such scenes out and count them",
        item=scene.id,
        asset=asset,
    )


class SceneReader:
    """Reads windows of scenes on a grid and keeps the files open in between.

    A context manager for one thread; threads of its own read many assets at once.

    Parameters
    ----------
    grid
        The study's grid.
    bands
        Names of the bands, as keys of a scene's assets.
    """

    def __init__(self, grid: Grid, bands: Sequence[str]) -> None:
        self.grid, self.bands = grid, tuple(bands)
        self.retries = 0
        """Reads that were tried again so far."""
        self._open: dict[tuple[str, str], tuple[Placed, ExitStack]] = {}
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(READS_IN_FLIGHT, thread_name_prefix="read")

    def __enter__(self) -> SceneReader:
        """Return the reader."""
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for the threads and close the files."""
        self._pool.shutdown(cancel_futures=True)
        for held in self._open.values():
            held[1].close()
        self._open.clear()

    def read(
        self, looks: Sequence[Look], window: Window
    ) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
        """Return the stored numbers and the scene classification of a window.

        Parameters
        ----------
        looks
            What to read.
        window
            On the grid; may reach beyond it and beyond the scenes.

        Returns
        -------
        dn
            (look, band, y, x) stored digital numbers, 0 = nodata.
        scl
            (look, y, x) classes, 0 = nodata.

        Raises
        ------
        RemoteError
            An asset is missing in its item, or cannot be read.
        """
        shape = (window.height, window.width)
        dn = np.zeros((len(looks), len(self.bands), *shape), np.uint16)
        scl = np.zeros((len(looks), *shape), np.uint8)
        names = (*self.bands, SCL)
        waiting = [
            (index, [self._pool.submit(self.read_asset, scene, name, window) for name in names])
            for index, look in enumerate(looks)
            for scene in look.scenes
        ]
        for index, futures in waiting:
            *bands, classes = [future.result() for future in futures]
            paste(dn[index], scl[index], bands, classes)
            futures.clear()  # what was pasted need not be kept
        return dn, scl

    def read_asset(self, scene: Scene, asset: str, window: Window) -> NDArray[Any]:
        """Return one asset in a window, (y, x), uint16 or, for SCL, uint8; 0 = nodata."""
        href = asset_href(scene, asset)
        key = (scene.id, asset)

        def work() -> NDArray[Any]:
            if key not in self._open:
                self._open[key] = self._place(href, asset)
            return read_window(self._open[key][0], window)

        def again() -> None:
            with self._lock:
                self.retries += 1
            held = self._open.pop(key, None)
            if held is not None:
                held[1].close()

        return as_stored(retried(work, item=scene.id, asset=asset, href=href, again=again), asset)

    def _place(self, href: str, asset: str) -> tuple[Placed, ExitStack]:
        with ExitStack() as stack:
            placed = open_placed(href, asset, self.grid, stack)
            return placed, stack.pop_all()


def open_placed(href: str, asset: str, grid: Grid, stack: ExitStack) -> Placed:
    """Open an asset on the grid, warped if it must be; ``stack`` closes it."""
    raster = open_raster(href, stack)
    placed = place(raster, grid)
    if placed is None:
        kernel = Resampling.nearest if asset == SCL else Resampling.bilinear
        placed = warp(raster, grid.geobox, resampling=kernel, nodata=0)
        stack.enter_context(placed.raster)
    return placed


def as_stored(values: NDArray[Any], asset: str) -> NDArray[Any]:
    """Return values as uint16, or as uint8 for the scene classification, whatever the file uses."""
    if asset == SCL:
        return values if values.dtype == np.uint8 else values.clip(0, 255).astype(np.uint8)
    return values if values.dtype == np.uint16 else values.clip(0, 65535).astype(np.uint16)


def paste(
    dn: NDArray[np.uint16],
    scl: NDArray[np.uint8],
    bands: Sequence[NDArray[np.uint16]],
    classes: NDArray[np.uint8],
) -> None:
    """Add one more scene to a look, in place: it fills pixels that are not yet complete.

    A pixel is complete where the class and all bands are not 0.

    Parameters
    ----------
    dn, scl
        (band, y, x) and (y, x) of the look, all 0 before its first scene.
    bands, classes
        The same of the scene.
    """
    if not scl.any():
        for target, values in zip(dn, bands, strict=True):
            target[...] = values
        scl[...] = classes
        return
    fresh = ((scl == 0) | (dn == 0).any(axis=0)) & (classes != 0)
    for values in bands:
        fresh &= values != 0
    for target, values in zip(dn, bands, strict=True):
        np.copyto(target, values, where=fresh)
    np.copyto(scl, classes, where=fresh)
