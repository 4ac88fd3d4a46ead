"""A few labelled chips of a mapped basin: whether its probabilities are frequencies there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

from rockglacier.errors import InputError
from rockglacier.grid import Window, projected
from rockglacier.labels.layers import read_outlines
from rockglacier.model.calibrate import calibrate
from rockglacier.model.metrics import IGNORE
from rockglacier.storage import open_group, read_json, write_json
from rockglacier.study import Study

NODATA: Final = 255
ENOUGH: Final = 10
"""Chips below which a chosen threshold says little."""
WITHIN: Final = (0.005, 0.995)
"""Stored percents are rounded: 0 and 100 are not certain."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """Probability and truth of the pixels of some chips."""

    probability: NDArray[np.float64]
    truth: NDArray[np.uint8]


def calibrate_on(study: Study, outlines: str, within: str) -> dict[str, Any]:
    """Compare the probabilities of a mapped basin with labels of a few chips of it.

    Parameters
    ----------
    study
        With its prediction.
    outlines
        Polygon file of the landforms that were drawn.
    within
        Polygon file of the ground that was looked at, a polygon a chip: all else in it is none.

    Returns
    -------
    dict
        ``chips``, ``pixels``, ``prevalence`` and ``mean_probability``; ``ece`` (calibration error)
        as predicted and ``ece_after`` with ``temperature`` on top; ``threshold`` used and its
        ``iou``, ``best_threshold`` on these pixels and its ``best_iou``. Written to
        ``calibration.json`` beside the prediction.

    Raises
    ------
    InputError
        A file cannot be read, no chip lies on the prediction, or its pixels hold one class only.

    Notes
    -----
    What is chosen on few chips fits them better than the rest of the basin.
    """
    grid = study.grid
    path = study.require(study.prediction_path / "prediction.zarr", stage="predict")
    stored: Any = open_group(path)["probability"]
    drawn = read_outlines(outlines, what="the outlines of the chips", may_be_empty=True)
    chips = read_outlines(within, what="the chips")
    landforms = [projected(shape, epsg=grid.epsg) for shape in drawn.geometry]
    parts = [
        _pixels(stored, study, projected(chip, epsg=grid.epsg), landforms)
        for chip in chips.geometry
    ]
    parts = [part for part in parts if (part.truth != IGNORE).any()]
    if not parts:
        raise InputError(
            f"none of the {len(chips)} chip(s) of {within!r} lies on the prediction",
            expected=f"polygons in basin {study.config.name!r}",
            todo="check the file",
        )
    probability = np.concatenate([part.probability for part in parts])
    truth = np.concatenate([part.truth for part in parts])
    counted = truth != IGNORE
    probability, truth = probability[counted], truth[counted]
    if len(set(truth.tolist())) < 2:
        raise InputError(
            f"the chips of {within!r} hold {'landforms' if truth[0] else 'no landform'} alone",
            expected="chips with and without landforms",
            todo="draw more of them",
        )
    margin = np.log(probability / (1 - probability)).astype(np.float32)
    found = calibrate(margin, truth)
    scaled = 1 / (1 + np.exp(-margin.astype(np.float64) / found.temperature))
    # as a threshold of what is stored: a temperature keeps the order of pixels
    at = float(probability[scaled >= found.threshold].min(initial=WITHIN[1]))
    used = _threshold(study)
    facts = {
        "chips": len(parts),
        "pixels": int(truth.size),
        "prevalence": round(float((truth == 1).mean()), 5),
        "mean_probability": round(float(probability.mean()), 5),
        "ece": found.ece_before,
        "ece_after": found.ece,
        "temperature": round(found.temperature, 4),
        "threshold": used,
        "iou": None if used is None else _iou(probability >= used, truth),
        "best_threshold": round(at, 2),
        "best_iou": _iou(probability >= at, truth),
    }
    write_json(study.prediction_path / "calibration.json", facts)
    return facts


def _pixels(stored: Any, study: Study, chip: BaseGeometry, landforms: list[BaseGeometry]) -> Pixels:
    """Return the pixels under a chip's rectangle; those outside the chip itself do not count."""
    grid = study.grid
    west, south, east, north = chip.bounds
    to_pixel = ~grid.transform
    (x0, y0), (x1, y1) = to_pixel * (west, north), to_pixel * (east, south)
    window = Window(
        y=math.floor(y0), x=math.floor(x0),
        height=math.ceil(y1) - math.floor(y0), width=math.ceil(x1) - math.floor(x0),
    )  # fmt: skip
    bottom, right = window.y + window.height, window.x + window.width
    if bottom <= 0 or right <= 0 or window.y >= grid.shape[0] or window.x >= grid.shape[1]:
        return Pixels(np.empty(0), np.empty(0, np.uint8))
    window = window.clipped(grid.shape)
    percent = np.asarray(stored[window.slices])
    shape, transform = percent.shape, grid.window_geobox(window).affine
    inside = rasterize([chip], out_shape=shape, transform=transform).astype(bool)
    near = [landform for landform in landforms if landform.intersects(chip)]
    truth = (
        rasterize(near, out_shape=shape, transform=transform) if near else np.zeros(shape, np.uint8)
    ).astype(np.uint8)
    truth[~inside | (percent == NODATA)] = IGNORE
    probability = np.clip(percent / 100, *WITHIN)
    return Pixels(probability.ravel(), truth.ravel())


def _threshold(study: Study) -> float | None:
    """Return the threshold that the inventory of the basin was drawn with, if it is told."""
    if study.config.inventory.threshold is not None:
        return study.config.inventory.threshold
    record = study.prediction_record_path
    found = read_json(record).get("threshold") if record.is_file() else None
    return None if found is None else float(found)


def _iou(found: NDArray[np.bool_], truth: NDArray[np.uint8]) -> float:
    is_landform = truth == 1
    both = int((found & is_landform).sum())
    return round(both / max(1, int((found | is_landform).sum())), 4)


def lines_of(facts: dict[str, Any]) -> list[str]:
    """Return what was found as lines for people."""
    used = facts["threshold"]
    share, mean = 100 * facts["prevalence"], 100 * facts["mean_probability"]
    error, after, temperature = facts["ece"], facts["ece_after"], facts["temperature"]
    counts = f"{facts['chips']} chip(s), {facts['pixels']:,} pixels"
    lines = [f"{counts}: {share:.1f} % landforms, and a mean probability of {mean:.1f} %"]
    lines.append(
        f"calibration error {error:.3f}, with temperature {temperature:.2f} on top {after:.3f}"
    )
    if used is not None:
        lines.append(f"IoU at the threshold used, {used:.2f}: {facts['iou']:.3f}")
    lines.append(
        f"best on these chips: threshold {facts['best_threshold']:.2f}, IoU {facts['best_iou']:.3f}"
    )
    if facts["chips"] < ENOUGH:
        lines.append(f"fewer than {ENOUGH} chips: what is best on them says little of the basin")
    return lines
