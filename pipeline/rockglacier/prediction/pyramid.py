"""Plain GeoTIFFs of whole blocks, and their coarser versions where GDAL looks for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.windows import Window as RasterWindow

from rockglacier.cube.export import BLOCK
from rockglacier.grid import Window
from rockglacier.prediction.blend import PERCENT_NODATA

READ: Final = 2048
"""Edge of what an overview is made of at a time, pixels."""

Halved = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""Makes of pixels others of twice their edge."""


def create_plain(path: Path, geobox: GeoBox) -> rasterio.io.DatasetWriter:
    """Open a new GeoTIFF of uint8 to write, 255 nodata, not compressed."""
    return rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=geobox.shape[0],
        width=geobox.shape[1],
        count=1,
        dtype="uint8",
        nodata=PERCENT_NODATA,
        crs=str(geobox.crs),
        transform=geobox.affine,
        tiled=True,
        blockxsize=BLOCK,
        blockysize=BLOCK,
        bigtiff="IF_SAFER",
    )


def write_values(file: rasterio.io.DatasetWriter, values: NDArray[np.uint8], place: Window) -> None:
    """Write the pixels of a window of the only band."""
    file.write(values, 1, window=RasterWindow(place.x, place.y, place.width, place.height))


def add_overviews(path: Path, halved: Halved) -> list[Path]:
    """Write the overviews of a plain GeoTIFF down to a single block, each in a file beside it.

    Each is made of the next finer one, a part at a time.
    """
    written: list[Path] = []
    while (made := _coarser(written[-1] if written else path, halved)) is not None:
        written.append(made)
    return written


def _coarser(path: Path, halved: Halved) -> Path | None:
    with rasterio.open(path) as finer:
        if max(finer.shape) <= BLOCK:
            return None
        beside = path.with_name(f"{path.name}.ovr")
        shape = (-(-finer.height // 2), -(-finer.width // 2))
        geobox = GeoBox(shape, finer.transform * Affine.scale(2), finer.crs)
        with create_plain(beside, geobox) as coarser:
            for y in range(0, finer.height, READ):
                for x in range(0, finer.width, READ):
                    bottom, right = min(y + READ, finer.height), min(x + READ, finer.width)
                    values = halved(finer.read(1, window=((y, bottom), (x, right))))
                    height, width = values.shape
                    place = Window(y=y // 2, x=x // 2, height=height, width=width)
                    write_values(coarser, values, place)
    return beside
