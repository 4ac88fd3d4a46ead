"""The cube stage: every block of the grid from scenes and DEM, finished blocks kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rockglacier.cube.dem import dem_mosaic
from rockglacier.cube.group import GROUP, GroupWork, group_shape
from rockglacier.cube.load import looks_of, scenes_in
from rockglacier.cube.store import LAYERS, create_cube
from rockglacier.cube.surface import Surface, mean_sun
from rockglacier.engine import EVERYTHING, Progress, Receipts, Selection, Task, run_groups, silent
from rockglacier.errors import NotFoundError
from rockglacier.grid import Window
from rockglacier.scenes.record import Scene, read_scenes
from rockglacier.storage import redact, require_space
from rockglacier.study import Study

RECIPE = 1
"""Counts the changes of what a block's pixels are: a new number rebuilds every block."""


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
        Blocks built, kept and left, scenes, shares of the pixels, reads retried and skipped.

    Raises
    ------
    NotFoundError
        The search has not run, or found no scene or no DEM.
    BlocksFailedError
        Blocks whose scenes (only with ``on_unreadable: fail``) or DEM tiles cannot be read; the
        others are done.
    InputError
        The disk is full or not writable.
    """
    work = _work(study)
    receipts = Receipts(study.receipts_path / "cube")
    tasks = {
        block.name: _task(study, work, block.name, block.window) for block in study.grid.blocks()
    }
    described = _describe(study, work)
    if create_cube(study, attrs=described):
        for name in [*dict(receipts.all()), *receipts.failures()]:
            receipts.drop(name)
    todo = [task for task in tasks.values() if not receipts.is_current(task)]
    pixels = sum(task.inputs["window"][2] * task.inputs["window"][3] for task in todo)
    require_space(study.folder, pixels * _pixel_bytes(len(work.bands)), what="the cube")
    cols, _ = _shape(study, work.scenes)
    outcome = run_groups(
        [[tasks[block.name] for block in group] for group in study.grid.groups(GROUP, cols)],
        work,
        receipts=receipts,
        what="cube",
        workers=1,
        client=client,
        progress=progress,
        selection=selection,
    )
    return {
        "blocks": len(tasks),
        "built": outcome.built,
        "kept": outcome.kept,
        "left": outcome.left,
        "scenes": len(work.scenes),
        "looks": len(looks_of(work.scenes, epsg=work.grid.epsg)),
        **_totals([receipt for _, receipt in receipts.all()]),
    }


def _work(study: Study) -> GroupWork:
    scenes = read_scenes(study.require(study.scenes_path, stage="search"))
    if not scenes:
        raise NotFoundError(
            f"no scene is left for basin {study.config.name!r}",
            expected="at least one scene in scenes.parquet",
            todo="raise search.scene_cloud_max or search.basin_cloud_max, or widen the period",
        )
    cube = study.config.cube
    return GroupWork(
        path=study.cube_path,
        grid=study.grid,
        bands=cube.bands,
        composite=cube.composite,
        skip_unreadable=cube.on_unreadable == "skip",
        scenes=tuple(scenes),
        surface=Surface(grid=study.grid, dem=dem_mosaic(study), sun=mean_sun(scenes)),
        strip=_shape(study, scenes)[1],
    )


def _shape(study: Study, scenes: Sequence[Scene]) -> tuple[int, int]:
    """Return the width of read groups, blocks, and the height of their strips, pixels."""
    crowded = max(len(scenes_in(scenes, study.grid, block.window)) for block in study.grid.blocks())
    return group_shape(study.grid, max(crowded, 1), len(study.config.cube.bands))


def _task(study: Study, work: GroupWork, name: str, window: Window) -> Task:
    sun = work.surface.sun
    scenes = [
        {
            "id": scene.id,
            "add": scene.offset_in_pixels,
            "assets": {band: redact(href) for band, href in sorted(scene.assets.items())},
            **({"cloud": scene.basin_cloud} if work.composite == "least-cloudy" else {}),
        }
        for scene in scenes_in(work.scenes, work.grid, window)
    ]
    return Task(
        name=name,
        inputs={
            "recipe": RECIPE,
            "window": [window.y, window.x, window.height, window.width],
            "grid": work.grid.to_dict(),
            "cube": study.config.cube.model_dump(mode="json"),
            "scenes": scenes,
            "dem": [redact(tile.href) for tile in work.surface.dem.tiles],
            "sun": None if sun is None else [sun.azimuth, sun.elevation],
        },
    )


def _describe(study: Study, work: GroupWork) -> dict[str, Any]:
    """Return the attributes of the group that say where its pixels come from."""
    sun = work.surface.sun
    return {
        "title": f"Sentinel-2 reflectance and terrain of {study.config.name}",
        "recipe": RECIPE,
        "composite": work.composite,
        "sun": None if sun is None else [sun.azimuth, sun.elevation],
        "scenes": [
            {
                "id": scene.id,
                "collection": scene.collection,
                "datetime": scene.datetime.isoformat(),
                "href": scene.self_href,
                "offset_added": scene.offset_in_pixels,
                "offset_reason": scene.offset_reason,
            }
            for scene in work.scenes
        ],
        "dem": [{"id": tile.id, "href": redact(tile.href)} for tile in work.surface.dem.tiles],
    }


def _pixel_bytes(bands: int) -> int:
    """Return the bytes of one pixel of all layers, uncompressed: an upper bound of the store."""
    sizes = {name: np.dtype(dtype).itemsize for name, (dtype, _, _) in LAYERS.items()}
    return sum(sizes.values()) + (bands - 1) * sizes["reflectance"]


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
        "retries": sum(receipt["retries"] for receipt in receipts),
        "skipped": sorted(skipped),
        "block_seconds": round(sum(receipt["seconds"] for receipt in receipts), 1),
    }
