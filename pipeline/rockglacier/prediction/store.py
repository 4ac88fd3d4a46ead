"""The store of a prediction: a raster of whole percent a layer, written by blocks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import zarr

from rockglacier.engine import Receipts
from rockglacier.grid import Grid
from rockglacier.prediction.blend import PERCENT_NODATA
from rockglacier.storage import zarr_store
from rockglacier.study import Study

PROBABILITY: Final = "probability"
SPREAD: Final = "spread"
AGREEMENT: Final = "agreement"

CHUNK: Final = 128
MEANINGS: Final = {
    PROBABILITY: ("probability of a rock glacier", "percent"),
    SPREAD: ("standard deviation of the probabilities of networks and views", "percentage points"),
    AGREEMENT: ("share of the networks that call it a rock glacier", "percent"),
}
"""Long name and unit of every layer."""


def store_path(study: Study) -> Path:
    """Return where the store of a study's period lies."""
    return study.prediction_path / "prediction.zarr"


def create_target(path: Path, grid: Grid, layers: Sequence[str], receipts: Receipts) -> None:
    """Keep the store if it fits grid and layers, or make a new one and forget its blocks."""
    shards = (grid.block, grid.block)
    if (path / PROBABILITY / "zarr.json").is_file():
        group = zarr.open_group(zarr_store(path, read_only=True), mode="r")
        held: dict[str, Any] = dict(group.arrays())
        if set(held) == set(layers) and all(
            array.shape == grid.shape and array.shards == shards for array in held.values()
        ):
            return
    for name, _ in list(receipts.all()):
        receipts.drop(name)
    about: dict[str, Any] = {
        "proj:code": f"EPSG:{grid.epsg}",
        "spatial:transform": list(grid.transform)[:6],
    }
    store = zarr_store(path, read_only=False)
    group = zarr.open_group(store, mode="w", zarr_format=3, attributes=about)
    for name in layers:
        meaning, units = MEANINGS[name]
        group.create_array(
            name,
            shape=grid.shape,
            dtype="uint8",
            chunks=(CHUNK, CHUNK),
            shards=shards,
            fill_value=PERCENT_NODATA,
            dimension_names=("y", "x"),
            attributes={"long_name": meaning, "units": units},
        )
