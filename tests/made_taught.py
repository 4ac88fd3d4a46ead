"""A basin with a cube of two bands, labels and a split, ready to fuse: 128 x 320 pixels.

Landforms are squares of ridges: slope shows them, and the bands, which are noise, do not. Columns
0-95 are test ground, 96-111 guard, 112-239 train, 240-319 validation. A hole has no looks.
"""

import geopandas as gpd
import numpy as np
import shapely
import zarr

from rockglacier.config import parse_config
from rockglacier.cube.store import create_cube
from rockglacier.cube.terrain import slope_aspect
from rockglacier.cube.writer import write_window
from rockglacier.grid import Grid
from rockglacier.storage import write_json
from rockglacier.study import Study

HEIGHT, WIDTH, BLOCK = 128, 320, 128
WEST, NORTH = 500_000, 4_000_000
BANDS = ["B04", "B11"]
SPLIT = {"test": (0, 96), "guard": (96, 112), "train": (112, 240), "validation": (240, 320)}
HOLE = (slice(4, 10), slice(120, 130))


def make_taught(folder, name="taught", **train):
    """Return the study; ``train`` changes settings of the training."""
    config = parse_config(
        {
            "name": name,
            "area": [75.0, 36.121, 75.036, 36.134],
            "cube": {"bands": BANDS, "block": BLOCK},
            "labels": {"reference": "reference.gpkg", "split": "strip", "guard": 16},
            "train": {
                "networks": ["hrnet"],
                "size": "small",
                "chip": 32,
                "batch": 4,
                "epochs": 2,
                "chips_per_epoch": 24,
                "learning_rate": 3e-3,
                **train,
            },
            "predict": {"window": 64, "batch": 4},
        },
        source="test",
    )
    study = Study(config=config, base=folder)
    grid = Grid.from_dict(
        {
            "crs": "EPSG:32643",
            "transform": [10, 0, WEST, 0, -10, NORTH],
            "shape": [HEIGHT, WIDTH],
            "block": BLOCK,
        }
    )
    write_json(study.grid_path, grid.to_dict())
    layers, labels = ground(np.random.default_rng(3))
    create_cube(study)
    for block in grid.blocks():
        part = {key: values[(..., *block.window.slices)] for key, values in layers.items()}
        write_window(study.cube_path, block.window, part)
    group = zarr.create_group(study.labels_path, zarr_format=3)
    array = group.create_array("labels", shape=labels.shape, dtype="uint8", chunks=(64, 64))
    array[:] = labels
    splits(grid).to_parquet(study.splits_path)
    return study


def ground(rng):
    """Return the layers of the cube and the labels, all (y, x)."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    for y in range(4, HEIGHT - 28, 40):
        for x in range(4, WIDTH - 28, 40):
            dy, dx = rng.integers(0, 12, 2)
            labels[y + dy : y + dy + 24, x + dx : x + dx + 24] = 1
    labels[-3:] = 255
    rows = np.arange(HEIGHT)[:, None] * np.ones(WIDTH)
    elevation = 4000 + 2 * rows + rng.normal(0, 0.3, labels.shape)
    elevation = elevation + np.where(labels == 1, 9 * np.sin(2 * np.pi * rows / 6), 0)
    elevation = elevation.astype(np.float32)
    slope, aspect = (
        layer[1:-1, 1:-1] for layer in slope_aspect(np.pad(elevation, 1, "edge"), 10, 0)
    )
    stored = rng.normal(3000, 200, (len(BANDS), HEIGHT, WIDTH))
    stored[:, HOLE[0], HOLE[1]] = 0
    layers = {
        "reflectance": stored.astype(np.uint16),
        "n_snow": np.zeros(labels.shape, np.uint8),
        "elevation": elevation,
        "slope": slope,
        "aspect": aspect,
    }
    return layers, labels


def splits(grid):
    rows = [
        {
            "split": split,
            "row0": 0,
            "col0": x0,
            "height": HEIGHT,
            "width": x1 - x0,
            "version": "made",
            "geometry": shapely.box(WEST + 10 * x0, NORTH - 10 * HEIGHT, WEST + 10 * x1, NORTH),
        }
        for split, (x0, x1) in SPLIT.items()
    ]
    return gpd.GeoDataFrame(rows, crs=f"EPSG:{grid.epsg}")
