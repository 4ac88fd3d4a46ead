"""A published cube as that of a study: scenes, grid and blocks are taken over, not made."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely

from rockglacier.config import fingerprint
from rockglacier.cube.store import create_cube, layers_of
from rockglacier.cube.writer import CubeWriter
from rockglacier.engine import EVERYTHING, Progress, Receipts, Selection, Task, run_tasks, silent
from rockglacier.errors import ContractError, InputError
from rockglacier.grid import Grid, Window, projected
from rockglacier.periods import periods_of
from rockglacier.scenes.record import read_dem_tiles, read_scenes
from rockglacier.storage import (
    Traffic,
    open_published,
    read_json,
    redact,
    require_space,
    write_bytes,
    write_json,
)
from rockglacier.study import Study
from rockglacier_stac.errors import StacError
from rockglacier_stac.extensions import multihash
from rockglacier_stac.files import read_bytes, read_item

RECIPE: Final = 1
"""Counts the changes of what is taken over."""

THREADS: Final = 4
EPOCH: Final = date(1970, 1, 1)
OWN_ATTRS: Final = ("title", "recipe", "composite", "sun", "scenes", "dem", "extra")
"""Attributes of a cube that say where its pixels come from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCube:
    """The item of a cube, read."""

    item: dict[str, Any]

    @classmethod
    def read(cls, address: str) -> PublishedCube:
        """Read the item of a cube from a path or URL.

        Raises
        ------
        InputError
            It cannot be read, or is the item of something else.
        """
        try:
            item = read_item(address)
        except StacError as error:
            raise InputError(error.found, expected=error.expected, todo=error.todo) from error
        found = cls(item=item)
        if not found.href:
            raise InputError(
                f"the item {item.get('id')!r} is not one of a cube",
                expected="an item with an asset `cube` of type application/vnd+zarr",
                todo="take one of the collection rock-glacier-cubes",
            )
        return found

    @property
    def href(self) -> str:
        """Address of the Zarr group."""
        asset = self.item.get("assets", {}).get("cube", {})
        is_zarr = str(asset.get("type", "")).startswith("application/vnd+zarr")
        return str(asset["href"]) if is_zarr else ""

    @property
    def fingerprint(self) -> str:
        """Hash of what the item says, wherever it lies."""
        properties, assets = self.item["properties"], self.item["assets"]
        checksums = {name: asset.get("file:checksum") for name, asset in assets.items()}
        return fingerprint([self.item["id"], properties.get("updated"), checksums])

    def open(self) -> Any:
        """Open its Zarr group to read."""
        return open_published(self.href)

    def days(self) -> tuple[date, date]:
        """Return the first and the last day of all its periods."""
        bounds = np.asarray(self.open()["time_bounds"][...])
        first, after = int(bounds.min()), int(bounds.max())
        return EPOCH + timedelta(first), EPOCH + timedelta(after - 1)

    def table(self, name: str) -> bytes | None:
        """Return the file of an asset, checked, or None where the item has none."""
        asset = self.item["assets"].get(name)
        if asset is None:
            return None
        data = read_bytes(asset["href"])
        said = asset.get("file:checksum")
        if said and multihash(hashlib.sha256(data).hexdigest()) != said:
            raise ContractError(
                f"the asset {name!r} of item {self.item['id']!r} is not the one that it names",
                expected=f"file:checksum {said}",
                todo="try again later, or ask its publisher",
            )
        return data


def published_cube(study: Study) -> PublishedCube:
    """Return the published cube that a study names."""
    return PublishedCube.read(study.resolve(str(study.config.cube.item)))


def take_search(study: Study) -> dict[str, Any]:
    """Take over grid, scenes and DEM tiles of the published cube that a study names.

    Returns
    -------
    dict
        What ``search.json`` holds: ``item``, ``published`` (a hash of what it says), ``used``
        scenes, ``dem_tiles`` and ``epsg``.

    Raises
    ------
    InputError
        The area reaches beyond the cube, or the cube has other bands or periods than the study.
    ContractError
        A table is missing, or not the one that the item names.
    """
    cube = published_cube(study)
    group = cube.open()
    grid = _grid_of(group)
    _require_inside(study, grid)
    _require_same(study, group)
    targets = {"scenes": study.scenes_path, "dem": study.dem_path, "dropped": study.dropped_path}
    tables = {name: cube.table(name) for name in targets}
    missing = [name for name in ("scenes", "dem") if tables[name] is None]
    if missing:
        raise ContractError(
            f"the item {cube.item['id']!r} has no asset {' and '.join(missing)}",
            expected="an item that `rockglacier publish` wrote",
            todo="ask its publisher to publish it again",
        )
    write_json(study.grid_path, grid.to_dict())
    for name in ("dropped", "dem", "scenes"):
        if (data := tables[name]) is not None:
            write_bytes(targets[name], data)
    facts = {
        "item": cube.item["id"],
        "published": cube.fingerprint,
        "used": len(read_scenes(study.scenes_path)),
        "dem_tiles": len(read_dem_tiles(study.dem_path)),
        "epsg": grid.epsg,
    }
    write_json(study.search_path, facts)
    return facts


def _grid_of(group: Any) -> Grid:
    return Grid.from_dict(
        {
            "crs": group.attrs["proj:code"],
            "transform": group.attrs["spatial:transform"],
            "shape": group.attrs["spatial:shape"],
            "block": group["reflectance"].shards[-1],
        }
    )


def _require_inside(study: Study, grid: Grid) -> None:
    outside = projected(study.area, epsg=grid.epsg).difference(shapely.box(*grid.bounds))
    share = outside.area / projected(study.area, epsg=grid.epsg).area
    if share > 0:
        raise InputError(
            f"{100 * share:.2g} % of the area lie outside the cube of {study.config.cube.item!r}",
            expected="an area within the cube's grid",
            todo="take a smaller area, or leave cube.item out: then a cube is built",
        )


def _require_same(study: Study, group: Any) -> None:
    cube = study.config.cube
    held = [str(name) for name in np.asarray(group["band"][...])]
    lacking = [band for band in cube.bands if band not in held]
    if lacking:
        raise InputError(
            f"the cube of {cube.item!r} has no band {', '.join(lacking)}",
            expected=f"cube.bands among {', '.join(held)}",
        )
    bounds = np.asarray(group["time_bounds"][...]).tolist()
    wanted = [[(p.start - EPOCH).days, (p.end - EPOCH).days + 1] for p in periods_of(study.config)]
    if bounds != wanted:
        spans = ", ".join(
            f"{EPOCH + timedelta(first)} to {EPOCH + timedelta(after - 1)}"
            for first, after in bounds
        )
        raise InputError(
            f"the cube of {cube.item!r} is of {spans}",
            expected="the same days in search.start and search.end (and cube.periods)",
        )
    unknown = [name for name in layers_of(study) if name not in group]
    if unknown:
        raise InputError(
            f"the cube of {cube.item!r} has no layer {', '.join(unknown)}",
            expected="the layers of this version, and no cube.extra that it lacks",
            todo="leave cube.extra out, or ask its publisher to build it again",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeWork:
    """Copies one block of a published cube, every layer and period; picklable."""

    href: str
    path: Path
    bands: tuple[str, ...]
    layers: tuple[str, ...]
    periods: int

    def __call__(self, task: Task) -> dict[str, Any]:
        """Write the block of a task; return the objects that came of it, and what it took."""
        y, x, height, width = task.inputs["window"]
        window = Window(y=y, x=x, height=height, width=width)
        traffic = Traffic()
        group: Any = open_published(self.href, traffic=traffic)
        writer = CubeWriter(self.path, traffic=traffic)
        written: dict[str, list[int]] = {}
        held = [str(name) for name in np.asarray(group["band"][...])]
        chosen = [held.index(band) for band in self.bands]
        for period in range(self.periods):
            values = {}
            for name in self.layers:
                array = group[name]
                is_timed = "time" in array.metadata.dimension_names
                if period and not is_timed:
                    continue
                found = np.asarray(array[(*((period,) if is_timed else ()), ..., *window.slices)])
                values[name] = found[chosen] if found.ndim == 3 else found
            written |= writer.write(window, values, period=period)
        return {"pixels": height * width, "objects": written, **traffic.taken()}


def take_cube(
    study: Study,
    *,
    progress: Progress = silent,
    client: Any | None = None,
    selection: Selection = EVERYTHING,
) -> dict[str, Any]:
    """Take over every block of the published cube whose receipt does not match.

    Parameters
    ----------
    study
        After :func:`take_search`.
    progress
        Told after every block.
    client
        A ``distributed.Client``; default: threads of this process.
    selection
        The blocks that are meant.

    Returns
    -------
    dict
        ``item``, ``blocks``, ``built``, ``kept`` and ``left``.

    Raises
    ------
    InputError
        The item was published again since the search.
    """
    tasks, receipts = take_tasks(study)
    cube = published_cube(study)
    if cube.fingerprint != _searched(study):
        raise InputError(
            f"the cube of {study.config.cube.item!r} was published again since the search",
            expected="the item that the scenes were taken from",
            todo="rockglacier search STUDY.yaml",
        )
    group = cube.open()
    own = {name: group.attrs[name] for name in OWN_ATTRS if name in group.attrs}
    if create_cube(study, attrs={**own, "item": redact(str(study.config.cube.item))}):
        for name in [*dict(receipts.all()), *receipts.failures()]:
            receipts.drop(name)
    layers = layers_of(study)
    require_space(study.folder, sum(group[name].nbytes for name in layers), what="the cube")
    outcome = run_tasks(
        tasks,
        TakeWork(
            href=cube.href,
            path=study.cube_path,
            bands=study.config.cube.bands,
            layers=tuple(layers),
            periods=len(periods_of(study.config)),
        ),
        receipts=receipts,
        what="cube",
        workers=THREADS,
        client=client,
        progress=progress,
        selection=selection,
    )
    return {
        "item": cube.item["id"],
        "blocks": len(tasks),
        "built": outcome.built,
        "kept": outcome.kept,
        "left": outcome.left,
        **receipts.cost(),
    }


def take_tasks(study: Study) -> tuple[list[Task], Receipts]:
    """Return the blocks of the study's cube, and where they are recorded."""
    shared = {
        "recipe": f"taken {RECIPE}",
        "published": _searched(study),
        "bands": list(study.config.cube.bands),
        "grid": study.grid.to_dict(),
    }
    windows = {block.name: block.window for block in study.grid.blocks()}
    tasks = [
        Task(name=name, inputs={**shared, "window": [w.y, w.x, w.height, w.width]})
        for name, w in windows.items()
    ]
    return tasks, Receipts(study.receipts_path / "cube")


def _searched(study: Study) -> str:
    """Return the hash of the item that the scenes were taken from."""
    return str(read_json(study.require(study.search_path, stage="search"))["published"])
