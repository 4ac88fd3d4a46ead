"""Scenes as stacks of looks on the study's grid: the `window` engine of the cube.

A scene of the grid's CRS whose pixels fall on the grid is pasted by a whole number of pixels, 20 m
and 60 m bands repeated 2 x 2 and 6 x 6: exact, no warp. Any other scene is warped once (bilinear
with nodata respected, the scene classification by nearest neighbour).

Stacks come as strips of rows, from north to south; every block of a file is decoded once for all
strips, and the next strip is read while the caller works on the present one.

A mask of clouds that comes with the scenes is laid into the scene classification.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import shapely
from numba import njit
from numpy.typing import NDArray
from rasterio.enums import Resampling
from shapely.geometry.base import BaseGeometry

from rockglacier.cube.raster import Placed, Reading, place, read_window, stored_blocks, warp
from rockglacier.cube.upsample import UPSAMPLE_HALO, upsample
from rockglacier.errors import RemoteError
from rockglacier.grid import Grid, Window, projected
from rockglacier.scenes import cloud
from rockglacier.scenes.asset import open_raster, retried
from rockglacier.scenes.cover import overpasses
from rockglacier.scenes.record import MASK, Scene

SCL = "SCL"
"""Key of the scene classification among a scene's assets."""

CLASSES = (SCL, MASK)
"""Assets of classes: nothing lies between two values of them."""

READS_IN_FLIGHT = 16
"""Assets that are read at once, however many cores there are: latency, not work. A provider may
allow fewer."""

COUNTS = ("retries", "reads", "read_bytes")
"""What is counted of the reading of scenes: reads tried again, blocks of files that need no warp,
and the bytes of these as they are stored."""

ROWS = 512
"""Rows of a window that are read at once."""

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
    """Reads windows of scenes on a grid.

    A context manager for one thread; threads of its own read many assets at once.

    Parameters
    ----------
    grid
        The study's grid.
    bands
        Names of the bands, as keys of a scene's assets.
    mask_values
        Values of the scenes' mask that count as cloud, class 9; None: no mask is read.
    smooth
        Interpolate coarse bands between the centres of their pixels instead of repeating them.
    in_flight
        Assets read at once.
    """

    def __init__(
        self,
        grid: Grid,
        bands: Sequence[str],
        *,
        mask_values: Sequence[int] | None = None,
        smooth: bool = False,
        in_flight: int = READS_IN_FLIGHT,
    ) -> None:
        self.grid, self.bands, self.smooth = grid, tuple(bands), smooth
        self._cloudy: NDArray[np.bool_] | None = None
        if mask_values is not None:
            self._cloudy = np.zeros(256, np.bool_)
            self._cloudy[list(mask_values)] = True
        self._rows: list[AssetRows] = []
        self._read = ThreadPoolExecutor(in_flight, thread_name_prefix="read")
        self._lay = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="lay")

    def __enter__(self) -> SceneReader:
        """Return the reader."""
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for the threads and close the files."""
        self._read.shutdown(cancel_futures=True)
        self._lay.shutdown(cancel_futures=True)
        for rows in self._rows:
            rows.close()

    @property
    def counts(self) -> Counter[str]:
        """So far: ``retries``, and ``reads`` of blocks of files with their ``read_bytes``."""
        return sum((rows.counts for rows in self._rows), Counter())

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
        shape = (len(looks), len(self.bands), window.height, window.width)
        whole = self._stack(shape)
        strips = [
            Window(
                y=y, x=window.x, height=min(ROWS, window.y + window.height - y), width=window.width
            )
            for y in range(window.y, window.y + window.height, ROWS)
        ]
        parts = [whole.rows(strip.y - window.y, strip.height) for strip in strips]
        for _ in self._laid(looks, strips, parts):
            pass
        return whole.dn, whole.scl

    def strips(
        self, looks: Sequence[Look], windows: Sequence[Window]
    ) -> Iterator[tuple[NDArray[np.uint16], NDArray[np.uint8]]]:
        """Yield the stacks of windows that lie below each other; as `read` for each.

        A stack is overwritten when the one after the next is asked for.

        Parameters
        ----------
        looks
            What to read.
        windows
            From north to south, of the same columns.
        """
        if not windows:
            return
        tallest = max(window.height for window in windows)
        shape = (len(looks), len(self.bands), tallest, windows[0].width)
        held = [self._stack(shape) for _ in windows[:2]]
        stacks = [held[index % 2].rows(0, window.height) for index, window in enumerate(windows)]
        for stack in self._laid(looks, windows, stacks):
            yield stack.dn, stack.scl

    def _stack(self, shape: tuple[int, int, int, int]) -> _Stack:
        scl = np.empty((shape[0], *shape[2:]), np.uint8)
        return _Stack(np.empty(shape, np.uint16), scl, self._cloudy)

    def _laid(
        self, looks: Sequence[Look], windows: Sequence[Window], stacks: Sequence[_Stack]
    ) -> Iterator[_Stack]:
        """Fill and yield the stack of each window, while the next one is filled already."""
        bottom = windows[-1].y + windows[-1].height
        column = (windows[0].x, windows[0].width)
        names = (*self.bands, SCL) if self._cloudy is None else (*self.bands, SCL, MASK)
        rows = [
            [
                [
                    AssetRows(scene, name, self.grid, column, bottom, smooth=self.smooth)
                    for name in names
                ]
                for scene in scenes
            ]
            for scenes in (look.scenes for look in looks)
        ]
        self._rows += [one for scenes in rows for assets in scenes for one in assets]

        def start(index: int) -> list[Future[None]]:
            window, stack = windows[index], stacks[index]
            reads = [
                [[self._read.submit(one.take, window) for one in assets] for assets in scenes]
                for scenes in rows
            ]
            return [
                self._lay.submit(stack.lay, look, scenes, window)
                for look, scenes in enumerate(reads)
            ]

        ahead = start(0)
        for index, stack in enumerate(stacks):
            for future in ahead:
                future.result()
            ahead = start(index + 1) if index + 1 < len(windows) else []
            yield stack


class AssetRows:
    """One asset in a column of the grid, read from north to south, each block of its file once."""

    def __init__(
        self,
        scene: Scene,
        asset: str,
        grid: Grid,
        column: tuple[int, int],
        bottom: int,
        *,
        smooth: bool = False,
    ) -> None:
        self.scene, self.asset, self.grid = scene, asset, grid
        self.smooth = smooth and asset not in CLASSES
        self.left, self.width = column
        self.bottom = bottom
        self.counts = Counter(dict.fromkeys(COUNTS, 0))  # no new keys while others add them up
        """Reads that were tried again, and blocks of the file read with their stored bytes."""
        self._opened: tuple[Placed, ExitStack] | None = None
        self._begun: tuple[NDArray[Any], Reading] | None = None
        """Rows whose reading has failed so far."""
        self._first = 0
        """Row, in the file, of the first row held."""
        self._held: NDArray[Any] = np.empty((0, 0), _dtype(asset))

    def take(self, window: Window) -> Piece | None:
        """Return the part of the asset in a window that does not begin above an earlier one.

        Raises
        ------
        RemoteError
            The asset is missing in its item, or cannot be read.
        """
        href = asset_href(self.scene, self.asset)
        return retried(
            lambda: self._take(window),
            item=self.scene.id,
            asset=self.asset,
            href=href,
            again=self._again,
        )

    def _take(self, window: Window) -> Piece | None:
        placed = self._placed()
        raster, factor = placed.raster, placed.factor
        more = UPSAMPLE_HALO if self.smooth and factor > 1 else 0
        x0, x1 = _inside(window.x - placed.col, window.width, factor, raster.width, more)
        y0, y1 = _inside(window.y - placed.row, window.height, factor, raster.height, more)
        if x1 <= x0 or y1 <= y0:
            return None
        rows = self._held[y0 - self._first :]
        start = y0 + len(rows)
        if start < y1:
            block = raster.block_shapes[0][0]
            last = -(-(self.bottom - placed.row) // factor) + more
            stop = min(-(-y1 // block) * block, max(last, y1), raster.height)
            if self._begun is None:
                longer = np.empty((stop - y0, x1 - x0), self._held.dtype)
                if len(rows):
                    longer[: start - y0] = rows
                lacking = Window(y=start, x=x0, height=stop - start, width=x1 - x0)
                self._begun = longer, Reading(lacking, longer[start - y0 :])
            rows, reading = self._begun
            reading.run(raster)
            self._begun, new = None, reading.values
            blocks, size = stored_blocks(raster, reading.window)
            self.counts.update(reads=blocks, read_bytes=size)
            if placed.nodata:
                new[new == placed.nodata] = 0
        self._held, self._first = rows, y0
        values = rows[: y1 - y0]
        return Piece(
            values=upsample(values, factor, nodata=0) if more else values,
            factor=1 if more else factor,
            row=placed.row + y0 * factor,
            col=placed.col + x0 * factor,
        )

    def _placed(self) -> Placed:
        if self._opened is None:
            with ExitStack() as stack:
                href = asset_href(self.scene, self.asset)
                placed = open_placed(href, self.asset, self.grid, stack)
                self._opened = placed, stack.pop_all()
        return self._opened[0]

    def _again(self) -> None:
        self.counts.update(retries=1)
        self.close()

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        if self._opened is not None:
            self._opened[1].close()
            self._opened = None


def _inside(start: int, size: int, factor: int, limit: int, more: int) -> tuple[int, int]:
    """Return the first pixel of a file, and the one after the last, under pixels of the grid."""
    return max(start // factor - more, 0), min(-(-(start + size) // factor) + more, limit)


def _dtype(asset: str) -> Any:
    return np.uint8 if asset in CLASSES else np.uint16


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Pixels of a file that lie in a window."""

    values: NDArray[Any]
    """(y, x), as in the file; 0 = nodata."""
    factor: int
    """Grid pixels along the edge of one of its own."""
    row: int
    """Grid row of its first pixel; may be above the window."""
    col: int
    """Grid column of its first pixel; may be left of the window."""

    def slip(self, window: Window) -> tuple[int, int, int]:
        """Return factor, rows and columns from its first pixel to the window's."""
        return self.factor, window.y - self.row, window.x - self.col


class _Stack:
    """The looks of a window, while scenes are laid into them."""

    def __init__(
        self,
        dn: NDArray[np.uint16],
        scl: NDArray[np.uint8],
        cloudy: NDArray[np.bool_] | None,
    ) -> None:
        self.dn, self.scl, self.cloudy = dn, scl, cloudy

    def rows(self, start: int, count: int) -> _Stack:
        """Return the same memory, some rows of it."""
        rows = slice(start, start + count)
        return _Stack(self.dn[:, :, rows], self.scl[:, rows], self.cloudy)

    def lay(
        self, look: int, scenes: Sequence[Sequence[Future[Piece | None]]], window: Window
    ) -> None:
        """Lay scenes into a look: each fills the pixels that are not yet complete.

        A pixel is complete where the class and all bands are not 0.
        """
        dn, scl = self.dn[look], self.scl[look]
        fresh, spans = np.empty((0, 0), np.uint8), np.empty((window.height, 2), np.int32)
        for assets in scenes:
            found = [future.result() for future in assets]
            mask = None if self.cloudy is None else found.pop()
            pieces = [piece for piece in found if piece is not None]
            if len(pieces) < len(found):
                continue
            slips = [piece.slip(window) for piece in pieces]
            targets = list(zip((*dn, scl), pieces, slips, strict=True))
            if not fresh.size:
                for target, piece, slip in targets:
                    _fill(piece.values, *slip, target)
                fresh = np.full(scl.shape, EMPTY, np.uint8)
                spans[:] = 0, window.width
                self._cloud(scl, mask, window, fresh, spans)
                continue
            _find_gaps(dn, scl, fresh, spans)
            if spans.any():
                for piece, slip in zip(pieces, slips, strict=True):
                    _keep_complete(piece.values, *slip, fresh, spans)
                for target, piece, slip in targets:
                    _copy(piece.values, *slip, fresh, spans, target)
                self._cloud(scl, mask, window, fresh, spans)
        if not fresh.size:
            dn.fill(0)
            scl.fill(0)

    def _cloud(
        self,
        scl: NDArray[np.uint8],
        mask: Piece | None,
        window: Window,
        fresh: NDArray[np.uint8],
        spans: NDArray[np.int32],
    ) -> None:
        """Make pixels that were just laid cloud where the scene's mask says so."""
        if mask is not None and self.cloudy is not None:
            marks = np.zeros(scl.shape, np.uint8)
            _copy(mask.values, *mask.slip(window), fresh, spans, marks)
            scl[self.cloudy[marks] & (scl != 0)] = cloud.CLOUD_HIGH


GAP, EMPTY = 1, 2
"""Pixels of a look where a band or the class is 0, and where all are."""


@njit(nogil=True, cache=True)
def _fill(values: NDArray[Any], factor: int, down: int, right: int, target: NDArray[Any]) -> None:
    """Fill ``target`` with pixels, each repeated ``factor`` times, and 0 where there are none."""
    height, width = target.shape
    left = min(max(0, -right), width)
    end = max(left, min(width, values.shape[1] * factor - right))
    for y in range(height):
        into, row = target[y], (y + down) // factor
        if row < 0 or row >= values.shape[0]:
            into[:] = 0
            continue
        source = values[row]
        into[:left] = 0
        into[end:] = 0
        if factor == 1:
            into[left:end] = source[left + right : end + right]
        elif factor == 2:
            x, col = left, (left + right) // 2
            if (left + right) % 2 and x < end:
                into[x] = source[col]
                x, col = x + 1, col + 1
            for k in range((end - x) // 2):
                into[x + 2 * k] = source[col + k]
                into[x + 2 * k + 1] = source[col + k]
            if (end - x) % 2:
                into[end - 1] = source[(end - 1 + right) // 2]
        else:
            for x in range(left, end):
                into[x] = source[(x + right) // factor]


@njit(nogil=True, cache=True)
def _find_gaps(
    dn: NDArray[np.uint16],
    scl: NDArray[np.uint8],
    fresh: NDArray[np.uint8],
    spans: NDArray[np.int32],
) -> None:
    """Fill ``fresh`` with GAP, EMPTY or 0, and ``spans`` with the columns of each row between."""
    bands, height, width = dn.shape
    for y in range(height):
        row = fresh[y]
        for x in range(width):
            row[x] = scl[y, x] == 0
        for b in range(bands):
            for x in range(width):
                row[x] += dn[b, y, x] == 0
        first, last = width, 0
        for x in range(width):
            if row[x]:
                row[x] = EMPTY if row[x] == bands + 1 else GAP
                first, last = min(first, x), x + 1
        spans[y, 0], spans[y, 1] = min(first, last), last


@njit(nogil=True, cache=True)
def _keep_complete(
    values: NDArray[Any],
    factor: int,
    down: int,
    right: int,
    fresh: NDArray[np.uint8],
    spans: NDArray[np.int32],
) -> None:
    """Take the pixels out of the gaps where ``values`` is 0 or ends."""
    for y in range(fresh.shape[0]):
        row = (y + down) // factor
        for x in range(spans[y, 0], spans[y, 1]):
            if fresh[y, x] == GAP:
                col = (x + right) // factor
                inside = 0 <= row < values.shape[0] and 0 <= col < values.shape[1]
                if not inside or values[row, col] == 0:
                    fresh[y, x] = 0


@njit(nogil=True, cache=True)
def _copy(
    values: NDArray[Any],
    factor: int,
    down: int,
    right: int,
    fresh: NDArray[np.uint8],
    spans: NDArray[np.int32],
    target: NDArray[Any],
) -> None:
    """Copy pixels, each repeated ``factor`` times, to where ``fresh`` says."""
    y0, y1 = max(0, -down), min(target.shape[0], values.shape[0] * factor - down)
    left, end = max(0, -right), min(target.shape[1], values.shape[1] * factor - right)
    for y in range(y0, y1):
        source, into, wanted = values[(y + down) // factor], target[y], fresh[y]
        x0, x1 = max(left, spans[y, 0]), min(end, spans[y, 1])
        if x1 <= x0:
            continue
        if factor == 1:
            for x in range(x0, x1):
                into[x] = source[x + right] if wanted[x] else into[x]
            continue
        col, phase = (x0 + right) // factor, (x0 + right) % factor
        for x in range(x0, x1):
            into[x] = source[col] if wanted[x] else into[x]
            phase += 1
            if phase == factor:
                phase = 0
                col += 1


def read_asset(
    scene: Scene, asset: str, grid: Grid, window: Window, *, smooth: bool = False
) -> NDArray[Any]:
    """Return one asset in a window, (y, x), uint16 or, for SCL, uint8; 0 = nodata.

    ``smooth`` interpolates coarse bands.

    Raises
    ------
    RemoteError
        The asset is missing in its item, or cannot be read.
    """
    href = asset_href(scene, asset)

    def work() -> NDArray[Any]:
        with ExitStack() as stack:
            placed = open_placed(href, asset, grid, stack)
            return read_window(placed, window, smooth=smooth and asset not in CLASSES)

    values = retried(work, item=scene.id, asset=asset, href=href, again=lambda: None)
    if asset in CLASSES:
        return values if values.dtype == np.uint8 else values.clip(0, 255).astype(np.uint8)
    return values if values.dtype == np.uint16 else values.clip(0, 65535).astype(np.uint16)


def open_placed(href: str, asset: str, grid: Grid, stack: ExitStack) -> Placed:
    """Open an asset on the grid, warped if it must be; ``stack`` closes it."""
    raster = open_raster(href, stack)
    placed = place(raster, grid)
    if placed is None:
        kernel = Resampling.nearest if asset in CLASSES else Resampling.bilinear
        placed = warp(raster, grid.geobox, resampling=kernel, nodata=0)
        stack.enter_context(placed.raster)
    return placed
