"""The folds of a study pooled: every tested pixel once, by a network that never saw it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from rockglacier.engine import Progress, silent
from rockglacier.errors import ContractError
from rockglacier.evaluation.judge import FOLDER, evaluate, write_rows
from rockglacier.grid import Window
from rockglacier.inventory.landforms import is_above
from rockglacier.labels.every_fold import folds_of
from rockglacier.labels.split import windows_of
from rockglacier.model.metrics import IGNORE, as_json, confusion_matrix, scores
from rockglacier.model.scoring import Infer
from rockglacier.prediction.blend import PERCENT_NODATA, to_percent
from rockglacier.prediction.ground import prediction_of
from rockglacier.prediction.together import threshold_of
from rockglacier.scenes.record import read_table
from rockglacier.storage import open_array, read_json, write_json
from rockglacier.study import Study

POOLED: Final = "pooled"
"""Key of ``evaluation.json``, and name of the table beside its others."""
OUT_OF_FOLD: Final = "out of fold"
"""In the place of a network's name: what ``predict --out-of-fold`` maps with."""
IOU: Final = "iou_rock_glacier"


def evaluate_folds(
    study: Study, *, infer: Infer, progress: Progress = silent
) -> dict[str, dict[str, Any]]:
    """Evaluate the other folds of a study too, and add the scores of all to its evaluation.

    Parameters
    ----------
    study
        Evaluated itself, with every fold trained.
    infer
        Blends the windows of a model over a rectangle.
    progress
        Told after every model.

    Returns
    -------
    dict
        What :func:`pooled` gives, of every network, the ensemble and ``out of fold``: the map of
        ``predict --out-of-fold``, at its one threshold. It is also ``pooled`` in
        ``models/evaluation.json``; a row a fold and network is in ``models/evaluation/pooled.csv``.

    Raises
    ------
    ContractError
        Two folds test the same ground.
    """
    folds = folds_of(study)
    require_apart({f.config.labels.fold: _tested(f) for f in folds}, study.grid.shape)
    for fold in folds:
        if fold is not study:
            evaluate(fold, infer=infer, progress=progress)
    rows = [
        {"fold": fold.config.labels.fold, **row}
        for fold in folds
        for row in read_json(fold.evaluation_path)["networks"].values()
    ]
    rows += _out_of_fold(study, folds, infer)
    found = pooled(rows, folds=len(folds))
    write_json(study.evaluation_path, {**read_json(study.evaluation_path), POOLED: found})
    facts = ("fold", "network", "trial", "threshold", "pixels", IOU, "f1_rock_glacier")
    table = [{name: row[name] for name in facts} for row in rows]
    write_rows(study.models_path / FOLDER / f"{POOLED}.csv", table)
    return found


def _out_of_fold(study: Study, folds: Sequence[Study], infer: Infer) -> list[dict[str, Any]]:
    """Return a row a fold: what ``predict --out-of-fold`` stores there, at its one threshold."""
    settings = study.config.predict.model_copy(update={"out_of_fold": True})
    whole = replace(study, config=study.config.model_copy(update={"predict": settings}))
    plan = prediction_of(whole, None, stay_here=True)
    threshold = threshold_of(whole, plan)
    labels = open_array(study.labels_path / "labels")
    rows = []
    for fold, part in zip(folds, plan.parts, strict=True):
        ensemble, features = part.models.ensemble(settings), open_array(part.features / "features")
        counts = np.zeros((2, 2), np.int64)
        for window in part.ground or ():
            percent = to_percent(infer(ensemble, features, window, settings=settings))
            said = is_above(percent, threshold=threshold)
            classes = np.where(percent == PERCENT_NODATA, IGNORE, said)
            counts += confusion_matrix(np.asarray(labels[window.slices]), classes)
        rows.append(
            {
                "fold": fold.config.labels.fold,
                "network": OUT_OF_FOLD,
                "trial": None,
                "threshold": threshold,
                "pixels": int(counts.sum()),
                "confusion": counts.tolist(),
                **as_json(scores(counts)),
            }
        )
    return rows


def pooled(rows: Sequence[Mapping[str, Any]], *, folds: int) -> dict[str, dict[str, Any]]:
    """Return the scores of every network over all its folds.

    Parameters
    ----------
    rows
        The best trial of a network in a fold each: ``fold``, ``network``, ``confusion`` and scores.
    folds
        How many there are; a network that lacks one is left out.

    Returns
    -------
    dict
        By network: scores of the summed confusion matrix, in which each pixel counts once (of
        networks at the threshold of its own fold), ``pixels``, ``folds`` (IoU of each), their mean
        and spread (standard deviation of a sample, None of one).
    """
    names = dict.fromkeys(str(row["network"]) for row in rows)
    found = {}
    for name in names:
        own = [row for row in rows if row["network"] == name]
        if len(own) < folds:
            continue
        counts = np.sum([row["confusion"] for row in own], axis=0)
        ious = [row[IOU] for row in own if row[IOU] is not None]
        found[name] = {
            **as_json(scores(counts)),
            "confusion": counts.tolist(),
            "pixels": int(counts.sum()),
            "folds": {str(row["fold"]): row[IOU] for row in own},
            "mean_of_folds": round(statistics.mean(ious), 6) if ious else None,
            "spread_of_folds": round(statistics.stdev(ious), 6) if len(ious) > 1 else None,
        }
    return found


def require_apart(tested: Mapping[int, Sequence[Window]], shape: tuple[int, int]) -> None:
    """Raise :class:`ContractError` where two folds test the same pixel."""
    owner = np.full(shape, -1, np.int16)
    for fold, windows in tested.items():
        for window in windows:
            taken = np.unique(owner[window.slices])
            others = [int(other) for other in taken if other not in (-1, fold)]
            if others:
                raise ContractError(
                    f"folds {others[0]} and {fold} test the same ground",
                    expected="each pixel tested by one fold",
                    todo="rockglacier label STUDY.yaml",
                )
            owner[window.slices] = fold


def _tested(fold: Study) -> list[Window]:
    return windows_of(read_table(fold.splits_path), "test")


def pooled_lines(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a line for every network: its IoU over all folds, and how folds differ."""
    lines = []
    for name, row in found.items():
        spread = row["spread_of_folds"]
        about = "" if spread is None else f" (folds {row['mean_of_folds']:.3f} ± {spread:.3f})"
        value = "-" if row[IOU] is None else f"{row[IOU]:.3f}"
        lines.append(f"{len(row['folds'])} folds pooled, {name}: IoU {value}{about}")
    return lines
