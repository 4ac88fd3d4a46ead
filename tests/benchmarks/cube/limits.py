"""The limits: decoding the same bytes, and copying or saving the same arrays."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from case import ASSETS, Case
from rasterio.windows import Window

from rockglacier.scenes.asset import GDAL_OPTIONS

CACHE = 64 * 2**20
"""GDAL's cache: no block is read twice."""
RAW_CACHE = 256 * 2**20
"""Compressed blocks that one read may fetch ahead; beyond it GDAL fetches some of them twice."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """The pixels of a file that lie in the area."""

    href: str
    day: str
    band: str
    window: Window
    factor: int
    """Area pixels along the edge of one of its own."""
    row: int
    col: int
    """Where its first pixel lies in the area; may be -1."""


def parts(case: Case) -> Iterator[Part]:
    """Yield the exact windows of all files under the area."""
    first_row, first_col, edge = case.area
    for item in case.scenes():
        for band, key in ASSETS.items():
            asset = item["assets"][key]
            size, _, west, _, _, north = asset["proj:transform"]
            height, width = asset["proj:shape"]
            factor = round(size / 10)
            col = round((west - case.world.transform.c) / 10) - first_col
            row = round((case.world.transform.f - north) / 10) - first_row
            x0, x1 = max(-col // factor, 0), min(-((col - edge) // factor), width)
            y0, y1 = max(-row // factor, 0), min(-((row - edge) // factor), height)
            if x1 > x0 and y1 > y0:
                yield Part(
                    href=asset["href"],
                    day=item["properties"]["datetime"][:10],
                    band=band,
                    window=Window(x0, y0, x1 - x0, y1 - y0),
                    factor=factor,
                    row=row + y0 * factor,
                    col=col + x0 * factor,
                )


def environment(case: Case) -> rasterio.Env:
    """Return how GDAL reads: as ours does, with room to ask for all blocks of a file at once."""
    remote = {**GDAL_OPTIONS, "GDAL_MAX_RAW_BLOCK_CACHE_SIZE": RAW_CACHE} if case.base else {}
    return rasterio.Env(GDAL_CACHEMAX=CACHE, **remote)


def read(part: Part) -> np.ndarray:
    """Return the pixels of a part."""
    with rasterio.open(part.href) as raster:
        return raster.read(1, window=part.window)


def decode(case: Case) -> None:
    """Decode all parts and throw them away."""
    with environment(case), ThreadPoolExecutor(case.threads) as pool:
        for _ in pool.map(lambda part: read(part).nbytes, parts(case)):
            pass


def ideal(case: Case) -> dict[str, int]:
    """Return what has to be fetched: the blocks that intersect the windows.

    Returns
    -------
    dict
        ``files``; ``blocks``; ``bytes`` compressed; ``decoded`` and ``inside`` the windows.
    """
    totals = dict.fromkeys(("files", "blocks", "bytes", "decoded", "inside"), 0)
    for part in parts(case):
        with rasterio.open(part.href) as raster:
            high, wide = raster.block_shapes[0]
            window, item = part.window, np.dtype(raster.dtypes[0]).itemsize
            rows = range(window.row_off // high, -(-(window.row_off + window.height) // high))
            cols = range(window.col_off // wide, -(-(window.col_off + window.width) // wide))
            sizes = [
                int(raster.get_tag_item(f"BLOCK_SIZE_{x}_{y}", "TIFF", bidx=1) or 0)
                for y in rows
                for x in cols
            ]
        totals["files"] += 1
        totals["blocks"] += len(sizes)
        totals["bytes"] += sum(sizes)
        totals["decoded"] += len(sizes) * high * wide * item
        totals["inside"] += window.height * window.width * item
    return totals


def sample(case: Case) -> np.ndarray:
    """Return six bands of the area as one overpass shows them, (band, y, x)."""
    edge = case.area[2]
    bands = [band for band in ASSETS if band != "SCL"]
    found = np.zeros((len(bands), edge, edge), np.uint16)
    day = min(part.day for part in parts(case))
    for part in parts(case):
        if part.day == day and part.band != "SCL":
            paste(found[bands.index(part.band)], part, read(part))
    return found


def paste(target: np.ndarray, part: Part, values: np.ndarray) -> None:
    """Lay a part into the area where nothing is yet."""
    values = values.repeat(part.factor, 0).repeat(part.factor, 1)
    values = values[max(-part.row, 0) :, max(-part.col, 0) :]
    row, col = max(part.row, 0), max(part.col, 0)
    inside = target[row : row + values.shape[0], col : col + values.shape[1]]
    values = values[: inside.shape[0], : inside.shape[1]]
    np.copyto(inside, values, where=inside == 0)


def elevation(case: Case) -> np.ndarray:
    """Return ground to measure terrain on, (y, x): 10 000 px where the area has 4096."""
    edge = case.area[2] * 10_000 // 4096
    with rasterio.open(next(Path(case.world.folder).glob("Copernicus*/*.tif"))) as raster:
        ground = raster.read(1)
    return np.pad(ground, [(0, max(edge - size, 0)) for size in ground.shape], "symmetric")[
        :edge, :edge
    ].copy()


def copy_twice(case: Case, ground: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Write two outputs that nobody computed, with the threads of the others."""
    targets = np.empty_like(ground), np.empty_like(ground)
    rows = np.array_split(np.arange(len(ground)), case.threads * 4)
    with ThreadPoolExecutor(case.threads) as pool:
        for target in targets:
            for _ in pool.map(
                lambda band, target=target: np.copyto(
                    target[band[0] : band[-1] + 1], ground[band[0] : band[-1] + 1]
                ),
                rows,
            ):
                pass
    return targets


def save(case: Case, values: np.ndarray) -> Path:
    """Save an array as it is."""
    path = case.scratch / "values.npy"
    np.save(path, values)
    return path


def zarr_default(case: Case, values: np.ndarray) -> Path:
    """Write an array as zarr-python does if it is only told the chunks."""
    import zarr

    path = case.scratch / "default.zarr"
    shutil.rmtree(path, ignore_errors=True)
    edge = max(case.area[2] // 16, 16)
    array = zarr.create_array(
        str(path), shape=values.shape, dtype=values.dtype, chunks=(1, edge, edge)
    )
    array[...] = values
    return path
