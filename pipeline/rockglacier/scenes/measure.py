"""Candidates measured over the basin: cloud, what they show of it, and the proof of the offset."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from rockglacier.engine import Progress
from rockglacier.errors import RemoteError
from rockglacier.scenes import radiometry
from rockglacier.scenes.choose import Dropped, dropped_scene
from rockglacier.scenes.cloud import clear_at, read_clear_pixels, read_scl_over
from rockglacier.scenes.record import Scene
from rockglacier.study import Study

logger = logging.getLogger(__name__)

READERS = 8
"""Scenes whose classification is read at once: the time goes into waiting for servers."""
VISIBLE = ("B02", "B03", "B04")
LATTICE = 20_000
"""Points at which it is counted how often the basin was seen."""


def lattice(area: BaseGeometry) -> np.ndarray:
    """Return (n, 2) longitudes and latitudes spread evenly over the area's box, inside the area."""
    west, south, east, north = area.bounds
    step = np.sqrt((east - west) * (north - south) / LATTICE)
    x, y = np.meshgrid(
        np.arange(west + step / 2, east, step), np.arange(south + step / 2, north, step)
    )
    points = np.column_stack([x.ravel(), y.ravel()])
    inside = points[shapely.contains_xy(area, points[:, 0], points[:, 1])]
    return inside if len(inside) else np.array([area.representative_point().coords[0]])


def examine_all(
    study: Study, scenes: Sequence[Scene], points: np.ndarray, *, progress: Progress
) -> tuple[list[Scene], list[Dropped], np.ndarray]:
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
        Scenes kept, with what was measured; those dropped; and (n,) how often the kept ones show
        each point without cloud.

    Raises
    ------
    RemoteError
        A scene cannot be read, and ``cube.on_unreadable`` is ``fail``.
    """
    looks = np.zeros(len(points), int)
    kept: list[Scene] = []
    dropped: list[Dropped] = []
    what = "cloud over the basin"
    with ThreadPoolExecutor(READERS) as pool:
        examined = pool.map(lambda scene: _examine(study, scene, points), scenes)
        for done, (outcome, seen) in enumerate(examined, start=1):
            progress(what, done, len(scenes))
            if isinstance(outcome, Dropped):
                dropped.append(outcome)
            else:
                kept.append(outcome)
                looks += seen
    return kept, dropped, looks


def _examine(study: Study, scene: Scene, points: np.ndarray) -> tuple[Scene | Dropped, np.ndarray]:
    """Measure one scene over the basin, and check its offset against its pixels."""
    limit = study.config.search.basin_cloud_max
    try:
        classes = read_scl_over(scene, study.area)
        shares = classes.shares()
        scene = replace(
            scene,
            basin_cloud=shares.cloud,
            basin_snow=shares.snow,
            basin_shadow=shares.shadow,
            basin_clear=shares.clear,
            basin_cover=shares.cover,
        )
        seen = clear_at(classes, points)
        if not shares.cover:
            reason = "its footprint touches the basin and its pixels do not"
            return dropped_scene(scene, "without data over the basin", reason), seen
        if shares.cloud >= limit:
            reason = f"{shares.cloud:.1f} % of what it shows of the basin; the limit is {limit:g} %"
            return dropped_scene(scene, "cloudy over the basin", reason), seen
        band = next((band for band in VISIBLE if band in scene.assets), None)
        if scene.offset_in_pixels == 0 and band is not None:
            decision = radiometry.Decision(add=0, reason=scene.offset_reason)
            checked = radiometry.check_pixels(decision, read_clear_pixels(scene, classes, band))
            if checked != decision:
                logger.warning("%s: %s", scene.id, checked.reason)
            scene = replace(scene, offset_in_pixels=checked.add, offset_reason=checked.reason)
    except RemoteError as error:
        if study.config.cube.on_unreadable == "fail":
            raise
        logger.warning("%s", error)
        return dropped_scene(scene, "unreadable", error.found), np.zeros(len(points), bool)
    return scene, seen
