"""A trained network over a whole basin: probabilities by blocks, then the rasters people open."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numpy.typing import NDArray

from rockglacier.config import PredictConfig
from rockglacier.engine import Progress, Receipts, Task, run_tasks, silent
from rockglacier.errors import ContractError, InputError
from rockglacier.grid import Block, Grid, Window
from rockglacier.model.trained import TrainedModel, load_model
from rockglacier.prediction.blend import PERCENT_NODATA, to_percent
from rockglacier.prediction.cog import write_cogs
from rockglacier.prediction.forward import Inference
from rockglacier.storage import read_json, require_space
from rockglacier.study import Study

if TYPE_CHECKING:
    from rockglacier.model.bundle import Bundle

logger = logging.getLogger(__name__)

RECIPE = 1
"""Counted up when the same inputs would give other probabilities."""
READ = 1024
"""Edge of what :func:`infer_window` reads at a time, pixels."""


def infer_window(
    model: TrainedModel,
    features: zarr.Array[Any],
    window: Window,
    *,
    settings: PredictConfig | None = None,
) -> NDArray[np.float32]:
    """Return the blended probability of a rock glacier in any rectangle of a basin.

    Parameters
    ----------
    model
        Its channels are those of ``features``.
    features
        (channel, y, x) int16, thousandths of a standard deviation, -32768 nodata.
    window
        The rectangle; may reach beyond the raster.
    settings
        Window, overlap and batch of the prediction; default: those of an empty config.

    Returns
    -------
    ndarray
        (height, width) float32, 0..1; NaN without features and beyond the raster. The same numbers
        as :func:`predict` stores for these pixels, before they become whole percent.
    """
    _check_channels(model, features)
    settings = settings or PredictConfig.model_validate({})
    result = np.full((window.height, window.width), np.nan, np.float32)
    parts = _parts(window.clipped((features.shape[1], features.shape[2])))
    inference = Inference(model=model, features=features, settings=settings, rectangles=parts)
    for part in parts:
        result[part.within(window)] = inference.probability(part)
    return result


def _parts(window: Window) -> list[Window]:
    """Cut a window into squares that are read at a time, row by row."""
    bottom, right = window.y + window.height, window.x + window.width
    return [
        Window(y=y, x=x, height=min(READ, bottom - y), width=min(READ, right - x))
        for y in range(window.y, bottom, READ)
        for x in range(window.x, right, READ)
    ]


def predict(
    study: Study,
    *,
    bundle: Bundle | None = None,
    progress: Progress = silent,
    client: Any | None = None,
) -> dict[str, Any]:
    """Write ``prediction.zarr`` and its two rasters for the study's period.

    Parameters
    ----------
    study
        Its features, and its trained models unless there is a bundle.
    bundle
        Somebody's packed model, whose fusion made the features.
    progress
        Told after every block.
    client
        Not used: the network takes all cores, or the GPU, of this machine, and keeps windows
        that neighbouring blocks share.

    Returns
    -------
    dict
        Network, threshold, blocks built and kept, share of pixels with a probability.

    Raises
    ------
    InputError
        The model was made for other bands or features, or the disk is too small.
    """
    model = bundle.model if bundle is not None else selected_model(study)
    features = _open_features(study, model)
    grid = study.grid
    require_space(study.folder, 4 * grid.shape[0] * grid.shape[1], what="the prediction")
    logger.info("predict with %s %s on %s", model.name, model.fingerprint, model.device)
    receipts = Receipts(study.receipts_path / "predict")
    target = _open_target(study, receipts)
    blocks = {block.name: block for block in grid.blocks()}
    tasks = [_task(study, block, model) for block in blocks.values()]
    inference = Inference(
        model=model,
        features=features,
        settings=study.config.predict,
        rectangles=[blocks[t.name].window for t in tasks if not receipts.is_current(t)],
    )

    def work(task: Task) -> Mapping[str, Any]:
        window = blocks[task.name].window
        percent = to_percent(inference.probability(window))
        target[window.slices] = percent
        return {"valid": int((percent != PERCENT_NODATA).sum())}

    outcome = run_tasks(
        tasks, work, receipts=receipts, what="predict", workers=1, progress=progress
    )
    threshold = study.config.inventory.threshold or model.threshold
    write_cogs(study, threshold, {"ROCKGLACIER_MODEL": f"{model.name} {model.fingerprint}"})
    valid = sum(receipt["valid"] for _, receipt in receipts.all())
    return {
        "network": model.name,
        "threshold": threshold,
        "blocks": outcome.built + outcome.kept,
        "built": outcome.built,
        "kept": outcome.kept,
        "valid_percent": round(100 * valid / (grid.shape[0] * grid.shape[1]), 2),
    }


def selected_model(study: Study) -> TrainedModel:
    """Load the model that the training chose.

    Raises
    ------
    NotFoundError
        Nothing was trained.
    InputError
        It was chosen before ``predict.network`` named another one.
    """
    selection = read_json(study.require(study.selection_path, stage="train"))
    wanted = study.config.predict.network
    if wanted not in (None, selection["network"]):
        raise InputError(
            f"the selected model is a {selection['network']}, and predict.network is {wanted!r}",
            expected=f"a selection among the trials of {wanted}",
            todo="rockglacier train STUDY.yaml (what is trained is kept, the choice made again)",
        )
    return load_model(study.models_path / Path(selection["path"]))


def _open_features(study: Study, model: TrainedModel) -> zarr.Array[Any]:
    """Open the basin's features, checked against what the model was trained on."""
    fusion = read_json(study.require(study.fusion_path, stage="fuse"))
    model.check_features(channels=tuple(fusion["channels"]), fusion_hash=str(fusion["hash"]))
    path = study.require(study.features_path, stage="fuse")
    group = zarr.open_group(path, mode="r")
    if group.attrs.get("fusion") != fusion["hash"]:
        raise ContractError(
            f"features of fusion {group.attrs.get('fusion')!r} in {str(path)!r}",
            expected=f"those of {str(study.fusion_path)!r}, fusion {fusion['hash']!r}",
            todo="rockglacier fuse STUDY.yaml",
        )
    features = zarr.open_array(path / "features", mode="r")
    _check_channels(model, features)
    if features.shape[-2:] != study.grid.shape:
        raise ContractError(
            f"features of {features.shape[-2:]} pixels in {str(path)!r}",
            expected=f"the basin's grid of {study.grid.shape}",
            todo="rockglacier fuse STUDY.yaml",
        )
    return features


def _check_channels(model: TrainedModel, features: zarr.Array[Any]) -> None:
    if features.shape[0] != len(model.channels):
        raise ContractError(
            f"features with {features.shape[0]} channels",
            expected=f"the {len(model.channels)} that the model reads: {', '.join(model.channels)}",
            todo="rockglacier fuse STUDY.yaml",
        )


def _open_target(study: Study, receipts: Receipts) -> zarr.Array[Any]:
    """Open the probability raster, or make a new one where there is none that fits the grid."""
    grid, path = study.grid, study.prediction_path / "prediction.zarr"
    shards = (grid.block, grid.block)
    if (path / "probability" / "zarr.json").is_file():
        held = zarr.open_array(path / "probability", mode="r+")
        if held.shape == grid.shape and held.shards == shards:
            return held
    for name, _ in list(receipts.all()):
        receipts.drop(name)
    group = zarr.open_group(path, mode="w", zarr_format=3, attributes=_attributes(grid))
    return group.create_array(
        "probability",
        shape=grid.shape,
        dtype="uint8",
        chunks=(128, 128),
        shards=shards,
        fill_value=PERCENT_NODATA,
        dimension_names=("y", "x"),
        attributes={"long_name": "probability of a rock glacier", "units": "percent"},
    )


def _attributes(grid: Grid) -> dict[str, Any]:
    return {"proj:code": f"EPSG:{grid.epsg}", "spatial:transform": list(grid.transform)[:6]}


def _task(study: Study, block: Block, model: TrainedModel) -> Task:
    """Name all that a block's probabilities depend on; the threshold is not among it."""
    made = Receipts(study.receipts_path / "fuse")
    grid, settings = study.grid, study.config.predict
    reach = block.window.grown(settings.window)
    under = {}
    for other in grid.blocks():
        if _overlaps(reach, other.window):
            under[other.name] = (made.read(other.name) or {}).get("inputs")
    return Task(
        name=block.name,
        inputs={
            "recipe": RECIPE,
            "model": model.fingerprint,
            "grid": grid.to_dict(),
            "features": under,
            "window": settings.window,
            "stride": settings.stride,
            "batch": settings.batch,
        },
    )


def _overlaps(one: Window, other: Window) -> bool:
    return (
        one.y < other.y + other.height
        and other.y < one.y + one.height
        and one.x < other.x + other.width
        and other.x < one.x + one.width
    )
