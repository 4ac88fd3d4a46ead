"""Rules of the scene choice: season, reprocessed duplicates, and the zone of the grid."""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import shapely
from shapely.geometry.base import BaseGeometry

from rockglacier.grid import utm_epsg
from rockglacier.scenes.record import Scene

Rule = Literal[
    "out of season",
    "too cloudy",
    "incomplete",
    "reprocessed since",
    "without data over the basin",
    "cloudy over the basin",
    "unreadable",
]

# SCIENCE: months with least snow on rock glaciers.
SEASON_NORTH, SEASON_SOUTH = (7, 10), (1, 4)

ONE_PASS = timedelta(minutes=10)
"""Items of one satellite and tile closer than this are of one pass; orbits take 100 minutes."""
SAME_GROUND = 0.8
"""Share of an item's ground that better processed ones must cover to replace it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """An item that was found and is not used."""

    id: str
    datetime: datetime
    cloud_cover: float | None
    basin_cloud: float | None
    rule: Rule
    reason: str
    geometry: BaseGeometry | None


def dropped_scene(scene: Scene, rule: Rule, reason: str) -> Dropped:
    """Return the record of a scene that a rule drops."""
    return Dropped(
        id=scene.id,
        datetime=scene.datetime,
        cloud_cover=scene.cloud_cover,
        basin_cloud=scene.basin_cloud,
        rule=rule,
        reason=reason,
        geometry=scene.geometry,
    )


def season_of(given: tuple[int, int] | None, *, latitude: float) -> tuple[int, int]:
    """Return first and last month: the configured ones, else those of the hemisphere."""
    if given is not None:
        return given
    return SEASON_NORTH if latitude >= 0 else SEASON_SOUTH


def in_season(month: int, season: tuple[int, int]) -> bool:
    """Say whether a month lies in a season, which may wrap over New Year."""
    first, last = season
    if first <= last:
        return first <= month <= last
    return month >= first or month <= last


def season_name(season: tuple[int, int]) -> str:
    """Return a season in words, e.g. ``July to October``."""
    return f"{calendar.month_name[season[0]]} to {calendar.month_name[season[1]]}"


def without_duplicates(
    scenes: Sequence[Scene], area: BaseGeometry
) -> tuple[list[Scene], list[Dropped]]:
    """Leave out older processings of what a newer one shows.

    Parameters
    ----------
    scenes
        Any order.
    area
        EPSG:4326; only the ground inside it counts.

    Returns
    -------
    tuple
        Scenes kept, in order of time, and those dropped.

    Notes
    -----
    Among the items of one pass over one tile the highest baseline wins, then the highest sequence
    number. The two halves of a pass that two ground stations received are both kept, because their
    footprints complement each other.
    """
    kept: list[Scene] = []
    dropped: list[Dropped] = []
    for group in _passes(scenes):
        best: list[Scene] = []
        for scene in sorted(group, key=_processing, reverse=True):
            ground = shapely.intersection(scene.geometry, area)
            shown = shapely.union_all([other.geometry for other in best])
            share = shapely.intersection(ground, shown).area / ground.area if ground.area else 1.0
            if best and share >= SAME_GROUND:
                newer = max(best, key=lambda other: other.geometry.intersection(ground).area)
                reason = f"{100 * share:.0f} % of it is in {newer.id}, {_versions(newer, scene)}"
                dropped.append(dropped_scene(scene, "reprocessed since", reason))
            else:
                best.append(scene)
        kept.extend(best)
    return sorted(kept, key=_time_order), dropped


def _passes(scenes: Sequence[Scene]) -> list[list[Scene]]:
    groups: list[list[Scene]] = []
    for scene in sorted(scenes, key=lambda one: (one.tile, one.platform, one.datetime, one.id)):
        last = groups[-1][-1] if groups else None
        if (
            last is not None
            and scene.tile
            and (last.tile, last.platform) == (scene.tile, scene.platform)
            and scene.datetime - last.datetime <= ONE_PASS
        ):
            groups[-1].append(scene)
        else:
            groups.append([scene])
    return groups


def _processing(scene: Scene) -> tuple[tuple[int, ...], int, str]:
    parts = scene.baseline.split(".")
    version = tuple(int(part) for part in parts) if all(map(str.isdigit, parts)) else ()
    return version, scene.sequence, scene.id


def _versions(newer: Scene, older: Scene) -> str:
    return (
        f"baseline {newer.baseline or '?'} sequence {newer.sequence} "
        f"instead of {older.baseline or '?'} sequence {older.sequence}"
    )


def _time_order(scene: Scene) -> tuple[datetime, str]:
    return scene.datetime, scene.id


def choose_epsg(scenes: Sequence[Scene], area: BaseGeometry) -> int:
    """Return the UTM zone in which the scenes show most of the area.

    Parameters
    ----------
    scenes
        At least one.
    area
        EPSG:4326.

    Notes
    -----
    Where zones show the same share (to a percent), the zone of the area's centre wins, then the one
    with more scenes. Scenes of other zones are warped later.
    """
    home = utm_epsg(area)

    def rank(epsg: int) -> tuple[float, bool, int, int]:
        own = [scene.geometry for scene in scenes if scene.epsg == epsg]
        shown = shapely.intersection(shapely.union_all(own), area).area / area.area
        return round(shown, 2), epsg == home, len(own), -epsg

    return max({scene.epsg for scene in scenes}, key=rank)
