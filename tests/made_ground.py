"""A basin as the stages before training leave it: grid, features, labels, split, fusion.

256 x 384 pixels, two features of noise; landforms are rectangles in which the first feature is
ridges of the same mean and variance. Columns 0-95 are test ground, 96-111 guard, 112-303 train,
304-383 validation. Rows 0-7 have no features.
"""

import geopandas as gpd
import numpy as np
import shapely
import zarr

from rockglacier.config import parse_config
from rockglacier.features.fusion import Fusion
from rockglacier.grid import Grid
from rockglacier.storage import write_json
from rockglacier.study import Study

HEIGHT, WIDTH = 256, 384
NODATA_ROWS = 8
SPLIT = {"test": (0, 96), "guard": (96, 112), "train": (112, 304), "validation": (304, 384)}
CHANNELS = ["elevation", "slope"]
WEST, NORTH = 500_000, 4_000_000


def make_ground(folder, name="ground", *, seed=0, mean=0.0, **train):
    """Return a study ready to train; ``mean`` makes another fusion, ``train`` other settings."""
    config = parse_config(
        {
            "name": name,
            "area": [75.0, 36.11, 75.043, 36.134],
            "labels": {"reference": "reference.gpkg", "split": "strip"},
            "train": {
                "networks": ["hrnet"],
                "size": "small",
                "chip": 64,
                "batch": 4,
                "epochs": 6,
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
            "block": 128,
        }
    )
    write_json(study.grid_path, grid.to_dict())
    fusion = make_fusion(mean)
    labels, features = landforms(np.random.default_rng(seed))
    write_array(study.labels_path, "labels", labels, chunks=(128, 128))
    write_array(
        study.features_path,
        "features",
        features,
        chunks=(2, 128, 128),
        attributes={
            "channels": CHANNELS,
            "fusion": fusion.hash,
            "scale": 1e-3,
            "nodata": -32768,
            "crs": "EPSG:32643",
            "transform": [10, 0, WEST, 0, -10, NORTH],
        },
    )
    splits(grid).to_parquet(study.splits_path)
    write_json(study.fusion_path, fusion.to_dict())
    return study


def landforms(rng):
    """Return labels (y, x) uint8 and features (2, y, x) int16."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    for y in range(8, HEIGHT - 40, 56):
        for x in range(4, WIDTH - 40, 64):
            dy, dx = rng.integers(0, 16, 2)
            labels[y + dy : y + dy + 32, x + dx : x + dx + 32] = 1
    noise = rng.normal(size=(2, HEIGHT, WIDTH))
    ridges = np.sqrt(2) * np.sin(2 * np.pi * np.arange(HEIGHT) / 6)[:, None]
    noise[0] = np.where(labels == 1, ridges + noise[0] / 4, noise[0])
    features = np.clip(np.rint(1000 * noise), -32000, 32000).astype(np.int16)
    features[:, :NODATA_ROWS] = -32768
    return labels, features


def write_array(path, name, values, *, chunks, attributes=None):
    group = zarr.create_group(path, zarr_format=3, overwrite=True, attributes=attributes or {})
    array = group.create_array(name, shape=values.shape, dtype=values.dtype, chunks=chunks)
    array[:] = values


def splits(grid):
    rows = []
    for split, (x0, x1) in SPLIT.items():
        bounds = (WEST + 10 * x0, NORTH - 10 * HEIGHT, WEST + 10 * x1, NORTH)
        rows.append(
            {
                "split": split,
                "row0": 0,
                "col0": x0,
                "height": HEIGHT,
                "width": x1 - x0,
                "geometry": shapely.box(*bounds),
            }
        )
    return gpd.GeoDataFrame(rows, crs=f"EPSG:{grid.epsg}")


def make_fusion(mean):
    return Fusion(
        set="stack",
        bands=("B02", "B03", "B04", "B08", "B11", "B12"),
        layers=tuple(CHANNELS),
        channels=tuple(CHANNELS),
        mean=(mean, mean),
        std=(1.0, 1.0),
        loadings={},
        explained_variance={},
        stretch={},
    )
