"""A read group of the cube: blocks side by side whose scenes are read once, strip by strip."""

from __future__ import annotations

import logging
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import groupby
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from rockglacier.cube.composite import Composite, Method, composite
from rockglacier.cube.extra import ExtraLayer
from rockglacier.cube.load import SceneReader
from rockglacier.cube.look import Footprints, Look, looks_of
from rockglacier.cube.rows import COUNTS
from rockglacier.cube.spread import cloud_mask, spread_halo
from rockglacier.cube.surface import Surface
from rockglacier.cube.writer import CubeWriter
from rockglacier.engine import Task
from rockglacier.errors import RemoteError
from rockglacier.grid import Grid, Window
from rockglacier.memory import return_large_blocks
from rockglacier.periods import Period
from rockglacier.scenes.asset import Retries
from rockglacier.scenes.record import Scene

logger = logging.getLogger(__name__)

LOOKS_BYTES = 400e6
"""Memory for the looks of the strips at work and for the file blocks that they share."""

GROUP = 4
"""Blocks along the edge of a read group, unless memory asks for fewer."""

STRIPS = (512, 256)
"""Rows of a strip, the best first."""

FILE_BLOCK = 1024
"""Rows that a file's blocks are expected to have."""

GDAL_CACHE = 64 * 2**20
"""GDAL's own cache: nothing is read twice, and its default is 5 % of the memory."""

_ALONE = Lock()
"""One group at a time in a process: it uses all cores, and its memory is what is bounded."""


def group_shape(grid: Grid, *, looks: int, scenes: int, bands: int) -> tuple[int, int]:
    """Return how many blocks wide a read group is, and how many rows its strips have.

    Parameters
    ----------
    grid
        The study's grid.
    looks, scenes
        Over the block that has most scenes.
    bands
        Reflectance bands.
    """
    for cols in range(GROUP, 0, -1):
        for strip in STRIPS:
            pixel = 2 * bands + 1
            held = 2 * strip * pixel * looks + FILE_BLOCK / 2 * pixel * scenes
            if cols * grid.block * held <= LOOKS_BYTES:
                return cols, strip
    return 1, STRIPS[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupWork:
    """Builds the blocks of a read group; picklable, so that it runs on any worker."""

    path: Path
    """The cube."""
    grid: Grid
    bands: tuple[str, ...]
    composite: Method
    tiers: NDArray[np.uint8]
    """(256,) tier of every scene class."""
    buffer: float
    """Pixels around clouds that are left out."""
    buffer_classes: tuple[int, ...]
    mask_values: tuple[int, ...] | None
    """Values of the scenes' own mask that count as cloud, if there is one."""
    smooth: bool
    """Coarse bands are interpolated."""
    extra: tuple[ExtraLayer, ...]
    skip_unreadable: bool
    periods: tuple[Period, ...]
    footprints: Footprints
    """Of the scenes of the whole study."""
    surface: Surface
    strip: int
    """Rows whose looks are in memory at once."""

    def __call__(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Mapping[str, Any]]]:
        """Build blocks; yield each with what its receipt says beside inputs and time.

        Raises
        ------
        RemoteError
            A scene or DEM tile cannot be read. With ``skip_unreadable`` a scene that a single
            block cannot read is left out of it instead.
        """
        return_large_blocks()
        skipped: dict[str, str] = {}
        with _ALONE, rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE):
            while True:
                try:
                    yield from self._build(tasks, skipped)
                    return
                except RemoteError as error:
                    known = any(scene.id == error.item for scene in self.footprints.scenes)
                    if len(tasks) > 1 or not (known and self.skip_unreadable):
                        raise
                    skipped[error.item] = error.found
                    logger.warning("left out of block %s: %s", tasks[0].name, error)

    def _build(
        self, tasks: Sequence[Task], skipped: Mapping[str, str]
    ) -> Iterator[tuple[Task, Mapping[str, Any]]]:
        """Build blocks period by period; a block is done with the last one."""
        writer = CubeWriter(self.path)
        facts: dict[str, list[dict[str, Any]]] = {task.name: [] for task in tasks}
        why = [{"item": item, "why": message} for item, message in skipped.items()]
        for index, period in enumerate(self.periods):
            for task, found in self._build_period(tasks, period, skipped, writer):
                facts[task.name].append(found)
                if index == len(self.periods) - 1:
                    yield task, {**_together(facts.pop(task.name)), "skipped": why}

    def _build_period(
        self,
        tasks: Sequence[Task],
        period: Period,
        skipped: Mapping[str, str],
        writer: CubeWriter,
    ) -> Iterator[tuple[Task, dict[str, Any]]]:
        blocks = sorted(((_window(task), task) for task in tasks), key=lambda pair: pair[0].y)
        left = min(window.x for window, _ in blocks)
        width = max(window.x + window.width for window, _ in blocks) - left
        rows = [list(row) for _, row in groupby(blocks, key=lambda pair: pair[0].y)]
        strips = [
            [Window(y=y, x=left, height=height, width=width) for y, height in self._cut(row[0][0])]
            for row in rows
        ]
        halo = spread_halo(self.buffer)
        near = _union([strip for row in strips for strip in row]).grown(halo)
        looks = self._ordered(self._scenes(near, period, skipped))
        waiting: list[Future[tuple[Task, dict[str, Any]]]] = []
        cores = os.cpu_count() or 1
        with (
            ThreadPoolExecutor(cores, thread_name_prefix="compose") as compose,
            # apart, so that no strip waits until blocks are written
            ThreadPoolExecutor(cores, thread_name_prefix="finish") as finish,
            SceneReader(
                self.grid, self.bands, mask_values=self.mask_values, smooth=self.smooth
            ) as reader,
        ):
            stacks = reader.strips(looks, [strip.grown(halo) for row in strips for strip in row])
            counted: Counter[str] = Counter()
            for row, cut in zip(rows, strips, strict=True):
                whole = _union(cut)
                # as early as can be: the cores have time for it while the first strips are on
                # their way
                grounds = [finish.submit(self._ground, window, period, writer) for window, _ in row]
                composed = Composite.empty(len(self.bands), whole.height, whole.width)
                for strip in cut:
                    dn, scl = next(stacks)
                    self._compose(compose, dn, scl, looks, strip.within(whole)[0], composed)
                # the blocks of the row before were finished meanwhile
                for done in waiting:
                    yield done.result()
                waiting = []
                so_far = reader.counts
                counts, counted = so_far - counted, so_far
                for (window, task), ground in zip(row, grounds, strict=True):
                    mine = composed.part(*window.within(whole))
                    layers = {field.name: getattr(mine, field.name) for field in fields(mine)}
                    facts = {
                        "items": [one.id for one in self._scenes(window, period, skipped)],
                        **{name: counts[name] for name in COUNTS},
                    }
                    counts = Counter()
                    waiting.append(
                        finish.submit(
                            self._finish, task, window, layers, facts, ground, period, writer
                        )
                    )
            for done in waiting:
                yield done.result()

    def _cut(self, window: Window) -> list[tuple[int, int]]:
        """Return first row and height of the strips of a block."""
        end = window.y + window.height
        return [(y, min(self.strip, end - y)) for y in range(window.y, end, self.strip)]

    def _scenes(self, window: Window, period: Period, skipped: Mapping[str, str]) -> list[Scene]:
        """Return the scenes of a period near a window, without those left out."""
        near = period.scenes(self.footprints.near(window))
        return [scene for scene in near if scene.id not in skipped]

    def _ordered(self, scenes: Sequence[Scene]) -> list[Look]:
        looks = looks_of(scenes, epsg=self.grid.epsg)
        if self.composite == "least-cloudy":
            looks.sort(key=lambda look: look.cloud)
        return looks

    def _compose(
        self,
        pool: ThreadPoolExecutor,
        dn: NDArray[np.uint16],
        scl: NDArray[np.uint8],
        looks: Sequence[Look],
        rows: slice,
        composed: Composite,
    ) -> None:
        """Composite a strip, read with its halo, into the rows of its block row, on all cores."""
        add = np.array([look.add for look in looks], np.int32)
        halo = spread_halo(self.buffer)
        inner = (slice(halo, -halo), slice(halo, -halo)) if halo else (slice(None), slice(None))

        def part(start: int, stop: int) -> None:
            near, blocked = scl[:, start : stop + 2 * halo], None
            if halo:
                around = cloud_mask(near, radius=self.buffer, classes=self.buffer_classes)
                blocked = around[:, *inner]
            composite(
                dn[:, :, start : stop + 2 * halo][:, :, *inner],
                near[:, *inner],
                add,
                method=self.composite,
                tiers=self.tiers,
                blocked=blocked,
                out=composed.part(slice(rows.start + start, rows.start + stop)),
            )

        step = math.ceil((rows.stop - rows.start) / (os.cpu_count() or 1))
        starts = range(0, rows.stop - rows.start, step)
        ends = [min(start + step, rows.stop - rows.start) for start in starts]
        for done in [pool.submit(part, a, b) for a, b in zip(starts, ends, strict=True)]:
            done.result()

    def _ground(self, window: Window, period: Period, writer: CubeWriter) -> dict[str, Any]:
        """Write, with the first period, the layers of a block that no scene changes."""
        if period != self.periods[0]:
            return {"retries": 0, "objects": {}}
        again = Retries()
        layers = self.surface.layers(window, again=again)
        for layer in self.extra:
            layers[layer.name] = layer.read(self.grid, window, again=again)
        return {
            "retries": again.count,
            "no_elevation_share": _share(np.isnan(layers["elevation"])),
            "objects": writer.write(window, layers),
        }

    def _finish(
        self,
        task: Task,
        window: Window,
        layers: dict[str, NDArray[Any]],
        facts: dict[str, Any],
        ground: Future[dict[str, Any]],
        period: Period,
        writer: CubeWriter,
    ) -> tuple[Task, dict[str, Any]]:
        """Write what the scenes of a period make of a block; count pixels."""
        written = writer.write(window, layers, period=self.periods.index(period))
        under = ground.result()
        objects = {**under["objects"], **written}
        n_clear, n_snow, n_shadow = (layers[name] for name in ("n_clear", "n_snow", "n_shadow"))
        return task, {
            **facts,
            **under,
            "retries": facts["retries"] + under["retries"],
            "objects": objects,
            "written_bytes": sum(size for size, _ in objects.values()),
            "pixels": window.height * window.width,
            "clear_share": _share((n_clear > 0) & (n_snow == 0)),
            "snow_share": _share(n_snow > 0),
            "shadow_share": _share(n_shadow > 0),
            "empty_share": _share((n_clear == 0) & (n_shadow == 0)),
        }


def _window(task: Task) -> Window:
    y, x, height, width = task.inputs["window"]
    return Window(y=y, x=x, height=height, width=width)


def _union(strips: Sequence[Window]) -> Window:
    """Return the window from the first of strips below each other to the last."""
    first, last = strips[0], strips[-1]
    return Window(y=first.y, x=first.x, height=last.y + last.height - first.y, width=first.width)


def _share(mask: NDArray[np.bool_]) -> float:
    return round(float(np.count_nonzero(mask)) / mask.size, 6)


def _together(periods: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the facts of a block over all its periods: sums of counts, means of shares."""
    first = periods[0]
    shares = ("clear_share", "snow_share", "shadow_share", "empty_share")
    return {
        **first,
        "items": sorted({item for facts in periods for item in facts["items"]}),
        **{name: sum(facts[name] for facts in periods) for name in (*COUNTS, "written_bytes")},
        "objects": {key: value for facts in periods for key, value in facts["objects"].items()},
        **{key: round(sum(f[key] for f in periods) / len(periods), 6) for key in shares},
    }
