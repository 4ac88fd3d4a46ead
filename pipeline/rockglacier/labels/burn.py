"""The label stage: the reference inventory burnt into the grid, and the ground split."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry
from zarr.codecs import BloscCodec

from rockglacier.engine import EVERYTHING, Progress, Receipts, Selection, Task, run_tasks, silent
from rockglacier.errors import InputError
from rockglacier.grid import Grid, Window, projected
from rockglacier.labels.facts import facts_of, tell_of_narrow_guard
from rockglacier.labels.reference import read_ground, read_reference, repaired_shape
from rockglacier.labels.split import make_folds, make_splits
from rockglacier.scenes.record import write_table
from rockglacier.storage import Traffic, open_array, open_group, remove
from rockglacier.study import Study, read_area

BACKGROUND, ROCK_GLACIER, HARD, IGNORE = 0, 1, 2, 255
TAUGHT = "taught"
"""Array of the labels' store that only the loss reads, where there is one."""
RECIPE = 2
CHUNK = 128
THREADS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlines:
    """What is burnt, all in the CRS of the grid."""

    landforms: tuple[BaseGeometry, ...]
    ignored: tuple[BaseGeometry, ...]
    """Polygons that a filter removed: their ground is neither landform nor background."""
    complete_within: BaseGeometry
    """Where ground without a landform is background."""
    glaciers: tuple[BaseGeometry, ...] = ()
    """What looks like landforms and is none; only :func:`taught` knows of them."""

    def near(self, frame: BaseGeometry) -> Outlines:
        """Return what touches a frame; ground that is complete is cut to it."""
        return Outlines(
            landforms=_touching(self.landforms, frame),
            ignored=_touching(self.ignored, frame),
            complete_within=self.complete_within.intersection(frame),
            glaciers=_touching(self.glaciers, frame),
        )

    @property
    def hash(self) -> str:
        """A hash of all but the complete ground, whatever the order of the shapes."""
        digest = hashlib.blake2b(digest_size=16)
        for layer in (self.landforms, self.ignored, self.glaciers):
            for shape in sorted(map(shapely.to_wkb, layer)):
                digest.update(shape)
            digest.update(b"|")
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Teaching:
    """What a loss is told beside the labels."""

    band_m: float = 0.0
    """Ground so near to an outline counts in no loss."""
    in_glaciers: Literal["ignore", "hard"] = "ignore"


def _touching(shapes: tuple[BaseGeometry, ...], frame: BaseGeometry) -> tuple[BaseGeometry, ...]:
    touches = shapely.intersects(np.array(shapes, dtype=object), frame)
    return tuple(shape for shape, near in zip(shapes, touches, strict=True) if near)


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


def taught(
    labels: NDArray[np.uint8], outlines: Outlines, teaching: Teaching, grid: Grid, window: Window
) -> NDArray[np.uint8]:
    """Return what a loss is told of a window; labels stay as they are, for every score.

    Parameters
    ----------
    labels
        (y, x) of the window, from :func:`burn`.
    outlines
        Landforms as far as the band from the window, and glaciers.
    teaching
        The band, and what glaciers mean.
    grid, window
        The pixels.

    Returns
    -------
    ndarray
        (y, x) uint8: as the labels, but 255 in the band and on ignored glaciers, and 2 for hard
        background. A landform on a glacier stays one.
    """
    told = labels.copy()
    transform = grid.window_geobox(window).affine
    if outlines.glaciers:
        is_ice = rasterize(outlines.glaciers, out_shape=told.shape, transform=transform) == 1
        told[is_ice & (labels == BACKGROUND)] = HARD if teaching.in_glaciers == "hard" else IGNORE
    if outlines.landforms and teaching.band_m:
        edges = shapely.union_all(outlines.landforms).boundary.buffer(teaching.band_m)
        rasterize([edges], out=told, transform=transform, default_value=IGNORE)
    return told


@dataclass(frozen=True, slots=True, kw_only=True)
class BurnWork:
    """Burns one block into the store."""

    grid: Grid
    outlines: Outlines
    store: Path
    teaching: Teaching | None = None
    """Without it the loss is told the labels, and there is no second array."""

    def __call__(self, task: Task) -> dict[str, Any]:
        """Write a block and return how many pixels of each label it holds."""
        window = next(b.window for b in self.grid.blocks() if b.name == task.name)
        near = self.outlines.near(frame_of(self.grid, window, self.teaching))
        labels = burn(near, self.grid, window)
        traffic = Traffic()
        open_array(self.store / "labels", "r+", traffic=traffic)[window.slices] = labels
        counts = np.bincount(labels.ravel(), minlength=256)
        untaught = 0
        if self.teaching is not None:
            told = taught(labels, near, self.teaching, self.grid, window)
            open_array(self.store / TAUGHT, "r+", traffic=traffic)[window.slices] = told
            untaught = int(((told == IGNORE) & (labels != IGNORE)).sum())
        return {
            "untaught": untaught,
            "background": int(counts[BACKGROUND]),
            "rock_glacier": int(counts[ROCK_GLACIER]),
            "ignored": int(counts[IGNORE]),
            **traffic.taken(),
        }


def frame_of(grid: Grid, window: Window, teaching: Teaching | None) -> BaseGeometry:
    """Return the ground that the labels of a window depend on, CRS of the grid."""
    box = shapely.box(*grid.window_geobox(window).boundingbox.bbox)
    reach = teaching.band_m if teaching else 0.0
    return shapely.box(*box.buffer(reach + grid.resolution).bounds)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """What a study gives to be burnt."""

    table: gpd.GeoDataFrame
    sub_basins: tuple[BaseGeometry, ...]
    outlines: Outlines
    teaching: Teaching | None


def label_basin(
    study: Study, *, progress: Progress = silent, selection: Selection = EVERYTHING
) -> dict[str, Any]:
    """Write ``labels.zarr``, ``labels.parquet`` and ``splits.parquet``.

    Parameters
    ----------
    study
        With a grid and a reference.
    progress
        Told after every block.
    selection
        The blocks that are meant; the tables are written when none is left.

    Returns
    -------
    dict
        Blocks built, kept and left; when none is left also polygons by what was done with them,
        labelled area, share of landform pixels.

    Raises
    ------
    InputError
        The study names no reference, or the reference cannot be used.
    """
    given = _given(study)
    tell_of_narrow_guard(study.config)
    splits = make_splits(study.grid, study.config.labels, sub_basins=given.sub_basins)
    receipts = Receipts(study.receipts_path / "label")
    study.splits_path.unlink(missing_ok=True)
    _create(study, receipts, is_taught=given.teaching is not None)
    outcome = run_tasks(
        burn_tasks(study.grid, given.outlines, given.teaching),
        BurnWork(
            grid=study.grid,
            outlines=given.outlines,
            store=study.labels_path,
            teaching=given.teaching,
        ),
        receipts=receipts,
        what="burn labels",
        workers=THREADS,
        progress=progress,
        selection=selection,
    )
    if outcome.left:
        return outcome.facts
    write_table(given.table, study.label_table_path)
    _write_folds(study, given.sub_basins)
    version = str(splits["version"].iloc[0])
    write_table(splits, study.folder / "splits" / f"{version}.parquet")
    write_table(splits, study.splits_path)  # last: it says that the stage is finished
    facts = facts_of(study, given.table, splits, receipts, landform=ROCK_GLACIER)
    return outcome.facts | receipts.cost() | facts


def label_tasks(study: Study) -> tuple[list[Task], Receipts]:
    """Return the blocks of the study's labels, and where they are recorded; reads the reference.

    Raises
    ------
    InputError
        As :func:`label_basin`.
    """
    given = _given(study)
    tasks = burn_tasks(study.grid, given.outlines, given.teaching)
    return tasks, Receipts(study.receipts_path / "label")


def planned_labels(study: Study) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]:
    """Return the reference and the split as the stage will write them; nothing is written.

    Raises
    ------
    InputError
        As :func:`label_basin`.
    """
    given = _given(study)
    splits = make_splits(study.grid, study.config.labels, sub_basins=given.sub_basins)
    return given.table, splits


def _given(study: Study) -> _Given:
    config = study.config.labels
    if config.reference is None:
        raise InputError(
            f"basin {study.config.name!r} names no reference inventory",
            expected="labels.reference, a polygon file",
            todo="set it, or map the basin with a given model: rockglacier map",
        )
    table = read_reference(
        study.resolve(config.reference),
        area=study.area,
        where=config.where,
        columns=config.columns,
        layer=config.layer,
        may_be_empty=config.complete_within is not None,
    )
    complete = (
        read_area(study.resolve(config.complete_within)) if config.complete_within else study.area
    )
    glaciers = (
        read_ground(study.resolve(config.glaciers), area=study.area, what="glaciers")
        if config.glaciers
        else []
    )
    return _Given(
        table=table,
        sub_basins=sub_basins_of(study) if config.split == "sub-basins" else (),
        outlines=_outlines(table, complete, glaciers, study.grid),
        teaching=Teaching(band_m=config.ignore_band_m, in_glaciers=config.in_glaciers)
        if config.ignore_band_m or config.glaciers
        else None,
    )


def sub_basins_of(study: Study) -> tuple[BaseGeometry, ...]:
    """Return the sub-basins that the settings name, in the order of their file, CRS of the grid."""
    uri = study.resolve(str(study.config.labels.sub_basins))
    shapes = read_ground(uri, area=study.area, what="sub-basins")
    return tuple(repaired_shape(projected(shape, epsg=study.grid.epsg)) for shape in shapes)


def _write_folds(study: Study, sub_basins: Sequence[BaseGeometry]) -> None:
    """Write every fold, where there are folds, so that all can be seen and scored alike."""
    path = study.folder / "folds.parquet"
    folds = make_folds(study.grid, study.config.labels, sub_basins=sub_basins)
    if folds is None:
        path.unlink(missing_ok=True)
    else:
        write_table(folds, path)


def burn_tasks(grid: Grid, outlines: Outlines, teaching: Teaching | None) -> list[Task]:
    """Return a task a block; its inputs are the shapes that reach the block, and no others."""
    told = None if teaching is None else asdict(teaching)
    shared = {"recipe": RECIPE, "grid": grid.to_dict(), "teaching": told}
    tasks = []
    for block in grid.blocks():
        near = outlines.near(frame_of(grid, block.window, teaching))
        inputs = {"outlines": near.hash, "complete": _pixels_hash(near, grid, block.window)}
        tasks.append(Task(name=block.name, inputs=shared | inputs))
    return tasks


def _pixels_hash(near: Outlines, grid: Grid, window: Window) -> str:
    """Return a hash of the pixels that are complete.

    Not of the shape: reprojected, it has other vertices wherever a far part of it has moved.
    """
    empty = Outlines(landforms=(), ignored=(), complete_within=near.complete_within)
    pixels = np.packbits(burn(empty, grid, window) == BACKGROUND)
    return hashlib.blake2b(pixels.tobytes(), digest_size=16).hexdigest()


def _outlines(
    table: gpd.GeoDataFrame, complete: BaseGeometry, glaciers: Sequence[BaseGeometry], grid: Grid
) -> Outlines:
    def shapes(rows: gpd.GeoDataFrame) -> tuple[BaseGeometry, ...]:
        return tuple(moved(shape) for shape in rows.geometry)

    def moved(shape: BaseGeometry) -> BaseGeometry:
        return repaired_shape(projected(shape, epsg=grid.epsg))

    return Outlines(
        landforms=shapes(table[table["used"]]),
        ignored=shapes(table[table["action"] == "filtered"]),
        complete_within=moved(complete),
        glaciers=tuple(map(moved, glaciers)),
    )


def _create(study: Study, receipts: Receipts, *, is_taught: bool) -> None:
    """Make an empty store, unless the one that is there fits the grid."""
    grid, path = study.grid, study.labels_path
    shards = (grid.block, grid.block)
    if (path / "labels" / "zarr.json").is_file():
        held = open_array(path / "labels")
        is_fit = held.shape == grid.shape and held.shards == shards
        if is_fit and (path / TAUGHT / "zarr.json").is_file() == is_taught:
            return
    for name, _ in list(receipts.all()):
        receipts.drop(name)
    remove(path)
    attributes: dict[str, Any] = {
        "proj:code": f"EPSG:{grid.epsg}",
        "spatial:transform": list(grid.transform)[:6],
    }
    group = open_group(path, "w", attributes=attributes)
    meanings = {"labels": {0: "background", 1: "rock_glacier", 255: "ignore"}}
    if is_taught:
        meanings[TAUGHT] = meanings["labels"] | {HARD: "hard_background"}
    for name, flags in meanings.items():
        group.create_array(
            name,
            shape=grid.shape,
            dtype="uint8",
            shards=shards,
            chunks=(CHUNK, CHUNK),
            compressors=BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"),
            fill_value=IGNORE,
            dimension_names=("y", "x"),
            attributes={
                "flag_values": sorted(flags),
                "flag_meanings": " ".join(flags[value] for value in sorted(flags)),
            },
        )
