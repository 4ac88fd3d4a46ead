"""Rules of the scene choice: season, reprocessed duplicates, and the zone of the grid."""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import shapely
from pyproj import CRS
from shapely.geometry.base import BaseGeometry

from rockglacier.grid import geodesic_area_km2, scale_error_ppm, utm_epsg
from rockglacier.scenes.record import Scene

Rule = Literal[
    "out of season",
    "too cloudy",
    "incomplete",
    "reprocessed since",
    "without data over the basin",
    "cloudy over the basin",
    "unreadable",
    "not needed",
]

# SCIENCE: months with least snow on rock glaciers.
SEASON_NORTH, SEASON_SOUTH = (7, 10), (1, 4)

ONE_PASS = timedelta(minutes=10)
"""Items of one satellite and tile closer than this are of one pass; orbits take 100 minutes."""
SAME_GROUND = 0.8
"""Share of an item's ground that better processed ones must cover to replace it."""
SAME_NODATA = 2.0
"""Percent of the tile by which two processings of the same data may differ in what is empty."""
WORST_PPM = 10_000
"""A grid whose lengths are off by a percent is not measured on; UTM has 1000 in its own zone."""
TILE_KM2 = 109.8**2
"""Ground of a tile of Sentinel-2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """An item that was found and is not used."""

    id: str
    datetime: datetime
    tile: str
    platform: str
    cloud_cover: float | None
    basin_cloud: float | None
    basin_snow: float | None
    rule: Rule
    reason: str
    geometry: BaseGeometry | None


def dropped_scene(scene: Scene, rule: Rule, reason: str) -> Dropped:
    """Return the record of a scene that a rule drops."""
    return Dropped(
        id=scene.id,
        datetime=scene.datetime,
        tile=scene.tile,
        platform=scene.platform,
        cloud_cover=scene.cloud_cover,
        basin_cloud=scene.basin_cloud,
        basin_snow=scene.basin_snow,
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
    footprints complement each other. A footprint that is the whole tile, while the item says that
    much of it is empty, tells nothing: then only another processing of the same data is left out.
    """
    kept: list[Scene] = []
    dropped: list[Dropped] = []
    for group in passes_over_tiles(scenes):
        best: list[Scene] = []
        for scene in sorted(group, key=_processing, reverse=True):
            ground = shapely.intersection(scene.geometry, area)
            shown = shapely.union_all([other.geometry for other in best])
            share = shapely.intersection(ground, shown).area / ground.area if ground.area else 1.0
            if best and share >= SAME_GROUND and _is_repeated(scene, best):
                newer = max(best, key=lambda other: other.geometry.intersection(ground).area)
                reason = f"{100 * share:.0f} % of it is in {newer.id}, {_versions(newer, scene)}"
                dropped.append(dropped_scene(scene, "reprocessed since", reason))
            else:
                best.append(scene)
        kept.extend(best)
    return sorted(kept, key=_time_order), dropped


def _is_repeated(scene: Scene, better: Sequence[Scene]) -> bool:
    """Say whether a scene whose footprint is in those of better ones shows nothing more."""
    if not any(_is_whole_tile(one) for one in (scene, *better)):
        return True
    return any(
        one.baseline != scene.baseline
        and abs((one.nodata_percent or 0) - (scene.nodata_percent or 0)) < SAME_NODATA
        for one in better
    )


def _is_whole_tile(scene: Scene) -> bool:
    """Say whether a footprint is of the tile, not of the data in it."""
    empty = scene.nodata_percent or 0.0
    return empty > 10 and geodesic_area_km2(scene.geometry) > TILE_KM2 * (1.1 - empty / 100)


def passes_over_tiles[Item: (Scene, Dropped)](items: Sequence[Item]) -> list[list[Item]]:
    """Return items in groups, each of one pass of one satellite over one tile.

    An item that does not say its tile is a group of its own.
    """
    groups: list[list[Item]] = []
    for item in sorted(items, key=lambda one: (one.tile, one.platform, one.datetime, one.id)):
        last = groups[-1][-1] if groups else None
        if (
            last is not None
            and item.tile
            and (last.tile, last.platform) == (item.tile, item.platform)
            and item.datetime - last.datetime <= ONE_PASS
        ):
            groups[-1].append(item)
        else:
            groups.append([item])
    return groups


def lost_to_cloud_alone(scenes: Sequence[Scene], dropped: Sequence[Dropped]) -> int:
    """Count the passes over a tile that only the item's own cloud cover kept out.

    Parameters
    ----------
    scenes, dropped
        Items that met every rule which needs no pixels, and those that did not.

    Notes
    -----
    Reprocessed duplicates count once, and not at all where another processing of the pass is used.
    """
    cloudy = [drop for drop in dropped if drop.rule == "too cloudy"]
    used = [dropped_scene(scene, "not needed", "") for scene in scenes]
    groups = passes_over_tiles([*cloudy, *used])
    return sum(all(one.rule == "too cloudy" for one in group) for group in groups)


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
    Where zones show the same share (to a percent), the zone that holds most of the area wins, then
    the one with more scenes. Scenes of other zones are warped later, and all of them if none has a
    CRS that is fit for measuring.
    """
    home = utm_epsg(area)
    zones = {epsg for epsg in {scene.epsg for scene in scenes} if _is_fit(epsg, area)}

    def rank(epsg: int) -> tuple[float, bool, int, int]:
        own = [scene.geometry for scene in scenes if scene.epsg == epsg]
        shown = shapely.intersection(shapely.union_all(own), area).area / area.area
        return round(shown, 2), epsg == home, len(own), -epsg

    return max(zones, key=rank, default=home)


def _is_fit(epsg: int, area: BaseGeometry) -> bool:
    """Say whether a grid of a CRS has metres that are metres."""
    crs = CRS.from_epsg(epsg)
    if not crs.is_projected or crs.axis_info[0].unit_conversion_factor != 1:
        return False
    return max(map(abs, scale_error_ppm(area, epsg=epsg))) < WORST_PPM
