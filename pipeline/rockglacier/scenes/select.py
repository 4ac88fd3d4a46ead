"""The search stage: which scenes and DEM tiles are used, on which grid, and what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from rockglacier.engine import Progress, silent
from rockglacier.errors import InputError, NotFoundError, RemoteError
from rockglacier.grid import Grid, scale_error_ppm, utm_shares
from rockglacier.scenes.choose import (
    Dropped,
    choose_epsg,
    dropped_scene,
    lost_to_cloud_alone,
    without_duplicates,
)
from rockglacier.scenes.cover import MEDIAN_LOOKS, fewest, looks_at, overpasses
from rockglacier.scenes.find import Found, find_dem, find_scenes, none_left, open_shared
from rockglacier.scenes.measure import Measured, lattice, measure_all
from rockglacier.scenes.record import Scene, write_dem_tiles, write_scenes, write_table
from rockglacier.scenes.settle import settle_all
from rockglacier.storage import write_json
from rockglacier.study import Study
from rockglacier_stac.access import require_access
from rockglacier_stac.errors import AccessError, CatalogError, StacError, UnknownCollectionError


def search_scenes(study: Study, *, progress: Progress = silent) -> dict[str, Any]:
    """Choose scenes and DEM tiles, and write ``grid.json``, ``search.json`` and the three tables.

    Returns
    -------
    dict
        What ``search.json`` holds. ``found``, ``used``, ``dropped`` (rule to count),
        ``cloud_alone`` (passes over a tile that only the item's own cloud cover kept out; None if
        the server did not say), ``cover_percent`` (share of the basin that the used scenes show
        without cloud at least once), ``looks_median``, ``min_clear``; ``fewer_percent``,
        ``thin_percent`` and ``never_percent`` (share of the basin with fewer looks free of cloud
        and snow than ``min_clear``, than three, and with none); ``epsg``, ``scale_error_ppm``
        (lowest and highest in the basin), ``zones`` (EPSG code to scenes), ``tiles``,
        ``dem_tiles``, ``noted`` (scenes whose item and files disagree).

    Raises
    ------
    NotFoundError
        Nothing is there, or no scene meets the rules; the message says how many there were and
        which was best.
    InputError
        An item lacks an asset, keys are missing, or no DEM tile lies in the area.
    RemoteError
        A catalog or a scene could not be read.
    """
    with _stac_errors():
        catalog = open_shared(study, study.config.search.catalog)
        found = find_scenes(study, catalog)
        zones = utm_shares(study.area)
        tiles = find_dem(study, catalog, zones)
        for href in (found.scenes[0].assets["SCL"], tiles[0].href):
            require_access(href)
    cloud_alone = lost_to_cloud_alone(found.scenes, found.dropped) if found.is_complete else None
    found.scenes, duplicates = without_duplicates(found.scenes, study.area)
    found.dropped += duplicates
    used = _measured_and_chosen(study, found, progress=progress)
    scenes = [one.scene for one in used]
    grid = _grid(study, scenes)
    if grid.epsg not in zones:
        with _stac_errors():
            tiles = find_dem(study, catalog, [grid.epsg])
    facts = {
        "found": len(scenes) + len(found.dropped),
        "used": len(scenes),
        "dropped": dict(Counter(drop.rule for drop in found.dropped)),
        "cloud_alone": cloud_alone,
        **_looks(used, least=study.config.search.min_clear),
        "epsg": grid.epsg,
        "scale_error_ppm": [round(v) for v in scale_error_ppm(study.area, epsg=grid.epsg)],
        "zones": {str(k): n for k, n in sorted(Counter(one.epsg for one in scenes).items())},
        "tiles": dict(Counter(scene.tile for scene in scenes)),
        "dem_tiles": len(tiles),
        "noted": sum(bool(scene.notes) for scene in scenes),
    }
    write_json(study.grid_path, grid.to_dict())
    write_json(study.search_path, facts)
    write_dem_tiles(tiles, study.dem_path)
    write_table(_dropped_table(found.dropped), study.dropped_path)
    write_scenes(scenes, study.scenes_path)
    return facts


@contextmanager
def _stac_errors() -> Iterator[None]:
    """Turn errors of the STAC layer into ours, with the same words."""
    try:
        yield
    except StacError as error:
        kinds: dict[type[StacError], type[InputError | NotFoundError]] = {
            UnknownCollectionError: NotFoundError,
            CatalogError: InputError,
            AccessError: InputError,
        }
        kind = kinds.get(type(error), RemoteError)
        raise kind(error.found, expected=error.expected, todo=error.todo) from error


def _measured_and_chosen(study: Study, found: Found, *, progress: Progress) -> list[Measured]:
    """Return the scenes to use, in order of time; ``found`` gets those that are dropped."""
    points = lattice(study.area)
    candidates, dropped = measure_all(study, found.scenes, points, progress=progress)
    found.dropped += dropped
    settled: dict[str, Measured] = {}
    while True:
        used = _enough(candidates, least=study.config.search.min_clear)
        fresh = [one for one in used if one.scene.id not in settled]
        if not fresh:
            break
        whole, dropped = settle_all(study, fresh, progress=progress)
        found.dropped += dropped
        settled |= {one.scene.id: one for one in whole}
        lost = {drop.id for drop in dropped}
        candidates = [one for one in candidates if one.scene.id not in lost]
    if not used:
        raise none_left(study, found.dropped)
    ids = {one.scene.id for one in used}
    looks = f"{study.config.search.min_clear} clear looks, or all there are, come from others"
    found.dropped += [
        dropped_scene(one.scene, "not needed", looks)
        for one in candidates
        if one.scene.id not in ids
    ]
    return [settled[one.scene.id] for one in used]


def _enough(candidates: Sequence[Measured], *, least: int) -> list[Measured]:
    """Return as many scenes as are needed, in order of time; all of them if ``least`` is 0.

    Snow may hide a place in every scene: such a place still needs looks.
    """
    in_time = sorted(candidates, key=lambda one: (one.scene.datetime, one.scene.id))
    if not least:
        return in_time
    ranked = sorted(in_time, key=lambda one: (-(one.scene.basin_clear or 0), one.scene.datetime))
    if not ranked:
        return []
    seen = np.stack([np.concatenate([one.is_clear, one.is_seen]) for one in ranked])
    chosen = fewest(seen, overpasses([one.scene for one in ranked]), least=least)
    ids = {ranked[index].scene.id for index in chosen}
    return [one for one in in_time if one.scene.id in ids]


def _looks(used: Sequence[Measured], *, least: int) -> dict[str, Any]:
    passes = overpasses([one.scene for one in used])
    seen = looks_at(np.stack([one.is_seen for one in used]), passes)
    clear = looks_at(np.stack([one.is_clear for one in used]), passes)
    return {
        "cover_percent": round(100 * float((seen > 0).mean()), 2),
        "looks_median": float(np.median(seen)),
        "min_clear": least,
        "fewer_percent": round(100 * float((clear < max(1, least)).mean()), 2),
        "thin_percent": round(100 * float((clear < MEDIAN_LOOKS).mean()), 2),
        "never_percent": round(100 * float((clear == 0).mean()), 2),
    }


def _grid(study: Study, scenes: Sequence[Scene]) -> Grid:
    """Return the grid of the zone that shows most, on the pixels of its first scene."""
    epsg = choose_epsg(scenes, study.area)
    own = [scene.transform for scene in scenes if scene.epsg == epsg and scene.transform]
    return Grid.from_area(
        study.area,
        epsg=epsg,
        resolution=study.config.cube.resolution,
        block=study.config.cube.block,
        origin=(own[0][2], own[0][5]) if own else (0.0, 0.0),
        margin_m=study.config.cube.margin_m,
    )


def _dropped_table(dropped: Sequence[Dropped]) -> gpd.GeoDataFrame:
    rows = [asdict(drop) for drop in sorted(dropped, key=lambda drop: (drop.datetime, drop.id))]
    names = [column.name for column in fields(Dropped)]
    columns = {name: [row[name] for row in rows] for name in names}
    table = gpd.GeoDataFrame(columns, geometry="geometry", crs=4326)
    table["datetime"] = pd.to_datetime(table["datetime"], utc=True)
    text = ["id", "tile", "platform", "rule", "reason"]
    numbers = ["cloud_cover", "basin_cloud", "basin_snow"]
    return table.astype(dict.fromkeys(text, "object") | dict.fromkeys(numbers, "float64"))
