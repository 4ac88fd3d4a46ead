"""The rasters of a prediction beside plain tiled GeoTIFFs of the same codec."""

import shutil
import time
from pathlib import Path

import numpy as np
import rasterio
import zarr
from rasterio.windows import Window
from scipy import ndimage
from world import World, write_grid

from rockglacier.prediction.cog import classify, write_cogs
from rockglacier.prediction.store import store_path
from rockglacier.study import Study


def made(world: World) -> Study:
    """Return a study with a stored prediction: smooth blobs of probability."""
    study = world.study()
    if not study.grid_path.is_file():
        write_grid(study, world.size)
    path = store_path(study)
    if not (path / "probability").is_dir():
        random = np.random.default_rng(5)
        coarse = ndimage.gaussian_filter(random.random((world.size // 16 + 2,) * 2), 2)
        coarse = (coarse - coarse.mean()) / coarse.std()
        field = ndimage.zoom(coarse, 16, order=1)[: world.size, : world.size]
        noisy = 50 + 25 * (field - 2) + random.normal(0, 1, field.shape)
        percent = np.clip(np.rint(noisy), 0, 100).astype(np.uint8)
        group = zarr.open_group(path, mode="w", zarr_format=3)
        group.create_array("probability", data=percent, chunks=(128, 128), shards=(512, 512))
    return study


def rounds(world: World, count: int) -> list[dict[str, float]]:
    """Write both in turns; return seconds."""
    study = made(world)
    return [{"cogs": cogs(study), "plain": plain(study)} for _ in range(count)]


def cogs(study: Study) -> float:
    """Write ``probability.tif`` and ``classes.tif`` as the stage does."""
    begin = time.perf_counter()
    write_cogs(study, 0.5, {})
    return time.perf_counter() - begin


def plain(study: Study) -> float:
    """Write the same two rasters as tiled GeoTIFFs, without overviews and without statistics."""
    begin = time.perf_counter()
    source = zarr.open_group(store_path(study), mode="r")["probability"]
    grid = study.grid
    folder = Path(study.folder) / "plain"
    folder.mkdir(exist_ok=True)
    profile = {
        "driver": "GTiff", "height": grid.shape[0], "width": grid.shape[1], "count": 1,
        "dtype": "uint8", "nodata": 255, "crs": f"EPSG:{grid.epsg}", "transform": grid.transform,
        "tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate",
        "num_threads": "all_cpus",
    }  # fmt: skip
    with (
        rasterio.open(folder / "probability.tif", "w", predictor=2, **profile) as probability,
        rasterio.open(folder / "classes.tif", "w", **profile) as classes,
    ):
        for block in grid.blocks():
            window = block.window
            percent = np.asarray(source[window.slices])
            place = Window(window.x, window.y, window.width, window.height)
            probability.write(percent, 1, window=place)
            classes.write(classify(percent, 0.5), 1, window=place)
    seconds = time.perf_counter() - begin
    shutil.rmtree(folder)
    return seconds
