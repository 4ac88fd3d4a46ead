"""Basins as the stages before training leave them: grid, split, labels, and features or a cube.

Landforms are squares of ridges; what lies around them is noise of the same mean and variance.
Columns are test ground, guard, training and validation ground, from west to east.
"""

import geopandas as gpd
import numpy as np
import shapely
import zarr

from made_study import CRS, NORTH, WEST, grid_of, study_in
from rockglacier.cube.store import create_cube
from rockglacier.cube.terrain import slope_aspect
from rockglacier.cube.writer import CubeWriter
from rockglacier.features.fusion import Fusion
from rockglacier.storage import write_json

HEIGHT, WIDTH = 256, 384
NODATA_ROWS = 8
SPLIT = {"test": (0, 96), "guard": (96, 112), "train": (112, 304), "validation": (304, 384)}
CHANNELS = ["elevation", "slope"]
TAUGHT_SHAPE = (128, 320)
TAUGHT_SPLIT = {"test": (0, 96), "guard": (96, 112), "train": (112, 240), "validation": (240, 320)}
BANDS = ["B04", "B11"]
HOLE = (slice(4, 10), slice(120, 130))
"""Where the cube has no looks."""


def make_ground(folder, name="ground", *, seed=0, mean=0.0, **train):
    """Return a study ready to train; ``mean`` makes another fusion, ``train`` other settings.

    256 x 384 pixels, two features, of which the first shows the ridges; rows 0-7 have none.
    """
    train = {"chip": 64, "epochs": 6, **train}
    study = _study(folder, name, (HEIGHT, WIDTH), SPLIT, train, area=[75.0, 36.11, 75.043, 36.134])
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
            "crs": CRS,
            "transform": [10, 0, WEST, 0, -10, NORTH],
        },
    )
    write_json(study.fusion_path, fusion.to_dict())
    return study


def make_taught(folder, name="taught", **train):
    """Return a study with a cube of two bands, ready to fuse; ``train`` makes other settings.

    128 x 320 pixels. Slope shows the landforms; the bands, which are noise, do not.
    """
    train = {"chip": 32, "epochs": 2, **train}
    study = _study(
        folder,
        name,
        TAUGHT_SHAPE,
        TAUGHT_SPLIT,
        train,
        area=[75.0, 36.121, 75.036, 36.134],
        cube={"bands": BANDS, "block": 128},
        guard=16,
    )
    layers, labels = ridges(np.random.default_rng(3))
    create_cube(study)
    for block in study.grid.blocks():
        part = {key: values[(..., *block.window.slices)] for key, values in layers.items()}
        CubeWriter(study.cube_path).write(block.window, part)
    write_array(study.labels_path, "labels", labels, chunks=(64, 64))
    return study


def _study(folder, name, shape, split, train, *, area, cube=None, **labels):
    """Return a study whose grid and split are written."""
    study = study_in(
        folder,
        grid_of(shape),
        name=name,
        area=area,
        cube=cube or {},
        labels={"reference": "reference.gpkg", "split": "strip", **labels},
        train={
            "networks": ["hrnet"],
            "size": "small",
            "batch": 4,
            "chips_per_epoch": 24,
            "learning_rate": 3e-3,
            **train,
        },
        predict={"window": 64, "batch": 4},
    )
    _cells(split, shape[0]).to_parquet(study.splits_path)
    return study


def _cells(split, height):
    rows = [
        {
            "split": use,
            "row0": 0,
            "col0": x0,
            "height": height,
            "width": x1 - x0,
            "version": "made",
            "geometry": shapely.box(WEST + 10 * x0, NORTH - 10 * height, WEST + 10 * x1, NORTH),
        }
        for use, (x0, x1) in split.items()
    ]
    return gpd.GeoDataFrame(rows, crs=CRS)


def landforms(rng):
    """Return labels (y, x) uint8 and features (2, y, x) int16."""
    labels = squares(rng, (HEIGHT, WIDTH), first=(8, 4), step=(56, 64), jitter=16, edge=32)
    noise = rng.normal(size=(2, HEIGHT, WIDTH))
    ridged = np.sqrt(2) * np.sin(2 * np.pi * np.arange(HEIGHT) / 6)[:, None]
    noise[0] = np.where(labels == 1, ridged + noise[0] / 4, noise[0])
    features = np.clip(np.rint(1000 * noise), -32000, 32000).astype(np.int16)
    features[:, :NODATA_ROWS] = -32768
    return labels, features


def ridges(rng):
    """Return the layers of a cube and the labels, all (y, x)."""
    labels = squares(rng, TAUGHT_SHAPE, first=(4, 4), step=(40, 40), jitter=12, edge=24)
    labels[-3:] = 255
    height, width = TAUGHT_SHAPE
    rows = np.arange(height)[:, None] * np.ones(width)
    elevation = 4000 + 2 * rows + rng.normal(0, 0.3, labels.shape)
    elevation = elevation + np.where(labels == 1, 9 * np.sin(2 * np.pi * rows / 6), 0)
    elevation = elevation.astype(np.float32)
    slope, aspect = (
        layer[1:-1, 1:-1] for layer in slope_aspect(np.pad(elevation, 1, "edge"), 10, 0)
    )
    stored = rng.normal(3000, 200, (len(BANDS), *TAUGHT_SHAPE))
    stored[:, HOLE[0], HOLE[1]] = 0
    layers = {
        "reflectance": stored.astype(np.uint16),
        "n_snow": np.zeros(labels.shape, np.uint8),
        "elevation": elevation,
        "slope": slope,
        "aspect": aspect,
    }
    return layers, labels


def squares(rng, shape, *, first, step, jitter, edge):
    """Return labels (y, x) uint8 with a square in each cell of a lattice, somewhere in it."""
    labels = np.zeros(shape, np.uint8)
    for y in range(first[0], shape[0] - edge - first[1], step[0]):
        for x in range(first[1], shape[1] - edge - first[1], step[1]):
            dy, dx = rng.integers(0, jitter, 2)
            labels[y + dy : y + dy + edge, x + dx : x + dx + edge] = 1
    return labels


def write_array(path, name, values, *, chunks, attributes=None):
    group = zarr.create_group(path, zarr_format=3, overwrite=True, attributes=attributes or {})
    array = group.create_array(name, shape=values.shape, dtype=values.dtype, chunks=chunks)
    array[:] = values


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
