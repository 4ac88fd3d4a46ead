"""Stored probabilities become two cloud-optimized GeoTIFFs that open anywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import zarr
from numpy.typing import NDArray
from rasterio.windows import Window as RasterWindow

from rockglacier.cube.export import BLOCK, CACHE_BYTES, to_cog
from rockglacier.grid import Grid
from rockglacier.prediction.blend import PERCENT_NODATA, threshold_percent
from rockglacier.scenes.notices import notices
from rockglacier.storage import disk_errors
from rockglacier.study import Study

CLASS_NODATA = 255
CLASS_NAMES = ("background", "rock glacier")
CLASS_COLOURS = {0: (236, 232, 224), 1: (178, 34, 34)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """One of the two rasters."""

    name: str
    description: str
    overviews: str
    """GDAL resampling of its overviews; both leave nodata out."""
    predictor: str
    nodata: int

    def path(self, folder: Path) -> Path:
        return folder / f"{self.name}.tif"

    def raw(self, folder: Path) -> Path:
        """Path of the plain GeoTIFF that the copy is made from."""
        return folder / f".{self.name}.raw.tif"


PROBABILITY = _Layer(
    name="probability",
    description="probability of a rock glacier, percent",
    overviews="AVERAGE",
    predictor="STANDARD",
    nodata=PERCENT_NODATA,
)
CLASSES = _Layer(
    name="classes",
    description="rock glacier (1) or background (0)",
    overviews="MODE",
    predictor="NO",
    nodata=CLASS_NODATA,
)


def classify(percent: NDArray[np.uint8], threshold: float) -> NDArray[np.uint8]:
    """Return 1 where a stored percent reaches the threshold (0..1), 0 below, 255 if unknown."""
    classes = (percent >= threshold_percent(threshold)).astype(np.uint8)
    return np.where(percent == PERCENT_NODATA, np.uint8(CLASS_NODATA), classes)


def write_cogs(study: Study, threshold: float, tags: Mapping[str, str]) -> list[Path]:
    """Stream ``prediction.zarr`` into ``probability.tif`` and ``classes.tif``.

    Parameters
    ----------
    study
        With a finished ``prediction.zarr``.
    threshold
        Probability (0..1) from which a pixel is a rock glacier.
    tags
        Further tags of both files.

    Returns
    -------
    list of Path
        The two files: uint8, 255 nodata, DEFLATE, 512 px blocks, statistics and notices in their
        tags; percent with averaged overviews, classes with a colour table, names and overviews of
        the commonest class.

    Notes
    -----
    Blocks go into a plain tiled GeoTIFF, which GDAL's COG driver then copies, so that memory does
    not grow with the basin; the plain file is removed. Each file appears whole or not at all.
    """
    folder, layers = study.prediction_path, (PROBABILITY, CLASSES)
    source = zarr.open_array(folder / "prediction.zarr" / "probability", mode="r")
    common = {
        **tags,
        "ROCKGLACIER_THRESHOLD": f"{threshold:g}",
        "TIFFTAG_SOFTWARE": "rockglacier",
        "TIFFTAG_COPYRIGHT": "; ".join(notices(study)),
    }
    try:
        with disk_errors(folder), rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
            _stream(source, study.grid, folder, threshold, common)
            for layer in layers:
                _copy(layer, folder)
    finally:
        for layer in layers:
            layer.raw(folder).unlink(missing_ok=True)
    _write_class_names(CLASSES.path(folder))
    return [layer.path(folder) for layer in layers]


def _stream(
    source: zarr.Array[Any], grid: Grid, folder: Path, threshold: float, tags: Mapping[str, str]
) -> None:
    """Write the two plain GeoTIFFs block by block, then what their tags say."""
    counts = {layer.name: np.zeros(256, np.int64) for layer in (PROBABILITY, CLASSES)}
    with ExitStack() as files:
        written = {
            layer: files.enter_context(_create(layer.raw(folder), layer, grid))
            for layer in (PROBABILITY, CLASSES)
        }
        for block in grid.blocks():
            window = block.window
            percent = np.asarray(source[window.slices])
            values = {PROBABILITY: percent, CLASSES: classify(percent, threshold)}
            place = RasterWindow(window.x, window.y, window.width, window.height)
            for layer, file in written.items():
                file.write(values[layer], 1, window=place)
                counts[layer.name] += np.bincount(values[layer].ravel(), minlength=256)
        for layer, file in written.items():
            file.update_tags(**tags, TIFFTAG_IMAGEDESCRIPTION=layer.description)
            file.update_tags(1, **_statistics(counts[layer.name]))
            file.set_band_description(1, layer.description)
        names = {f"CLASS_{value}": name for value, name in enumerate(CLASS_NAMES)}
        written[CLASSES].update_tags(1, **names)
        written[CLASSES].write_colormap(1, CLASS_COLOURS)


def _create(path: Path, layer: _Layer, grid: Grid) -> rasterio.io.DatasetWriter:
    return rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=grid.shape[0],
        width=grid.shape[1],
        count=1,
        dtype="uint8",
        nodata=layer.nodata,
        crs=f"EPSG:{grid.epsg}",
        transform=grid.transform,
        tiled=True,
        blockxsize=BLOCK,
        blockysize=BLOCK,
        bigtiff="IF_SAFER",
    )


def _statistics(counts: NDArray[np.int64]) -> dict[str, str]:
    """Return exact statistics of the pixels below 255, under GDAL's names."""
    known = counts[:255]
    number, every = int(known.sum()), int(counts.sum())
    found = {"STATISTICS_VALID_PERCENT": f"{100 * number / every:.4g}"}
    if number:
        values = np.arange(255)
        mean = float((known * values).sum() / number)
        present = np.flatnonzero(known)
        deviation = math.sqrt(float((known * (values - mean) ** 2).sum() / number))
        found |= {
            "STATISTICS_MINIMUM": str(present[0]),
            "STATISTICS_MAXIMUM": str(present[-1]),
            "STATISTICS_MEAN": f"{mean:.10g}",
            "STATISTICS_STDDEV": f"{deviation:.10g}",
        }
    return found


def _copy(layer: _Layer, folder: Path) -> None:
    final = layer.path(folder)
    to_cog(layer.raw(folder), final, overviews=layer.overviews, predictor=layer.predictor)
    # statistics or names that another program left beside an older version of the file
    final.with_name(f"{final.name}.aux.xml").unlink(missing_ok=True)


def _write_class_names(path: Path) -> None:
    """Put the class names where GDAL and QGIS look for them; a GeoTIFF itself has no place."""
    names = "".join(f"<Category>{name}</Category>" for name in CLASS_NAMES)
    text = (
        f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{names}</CategoryNames>'
        "</PAMRasterBand></PAMDataset>\n"
    )
    path.with_name(f"{path.name}.aux.xml").write_text(text, encoding="utf-8")
