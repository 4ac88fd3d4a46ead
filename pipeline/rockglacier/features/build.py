"""Layers read from the cube by windows, training pixels sampled, features written by blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from rockglacier.cube.store import CHUNK, open_arrays
from rockglacier.engine import Progress, Receipts, Task, silent
from rockglacier.features.fitted import NODATA, SCALE, Fusion
from rockglacier.features.sets import LAYERS, CubeBlock, Layers, halo_of
from rockglacier.grid import Block, Grid, Window
from rockglacier.scenes import radiometry
from rockglacier.storage import Traffic, disk_errors, open_group, remove

RECIPE = 1
"""Counts the changes of what a block's features are: a new number rebuilds every block."""

STRIP = 512
"""Rows of a block whose layers are in memory at once."""

LATTICE = 7
"""Every so manieth row and column of the grid is looked at when features are fitted."""

MAX_NODES = 4_000_000
"""Nodes of the lattice at most; it is widened on grids that have more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSource:
    """Computes layers from the cube for any window of the grid, the same in every window."""

    cube: Path
    grid: Grid
    layers: tuple[str, ...]
    period: int = 0
    """Place of the period in the cube's time."""

    def strips(
        self, window: Window, *, traffic: Traffic | None = None
    ) -> Iterator[tuple[Window, Layers, NDArray[np.bool_]]]:
        """Yield a window by strips of rows: the strip, its layers and where snow is, (y, x)."""
        group = open_arrays(self.cube, traffic=traffic)
        for y in range(window.y, window.y + window.height, STRIP):
            height = min(STRIP, window.y + window.height - y)
            strip = Window(y=y, x=window.x, height=height, width=window.width)
            block = self._read(group, strip)
            snow = np.asarray(_array(group, "n_snow")[(self.period, *strip.slices)]) > 0
            yield strip, {name: LAYERS[name].compute(block) for name in self.layers}, snow

    def _read(self, group: zarr.Group, window: Window) -> CubeBlock:
        bands = [str(name) for name in _array(group, "band")[:]]
        needed = [band for name in self.layers if (band := LAYERS[name].band) is not None]
        place = (self.period, slice(None), *window.slices)
        stored = np.asarray(_array(group, "reflectance")[place])
        halo = halo_of(self.layers)
        return CubeBlock(
            reflectance={band: _reflectance(stored[bands.index(band)]) for band in needed},
            slope=np.asarray(_array(group, "slope")[window.slices]),
            aspect=np.asarray(_array(group, "aspect")[window.slices]),
            elevation=self._elevation(group, window.grown(halo)),
            halo=halo,
            resolution=self.grid.resolution,
        )

    def _elevation(self, group: zarr.Group, window: Window) -> NDArray[np.float32]:
        """Read elevation, continued beyond the grid by point reflection, which keeps its slope."""
        inside = window.clipped(self.grid.shape)
        elevation: NDArray[np.float32] = np.asarray(_array(group, "elevation")[inside.slices])
        before = inside.y - window.y, inside.x - window.x
        after = (
            window.height - inside.height - before[0],
            window.width - inside.width - before[1],
        )
        if not any((*before, *after)):
            return elevation
        # where a grid has fewer pixels than the halo, the reflection is reflected again
        pads = tuple(zip(before, after, strict=True))
        return np.pad(elevation, pads, mode="reflect", reflect_type="odd")


def _array(group: zarr.Group, name: str) -> Any:
    return group[name]


def _reflectance(stored: NDArray[np.uint16]) -> NDArray[np.float32]:
    values = (stored * radiometry.SCALE + radiometry.ADD_OFFSET).astype(np.float32)
    values[stored == 0] = np.nan
    return values


def cube_bands(path: Path) -> tuple[str, ...]:
    """Return the bands of a cube, in its order."""
    return tuple(str(name) for name in _array(open_arrays(path), "band")[:])


def sample(
    source: LayerSource,
    training: Sequence[Window] | None,
    *,
    workers: int,
    progress: Progress = silent,
) -> dict[str, NDArray[np.float64]]:
    """Return the layers at the training pixels of a lattice over the whole grid.

    Parameters
    ----------
    source
        Where layers come from.
    training
        Windows of the training ground; None: everything.
    workers
        Blocks read at once.
    progress
        Told after every block.

    Returns
    -------
    dict
        Layer to its values, 1-D float64, at pixels without snow where every layer is known. Pixels
        come row by row whatever the blocks are, so that sums over them are the same bit for bit.
    """
    height, width = source.grid.shape
    step = LATTICE * max(1, math.ceil(math.sqrt(height * width / LATTICE**2 / MAX_NODES)))
    nodes = np.full(
        (len(source.layers), math.ceil(height / step), math.ceil(width / step)), np.nan, np.float32
    )
    blocks = [block for block in source.grid.blocks() if _any_of(block, training)]

    def take(block: Block) -> None:
        for strip, layers, snow in source.strips(block.window):
            rows, cols = (
                _nodes_in(strip.y, strip.height, step),
                _nodes_in(strip.x, strip.width, step),
            )
            at = np.ix_(rows * step - strip.y, cols * step - strip.x)
            if rows.size and cols.size:
                part = np.stack([layers[name][at] for name in source.layers])
                part[:, snow[at]] = np.nan
                nodes[:, rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1] = part

    with ThreadPoolExecutor(max_workers=workers) as pool:
        for done, _ in enumerate(pool.map(take, blocks), start=1):
            progress("fit features", done, len(blocks))
    chosen = np.isfinite(nodes).all(axis=0) & _is_training(nodes.shape[1:], training, step)
    return {
        name: nodes[index][chosen].astype(np.float64) for index, name in enumerate(source.layers)
    }


def _nodes_in(start: int, size: int, step: int) -> NDArray[np.intp]:
    return np.arange(-(-start // step), -(-(start + size) // step))


def _any_of(block: Block, training: Sequence[Window] | None) -> bool:
    one = block.window
    return training is None or any(
        one.y < other.y + other.height
        and other.y < one.y + one.height
        and one.x < other.x + other.width
        and other.x < one.x + one.width
        for other in training
    )


def _is_training(
    shape: tuple[int, ...], training: Sequence[Window] | None, step: int
) -> NDArray[np.bool_]:
    if training is None:
        return np.ones(shape, np.bool_)
    mask = np.zeros(shape, np.bool_)
    for window in training:
        rows = _nodes_in(window.y, window.height, step)
        cols = _nodes_in(window.x, window.width, step)
        mask[np.ix_(rows, cols)] = True
    return mask


@dataclass(frozen=True, slots=True, kw_only=True)
class FuseWork:
    """Writes the features of one block; picklable, so that it runs on any worker."""

    source: LayerSource
    fusion: Fusion
    store: Path

    def __call__(self, task: Task) -> dict[str, Any]:
        """Write the block of a task; return what its receipt says beside inputs and time."""
        y, x, height, width = task.inputs["window"]
        window = Window(y=y, x=x, height=height, width=width)
        features = np.empty((len(self.fusion.channels), height, width), np.int16)
        traffic = Traffic()
        for strip, layers, _ in self.source.strips(window, traffic=traffic):
            features[(slice(None), *strip.within(window))] = self.fusion.apply(layers)
        with disk_errors(self.store.parent):
            stored: Any = open_group(self.store, "r+", traffic=traffic)["features"]
            stored[(slice(None), *window.slices)] = features
        return {
            "pixels": height * width,
            "valid": int(np.count_nonzero(features[0] != NODATA)),
            **traffic.taken(),
        }


AROUND = ("elevation/",)
"""Objects of the cube that features need around a block, by how their keys begin."""

OWN = (*AROUND, "slope/", "aspect/")
"""The same of the block itself, beside the reflectance of its period."""


def task_of(block: Block, work: FuseWork, cube: Receipts) -> Task:
    """Return the task of a block: it depends on its own ground and, for a halo, on that around."""
    window, fusion = block.window, work.fusion
    own = (*OWN, f"reflectance/c/{work.source.period}/")
    reach = 1 if halo_of(fusion.layers) else 0
    around = [
        Block(row=row, col=col, window=window).name
        for row in range(max(block.row - reach, 0), block.row + reach + 1)
        for col in range(max(block.col - reach, 0), block.col + reach + 1)
    ]
    return Task(
        name=block.name,
        inputs={
            "recipe": RECIPE,
            "fusion": fusion.hash,
            "window": [window.y, window.x, window.height, window.width],
            "grid": work.source.grid.to_dict(),
            "cube": {
                name: _identity(cube, name, own if name == block.name else AROUND)
                for name in around
            },
        },
    )


def _identity(cube: Receipts, name: str, parts: tuple[str, ...]) -> Any:
    """Return what a receipt of the cube says about pixels, not about the making of them.

    That is size and checksum of the objects that hold them: a block that comes out as it was does
    not count as changed.
    """
    receipt = cube.read(name)
    if receipt is None:
        return None
    if "objects" not in receipt:
        return receipt["inputs"]
    return {key: noted for key, noted in receipt["objects"].items() if key.startswith(parts)}


def create_store(path: Path, grid: Grid, fusion: Fusion) -> bool:
    """Create the store of the features, or keep one of the same fusion and shape.

    Returns
    -------
    bool
        Whether it is new and empty: receipts of an older one mean nothing any more.
    """
    about: dict[str, Any] = {
        "channels": list(fusion.channels),
        "fusion": fusion.hash,
        "scale": 1 / SCALE,
        "nodata": NODATA,
        "crs": f"EPSG:{grid.epsg}",
        "transform": list(grid.transform)[:6],
    }
    shape = (len(fusion.channels), *grid.shape)
    shards = (len(fusion.channels), grid.block, grid.block)
    with disk_errors(path.parent):
        if (path / "features" / "zarr.json").is_file():
            kept = open_group(path)
            array: Any = kept["features"]
            fits = array.shape == shape and array.shards == shards and dict(array.attrs) == about
            if fits and dict(kept.attrs) == about:
                return False
        remove(path)
        group = open_group(path, "w", attributes=about)
        group.create_array(
            "features",
            shape=shape,
            dtype="int16",
            shards=shards,
            chunks=(len(fusion.channels), CHUNK, CHUNK),
            compressors=BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"),
            fill_value=NODATA,
            dimension_names=("channel", "y", "x"),
            attributes=about,
        )
    return True
