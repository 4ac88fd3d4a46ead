"""Several networks as one: the threshold that suits them together, chosen on validation ground."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rockglacier.config import fingerprint
from rockglacier.labels.split import windows_of
from rockglacier.model.metrics import THRESHOLDS, as_json, best_of_counts, threshold_counts
from rockglacier.prediction.ensemble import Ensemble
from rockglacier.prediction.ground import Prediction, own_prediction
from rockglacier.prediction.rectangle import infer_window
from rockglacier.scenes.record import read_table
from rockglacier.storage import open_array, read_json, write_json
from rockglacier.study import Study

logger = logging.getLogger(__name__)

RECORD: Final = "together.json"
"""In the folder of the models: by the id of what predicts, its threshold and what it hangs on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """The networks that predict a study, where they are several."""

    ensemble: Ensemble
    threshold: float
    """Of their mean, chosen on the study's validation ground."""
    validation_iou: float | None
    """Of rock glaciers there."""
    model_id: str

    @property
    def members(self) -> list[tuple[str, int]]:
        """Network and trial of each."""
        return [(model.name, int(model.settings["trial"])) for model in self.ensemble.models]


def together_of(study: Study) -> Together | None:
    """Return the networks that predict a study as ``predict.ensemble`` says; None of one alone.

    Raises
    ------
    NotFoundError
        Nothing was trained.
    """
    plan = own_prediction(study)
    if _is_single(plan):
        return None
    found = _chosen(study, plan)
    return Together(
        ensemble=plan.parts[0].models.ensemble(study.config.predict),
        threshold=found["threshold"],
        validation_iou=found["validation_iou"],
        model_id=plan.model_id,
    )


def threshold_of(study: Study, plan: Prediction) -> float:
    """Return the probability from which a pixel of a prediction is a rock glacier.

    Parameters
    ----------
    study
        Whose settings and models folder count.
    plan
        Who predicts.

    Notes
    -----
    One network has its own, from training. For several, and for folds, whose map is one, it is
    chosen as that was: by the largest IoU on validation ground, over the blended map of each part
    on the validation ground of its owner, all counted together. It is kept in ``together.json``, so
    that ``evaluate`` and every period have the same.
    """
    if _is_single(plan):
        return plan.ensembles[0].models[0].threshold
    return float(_chosen(study, plan)["threshold"])


def _is_single(plan: Prediction) -> bool:
    return len(plan.ensembles) == 1 and len(plan.ensembles[0].models) == 1


def _chosen(study: Study, plan: Prediction) -> dict[str, Any]:
    settings, path = study.config.predict, study.models_path / RECORD
    of = fingerprint([plan.fingerprints, settings.window, settings.overlap])
    held: dict[str, Any] = read_json(path) if path.is_file() else {}
    known: dict[str, Any] | None = held.get(plan.model_id)
    if known is not None and known["of"] == of:
        return known
    logger.info("%s: the threshold is chosen on validation ground", plan.title)
    counts = np.zeros((2, len(THRESHOLDS) + 1), np.int64)
    for probability, truth in _validation(study, plan):
        counts += threshold_counts(probability, truth)
    threshold, iou = best_of_counts(counts)
    found = {"of": of, "threshold": threshold, **as_json({"validation_iou": iou})}
    write_json(path, {**held, plan.model_id: found})
    return found


def _validation(
    study: Study, plan: Prediction
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.uint8]]]:
    """Yield what each part says of the validation ground of its owner, and what is true there."""
    settings = study.config.predict
    for owner, part in zip(plan.owners, plan.parts, strict=True):
        taught = owner.in_period(owner.teaching_period)  # the one that is labelled
        features = open_array(taught.features_path / "features")
        labels = open_array(owner.require(owner.labels_path, stage="label") / "labels")
        ensemble = part.models.ensemble(settings)
        for window in windows_of(read_table(owner.splits_path), "validation"):
            probability = infer_window(ensemble, features, window, settings=settings)
            yield probability, np.asarray(labels[window.slices])
