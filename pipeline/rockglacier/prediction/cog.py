"""A stored prediction becomes cloud-optimized GeoTIFFs that open anywhere."""

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
from rockglacier.prediction.store import MEANINGS, PROBABILITY, store_path
from rockglacier.scenes.notices import notices
from rockglacier.storage import open_group, remove, uploaded, write_text
from rockglacier.study import Study

CLASS_NODATA = 255
CLASS_NAMES = ("background", "rock glacier")
CLASS_COLOURS = {0: (236, 232, 224), 1: (178, 34, 34)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """One of the rasters."""

    name: str
    description: str
    overviews: str
    """GDAL resampling of its overviews; it leaves nodata out."""
    predictor: str
    nodata: int = PERCENT_NODATA

    def path(self, folder: Path) -> Path:
        return folder / f"{self.name}.tif"


STORED = tuple(
    _Layer(
        name=name,
        description=f"{meaning}, {units}",
        overviews="AVERAGE",
        predictor="STANDARD",
    )
    for name, (meaning, units) in MEANINGS.items()
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
    """Stream every layer of ``prediction.zarr`` into a file, and its classes into another.

    Parameters
    ----------
    study
        With a finished ``prediction.zarr``.
    threshold
        Probability (0..1) from which a pixel is a rock glacier.
    tags
        Further tags of every file.

    Returns
    -------
    list of Path
        ``probability.tif``, ``classes.tif``, and of an ensemble ``spread.tif`` (standard deviation
        of its passes, percentage points) and ``agreement.tif`` (share of its networks that reach
        their own threshold, percent): uint8, 255 nodata, DEFLATE, 512 px blocks, statistics and
        notices in their tags; percent with averaged overviews, classes with a colour table, names
        and overviews of the commonest class. Files of layers that are no more are deleted.

    Notes
    -----
    Blocks go into a plain tiled GeoTIFF, which GDAL's COG driver then copies, so that memory does
    not grow with the basin; the plain file is removed. Each file appears whole or not at all.
    """
    folder = study.prediction_path
    source = dict(open_group(store_path(study)).arrays())
    probability, *others = (layer for layer in STORED if layer.name in source)
    layers = (probability, CLASSES, *others)
    for layer in STORED:
        if layer not in layers:
            remove(layer.path(folder))
    common = {
        **tags,
        "ROCKGLACIER_THRESHOLD": f"{threshold:g}",
        "TIFFTAG_SOFTWARE": "rockglacier",
        "TIFFTAG_COPYRIGHT": "; ".join(notices(study)),
    }
    paths = [layer.path(folder) for layer in layers]
    with ExitStack() as made:
        finals = [made.enter_context(uploaded(path)) for path in paths]
        raws = {
            layer: final.with_name(f"raw-{final.name}")
            for layer, final in zip(layers, finals, strict=True)
        }
        made.enter_context(rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES))
        _stream(source, study.grid, raws, threshold, common)
        for layer, final in zip(layers, finals, strict=True):
            to_cog(raws[layer], final, overviews=layer.overviews, predictor=layer.predictor)
            raws[layer].unlink()
    for path in paths:  # statistics that another program left beside an older version of the file
        remove(_beside(path))
    write_text(_beside(CLASSES.path(folder)), _class_names())
    return paths


def _stream(
    source: Mapping[str, zarr.Array[Any]],
    grid: Grid,
    raws: Mapping[_Layer, Path],
    threshold: float,
    tags: Mapping[str, str],
) -> None:
    """Write the plain GeoTIFFs block by block, then what their tags say."""
    counts = {layer: np.zeros(256, np.int64) for layer in raws}
    with ExitStack() as files:
        written = {
            layer: files.enter_context(_create(path, layer, grid)) for layer, path in raws.items()
        }
        for block in grid.blocks():
            window = block.window
            percents = {name: np.asarray(held[window.slices]) for name, held in source.items()}
            values = {**percents, CLASSES.name: classify(percents[PROBABILITY], threshold)}
            place = RasterWindow(window.x, window.y, window.width, window.height)
            for layer, file in written.items():
                file.write(values[layer.name], 1, window=place)
                counts[layer] += np.bincount(values[layer.name].ravel(), minlength=256)
        for layer, file in written.items():
            file.update_tags(**tags, TIFFTAG_IMAGEDESCRIPTION=layer.description)
            file.update_tags(1, **_statistics(counts[layer]))
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


def _beside(path: Path) -> Path:
    """Return where GDAL and QGIS look for what a GeoTIFF itself has no place for."""
    return path.with_name(f"{path.name}.aux.xml")


def _class_names() -> str:
    names = "".join(f"<Category>{name}</Category>" for name in CLASS_NAMES)
    return (
        f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{names}</CategoryNames>'
        "</PAMRasterBand></PAMDataset>\n"
    )
