"""One asset of a scene on the study's grid, read by windows or from north to south."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling

from rockglacier.cube.raster import Placed, Reading, place, read_window, stored_blocks, warp
from rockglacier.cube.upsample import UPSAMPLE_HALO, upsample
from rockglacier.errors import RemoteError
from rockglacier.grid import Grid, Window
from rockglacier.scenes.asset import open_raster, retried
from rockglacier.scenes.record import MASK, Scene

SCL = "SCL"
"""Key of the scene classification among a scene's assets."""

CLASSES = (SCL, MASK)
"""Assets of classes: nothing lies between two values of them."""

COUNTS = ("retries", "reads", "read_bytes")
"""What is counted of the reading of scenes: reads tried again, blocks of files that need no warp,
and the bytes of these as they are stored."""


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
        self._memory = self._held
        """Where the rows held lie: used again, as fresh memory costs time and doubles the peak."""

    def take(self, window: Window) -> Piece | None:
        """Return the part of the asset in a window that does not begin above an earlier one.

        It is overwritten when the next window is taken.

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
                if len(self._memory) < stop - y0:
                    self._memory = np.empty((stop - y0, x1 - x0), self._held.dtype)
                longer = self._memory[: stop - y0]
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
