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
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed

import numpy as np
from numpy.typing import NDArray

from rockglacier.cube.laying import Stack
from rockglacier.cube.look import Look
from rockglacier.cube.rows import SCL, AssetRows
from rockglacier.grid import Grid, Window
from rockglacier.scenes.record import MASK

READS_IN_FLIGHT = 16
"""Assets that are read at once, however many cores there are: latency, not work. A provider may
allow fewer."""

ROWS = 512
"""Rows of a window that are read at once."""


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

    def _stack(self, shape: tuple[int, int, int, int]) -> Stack:
        scl = np.empty((shape[0], *shape[2:]), np.uint8)
        return Stack(np.empty(shape, np.uint16), scl, self._cloudy)

    def _laid(
        self, looks: Sequence[Look], windows: Sequence[Window], stacks: Sequence[Stack]
    ) -> Iterator[Stack]:
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

        def start(index: int, look: int) -> Future[None]:
            window, stack = windows[index], stacks[index]
            reads = [
                [self._read.submit(one.take, window) for one in assets] for assets in rows[look]
            ]
            return self._lay.submit(stack.lay, look, reads, window)

        ahead = {start(0, look): look for look in range(len(looks))}
        for index, stack in enumerate(stacks):
            done, ahead = ahead, {}
            for future in as_completed(done):
                future.result()
                # a look goes on by itself; the rows that it has held are free by now
                if index + 1 < len(windows):
                    ahead[start(index + 1, done[future])] = done[future]
            yield stack
