"""Outlines and attributes of one made-up raster, by us and by rasterio.features + rasterstats.

Both take turns in processes of their own. The peer gets GeoTIFFs, which it reads best, and five
zonal statistics of four rasters; ours reads stores as its stages write them, draws, simplifies and
measures all columns of an inventory but the overlaps. Outlines must hold the same pixels. Seconds
are of the clock, which count where the machine is quiet, and of the processor, of all threads. Both
do a small raster first: what a process loads once is told apart, as it does not grow with the area.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
import shapely
import zarr
from rasterio.features import shapes
from scipy import ndimage
from zarr.codecs import BloscCodec

from rockglacier.config import parse_config
from rockglacier.grid import Grid, projected
from rockglacier.inventory.candidates import draw, measured
from rockglacier.storage import write_json
from rockglacier.study import Study

GOAL = 0.6
LEAST = 100  # pixels
SMALL = 1000
"""Edge of the raster that a process does first, pixels."""
LAYERS = ("elevation", "slope", "aspect")
WEST, NORTH, EPSG = 400_000, 4_100_000, 32643


def main() -> None:
    """Make the raster, measure in turns, print."""
    parser = argparse.ArgumentParser(prog="python tests/benchmarks/inventory", description=__doc__)
    parser.add_argument("--size", type=int, default=10_000, help="edge of the raster, pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="where the raster is kept; default: nowhere")
    parser.add_argument("--json", help="also write the numbers here")
    parser.add_argument("--run", choices=("ours", "peer"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        folder = Path(options.folder)
        first = RUNS[options.run](folder / "small")["seconds"]
        print(json.dumps({**RUNS[options.run](folder), "first": first}))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.folder or temporary) / f"inventory-{options.size}"
        for one, size in ((folder, options.size), (folder / "small", min(SMALL, options.size))):
            if not (one / "made").is_file():
                make(one, size)
        # in turns, and neither is always the one that finds the files in memory
        orders = [list(RUNS)[:: -1 if number % 2 else 1] for number in range(options.rounds)]
        rounds = [{name: run(name, folder) for name in order} for order in orders]
    for row in rounds:
        if row["ours"]["pixels"] != row["peer"]["pixels"]:
            raise SystemExit("the outlines do not hold the same pixels")
    ratio, of_processor = (
        statistics.median(row["ours"][clock] / row["peer"][clock] for row in rounds)
        for clock in ("seconds", "processor")
    )
    n = len(rounds[0]["ours"]["pixels"])
    for name in RUNS:
        wall, busy = (
            statistics.median(row[name][clock] for row in rounds)
            for clock in ("seconds", "processor")
        )
        first = statistics.median(row[name]["first"] for row in rounds)
        print(f"{name:<6} {wall:8.2f} s, {busy:8.2f} s of the processor  {n} outlines; a small "
              f"raster before, as the first of its process: {first:.2f} s")  # fmt: skip
    each = ", ".join(f"{row['ours']['seconds'] / row['peer']['seconds']:.2f}" for row in rounds)
    said = "reached" if ratio <= GOAL else "missed"
    print(f"ours / peer: {ratio:.2f}, the goal of at most {GOAL} is {said} (rounds: {each})")
    print(f"of the processor: {of_processor:.2f}")
    print(f"the same pixels in every outline; load {os.getloadavg()[0]:.1f}")
    if options.json:
        facts = {
            "size": options.size,
            "ratio": ratio,
            "ratio_of_processor": of_processor,
            **{
                clock: [{name: row[name][clock] for name in RUNS} for row in rounds]
                for clock in ("seconds", "processor", "first")
            },
        }
        Path(options.json).write_text(json.dumps(facts, indent=2) + "\n")


def run(name: str, folder: Path) -> dict:
    """Run one side in a process of its own."""
    command = [sys.executable, __file__, "--run", name, "--folder", str(folder)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def make(folder: Path, size: int) -> None:
    """Write blobs of probability over smooth ground, as stores and as GeoTIFFs."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(5)
    coarse = random.random((size // 20 + 2, size // 20 + 2), dtype=np.float32)
    coarse = ndimage.gaussian_filter(coarse, 1.5)
    coarse = (coarse - coarse.mean()) / coarse.std()
    field = ndimage.zoom(coarse, 20, order=1)[:size, :size]
    percent = np.clip(np.rint(50 + 25 * (field - 2)), 0, 100).astype(np.uint8)
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    ground = {
        "elevation": 4000 + 800 * np.sin(rows / 300) + 700 * np.cos(columns / 400),
        "slope": 25 + 15 * np.sin(columns / 90),
        "aspect": (rows + columns) % 360,
    }
    grid = Grid.from_dict(
        {
            "crs": f"EPSG:{EPSG}",
            "transform": [10.0, 0.0, WEST, 0.0, -10.0, NORTH],
            "shape": [size, size],
            "block": 2048,
        }
    )
    write_json(folder / "basin" / "grid.json", grid.to_dict())
    chunks = {"chunks": (128, 128), "shards": (2048, 2048)}
    cube = {"compressors": BloscCodec(cname="lz4", clevel=9, shuffle="bitshuffle")}
    store = zarr.open_group(folder / "cube.zarr", mode="w")
    for name, values in {"probability": percent, **ground}.items():
        array = np.ascontiguousarray(values, np.uint8 if name == "probability" else np.float32)
        codec = {} if name == "probability" else cube
        store.create_array(name, shape=array.shape, dtype=array.dtype, **chunks, **codec)[:] = array
        profile = {
            "driver": "GTiff", "width": size, "height": size, "count": 1, "dtype": array.dtype,
            "crs": EPSG, "transform": grid.transform, "tiled": True, "compress": "deflate",
        }  # fmt: skip
        with rasterio.open(folder / f"{name}.tif", "w", **profile) as file:
            file.write(array, 1)
    for name in ("n_snow", "n_shadow"):
        store.create_array(name, shape=(size, size), dtype="uint8", **chunks, **cube)
    (folder / "made").write_text("")


def taken(start: float, busy: float) -> dict:
    """Return what both clocks say since."""
    return {"seconds": time.perf_counter() - start, "processor": time.process_time() - busy}


def ours(folder: Path) -> dict:
    """Draw and measure as the stage does."""
    config = {"name": "basin", "area": [74.0, 36.0, 74.1, 36.1]}
    study = Study(config=parse_config(config, source="benchmark"), base=folder)
    area = projected(shapely.box(*study.grid.bounds).buffer(1e4), epsg=4326, source_epsg=EPSG)
    study.__dict__["area"] = area  # all of the raster, whatever its size
    store = zarr.open_group(folder / "cube.zarr", mode="r")
    start, busy = time.perf_counter(), time.process_time()
    drawn = draw(study, store["probability"], threshold=0.5)
    rows, _ = measured(study, drawn, store["probability"], store)
    return {**taken(start, busy), "pixels": sorted(row["pixels"] for row in rows)}


def peer(folder: Path) -> dict:
    """Draw with rasterio.features, measure with rasterstats."""
    from rasterstats import zonal_stats

    start, busy = time.perf_counter(), time.process_time()
    with rasterio.open(folder / "probability.tif") as file:
        mask = (file.read(1) >= 50).astype(np.uint8)
        transform = file.transform
    traced = [
        shapely.geometry.shape(outline)
        for outline, _ in shapes(mask, mask=mask > 0, connectivity=8, transform=transform)
    ]
    kept = [outline for outline in traced if outline.area >= LEAST * 100]
    for name in ("probability", *LAYERS):
        zonal_stats(
            kept, str(folder / f"{name}.tif"), nodata=-999, stats="count min max mean median"
        )
    return {**taken(start, busy), "pixels": sorted(round(outline.area / 100) for outline in kept)}


RUNS = {"ours": ours, "peer": peer}

if __name__ == "__main__":
    main()
