"""Trained networks over a whole basin: probabilities by blocks, then the rasters people open."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rockglacier.engine import (
    EVERYTHING,
    Progress,
    Receipts,
    Selection,
    Task,
    run_groups,
    silent,
)
from rockglacier.errors import InputError
from rockglacier.grid import Block
from rockglacier.prediction.cog import write_cogs
from rockglacier.prediction.ground import Prediction, prediction_of
from rockglacier.prediction.rectangle import infer_window
from rockglacier.prediction.store import create_target, store_path
from rockglacier.prediction.together import threshold_of
from rockglacier.prediction.work import PredictWork
from rockglacier.storage import require_space, write_json
from rockglacier.study import Study

if TYPE_CHECKING:
    from rockglacier.model.bundle import Bundle

__all__ = ["infer_window", "predict", "predict_tasks"]

logger = logging.getLogger(__name__)

RECIPE = 1
"""Counted up when the same inputs would give other probabilities."""
GROUP = 2
"""Rows and columns of blocks that a worker of a cluster gets at a time: windows over the seams of
a group pass a network once, those between groups twice."""


def predict(
    study: Study,
    *,
    bundle: Bundle | None = None,
    progress: Progress = silent,
    client: Any | None = None,
    selection: Selection = EVERYTHING,
) -> dict[str, Any]:
    """Write ``prediction.zarr`` and its rasters for the study's period.

    Parameters
    ----------
    study
        Its features, and its trained models unless there is a bundle.
    bundle
        Somebody's packed model, whose fusion made the features.
    progress
        Told after every block.
    client
        A ``distributed.Client``; default: this process, whose network takes all cores, or the GPU.
        Workers read the models once each; with ``compute.gpu`` a group of blocks takes one GPU.
    selection
        The blocks that are meant; the rasters are written when none is left.

    Returns
    -------
    dict
        Networks, threshold, passes (how often every window passes a network), blocks built and
        kept, bytes of features read and of probabilities written, seconds of blocks, share of
        pixels with a probability.

    Raises
    ------
    InputError
        The model was made for other bands or features, or the disk is too small.

    Notes
    -----
    Work grows with ``passes`` and with the square of window over stride; memory with the block.
    """
    if client is not None and study.config.compute.gpu:
        _require_gpu(client)
    plan = prediction_of(study, bundle, stay_here=client is None)
    grid, settings = study.grid, study.config.predict
    pixels = grid.shape[0] * grid.shape[1]
    require_space(study.folder, (2 * len(plan.layers) + 2) * pixels, what="the prediction")
    looks = (settings.window / settings.stride) ** 2
    threshold = threshold_of(study, plan)
    logger.info(
        "predict with %s, threshold %g: every pixel in %.3g windows, every window in %d pass(es)",
        plan.title,
        threshold,
        looks,
        plan.passes,
    )
    receipts = Receipts(study.receipts_path / "predict")
    create_target(store_path(study), grid, plan.layers, receipts)
    tasks = {task.name: task for task in tasks_of(study, plan)}
    outcome = run_groups(
        _groups(study, tasks, whole=client is None),
        PredictWork(parts=plan.parts, settings=settings, target=store_path(study)),
        receipts=receipts,
        what="predict",
        workers=1,
        client=client,
        resources={"GPU": 1} if study.config.compute.gpu else None,
        progress=progress,
        selection=selection,
    )
    cut = study.config.inventory.threshold or threshold
    facts = {
        "network": ", ".join(plan.networks),
        "threshold": cut,
        "passes": plan.passes,
        **outcome.facts,
        **receipts.cost(),
    }
    if outcome.left:
        return facts
    write_cogs(study, cut, {"ROCKGLACIER_MODEL": plan.title})
    write_json(study.prediction_record_path, {"threshold": threshold, **plan.as_dict()})
    valid = sum(receipt["valid"] for _, receipt in receipts.all())
    return {**facts, "valid_percent": round(100 * valid / pixels, 2)}


def _require_gpu(client: Any) -> None:
    """Refuse workers of which none has a GPU: a block that asks for one would wait for ever."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    if workers and not any(worker["resources"].get("GPU") for worker in workers):
        raise InputError(
            f"compute.gpu is set, and none of {len(workers)} worker(s) declares a GPU",
            expected="workers started with the Dask resource GPU",
            todo="start them with `dask worker ADDRESS --resources GPU=1`, or set compute.gpu to 0",
        )


def predict_tasks(study: Study) -> tuple[list[Task], Receipts]:
    """Return a task a block for the study's own models, and where they are recorded.

    Raises
    ------
    NotFoundError
        Nothing was trained, or there are no features.
    """
    plan = prediction_of(study, None, stay_here=False)
    return tasks_of(study, plan), Receipts(study.receipts_path / "predict")


def _groups(study: Study, tasks: dict[str, Task], *, whole: bool) -> list[list[Task]]:
    """Return the tasks of blocks that share windows; in one process all of them."""
    if whole:
        return [list(tasks.values())]
    return [[tasks[block.name] for block in group] for group in study.grid.groups(GROUP, GROUP)]


def tasks_of(study: Study, plan: Prediction) -> list[Task]:
    """Name all that the blocks' layers depend on; the threshold is not among it."""
    blocks = list(study.grid.blocks())
    made = [
        {name: receipt["inputs"] for name, receipt in Receipts(folder).all()}
        for folder in plan.feature_receipts
    ]
    return [_task(study, block, blocks, plan, made) for block in blocks]


def _task(
    study: Study,
    block: Block,
    blocks: Sequence[Block],
    plan: Prediction,
    made: Sequence[dict[str, Any]],
) -> Task:
    grid, settings = study.grid, study.config.predict
    reach = block.window.grown(settings.window)
    near = [other.name for other in blocks if reach.shared(other.window) is not None]
    used = [
        {
            "models": fingerprint,
            "ground": None if part.ground is None else [asdict(one) for one in own],
            "features": {name: features.get(name) for name in near},
        }
        for part, fingerprint, features in zip(plan.parts, plan.fingerprints, made, strict=True)
        if (own := part.under(block.window))
    ]
    return Task(
        name=block.name,
        inputs={
            "recipe": RECIPE,
            "grid": grid.to_dict(),
            "window": asdict(block.window),
            "parts": used,
            "size": settings.window,
            "stride": settings.stride,
            "batch": settings.batch,
        },
    )
