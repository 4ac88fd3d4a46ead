"""The label stage: the reference inventory burnt into the grid, and the ground split."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
import zarr
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry
from zarr.codecs import BloscCodec

from rockglacier.config import fingerprint
from rockglacier.engine import Progress, Receipts, Task, run_tasks, silent
from rockglacier.errors import InputError
from rockglacier.grid import Grid, Window, projected
from rockglacier.labels.reference import read_reference
from rockglacier.labels.split import SplitName, make_splits, windows_of
from rockglacier.scenes.record import write_table
from rockglacier.study import Study, read_area

logger = logging.getLogger(__name__)

BACKGROUND, ROCK_GLACIER, IGNORE = 0, 1, 255
RECIPE = 1
CHUNK = 128
THREADS = 4
GROUNDS: tuple[SplitName, ...] = ("train", "validation", "test", "guard")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlines:
    """What is burnt, all in the CRS of the grid."""

    landforms: tuple[BaseGeometry, ...]
    ignored: tuple[BaseGeometry, ...]
    """Polygons that a filter removed: their ground is neither landform nor background."""
    complete_within: BaseGeometry
    """Where ground without a landform is background."""


def burn(outlines: Outlines, grid: Grid, window: Window) -> NDArray[np.uint8]:
    """Burn outlines into a window, by pixel centres.

    Returns
    -------
    ndarray
        (y, x) uint8: 0 background, 1 rock glacier, 255 ignore. A landform wins over ignored ground.
    """
    labels = np.full((window.height, window.width), IGNORE, np.uint8)
    transform = grid.window_geobox(window).affine
    box = grid.window_geobox(window).boundingbox
    frame = shapely.box(box.left, box.bottom, box.right, box.top)
    layers: Sequence[tuple[Sequence[BaseGeometry], int]] = (
        ((outlines.complete_within,), BACKGROUND),
        (outlines.ignored, IGNORE),
        (outlines.landforms, ROCK_GLACIER),
    )
    for shapes, value in layers:
        near = [shape for shape in shapes if shape.intersects(frame)]
        if near:
            rasterize(near, out=labels, transform=transform, default_value=value)
    return labels


@dataclass(frozen=True, slots=True, kw_only=True)
class BurnWork:
    """Burns one block into the store."""

    grid: Grid
    outlines: Outlines
    store: Path

    def __call__(self, task: Task) -> dict[str, Any]:
        """Write a block and return how many pixels of each label it holds."""
        window = next(b.window for b in self.grid.blocks() if b.name == task.name)
        labels = burn(self.outlines, self.grid, window)
        zarr.open_array(self.store / "labels", mode="r+")[window.slices] = labels
        counts = np.bincount(labels.ravel(), minlength=256)
        return {
            "background": int(counts[BACKGROUND]),
            "rock_glacier": int(counts[ROCK_GLACIER]),
            "ignored": int(counts[IGNORE]),
        }


def label_basin(study: Study, *, progress: Progress = silent) -> dict[str, Any]:
    """Write ``labels.zarr``, ``labels.parquet`` and ``splits.parquet``.

    Returns
    -------
    dict
        Polygons by what was done with them, labelled area, share of landform pixels.

    Raises
    ------
    InputError
        The study names no reference, or the reference cannot be used.
    """
    config = study.config.labels
    if config.reference is None:
        raise InputError(
            f"basin {study.config.name!r} names no reference inventory",
            expected="labels.reference, a polygon file",
            todo="set it, or map the basin with a given model: rockglacier map",
        )
    grid = study.grid
    table = read_reference(
        study.resolve(config.reference),
        area=study.area,
        where=config.where,
        may_be_empty=config.complete_within is not None,
    )
    complete = (
        read_area(study.resolve(config.complete_within)) if config.complete_within else study.area
    )
    splits = make_splits(grid, config)
    outlines = _outlines(table, complete, grid)
    receipts = Receipts(study.receipts_path / "label")
    _create(study, receipts)
    inputs = {
        "recipe": RECIPE,
        "grid": grid.to_dict(),
        "outlines": fingerprint([*map(shapely.to_wkb, _all(outlines))]),
    }
    run_tasks(
        [Task(name=block.name, inputs=inputs) for block in grid.blocks()],
        BurnWork(grid=grid, outlines=outlines, store=study.labels_path),
        receipts=receipts,
        what="burn labels",
        workers=THREADS,
        progress=progress,
    )
    write_table(table, study.label_table_path)
    write_table(splits, study.splits_path)  # last: it says that the stage is finished
    return _facts(table, splits, study, receipts)


def _outlines(table: gpd.GeoDataFrame, complete: BaseGeometry, grid: Grid) -> Outlines:
    def shapes(rows: gpd.GeoDataFrame) -> tuple[BaseGeometry, ...]:
        return tuple(projected(shape, epsg=grid.epsg) for shape in rows.geometry)

    return Outlines(
        landforms=shapes(table[table["used"]]),
        ignored=shapes(table[table["action"] == "filtered"]),
        complete_within=projected(complete, epsg=grid.epsg),
    )


def _all(outlines: Outlines) -> tuple[BaseGeometry, ...]:
    divider = shapely.Point()
    return (
        *outlines.landforms, divider, *outlines.ignored, divider, outlines.complete_within
    )  # fmt: skip


def _create(study: Study, receipts: Receipts) -> None:
    """Make an empty store, unless the one that is there fits the grid."""
    grid, path = study.grid, study.labels_path
    shards = (grid.block, grid.block)
    if (path / "labels" / "zarr.json").is_file():
        held = zarr.open_array(path / "labels", mode="r")
        if held.shape == grid.shape and held.shards == shards:
            return
    for name, _ in list(receipts.all()):
        receipts.drop(name)
    shutil.rmtree(path, ignore_errors=True)
    attributes: dict[str, Any] = {
        "proj:code": f"EPSG:{grid.epsg}",
        "spatial:transform": list(grid.transform)[:6],
    }
    group = zarr.open_group(path, mode="w", zarr_format=3, attributes=attributes)
    group.create_array(
        "labels",
        shape=grid.shape,
        dtype="uint8",
        shards=shards,
        chunks=(CHUNK, CHUNK),
        compressors=BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"),
        fill_value=IGNORE,
        dimension_names=("y", "x"),
        attributes={"flag_values": [0, 1, 255], "flag_meanings": "background rock_glacier ignore"},
    )


def _facts(
    table: gpd.GeoDataFrame, splits: gpd.GeoDataFrame, study: Study, receipts: Receipts
) -> dict[str, Any]:
    counts = [receipt for _, receipt in receipts.all()]
    landform = sum(receipt["rock_glacier"] for receipt in counts)
    background = sum(receipt["background"] for receipt in counts)
    pixels = study.grid.shape[0] * study.grid.shape[1]
    windows = {name: windows_of(splits, name) for name in GROUNDS}
    return {
        "used": int(table["used"].sum()),
        "actions": {str(key): int(n) for key, n in table["action"].value_counts().items()},
        "area_km2": float(table.loc[table["used"], "area_km2"].sum()),
        "landform_share": landform / max(landform + background, 1),
        "ground": {
            name: round(sum(window.height * window.width for window in ground) / pixels, 4)
            for name, ground in windows.items()
        },
        "landform_pixels": _landform_pixels(study, windows),
    }


def _landform_pixels(study: Study, windows: Mapping[SplitName, list[Window]]) -> dict[str, int]:
    """Count the landform pixels of each ground; warn where one that needs some has none."""
    labels = zarr.open_array(study.labels_path / "labels", mode="r")
    found = {
        name: sum(
            int(np.count_nonzero(np.asarray(labels[window.slices]) == ROCK_GLACIER))
            for window in ground
        )
        for name, ground in windows.items()
    }
    for name, count in found.items():
        if any(found.values()) and not count and windows[name] and name != "guard":
            logger.warning(
                "the %s ground holds no rock glacier: choose another labels.seed or labels.split",
                name,
            )
    return {str(name): count for name, count in found.items()}
