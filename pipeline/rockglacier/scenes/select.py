"""The search stage: which scenes and DEM tiles are used, on which grid, and what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from rockglacier.engine import Progress, silent
from rockglacier.errors import InputError, NotFoundError, RemoteError
from rockglacier.grid import Grid, projected, utm_epsg
from rockglacier.scenes.asset import read_asset
from rockglacier.scenes.choose import (
    Dropped,
    Rule,
    choose_epsg,
    in_season,
    season_name,
    season_of,
    without_duplicates,
)
from rockglacier.scenes.measure import examine_all, lattice
from rockglacier.scenes.record import (
    DemTile,
    Scene,
    dem_from_item,
    scene_from_item,
    write_dem_tiles,
    write_scenes,
    write_table,
)
from rockglacier.storage import write_json
from rockglacier.study import Study
from rockglacier_stac.catalogs import PROVIDERS, Catalog, open_catalog
from rockglacier_stac.errors import CatalogError, StacError, UnknownCollectionError
from rockglacier_stac.search import item_datetime

DEM_MARGIN_M = 1000
"""DEM beyond the grid, so that slopes and shadows at its edge are right."""


@dataclass(slots=True)
class _Choice:
    """What the rules have decided so far."""

    scenes: list[Scene] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)


def search_scenes(study: Study, *, progress: Progress = silent) -> dict[str, Any]:
    """Choose scenes and DEM tiles, and write ``grid.json`` and the three tables.

    Returns
    -------
    dict
        ``found``, ``used``, ``dropped`` (rule to count), ``cover_percent`` (share of the basin that
        the used scenes show without cloud at least once), ``looks_median``, ``epsg``, ``tiles``,
        ``dem_tiles``.

    Raises
    ------
    NotFoundError
        Nothing is there, or no scene meets the rules; the message says how many there were and
        which was best.
    InputError
        An item lacks an asset, or no DEM tile lies in the area.
    RemoteError
        A catalog or a scene could not be read.
    """
    area, config = study.area, study.config
    with _stac_errors():
        catalog = _open(study, config.search.catalog)
        choice = _find(study, catalog)
        tiles = _find_dem(study, catalog, choice.scenes)
    choice.scenes, duplicates = without_duplicates(choice.scenes, area)
    choice.dropped += duplicates
    choice.scenes, cloudy, looks = examine_all(
        study, choice.scenes, lattice(area), progress=progress
    )
    choice.dropped += cloudy
    if not choice.scenes:
        raise _none_left(study, choice.dropped)
    epsg = choose_epsg(choice.scenes, area)
    grid = Grid.from_area(
        area,
        epsg=epsg,
        resolution=config.cube.resolution,
        block=config.cube.block,
        origin=_origin(choice.scenes, epsg),
    )
    write_json(study.grid_path, grid.to_dict())
    write_dem_tiles(tiles, study.dem_path)
    write_table(_dropped_table(choice.dropped), study.dropped_path)
    write_scenes(choice.scenes, study.scenes_path)
    return {
        "found": len(choice.scenes) + len(choice.dropped),
        "used": len(choice.scenes),
        "dropped": dict(Counter(drop.rule for drop in choice.dropped)),
        "cover_percent": round(100 * float((looks > 0).mean()), 2),
        "looks_median": float(np.median(looks)),
        "epsg": epsg,
        "tiles": dict(Counter(scene.tile for scene in choice.scenes)),
        "dem_tiles": len(tiles),
    }


@contextmanager
def _stac_errors() -> Iterator[None]:
    """Turn errors of the STAC layer into ours, with the same words."""
    try:
        yield
    except StacError as error:
        kinds = {UnknownCollectionError: NotFoundError, CatalogError: InputError}
        kind = kinds.get(type(error), RemoteError)
        raise kind(error.found, expected=error.expected, todo=error.todo) from error


def _open(study: Study, address: str) -> Catalog:
    return open_catalog(address if address in PROVIDERS else study.resolve(address))


def _find(study: Study, catalog: Catalog) -> _Choice:
    """Ask the catalog, and apply the rules that need no pixels."""
    search = study.config.search
    # A file costs nothing to ask, so that everything that is left out can be listed.
    limit = search.scene_cloud_max if catalog.is_remote else None
    items = _ask(study, catalog, cloud_max=limit)
    choice = _apply_rules(study, items)
    if not choice.scenes and limit is not None:
        items = _ask(study, catalog, cloud_max=None)
        choice = _apply_rules(study, items)
    if not items:
        raise _nothing_there(study, catalog)
    if not choice.scenes:
        raise _none_left(study, choice.dropped)
    return choice


def _ask(study: Study, catalog: Catalog, *, cloud_max: float | None) -> list[dict[str, Any]]:
    search = study.config.search
    return catalog.search(
        search.collection,
        intersects=study.area,
        start=search.start,
        end=search.end,
        cloud_max=cloud_max,
    )


def _apply_rules(study: Study, items: Sequence[dict[str, Any]]) -> _Choice:
    search, cube = study.config.search, study.config.cube
    season = _season(study)
    choice = _Choice()
    for item in items:
        cloud = item["properties"].get("eo:cloud_cover")
        month = item_datetime(item).month
        if not in_season(month, season):
            reason = f"month {month} is not within {season_name(season)}"
            choice.dropped.append(_dropped_item(item, "out of season", reason))
        elif cloud is None or float(cloud) >= search.scene_cloud_max:
            said = "it does not say its cloud" if cloud is None else f"{cloud:.1f} % cloud"
            reason = f"{said}; less than {search.scene_cloud_max:g} % is asked for"
            choice.dropped.append(_dropped_item(item, "too cloudy", reason))
        else:
            try:
                choice.scenes.append(scene_from_item(item, cube.bands))
            except InputError as error:
                if cube.on_unreadable == "fail":
                    raise
                choice.dropped.append(_dropped_item(item, "incomplete", error.found))
    return choice


def _season(study: Study) -> tuple[int, int]:
    latitude = study.area.representative_point().y
    return season_of(study.config.search.season, latitude=latitude)


def _dropped_item(item: dict[str, Any], rule: Rule, reason: str) -> Dropped:
    cloud = item["properties"].get("eo:cloud_cover")
    return Dropped(
        id=item["id"],
        datetime=item_datetime(item),
        cloud_cover=None if cloud is None else float(cloud),
        basin_cloud=None,
        rule=rule,
        reason=reason,
        geometry=shape(item["geometry"]) if item.get("geometry") else None,
    )


def _nothing_there(study: Study, catalog: Catalog) -> NotFoundError:
    search = study.config.search
    expected = "an area and a period that the catalog covers"
    if not catalog.is_remote:
        everything = catalog.search(search.collection)
        bounds = shapely.union_all([shape(item["geometry"]) for item in everything]).bounds
        days = sorted(item_datetime(item).date() for item in everything)
        expected = f"its items lie within {_corners(bounds)}, from {days[0]} to {days[-1]}"
    return NotFoundError(
        f"catalog {catalog.name!r} has no scene of {search.collection!r} over the area "
        f"{_corners(study.area.bounds)} from {search.start} to {search.end}",
        expected=expected,
        todo="check the area (west, south, east, north), search.start and search.end",
    )


def _corners(bounds: tuple[float, ...]) -> str:
    return "[" + ", ".join(f"{value:.2f}" for value in bounds) + "]"


def _none_left(study: Study, dropped: Sequence[Dropped]) -> NotFoundError:
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


def _find_dem(study: Study, catalog: Catalog, scenes: Sequence[Scene]) -> list[DemTile]:
    """Find the DEM tiles under any grid that the scenes may lead to; their date means nothing."""
    search = study.config.search
    if search.dem_catalog is not None:
        catalog = _open(study, search.dem_catalog)
    around = shapely.union_all(
        [
            projected(_rectangle(study.area, zone), epsg=4326, source_epsg=zone)
            for zone in {utm_epsg(study.area), *(scene.epsg for scene in scenes)}
        ]
    )
    items = catalog.search(search.dem_collection, intersects=around)
    tiles = sorted((dem_from_item(item) for item in items), key=lambda tile: tile.id)
    if not any(tile.geometry.intersects(study.area) for tile in tiles):
        raise InputError(
            f"catalog {catalog.name!r} has no DEM tile of {search.dem_collection!r} in the area "
            f"{_corners(study.area.bounds)}",
            expected="an area on land: the sea has no tiles",
            todo="check the area, or set search.dem_catalog and search.dem_collection",
        )
    return tiles


def _rectangle(area: BaseGeometry, zone: int) -> BaseGeometry:
    """Return the rectangle of a grid in a zone, with a margin, in its metres."""
    return shapely.box(*projected(area, epsg=zone).bounds).buffer(DEM_MARGIN_M)


def _origin(scenes: Sequence[Scene], epsg: int) -> tuple[float, float]:
    """Return a pixel corner of the first scene of the zone, from its item or else its header."""
    own = [scene for scene in scenes if scene.epsg == epsg]
    for scene in own:
        if scene.transform is not None:
            return scene.transform[2], scene.transform[5]
    first = own[0]
    band = next(band for band in first.assets if band != "SCL")
    transform = read_asset(first, band, lambda dataset: dataset.transform)
    return transform.c, transform.f


def _dropped_table(dropped: Sequence[Dropped]) -> gpd.GeoDataFrame:
    rows = [asdict(drop) for drop in sorted(dropped, key=lambda drop: (drop.datetime, drop.id))]
    names = [column.name for column in fields(Dropped)]
    columns = {name: [row[name] for row in rows] for name in names}
    table = gpd.GeoDataFrame(columns, geometry="geometry", crs=4326)
    table["datetime"] = pd.to_datetime(table["datetime"], utc=True)
    text = ["id", "rule", "reason"]
    numbers = ["cloud_cover", "basin_cloud"]
    return table.astype(dict.fromkeys(text, "object") | dict.fromkeys(numbers, "float64"))
