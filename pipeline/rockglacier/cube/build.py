"""The cube stage: every block of the grid from scenes and DEM, finished blocks kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely

from rockglacier.cube.dem import dem_mosaic
from rockglacier.cube.extra import extra_layers
from rockglacier.cube.group import GROUP, GroupWork, group_shape
from rockglacier.cube.look import Footprints, looks_of
from rockglacier.cube.rows import COUNTS
from rockglacier.cube.spread import spread_halo
from rockglacier.cube.store import create_cube, kept_attrs, layers_of
from rockglacier.cube.sun import Sun
from rockglacier.cube.surface import Surface, mean_sun, reached
from rockglacier.cube.tiers import tier_table
from rockglacier.engine import EVERYTHING, Progress, Receipts, Selection, Task, run_groups, silent
from rockglacier.errors import NotFoundError
from rockglacier.grid import Window, projected
from rockglacier.periods import periods_of
from rockglacier.scenes.asset import Again, Retries
from rockglacier.scenes.record import DemTile, read_dem_tiles, read_scenes
from rockglacier.storage import redact, require_space
from rockglacier.study import Study

RECIPE = 3
"""Counts the changes of what a block's pixels are: a new number rebuilds every block."""

DEM_MARGIN_DEG = 0.01
"""Ground around a block whose DEM tiles it depends on: more than the kernel reaches."""


def build_cube(
    study: Study,
    *,
    progress: Progress = silent,
    client: Any | None = None,
    selection: Selection = EVERYTHING,
) -> dict[str, Any]:
    """Build every block of the cube whose receipt does not match.

    Parameters
    ----------
    study
        Searched already: it has a grid, scenes and DEM tiles.
    progress
        Told after every block.
    client
        A ``distributed.Client``; default: threads of this process.
    selection
        The blocks that are meant; the others are left as they are.

    Returns
    -------
    dict
        Blocks built, kept and left, scenes, shares of the pixels, reads retried (those of headers
        apart) and skipped, bytes read (of scenes in the grid's zone, as they are stored) and
        written.

    Raises
    ------
    NotFoundError
        The search has not run, or found no scene or no DEM.
    BlocksFailedError
        Blocks whose scenes (only with ``on_unreadable: fail``) or DEM tiles cannot be read; the
        others are done.
    InputError
        The disk is full or not writable, or a raster of ``cube.extra`` cannot join.
    """
    again = Retries()
    work = _work(study, again)
    footprints = work.footprints
    tasks, receipts = _tasks(study, footprints, work.surface.sun)
    for layer in work.extra:
        layer.require(work.grid, again=again)
    if create_cube(study, attrs=_describe(study, work)):
        for name in [*dict(receipts.all()), *receipts.failures()]:
            receipts.drop(name)
    current = receipts.current(tasks)
    todo = [task.inputs["window"] for task in tasks if task.name not in current]
    pixels = sum(height * width for _, _, height, width in todo)
    require_space(study.folder, pixels * _pixel_bytes(study), what="the cube")
    named = {task.name: task for task in tasks}
    cols, _ = _shape(study, footprints)
    outcome = run_groups(
        [[named[block.name] for block in group] for group in study.grid.groups(GROUP, cols)],
        work,
        receipts=receipts,
        what="cube",
        workers=1,
        client=client,
        progress=progress,
        selection=selection,
    )
    return {
        **outcome.facts,
        "scenes": len(footprints.scenes),
        "looks": len(looks_of(footprints.scenes, epsg=work.grid.epsg)),
        "periods": len(work.periods),
        "header_retries": again.count,
        **_totals([receipt for _, receipt in receipts.all()]),
    }


def cube_tasks(study: Study) -> tuple[list[Task], Receipts]:
    """Return the blocks of the study's cube, and where they are recorded; opens no raster.

    Raises
    ------
    NotFoundError
        The search has not run, or found no scene.
    """
    footprints = _footprints(study)
    return _tasks(study, footprints, _sun(study, footprints))


def _tasks(study: Study, footprints: Footprints, sun: Sun) -> tuple[list[Task], Receipts]:
    tiles = read_dem_tiles(study.require(study.dem_path, stage="search"))
    extra = [layer.identity() for layer in extra_layers(study)]
    tasks = [
        _task(study, block.name, block.window, footprints, tiles, sun, extra)
        for block in study.grid.blocks()
    ]
    return tasks, Receipts(study.receipts_path / "cube")


def _footprints(study: Study) -> Footprints:
    scenes = read_scenes(study.require(study.scenes_path, stage="search"))
    if not scenes:
        raise NotFoundError(
            f"no scene is left for basin {study.config.name!r}",
            expected="at least one scene in scenes.parquet",
            todo="raise search.scene_cloud_max or search.basin_cloud_max, or widen the period",
        )
    return Footprints(scenes, study.grid)


def _sun(study: Study, footprints: Footprints) -> Sun:
    """Return the sun of the study's cube: that of its first scenes, kept when others join them."""
    held = (kept_attrs(study) or {}).get("sun")  # none in cubes of older versions
    return Sun(azimuth=held[0], elevation=held[1]) if held else mean_sun(footprints.scenes)


def _work(study: Study, again: Again) -> GroupWork:
    footprints, cube = _footprints(study), study.config.cube
    sun = _sun(study, footprints)
    return GroupWork(
        path=study.cube_path,
        grid=study.grid,
        bands=cube.bands,
        composite=cube.composite,
        tiers=tier_table(
            clear=cube.clear_classes, snow=cube.snow_classes, shadow=cube.shadow_classes
        ),
        buffer=_buffer(study),
        buffer_classes=cube.buffer_classes,
        mask_values=cube.mask_values if "MASK" in study.config.search.assets else None,
        smooth=cube.coarse_bands == "interpolate",
        extra=extra_layers(study),
        skip_unreadable=cube.on_unreadable == "skip",
        periods=periods_of(study.config),
        footprints=footprints,
        surface=Surface(grid=study.grid, dem=dem_mosaic(study, again=again), sun=sun),
        strip=_shape(study, footprints)[1],
    )


def _shape(study: Study, footprints: Footprints) -> tuple[int, int]:
    """Return the width of read groups, blocks, and the height of their strips, pixels."""
    crowded = max((footprints.near(block.window) for block in study.grid.blocks()), key=len)
    looks = len(looks_of(crowded, epsg=study.grid.epsg))
    bands = len(study.config.cube.bands)
    return group_shape(study.grid, looks=max(looks, 1), scenes=max(len(crowded), 1), bands=bands)


def _buffer(study: Study) -> float:
    """Return the pixels around clouds that are left out."""
    return study.config.cube.cloud_buffer_m / study.grid.resolution


def _task(
    study: Study,
    name: str,
    window: Window,
    footprints: Footprints,
    tiles: Sequence[DemTile],
    sun: Sun,
    extra: Sequence[dict[str, Any]],
) -> Task:
    cube, grid = study.config.cube, study.grid
    near = window.grown(spread_halo(_buffer(study)))
    planned = [
        {
            "id": scene.id,
            "add": scene.offset_in_pixels,
            "assets": {band: redact(href) for band, href in sorted(scene.assets.items())},
            **({"cloud": scene.basin_cloud} if cube.composite == "least-cloudy" else {}),
        }
        for scene in footprints.near(near)
    ]
    box = grid.window_geobox(reached(grid, window, sun)).boundingbox
    ground = projected(shapely.box(*box.bbox), epsg=4326, source_epsg=grid.epsg)
    around = ground.buffer(DEM_MARGIN_DEG)
    return Task(
        name=name,
        inputs={
            "recipe": RECIPE,
            "window": [window.y, window.x, window.height, window.width],
            "grid": grid.to_dict(),
            "cube": cube.model_dump(mode="json"),
            "scenes": planned,
            "dem": [redact(tile.href) for tile in tiles if tile.geometry.intersects(around)],
            "sun": [sun.azimuth, sun.elevation],
            "extra": list(extra),
        },
    )


def _describe(study: Study, work: GroupWork) -> dict[str, Any]:
    """Return the attributes of the group that say where its pixels come from."""
    sun = work.surface.sun
    return {
        "title": f"Sentinel-2 reflectance and terrain of {study.config.name}",
        "recipe": RECIPE,
        "composite": work.composite,
        "sun": [sun.azimuth, sun.elevation],
        "scenes": [
            {
                "id": scene.id,
                "collection": scene.collection,
                "datetime": scene.datetime.isoformat(),
                "href": scene.self_href,
                "offset_added": scene.offset_in_pixels,
                "offset_reason": scene.offset_reason,
                "offset_evidence": scene.offset_evidence,
                "offset_pixels": scene.offset_pixels,
                "offset_dark_percent": scene.offset_dark_percent,
                "notes": scene.notes,
            }
            for scene in work.footprints.scenes
        ],
        "dem": [{"id": tile.id, "href": redact(tile.href)} for tile in work.surface.dem.tiles],
        "extra": [
            {"name": layer.name, "href": redact(layer.href), "license": layer.license}
            for layer in work.extra
        ],
    }


def _pixel_bytes(study: Study) -> int:
    """Return the bytes of one pixel of all layers, uncompressed: an upper bound of the store."""
    times, bands = len(periods_of(study.config)), len(study.config.cube.bands)
    return sum(
        np.dtype(dtype).itemsize
        * (times if "time" in dims else 1)
        * (bands if "band" in dims else 1)
        for dtype, dims, _ in layers_of(study).values()
    )


def _totals(receipts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    pixels = sum(receipt["pixels"] for receipt in receipts)
    shares = ("clear_share", "snow_share", "shadow_share", "empty_share", "no_elevation_share")
    skipped = {entry["item"] for receipt in receipts for entry in receipt["skipped"]}
    return {
        "pixels": pixels,
        **{
            share: round(
                sum(receipt[share] * receipt["pixels"] for receipt in receipts) / pixels, 4
            )
            for share in shares
        },
        **{
            name: sum(receipt.get(name, 0) for receipt in receipts)
            for name in (*COUNTS, "written_bytes")
        },
        "skipped": sorted(skipped),
        "block_seconds": round(sum(receipt["seconds"] for receipt in receipts), 1),
    }
