"""Scores from a confusion matrix, each under one exact name.

The matrix has the truth in its rows and the prediction in its columns. The paper's "mPA" is the
diagonal "divided by the sum of each column", which here is mean *precision*; the code base that its
authors probably used divides by rows, which is mean *recall*. Both are given, under both names.

References
----------
Rock glaciers of the Hunza basin: Remote Sens. 2025, 17(24), 3942, section 4.4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import multiclass_confusion_matrix

from rockglacier.errors import ContractError

CLASSES = ("background", "rock_glacier")
IGNORE = 255
"""Label of pixels that are neither right nor wrong."""
THRESHOLDS = np.round(np.arange(0.05, 0.951, 0.01), 2)
"""Candidates among which :func:`best_threshold` chooses."""


def confusion_matrix(
    truth: NDArray[np.integer], predicted: NDArray[np.integer], *, classes: int = len(CLASSES)
) -> NDArray[np.int64]:
    """Count pixels by true class (rows) and predicted class (columns).

    Parameters
    ----------
    truth
        Class of each pixel, any shape; 255 is not counted.
    predicted
        Predicted class, same shape; 255 (nodata) is not counted either.
    classes
        Number of classes.

    Returns
    -------
    ndarray
        int64 (classes, classes).

    Raises
    ------
    ContractError
        The shapes differ, or a label is neither a class nor 255.
    """
    if truth.shape != predicted.shape:
        raise ContractError(
            f"truth has shape {truth.shape}, prediction {predicted.shape}", expected="one shape"
        )
    counted = (truth != IGNORE) & (predicted != IGNORE)
    rows, columns = truth[counted].astype(np.int64), predicted[counted].astype(np.int64)
    largest = max(int(rows.max(initial=0)), int(columns.max(initial=0)))
    if largest >= classes:
        raise ContractError(
            f"label {largest} among {classes} classes", expected=f"0 to {classes - 1}, or {IGNORE}"
        )
    matrix = multiclass_confusion_matrix(
        torch.from_numpy(columns),
        torch.from_numpy(rows),
        num_classes=classes,
        validate_args=False,  # checked above, where 255 is known
    )
    return np.asarray(matrix.numpy(), dtype=np.int64)


def scores(matrix: NDArray[np.integer]) -> dict[str, float]:
    """Return every score of a two-class confusion matrix.

    Parameters
    ----------
    matrix
        Integer (2, 2): rows truth, columns prediction; background first.

    Returns
    -------
    dict
        ``iou_*``, ``recall_*``, ``precision_*``, ``f1_*`` of each class, ``miou``, ``accuracy``,
        ``mean_recall`` (alias ``mpa_code``), ``mean_precision`` (alias ``mpa_paper_text``),
        ``f1_macro``, and the errors ``omission_*`` (1 - recall) and ``commission_*``
        (1 - precision), all 0..1. A score without a pixel to judge is NaN, not 0: an empty class is
        not a class that was missed. Means are over both classes and skip NaN.
    """
    counts: NDArray[np.float64] = np.asarray(matrix, dtype=np.float64)
    hit, truth, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    iou = _ratio(hit, truth + predicted - hit)
    recall, precision = _ratio(hit, truth), _ratio(hit, predicted)
    f1 = _ratio(2 * hit, truth + predicted)
    result: dict[str, float] = {}
    of_class = {
        "iou": iou,
        "recall": recall,
        "precision": precision,
        "f1": f1,
        "omission": 1 - recall,
        "commission": 1 - precision,
    }
    for name, values in of_class.items():
        for index, class_name in enumerate(CLASSES):
            result[f"{name}_{class_name}"] = float(values[index])
    result["miou"] = _mean(iou)
    result["accuracy"] = float(hit.sum() / counts.sum()) if counts.sum() else math.nan
    result["mean_recall"] = result["mpa_code"] = _mean(recall)
    result["mean_precision"] = result["mpa_paper_text"] = _mean(precision)
    result["f1_macro"] = _mean(f1)
    return result


def best_threshold(
    probability: NDArray[np.floating], truth: NDArray[np.integer]
) -> tuple[float, float]:
    """Choose the probability from which a pixel is a rock glacier, by the class's IoU.

    Parameters
    ----------
    probability
        0..1, any shape; NaN where there is no data.
    truth
        0, 1, or 255 (not counted), same shape.

    Returns
    -------
    threshold, iou
        The first best of 0.05, 0.06 ... 0.95, and its IoU; (0.5, NaN) without any positive pixel,
        as then nothing can be chosen.

    Notes
    -----
    F1 grows with IoU, so that the same threshold is the best of both.
    """
    return best_of_counts(threshold_counts(probability, truth))


def threshold_counts(
    probability: NDArray[np.floating], truth: NDArray[np.integer]
) -> NDArray[np.int64]:
    """Count pixels by how many candidate thresholds they reach; counts of several grounds add up.

    Returns
    -------
    ndarray
        int64 (2, candidates + 1): background, then landforms.
    """
    counted = (truth != IGNORE) & np.isfinite(probability)
    positive = truth[counted] == 1
    # 1e-9: a probability that equals a threshold but for rounding is on its upper side
    step = np.searchsorted(THRESHOLDS, probability[counted] + 1e-9, side="right")
    bins = len(THRESHOLDS) + 1
    return np.stack([np.bincount(step[positive == is_one], minlength=bins) for is_one in (0, 1)])


def best_of_counts(counts: NDArray[np.int64]) -> tuple[float, float]:
    """Return what :func:`best_threshold` does, from counts of :func:`threshold_counts`."""
    positives = counts[1].sum()
    if not positives:
        return 0.5, math.nan
    reached = counts[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]  # each candidate
    iou = reached[1] / (positives + reached[0])
    best = int(np.argmax(iou))
    return float(THRESHOLDS[best]), float(iou[best])


def as_json(values: Mapping[str, float]) -> dict[str, float | None]:
    """Round scores to six decimals and write NaN as null, which JSON has."""
    return {
        name: None if not math.isfinite(value) else round(float(value), 6)
        for name, value in values.items()
    }


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def _mean(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan
