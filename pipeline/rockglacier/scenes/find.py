"""What a catalog is asked, and the rules that need no pixels."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry

from rockglacier.errors import InputError, NotFoundError
from rockglacier.grid import projected
from rockglacier.scenes.choose import Dropped, Rule, in_season, season_name, season_of
from rockglacier.scenes.record import DemTile, Scene, dem_from_item, scene_from_item
from rockglacier.storage import is_local
from rockglacier.study import Study
from rockglacier_stac import dialects
from rockglacier_stac.catalogs import Catalog, open_catalog
from rockglacier_stac.errors import ServiceError
from rockglacier_stac.globe import bbox_of, footprint_of
from rockglacier_stac.kept import KeptCatalog
from rockglacier_stac.providers import PROVIDERS
from rockglacier_stac.search import Query, item_datetime

logger = logging.getLogger(__name__)

DEM_MARGIN_M = 1000
"""DEM beyond the grid, so that slopes and shadows at its edge are right."""


@dataclass(slots=True, kw_only=True)
class Found:
    """What the rules have decided so far."""

    scenes: list[Scene] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    is_complete: bool = True
    """Whether the items that are too cloudy are among the dropped ones."""


def open_named(study: Study, address: str) -> Catalog:
    """Open a catalog of the config: a provider's name, a URL, or a path meant from its file."""
    place = address if address in PROVIDERS else study.resolve(address)
    return open_catalog(
        place, roots=[path for path in (study.base, study.folder) if is_local(path)]
    )


def open_shared(study: Study, address: str) -> Catalog:
    """Open a catalog of the config; what a server answers is kept where basins share it."""
    catalog = open_named(study, address)
    if study.answers is None or not catalog.is_remote:
        return catalog
    return KeptCatalog(catalog, study.answers)


def find_scenes(study: Study, catalog: Catalog) -> Found:
    """Ask the catalog for scenes, and apply the rules that need no pixels.

    A server is asked for what is clear enough; of what is not, to be counted, it sends no assets.

    Raises
    ------
    NotFoundError
        Nothing is there, or no scene meets the rules.
    InputError
        An item lacks an asset, and ``cube.on_unreadable`` is ``fail``.
    """
    limit = study.config.search.scene_cloud_max
    if not catalog.is_remote:
        items = _ask(study, catalog)
        found = _judged(study, items)
    else:
        items = _ask(study, catalog, cloud_max=limit)
        found = _judged(study, items)
        try:
            cloudy = _ask(study, catalog, cloud_min=limit, brief=True)
        except ServiceError as error:
            if not found.scenes:
                raise
            logger.warning("the cloudy scenes cannot be counted: %s", error)
            found.is_complete, cloudy = False, []
        items = [*items, *cloudy]
        found.dropped += _judged(study, cloudy).dropped
    if not items:
        raise _nothing_there(study, catalog)
    if not found.scenes:
        raise none_left(study, found.dropped)
    return found


def _ask(study: Study, catalog: Catalog, **conditions: Any) -> list[dict[str, Any]]:
    search = study.config.search
    return catalog.search(
        Query(search.collection, area=study.area, start=search.start, end=search.end, **conditions)
    )


def _judged(study: Study, items: Sequence[dict[str, Any]]) -> Found:
    search, cube = study.config.search, study.config.cube
    season = _season(study)
    keys: dict[str, str] = {str(band): key for band, key in search.assets.items()}
    found = Found()
    for item in items:
        cloud = item["properties"].get("eo:cloud_cover")
        month = item_datetime(item).month
        if not in_season(month, season):
            reason = f"month {month} is not within {season_name(season)}"
            found.dropped.append(_dropped_item(item, "out of season", reason))
        elif cloud is None or float(cloud) >= search.scene_cloud_max:
            said = "it does not say its cloud" if cloud is None else f"{cloud:.1f} % cloud"
            reason = f"{said}; less than {search.scene_cloud_max:g} % is asked for"
            found.dropped.append(_dropped_item(item, "too cloudy", reason))
        else:
            try:
                found.scenes.append(scene_from_item(item, cube.bands, keys))
            except InputError as error:
                if cube.on_unreadable == "fail":
                    raise
                found.dropped.append(_dropped_item(item, "incomplete", error.found))
    return found


def _season(study: Study) -> tuple[int, int]:
    latitude = study.area.representative_point().y
    return season_of(study.config.search.season, latitude=latitude)


def _dropped_item(item: dict[str, Any], rule: Rule, reason: str) -> Dropped:
    cloud = item["properties"].get("eo:cloud_cover")
    return Dropped(
        id=item["id"],
        datetime=item_datetime(item),
        tile=dialects.tile_of(item),
        platform=str(item["properties"].get("platform") or "").lower(),
        cloud_cover=None if cloud is None else float(cloud),
        basin_cloud=None,
        basin_snow=None,
        rule=rule,
        reason=reason,
        geometry=footprint_of(item),
    )


def _nothing_there(study: Study, catalog: Catalog) -> NotFoundError:
    search = study.config.search
    expected = "an area and a period that the catalog covers"
    if not catalog.is_remote:
        everything = catalog.search(Query(search.collection))
        footprints = [footprint_of(item) for item in everything]
        bounds = bbox_of(shapely.union_all([one for one in footprints if one is not None]))
        days = sorted(item_datetime(item).date() for item in everything)
        expected = f"its items lie within {_corners(bounds)}, from {days[0]} to {days[-1]}"
    return NotFoundError(
        f"catalog {catalog.name!r} has no scene of {search.collection!r} over the area "
        f"{_corners(bbox_of(study.area))} from {search.start} to {search.end}",
        expected=expected,
        todo="check the area (west, south, east, north), search.start and search.end",
    )


def _corners(bounds: tuple[float, ...]) -> str:
    return "[" + ", ".join(f"{value:.2f}" for value in bounds) + "]"


def none_left(study: Study, dropped: Sequence[Dropped]) -> NotFoundError:
    """Return the error for scenes that were all left out: how many, why, and which was best."""
    search = study.config.search
    counts = Counter(drop.rule for drop in dropped)
    listed = ", ".join(f"{count} {rule}" for rule, count in counts.items())
    over_basin = [drop for drop in dropped if drop.rule == "cloudy over the basin"]
    in_tile = [drop for drop in dropped if drop.rule == "too cloudy"]
    expected = (
        f"in {season_name(_season(study))} a scene with less than {search.scene_cloud_max:g} % "
        f"cloud, and less than {search.basin_cloud_max:g} % over the basin"
    )
    todo = "widen search.start, search.end or search.season"
    if over_basin:
        best = min(over_basin, key=lambda drop: drop.basin_cloud or 0.0)
        expected += f"; the best is {best.id} with {best.basin_cloud:.1f} % over the basin"
        todo = f"raise search.basin_cloud_max, or {todo}"
    elif any(drop.cloud_cover is not None for drop in in_tile):
        told = [drop for drop in in_tile if drop.cloud_cover is not None]
        best = min(told, key=lambda drop: drop.cloud_cover or 0.0)
        expected += f"; the best is {best.id} with {best.cloud_cover:.1f} %"
        todo = f"raise search.scene_cloud_max, or {todo}"
    return NotFoundError(
        f"none of the {len(dropped)} scene(s) over the area can be used: {listed}",
        expected=expected,
        todo=todo,
    )


def find_dem(study: Study, catalog: Catalog, zones: Iterable[int]) -> list[DemTile]:
    """Find the DEM tiles under the grid of any of the zones; their date means nothing.

    Parameters
    ----------
    study
        Its area, and ``search.dem_catalog`` if the DEM lies elsewhere.
    catalog
        That of the scenes.
    zones
        EPSG codes, in metres.

    Raises
    ------
    InputError
        No tile lies in the area.
    """
    search = study.config.search
    if search.dem_catalog is not None:
        catalog = open_shared(study, search.dem_catalog)
    around = shapely.union_all(
        [projected(_rectangle(study, zone), epsg=4326, source_epsg=zone) for zone in zones]
    )
    items = catalog.search(Query(search.dem_collection, area=around))
    key = search.assets.get("DEM", "data")
    tiles = sorted((dem_from_item(item, key) for item in items), key=lambda tile: tile.id)
    if not any(tile.geometry.intersects(study.area) for tile in tiles):
        raise InputError(
            f"catalog {catalog.name!r} has no DEM tile of {search.dem_collection!r} in the area "
            f"{_corners(bbox_of(study.area))}",
            expected="an area on land: the sea has no tiles",
            todo="check the area, or set search.dem_catalog and search.dem_collection",
        )
    return tiles


def _rectangle(study: Study, zone: int) -> BaseGeometry:
    """Return the rectangle of a grid in a zone, with a margin, in its metres."""
    bounds = projected(study.area, epsg=zone).bounds
    return shapely.box(*bounds).buffer(study.config.cube.margin_m + DEM_MARGIN_M)
