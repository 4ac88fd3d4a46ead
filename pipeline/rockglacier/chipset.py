"""Chips for others: a folder of images, masks and footprints that needs none of this software."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from rockglacier import origin
from rockglacier.chips.ground import tile
from rockglacier.config import fingerprint
from rockglacier.engine import Progress, Receipts, silent
from rockglacier.errors import InputError
from rockglacier.features.build import LayerSource
from rockglacier.features.fitted import Fusion
from rockglacier.features.sets import BANDS
from rockglacier.grid import Window
from rockglacier.labels.burn import IGNORE
from rockglacier.labels.cells import CODES, SplitName
from rockglacier.labels.split import split_mask, windows_of
from rockglacier.scenes.record import read_table, write_table
from rockglacier.storage import (
    disk_errors,
    listing,
    local_copy,
    open_array,
    read_json,
    require_space,
    write_bytes,
    write_json,
    write_text,
)
from rockglacier.storage.vector import in_degrees
from rockglacier.study import Study

ABOUT: Final = "dataset.json"
TABLE: Final = "chips.parquet"
RECIPE: Final = 1
"""Counted up when the same inputs would give other files."""
USED: Final[tuple[SplitName, ...]] = ("train", "validation", "test")
CLASSES: Final = {0: "background", 1: "rock glacier", IGNORE: "not counted"}
COLOURS: Final = {0: (60, 60, 60, 255), 1: (230, 120, 20, 255), IGNORE: (0, 0, 0, 0)}
UNITS: Final = {
    **dict.fromkeys(BANDS, "reflectance"),
    "slope": "degrees",
    "aspect_sin": "1",
    "aspect_cos": "1",
    "curvature": "per 100 m",
    "roughness": "m",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """One chip: where it lies and what of it counts."""

    id: str
    split: SplitName
    window: Window
    counted: Window
    """Its pixels that no other chip counts."""

    @property
    def image(self) -> str:
        """Path in the folder."""
        return f"images/{self.split}/{self.id}.tif"

    @property
    def mask(self) -> str:
        """Path in the folder."""
        return f"masks/{self.split}/{self.id}.tif"


def write_chipset(study: Study, folder: Path, *, progress: Progress = silent) -> list[Path]:
    """Write the labelled ground of a study as chips that any program can learn from.

    Parameters
    ----------
    study
        Labelled and fused.
    folder
        New or empty, here or in an object store, or one in which this was begun before.
    progress
        Told after every chip.

    Returns
    -------
    list of Path
        ``dataset.json`` (channels with units, mean and deviation over training pixels, classes,
        splits, licence, sources), ``chips.parquet`` (footprints), ``splits.parquet``, texts, and an
        image and a mask a chip, GeoTIFFs in ``images/SPLIT/`` and ``masks/SPLIT/``.

    Raises
    ------
    InputError
        The folder holds something else, or chips of other data or settings; nothing is labelled.
    NotFoundError
        A stage before has not run.

    Notes
    -----
    Chips of each split cover its ground like tiles, so that every labelled pixel counts in exactly
    one mask; those without any are left out. Images are the layers of the study's feature set in
    their own units, float32. Where a layer is unknown, and on ground of another split, an image has
    the channel's mean, 0 when normalised, and the mask 255: no pixel is shown in two splits.
    """
    fusion = Fusion.from_dict(read_json(study.require(study.fusion_path, stage="fuse")))
    splits = read_table(study.require(study.splits_path, stage="label"))
    labels = open_array(study.require(study.labels_path, stage="label") / "labels")
    source = LayerSource(
        cube=study.require(study.cube_path, stage="cube"),
        grid=study.grid,
        layers=fusion.layers,
        period=study.period.index,
    )
    about = _about(study, fusion, splits)
    _claim(folder, about)
    ground = split_mask(splits, study.grid.shape)
    chips = list(_chips(study, splits, labels))
    if not chips:
        raise InputError(
            "no ground of the split is labelled",
            expected="at least one pixel of train, validation or test ground with a label",
            todo="check labels.reference and labels.complete_within",
        )
    require_space(folder, len(chips) * _bytes_of(fusion, study.config.train.chip), what="the chips")
    rows = []
    with disk_errors(folder):
        for done, chip in enumerate(chips, start=1):
            mask = _written(chip, folder)
            if mask is None:
                mask = _write(chip, folder, study, fusion, source, labels, ground)
            rows.append(_row(chip, mask))
            progress("export chips", done, len(chips))
        table = _table(chips, rows, study)
        write_table(table, folder / TABLE)
        write_table(splits, folder / "splits.parquet")
        for name, text in _texts(about, table).items():
            write_text(folder / name, text)
        write_json(folder / ABOUT, {**about, "splits": _counts(table), "is_complete": True})
    return [folder / ABOUT, folder / TABLE, *(folder / chip.image for chip in chips)]


def _about(study: Study, fusion: Fusion, splits: gpd.GeoDataFrame) -> dict[str, Any]:
    config, grid = study.config, study.grid
    told = origin.provenance(study, level="L4", how="chips of the labelled ground", software=())
    of_cube = {
        name: receipt["inputs"] for name, receipt in Receipts(study.cube_receipts_path).all()
    }
    of_labels = dict(Receipts(study.receipts_path / "label").all())
    cells = splits[["split", "row0", "col0", "height", "width"]].to_numpy().tolist()
    made_of = [study.period.name, cells, of_cube, of_labels]
    inputs = [RECIPE, fusion.hash, grid.to_dict(), config.train.chip, made_of]
    return {
        "name": f"{config.name}-chips",
        "basin": config.name,
        "period": study.period.name,
        "crs": f"EPSG:{grid.epsg}",
        "resolution_m": grid.resolution,
        "chip_px": config.train.chip,
        "channels": [
            {"name": name, "unit": UNITS[name], "mean": mean, "std": std}
            for name, mean, std in zip(fusion.layers, fusion.mean, fusion.std, strict=True)
        ],
        "classes": {str(value): name for value, name in CLASSES.items()},
        "split": config.labels.split,
        "license": told.license,
        "attribution": list(told.attribution),
        "lineage": told.lineage,
        "inputs": fingerprint(inputs),
        "is_complete": False,
    }


def _claim(folder: Path, about: Mapping[str, Any]) -> None:
    """Take a folder that is empty, or that holds the same chips, finished or not."""
    path = folder / ABOUT
    if path.is_file():
        held = read_json(path)
        if held.get("inputs") != about["inputs"]:
            raise InputError(
                f"{str(folder)!r} holds chips of other data or settings",
                expected="an empty folder, or one in which the same chips were begun",
                todo="name another one with --folder",
            )
        return
    if listing(folder):
        raise InputError(
            f"{str(folder)!r} holds files that are no chips of this software",
            expected="an empty or new folder",
            todo="name another one with --folder",
        )
    write_json(path, about)


def _chips(study: Study, splits: gpd.GeoDataFrame, labels: Any) -> Iterator[Chip]:
    """Yield the chips that hold a label, split by split."""
    for split in USED:
        for ground in windows_of(splits, split):
            for window, counted in tile(
                ground, chip=study.config.train.chip, shape=study.grid.shape
            ):
                if (np.asarray(labels[counted.slices]) != IGNORE).any():
                    name = f"{study.config.name}-{split}-r{counted.y:05d}-c{counted.x:05d}"
                    yield Chip(id=name, split=split, window=window, counted=counted)


def _bytes_of(fusion: Fusion, chip: int) -> int:
    return chip**2 * (4 * len(fusion.layers) + 1)


def _written(chip: Chip, folder: Path) -> NDArray[np.uint8] | None:
    """Return the mask of a chip that was written before; it is written after the image."""
    path = folder / chip.mask
    if not path.is_file():
        return None
    with local_copy(path) as copy, rasterio.open(copy) as file:
        mask: NDArray[np.uint8] = file.read(1)
    return mask


def _write(
    chip: Chip,
    folder: Path,
    study: Study,
    fusion: Fusion,
    source: LayerSource,
    labels: Any,
    ground: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    window, inside = chip.window, chip.window.clipped(study.grid.shape)
    here = inside.within(window)
    means = np.array(fusion.mean, np.float32)[:, None, None]
    image = np.broadcast_to(means, (len(means), window.height, window.width)).copy()
    mask = np.full((window.height, window.width), IGNORE, np.uint8)
    mask[chip.counted.within(window)] = labels[chip.counted.slices]
    values = np.concatenate(
        [
            np.stack([layers[name] for name in fusion.layers])
            for _, layers, _ in source.strips(inside)
        ],
        axis=1,
    )
    is_known = np.isfinite(values).all(axis=0)
    is_own = is_known & (ground[inside.slices] == CODES[chip.split])
    image[(slice(None), *here)] = np.where(is_own, values, means)
    mask[here][~is_known] = IGNORE
    profile = {
        "height": window.height,
        "width": window.width,
        "crs": f"EPSG:{study.grid.epsg}",
        "transform": study.grid.window_geobox(window).affine,
        "compress": "deflate",
    }
    write_bytes(folder / chip.image, _image_bytes(image, fusion, profile))
    write_bytes(folder / chip.mask, _mask_bytes(mask, profile))
    return mask


def _image_bytes(image: NDArray[np.float32], fusion: Fusion, profile: Mapping[str, Any]) -> bytes:
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", dtype="float32", count=len(image), predictor=3, **profile
        ) as file:
            file.write(image)
            file.descriptions = fusion.layers
            file.units = [UNITS[name] for name in fusion.layers]
        return bytes(memory.getbuffer())


def _mask_bytes(mask: NDArray[np.uint8], profile: Mapping[str, Any]) -> bytes:
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", dtype="uint8", count=1, nodata=IGNORE, **profile) as file:
            file.write(mask, 1)
            file.write_colormap(1, COLOURS)
        return bytes(memory.getbuffer())


def _row(chip: Chip, mask: NDArray[np.uint8]) -> dict[str, Any]:
    counted, landform = int((mask != IGNORE).sum()), int((mask == 1).sum())
    return {
        "id": chip.id,
        "split": chip.split,
        "image": chip.image,
        "mask": chip.mask,
        "row": chip.window.y,
        "col": chip.window.x,
        "height": chip.window.height,
        "width": chip.window.width,
        "pixels_counted": counted,
        "pixels_landform": landform,
    }


def _table(chips: list[Chip], rows: list[dict[str, Any]], study: Study) -> gpd.GeoDataFrame:
    boxes = [shapely.box(*study.grid.window_geobox(c.window).boundingbox.bbox) for c in chips]
    ground = in_degrees(gpd.GeoSeries(boxes, crs=study.grid.epsg))
    return gpd.GeoDataFrame(pd.DataFrame(rows), geometry=ground)


def _counts(table: gpd.GeoDataFrame) -> dict[str, dict[str, int]]:
    return {
        str(split): {
            "chips": len(part),
            "pixels_counted": int(part["pixels_counted"].sum()),
            "pixels_landform": int(part["pixels_landform"].sum()),
        }
        for split, part in table.groupby("split", sort=False)
    }


def _texts(about: Mapping[str, Any], table: gpd.GeoDataFrame) -> dict[str, str]:
    channels = "\n".join(
        f"| {number} | `{c['name']}` | {c['unit']} | {c['mean']:.6g} | {c['std']:.6g} |"
        for number, c in enumerate(about["channels"], start=1)
    )
    splits = "\n".join(
        f"| {name} | {n['chips']} | {n['pixels_counted']} | {n['pixels_landform']} |"
        for name, n in _counts(table).items()
    )
    license_id = about["license"]
    allowed = (
        "No licence was chosen: ask the publisher before you pass the data on.\n"
        if license_id == "other"
        else f"SPDX-License-Identifier: {license_id}\n\n"
        f"The text: https://spdx.org/licenses/{license_id}.html\n"
    )
    readme = f"""# {about["name"]}

Rock glaciers of {about["basin"]}, {about["period"]}, as chips of {about["chip_px"]} pixels of
{about["resolution_m"]:g} m in {about["crs"]}.

| file | what it is |
|---|---|
| `images/SPLIT/ID.tif` | float32, a band a channel |
| `masks/SPLIT/ID.tif` | uint8: 0 background, 1 rock glacier, 255 not counted |
| `chips.parquet` | a row a chip with its footprint and counts, GeoParquet |
| `splits.parquet` | the ground of each split, guard bands between them included |
| `dataset.json` | all of this for programs |

| band | channel | unit | mean | deviation |
|---|---|---|---|---|
{channels}

Mean and deviation are of training pixels. Normalise with them; a pixel that is unknown, or belongs
to another split, has the mean and so becomes 0.

| split | chips | pixels counted | of rock glaciers |
|---|---|---|---|
{splits}

Every labelled pixel counts in one mask. Choose on `validation`, report on `test`, once. A random
split of these chips would put neighbours on both sides and flatter what is scored.

In Python, with TorchGeo:

    from torchgeo.datasets import RasterDataset

    class Masks(RasterDataset):
        is_image = False

    train = RasterDataset("images/train") & Masks("masks/train")

Licence: LICENSE. What has to be said when this is used: ATTRIBUTION.md.
"""
    said = "\n".join(f"- {notice}" for notice in about["attribution"])
    return {
        "README.md": readme,
        "LICENSE": allowed,
        "ATTRIBUTION.md": f"# Attribution\n\n{said}\n\nHow it was made: {about['lineage']}.\n",
    }
