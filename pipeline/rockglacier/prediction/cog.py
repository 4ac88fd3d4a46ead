"""A stored prediction becomes cloud-optimized GeoTIFFs that open anywhere."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
import zarr
from numpy.typing import NDArray

from rockglacier.cube.export import CACHE_BYTES, to_cog
from rockglacier.grid import Grid, Window
from rockglacier.prediction.blend import PERCENT_NODATA, threshold_percent
from rockglacier.prediction.overviews import halved_mean, halved_mode
from rockglacier.prediction.pyramid import Halved, add_overviews, create_plain, write_values
from rockglacier.prediction.store import MEANINGS, PROBABILITY, store_path
from rockglacier.prediction.vrt import vrt_of
from rockglacier.scenes.notices import notices
from rockglacier.storage import listing, one_pass, open_group, remove, uploaded, write_text
from rockglacier.study import Study

LARGEST: Final = 65_536
"""Edge of a COG, pixels: beyond it there are several, and a VRT of them."""
CLASS_NODATA = 255
CLASS_NAMES = ("background", "rock glacier")
CLASS_COLOURS = {0: (236, 232, 224), 1: (178, 34, 34)}

Percents = dict[str, NDArray[np.uint8]]
"""The stored layers of a block by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """One of the rasters."""

    name: str
    description: str
    halved: Halved
    overviews: str
    """What GDAL calls that resampling."""
    predictor: str
    colours: Mapping[int, tuple[int, int, int]] = field(default_factory=dict, hash=False)
    categories: tuple[str, ...] = ()


STORED = tuple(
    _Layer(
        name=name,
        description=f"{meaning}, {units}",
        halved=halved_mean,
        overviews="AVERAGE",
        predictor="STANDARD",
    )
    for name, (meaning, units) in MEANINGS.items()
)
CLASSES = _Layer(
    name="classes",
    description="rock glacier (1) or background (0)",
    halved=halved_mode,
    overviews="MODE",
    predictor="NO",
    colours=CLASS_COLOURS,
    categories=CLASS_NAMES,
)

Counts = dict[_Layer, NDArray[np.int64]]
"""How many pixels of a layer have a value, (256,)."""


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
        Of a basin with a longer edge than 65 536 px, ``probability.vrt`` and so on, each over
        COGs such as ``probability-0-65536.tif`` (first row and column).

    Notes
    -----
    Blocks go into a plain tiled GeoTIFF and its overviews into others, which GDAL's COG driver then
    copies: memory does not grow with the basin, and every pixel is compressed once. The plain files
    are removed. Each file appears whole or not at all.
    """
    with one_pass():
        source = dict(open_group(store_path(study)).arrays())
    probability, *others = (layer for layer in STORED if layer.name in source)
    layers = (probability, CLASSES, *others)
    common = {
        **tags,
        "ROCKGLACIER_THRESHOLD": f"{threshold:g}",
        "TIFFTAG_SOFTWARE": "rockglacier",
        "TIFFTAG_COPYRIGHT": "; ".join(notices(study)),
    }
    written: dict[_Layer, dict[Path, Window]] = {layer: {} for layer in layers}
    counts: Counts = {layer: np.zeros(256, np.int64) for layer in layers}
    pieces = _pieces(study.grid)
    for piece in pieces:
        where = f"-{piece.y}-{piece.x}" if len(pieces) > 1 else ""
        paths = {layer: study.prediction_path / f"{layer.name}{where}.tif" for layer in layers}
        found = _write_piece(source, study.grid, piece, paths, threshold, common)
        for layer, path in paths.items():
            written[layer][path] = piece
            counts[layer] += found[layer]
    if len(pieces) == 1:
        result = [path for parts in written.values() for path in parts]
    else:
        result = [
            _write_vrt(study, layer, parts, counts[layer], common)
            for layer, parts in written.items()
        ]
    _tidy(study.prediction_path, {*result, *(path for parts in written.values() for path in parts)})
    for path in written[CLASSES]:
        write_text(_beside(path), _class_names())
    return result


def _pieces(grid: Grid) -> list[Window]:
    """Cut the grid into what fits a COG, whole blocks each."""
    edge = max(LARGEST // grid.block, 1) * grid.block
    return [
        Window(y=y, x=x, height=edge, width=edge).clipped(grid.shape)
        for y in range(0, grid.shape[0], edge)
        for x in range(0, grid.shape[1], edge)
    ]


def _write_piece(
    source: Mapping[str, zarr.Array[Any]],
    grid: Grid,
    piece: Window,
    paths: Mapping[_Layer, Path],
    threshold: float,
    tags: Mapping[str, str],
) -> Counts:
    """Write the COGs of a piece; return how many pixels have which value."""
    with ExitStack() as made:
        finals = {layer: made.enter_context(uploaded(path)) for layer, path in paths.items()}
        made.enter_context(rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES))
        counts = _stream(source, grid, piece, finals, threshold, tags)
        with ThreadPoolExecutor(len(finals)) as threads:
            list(threads.map(_finish, finals, finals.values()))
    return counts


def _raw(final: Path) -> Path:
    return final.with_name(f"raw-{final.name}")


def _stream(
    source: Mapping[str, zarr.Array[Any]],
    grid: Grid,
    piece: Window,
    finals: Mapping[_Layer, Path],
    threshold: float,
    tags: Mapping[str, str],
) -> Counts:
    """Write the plain GeoTIFFs of a piece block by block, then what their tags say."""
    counts = {layer: np.zeros(256, np.int64) for layer in finals if layer is not CLASSES}
    with ExitStack() as files:
        geobox = grid.geobox[piece.slices]
        written = {
            layer: files.enter_context(create_plain(_raw(final), geobox))
            for layer, final in finals.items()
        }
        for window, percents in _blocks(source, grid, piece):
            values = {**percents, CLASSES.name: classify(percents[PROBABILITY], threshold)}
            place = Window(
                y=window.y - piece.y,
                x=window.x - piece.x,
                height=window.height,
                width=window.width,
            )
            for layer, file in written.items():
                write_values(file, values[layer.name], place)
            for layer in counts:
                counts[layer] += np.bincount(values[layer.name].ravel(), minlength=256)
        counts[CLASSES] = _class_counts(counts[STORED[0]], threshold)
        for layer, file in written.items():
            file.update_tags(**tags, TIFFTAG_IMAGEDESCRIPTION=layer.description)
            file.update_tags(1, **_band_tags(layer, counts[layer]))
            file.set_band_description(1, layer.description)
            if layer.colours:
                file.write_colormap(1, layer.colours)
    return counts


def _blocks(
    source: Mapping[str, zarr.Array[Any]], grid: Grid, piece: Window
) -> Iterator[tuple[Window, Percents]]:
    """Yield the layers of every block of a piece; the next one's are read meanwhile."""

    def read(window: Window) -> Percents:
        return {name: np.asarray(held[window.slices]) for name, held in source.items()}

    waiting: deque[tuple[Window, Future[Percents]]] = deque()
    with ThreadPoolExecutor(1) as reader:
        for block in grid.blocks():
            if block.window.shared(piece) is None:
                continue
            waiting.append((block.window, reader.submit(read, block.window)))
            if len(waiting) > 1:
                window, found = waiting.popleft()
                yield window, found.result()
        for window, found in waiting:
            yield window, found.result()


def _finish(layer: _Layer, final: Path) -> None:
    """Make the COG of a plain file, which is removed."""
    raw = _raw(final)
    plain = [raw, *add_overviews(raw, layer.halved)]
    to_cog(raw, final, overviews=layer.overviews, predictor=layer.predictor)
    for path in plain:
        path.unlink()


def _write_vrt(
    study: Study,
    layer: _Layer,
    parts: Mapping[Path, Window],
    counts: NDArray[np.int64],
    tags: Mapping[str, str],
) -> Path:
    path = study.prediction_path / f"{layer.name}.vrt"
    text = vrt_of(
        {part.name: window for part, window in parts.items()},
        geobox=study.grid.geobox,
        description=layer.description,
        tags={**tags, "TIFFTAG_IMAGEDESCRIPTION": layer.description},
        band_tags=_band_tags(layer, counts),
        colours=layer.colours,
        categories=layer.categories,
    )
    write_text(path, text)
    return path


def _tidy(folder: Path, made: set[Path]) -> None:
    """Remove the rasters of layers and pieces that are no more, and what lies beside the others.

    Such are statistics that another program left beside an older version of a file.
    """
    names = {layer.name for layer in (*STORED, CLASSES)}
    for path in listing(folder):
        is_raster = path.name.partition(".")[0].partition("-")[0] in names
        if is_raster and path.name.endswith((".tif", ".vrt", ".aux.xml")) and path not in made:
            remove(path)


def _class_counts(percents: NDArray[np.int64], threshold: float) -> NDArray[np.int64]:
    """Return how many pixels have a class, from how many have a percent."""
    classes = classify(np.arange(256, dtype=np.uint8), threshold)
    return np.bincount(classes, weights=percents, minlength=256).astype(np.int64)


def _band_tags(layer: _Layer, counts: NDArray[np.int64]) -> dict[str, str]:
    """Return exact statistics of the pixels below 255, under GDAL's names, and names of classes."""
    known = counts[:255]
    number, every = int(known.sum()), int(counts.sum())
    found = {f"CLASS_{value}": name for value, name in enumerate(layer.categories)}
    found["STATISTICS_VALID_PERCENT"] = f"{100 * number / every:.4g}"
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
