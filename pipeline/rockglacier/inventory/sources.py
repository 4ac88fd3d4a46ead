"""What an inventory is drawn from: the prediction, who made it, and what that one had seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import geopandas as gpd
import numpy as np
import zarr

from rockglacier.config import fingerprint
from rockglacier.errors import ContractError, NotFoundError
from rockglacier.inventory.attributes import DOUBTS
from rockglacier.labels.every_fold import tested_cells
from rockglacier.storage import Traffic, open_group, read_json, readable
from rockglacier.study import Study


class Model(Protocol):
    """What the inventory asks of somebody's trained model."""

    @property
    def threshold(self) -> float:
        """Probability (0 to 1) from which a pixel is a rock glacier."""

    @property
    def fingerprint(self) -> str:
        """Short hash of the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What drew the inventory."""

    threshold: float
    model_id: str
    run_id: str


def probability_of(study: Study, *, traffic: Traffic | None = None) -> zarr.Array[Any]:
    """Return the predicted probability, (y, x) uint8 percent, 255 = nodata."""
    path = study.require(study.prediction_path / "prediction.zarr", stage="predict")
    array = open_group(path, traffic=traffic)["probability"]
    if not isinstance(array, zarr.Array) or array.dtype != np.uint8:
        raise ContractError(
            f"`probability` of {path.name!r} is not an array of uint8",
            expected="(y, x) uint8 percent, 255 = nodata",
            todo="run the stage `predict` again",
        )
    return array


def doubts_of(study: Study, *, traffic: Traffic | None = None) -> dict[str, Any]:
    """Return the layers that an ensemble leaves beside the probability."""
    group = open_group(study.prediction_path / "prediction.zarr", traffic=traffic)
    return {name: array for name, array in group.arrays() if name in DOUBTS}


def source_of(study: Study, bundle: Model | None) -> Source:
    """Say what draws: the threshold of the settings, else that of the prediction or the model."""
    if study.prediction_record_path.is_file():
        # of a given model too: predict.temperature moves its threshold
        record = read_json(study.prediction_record_path)
        model_id, threshold = record["model_id"], record["threshold"]
    elif bundle is not None:
        model_id, threshold = f"bundle-{bundle.fingerprint}", bundle.threshold
    elif study.selection_path.is_file():
        selection = read_json(study.selection_path)
        model_id = f"{study.config.name}/{selection['network']}/trial-{selection['trial']}"
        threshold = selection["threshold"]
    elif study.config.inventory.threshold is not None:
        model_id, threshold = "unknown", study.config.inventory.threshold
    else:
        raise NotFoundError(
            f"no threshold for the outlines of {study.config.name!r}",
            expected="a selected model, a given one, or inventory.threshold in the study's file",
            todo="run the stage `train`, or set inventory.threshold",
        )
    threshold = float(study.config.inventory.threshold or threshold)
    run_id = fingerprint([study.resolved(), model_id, threshold])
    return Source(threshold=threshold, model_id=model_id, run_id=run_id)


def splits_of(study: Study, bundle: Model | None) -> gpd.GeoDataFrame | None:
    """Return the split of the ground, or None where a given model has seen none of it."""
    if bundle is not None or not study.splits_path.is_file():
        return None
    record = study.prediction_record_path
    if record.is_file() and read_json(record)["out_of_fold"]:
        return tested_cells(study)  # whatever is mapped was held out
    return gpd.read_parquet(readable(study.splits_path))
