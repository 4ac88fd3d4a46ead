"""A few labelled chips of a mapped basin: whether its probabilities are frequencies there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

from rockglacier.errors import InputError
from rockglacier.grid import Window, projected
from rockglacier.labels.layers import read_outlines
from rockglacier.model.calibrate import TEMPERATURES, calibrate, calibration_error
from rockglacier.storage import open_group, read_json, write_json
from rockglacier.study import Study

NODATA: Final = 255
CALIBRATION: Final = "calibration.json"
ENOUGH: Final = 10
"""Chips below which what is chosen on them says little."""
FEWEST: Final = 3
"""Chips below which nothing can be said of what is chosen on them."""
FOLDS: Final = 10
"""So many times, at most, some chips are left out and the others chosen on."""
WITHIN: Final = (0.005, 0.995)
"""Stored percents are rounded: 0 and 100 are not certain."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """Probability and truth of the pixels of some chips."""

    probability: NDArray[np.float64]
    truth: NDArray[np.uint8]
    """1 where a landform was drawn, else 0."""

    @property
    def has_both(self) -> bool:
        """Say whether landforms and other ground are among them."""
        return len(np.unique(self.truth)) == 2


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
        ``chips`` (those that touch are one), ``pixels``, ``prevalence`` and ``mean_probability``;
        ``ece`` (calibration error) as predicted and ``ece_after`` with ``temperature`` on top;
        ``threshold`` used and its ``iou``, ``best_threshold`` on these pixels and its ``best_iou``.
        ``held_out``, from three chips on: the same of chips that were left out in turn, with
        temperature and threshold chosen on the others: ``pixels, ece, ece_after, iou, best_iou``.
        ``settings``: the temperature and the threshold by section of the study's file, as far as
        they did better on chips that were left out. ``prediction``: what it is of. Written to
        ``calibration.json`` beside the prediction, which the report shows.

    Raises
    ------
    InputError
        A file cannot be read, no chip lies on the prediction, or its pixels hold one class only.

    Notes
    -----
    What is chosen on few chips fits them better than the rest of the basin: only chips that had no
    part in the choice tell how well it does elsewhere.
    """
    grid = study.grid
    path = study.require(study.prediction_path / "prediction.zarr", stage="predict")
    stored: Any = open_group(path)["probability"]
    drawn = read_outlines(outlines, what="the outlines of the chips", may_be_empty=True)
    chips = read_outlines(within, what="the chips")
    landforms = [projected(shape, epsg=grid.epsg) for shape in drawn.geometry]
    ground = shapely.union_all(
        [shapely.make_valid(projected(chip, epsg=grid.epsg)) for chip in chips.geometry]
    )
    parts = [
        _pixels(stored, study, chip, landforms)
        for chip in shapely.get_parts(ground)
        if chip.geom_type == "Polygon"
    ]
    parts = [part for part in parts if part.truth.size]
    if not parts:
        raise InputError(
            f"none of the {len(chips)} chip(s) of {within!r} lies on the prediction",
            expected=f"polygons in basin {study.config.name!r}",
            todo="check the file",
        )
    whole = _joined(parts)
    if not whole.has_both:
        raise InputError(
            f"the chips of {within!r} hold {'landforms' if whole.truth[0] else 'no landform'} "
            "alone",
            expected="chips with and without landforms",
            todo="draw more of them",
        )
    record = _record(study)
    used = _threshold(study, record)
    found = calibrate(_margin(whole.probability), whole.truth)
    scaled = _at_temperature(whole.probability, found.temperature)
    # as a threshold of what is stored: a temperature keeps the order of pixels
    at = float(whole.probability[scaled >= found.threshold].min(initial=WITHIN[1]))
    facts = {
        "chips": len(parts),
        "pixels": int(whole.truth.size),
        "prevalence": round(float((whole.truth == 1).mean()), 5),
        "mean_probability": round(float(whole.probability.mean()), 5),
        "ece": found.ece_before,
        "ece_after": found.ece,
        "temperature": round(found.temperature, 4),
        "threshold": used,
        "iou": None if used is None else _iou(whole.probability >= used, whole.truth),
        "best_threshold": round(at, 2),
        "best_iou": _iou(whole.probability >= at, whole.truth),
        "held_out": _held_out(parts, used),
        "prediction": record,
    }
    facts["settings"] = _settings(study, facts)
    write_json(study.prediction_path / CALIBRATION, facts)
    return facts


def _joined(parts: Sequence[Pixels]) -> Pixels:
    return Pixels(
        np.concatenate([part.probability for part in parts]),
        np.concatenate([part.truth for part in parts]),
    )


def _margin(probability: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.log(probability / (1 - probability)).astype(np.float32)


def _at_temperature(probability: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    scaled: NDArray[np.float64] = 1 / (
        1 + np.exp(-_margin(probability).astype(np.float64) / temperature)
    )
    return scaled


def _held_out(parts: Sequence[Pixels], used: float | None) -> dict[str, Any] | None:
    """Return what is chosen on chips, scored on others; None where too few have both classes."""
    if len(parts) < FEWEST:
        return None
    folds = min(len(parts), FOLDS)
    tested, scaled, chosen = [], [], []
    for fold in range(folds):
        others = _joined([part for n, part in enumerate(parts) if n % folds != fold])
        if not others.has_both:
            return None
        found = calibrate(_margin(others.probability), others.truth)
        tested.append(_joined(parts[fold::folds]))
        scaled.append(_at_temperature(tested[-1].probability, found.temperature))
        chosen.append(scaled[-1] >= found.threshold)
    whole = _joined(tested)
    return {
        "pixels": int(whole.truth.size),
        "ece": calibration_error(whole.probability, whole.truth),
        "ece_after": calibration_error(np.concatenate(scaled), whole.truth),
        "iou": None if used is None else _iou(whole.probability >= used, whole.truth),
        "best_iou": _iou(np.concatenate(chosen), whole.truth),
    }


def _settings(study: Study, facts: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return what to set in the study's file: what did better on chips that had no part in it."""
    held, record, used = facts["held_out"], facts["prediction"], facts["threshold"]
    if held is None:
        return {}
    settings: dict[str, dict[str, float]] = {}
    temperature = 1.0
    is_single = len(record.get("members", [])) == record.get("passes") == 1
    if is_single and held["ece_after"] < held["ece"]:
        own = float(record["members"][0]["temperature"])
        wanted = float(np.clip(own * facts["temperature"], *TEMPERATURES))
        temperature = wanted / own
        settings["predict"] = {"temperature": round(wanted, 4)}
    is_better = used is None or held["best_iou"] > held["iou"]
    # one that is set in the file does not move with the temperature by itself
    kept = study.config.inventory.threshold if "predict" in settings else None
    threshold = facts["best_threshold"] if is_better else kept
    if threshold is not None:
        moved = _at_temperature(np.clip([threshold], *WITHIN), temperature)
        settings["inventory"] = {"threshold": round(float(moved[0]), 3)}
    return settings


def _pixels(stored: Any, study: Study, chip: BaseGeometry, landforms: list[BaseGeometry]) -> Pixels:
    """Return the pixels of a chip that have a probability."""
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
    counted = inside & (percent != NODATA)
    return Pixels(np.clip(percent[counted] / 100, *WITHIN), truth[counted])


def _record(study: Study) -> dict[str, Any]:
    """Return who predicted."""
    path = study.prediction_record_path
    return dict(read_json(path)) if path.is_file() else {}


def _threshold(study: Study, record: dict[str, Any]) -> float | None:
    """Return the threshold that the inventory of the basin was drawn with, if it is told."""
    if study.config.inventory.threshold is not None:
        return study.config.inventory.threshold
    found = record.get("threshold")
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
    held = facts["held_out"]
    if held is None:
        lines.append(
            f"with so few chips nothing can be chosen: it takes {FEWEST}, and landforms in several"
        )
    else:
        found = f"calibration error {held['ece']:.3f}, with temperature {held['ece_after']:.3f}"
        was = "" if held["iou"] is None else f"{held['iou']:.3f}, with a threshold of the others "
        lines.append(
            f"chips left out, and those values chosen on the others: {found}; "
            f"IoU {was}{held['best_iou']:.3f}"
        )
        if not facts["settings"]:
            lines.append("on chips left out the values in use do best: nothing to change")
    if facts["chips"] < ENOUGH:
        lines.append(f"fewer than {ENOUGH} chips: what is best on them says little of the basin")
    return lines
