"""Candidates measured over the basin: how much cloud, snow and shadow, and what they show of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from rockglacier.engine import Progress
from rockglacier.errors import InputError, RemoteError
from rockglacier.scenes.choose import Dropped, dropped_scene
from rockglacier.scenes.cloud import SNOW, classes_at, is_seen, read_scl_over
from rockglacier.scenes.ground import Patch, clear_ground
from rockglacier.scenes.header import with_crs
from rockglacier.scenes.record import Scene
from rockglacier.study import Study
from rockglacier_stac.access import reads_at_once
from rockglacier_stac.globe import joined, longitudes

logger = logging.getLogger(__name__)

READERS = 8
"""Scenes that are read at once: the time goes into waiting for servers."""
LATTICE = 20_000
"""Points at which it is counted how often the basin was seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A scene, and what it shows of the basin."""

    scene: Scene
    is_seen: np.ndarray
    """(point,) bool: neither cloud nor its shadow, nor missing data; snow counts as seen."""
    is_clear: np.ndarray
    """(point,) bool: seen, and free of snow."""
    ground: tuple[Patch, ...]
    """Where its offset can be checked."""


def lattice(area: BaseGeometry) -> np.ndarray:
    """Return (n, 2) longitudes and latitudes spread evenly over the area's box, inside the area."""
    whole = joined(area)
    west, south, east, north = whole.bounds
    step = np.sqrt((east - west) * (north - south) / LATTICE)
    x, y = np.meshgrid(
        np.arange(west + step / 2, east, step), np.arange(south + step / 2, north, step)
    )
    points = np.column_stack([x.ravel(), y.ravel()])
    inside = points[shapely.contains_xy(whole, points[:, 0], points[:, 1])]
    if not len(inside):
        inside = np.array([whole.representative_point().coords[0]])
    return np.column_stack([longitudes(inside[:, 0]), inside[:, 1]])


def measure_all(
    study: Study, scenes: Sequence[Scene], points: np.ndarray, *, progress: Progress
) -> tuple[list[Measured], list[Dropped]]:
    """Read every scene's classification over the basin, and keep the clear ones.

    Parameters
    ----------
    study
        Its area, its limit of cloud, and whether unreadable scenes are skipped.
    scenes
        Candidates.
    points
        (n, 2) longitude and latitude inside the basin.
    progress
        Told after every scene.

    Returns
    -------
    tuple
        Scenes kept, with what was measured, and those dropped.

    Raises
    ------
    RemoteError
        A scene cannot be read, and ``cube.on_unreadable`` is ``fail``.
    InputError
        A scene is nowhere, and likewise.
    """
    found = each(study, scenes, lambda scene: scene, lambda scene: _measure(study, scene, points))
    kept: list[Measured] = []
    dropped: list[Dropped] = []
    for done, outcome in enumerate(found, start=1):
        progress("cloud over the basin", done, len(scenes))
        if isinstance(outcome, Dropped):
            dropped.append(outcome)
        else:
            kept.append(outcome)
    return kept, dropped


def _measure(study: Study, scene: Scene, points: np.ndarray) -> Measured | Dropped:
    limit = study.config.search.basin_cloud_max
    classes = read_scl_over(scene, study.area)
    shares = classes.shares()
    scene = replace(
        with_crs(scene, classes.header),
        basin_cloud=shares.cloud,
        basin_snow=shares.snow,
        basin_shadow=shares.shadow,
        basin_clear=shares.clear,
        basin_cover=shares.cover,
    )
    if not shares.cover:
        reason = "its footprint touches the basin and its pixels do not"
        return dropped_scene(scene, "without data over the basin", reason)
    if shares.cloud >= limit:
        reason = f"{shares.cloud:.1f} % of what it shows of the basin; the limit is {limit:g} %"
        return dropped_scene(scene, "cloudy over the basin", reason)
    scl = classes_at(classes, points)
    return Measured(
        scene=scene,
        is_seen=is_seen(scl),
        is_clear=is_seen(scl) & (scl != SNOW),
        ground=clear_ground(classes),
    )


def each[Thing, Outcome](
    study: Study,
    things: Sequence[Thing],
    scene_of: Callable[[Thing], Scene],
    work: Callable[[Thing], Outcome],
) -> Iterator[Outcome | Dropped]:
    """Yield what ``work`` makes of every scene, many read at once, in their order.

    A scene that cannot be read is dropped, or fails the search, as ``cube.on_unreadable`` says.
    """

    def safely(thing: Thing) -> Outcome | Dropped:
        try:
            return work(thing)
        except (RemoteError, InputError) as error:
            if study.config.cube.on_unreadable == "fail":
                raise
            logger.warning("%s", error)
            return dropped_scene(scene_of(thing), "unreadable", error.found)

    limits = [reads_at_once(scene_of(thing).assets["SCL"]) for thing in things]
    with ThreadPoolExecutor(min([READERS, *limits])) as pool:
        yield from pool.map(safely, things)
