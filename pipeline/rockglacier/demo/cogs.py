"""Write rasters as Cloud Optimized GeoTIFFs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

BLOCK_PIXELS = 512
"""Edge of an internal tile, pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenFile:
    """A file as an item describes it."""

    shape: tuple[int, int]
    transform: Affine
    size: int
    """Bytes."""
    checksum: str
    """Multihash (sha2-256) in hexadecimal."""


def write_cog(
    path: Path,
    values: NDArray[np.generic],
    *,
    transform: Affine,
    epsg: int,
    nodata: int | None,
    resampling: Literal["average", "nearest"],
    point: bool = False,
) -> WrittenFile:
    """Write one band (y, x) as a COG with overviews.

    Parameters
    ----------
    path
        File to write; its folder is made.
    values
        (y, x), uint8, uint16 or float32.
    transform
        Pixel (column, row) to CRS; the corner of pixel (0, 0) is the origin.
    epsg
        CRS.
    nodata
        Value that is no data, or None.
    resampling
        How overviews are made.
    point
        Say that cells are points, as GLO-30 does; ``transform`` keeps its meaning.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {
        "driver": "COG",
        "dtype": values.dtype,
        "count": 1,
        "height": values.shape[0],
        "width": values.shape[1],
        "crs": f"EPSG:{epsg}",
        "transform": transform,
        "nodata": nodata,
        "compress": "DEFLATE",
        "level": 1,
        "predictor": "YES",
        "blocksize": BLOCK_PIXELS,
        "overview_resampling": resampling,
    }
    with rasterio.open(path, "w", **options) as file:
        if point:
            file.update_tags(AREA_OR_POINT="Point")
        file.write(values, 1)
    content = path.read_bytes()
    return WrittenFile(
        shape=(values.shape[0], values.shape[1]),
        transform=transform,
        size=len(content),
        checksum="1220" + hashlib.sha256(content).hexdigest(),
    )
