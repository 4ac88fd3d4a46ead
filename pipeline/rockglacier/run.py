"""The stages in order: which are done, which are stale and why, and running them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rockglacier.config import fingerprint
from rockglacier.engine import Progress, silent
from rockglacier.errors import InputError, NotFoundError
from rockglacier.storage import disk_errors, lease, read_json, write_json
from rockglacier.study import Study

if TYPE_CHECKING:
    from rockglacier.model.bundle import Bundle

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a run gives its stages beside the study."""

    progress: Progress = silent
    client: Any | None = None
    """A ``distributed.Client``, or None for threads of this process."""
    bundle: Bundle | None = None
    """Somebody's trained model: the run maps with it and trains nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step from the catalog to the publication."""

    name: str
    makes: str
    """What it makes, for people."""
    work: Callable[[Study, Context], dict[str, Any]]
    sections: tuple[str, ...]
    """Sections of the config that it depends on."""
    after: tuple[str, ...]
    """Stages whose products it reads."""
    product: Callable[[Study], Path]
    """One product whose absence means that the stage has to run."""
    files: tuple[Callable[[Study], str | None], ...] = ()
    """Files of the person that it reads: it is stale when they change."""
    learns: bool = False
    """Needs a reference inventory; left out when mapping with a given model."""


def _search(study: Study, context: Context) -> dict[str, Any]:
    from rockglacier.scenes.select import search_scenes

    return search_scenes(study, progress=context.progress)


def _cube(study: Study, context: Context) -> dict[str, Any]:
    from rockglacier.cube.build import build_cube

    return build_cube(study, progress=context.progress, client=context.client)


def _label(study: Study, context: Context) -> dict[str, Any]:
    from rockglacier.labels.burn import label_basin

    return label_basin(study, progress=context.progress)


def _fuse(study: Study, context: Context) -> dict[str, Any]:
    from rockglacier.features.fusion import fuse

    fusion = context.bundle.fusion if context.bundle else None
    return fuse(study, fusion=fusion, progress=context.progress, client=context.client)


def _train(study: Study, context: Context) -> dict[str, Any]:
    from rockglacier.model.fit import train

    return train(study, progress=context.progress)


def _evaluate(study: Study, context: Context) -> dict[str, Any]:
    from rockglacier.model.table import evaluate
    from rockglacier.prediction.infer import infer_window

    return evaluate(study, infer=infer_window, progress=context.progress)


def _predict(study: Study, context: Context) -> dict[str, Any]:
    from rockglacier.prediction.infer import predict

    return predict(study, bundle=context.bundle, progress=context.progress, client=context.client)


def _inventory(study: Study, context: Context) -> dict[str, Any]:
    from rockglacier.inventory.tables import build_inventory

    return build_inventory(study, bundle=context.bundle, progress=context.progress)


def _report(study: Study, context: Context) -> dict[str, Any]:
    from rockglacier.report.page import write_report

    return write_report(study, progress=context.progress)


def _publish(study: Study, context: Context) -> dict[str, Any]:
    from rockglacier.publish import publish

    return publish(study, bundle=context.bundle, progress=context.progress)


def _area_file(study: Study) -> str | None:
    given = study.config.area
    return study.resolve(given) if isinstance(given, str) else None


def _reference_file(study: Study) -> str | None:
    given = study.config.labels.reference
    return study.resolve(given) if given else None


def _complete_file(study: Study) -> str | None:
    given = study.config.labels.complete_within
    return study.resolve(given) if given else None


STAGES: tuple[Stage, ...] = (
    Stage(
        name="search",
        makes="the scenes and DEM tiles to use",
        work=_search,
        sections=("search", "cube"),
        after=(),
        product=lambda study: study.scenes_path,
        files=(_area_file,),
    ),
    Stage(
        name="cube",
        makes="reflectance and terrain on one grid",
        work=_cube,
        sections=("cube",),
        after=("search",),
        product=lambda study: study.cube_path,
    ),
    Stage(
        name="label",
        makes="burnt labels and the split of the ground",
        work=_label,
        sections=("labels",),
        after=("search",),
        product=lambda study: study.splits_path,
        files=(_area_file, _reference_file, _complete_file),
        learns=True,
    ),
    Stage(
        name="fuse",
        makes="the features that a network sees",
        work=_fuse,
        sections=("features",),
        after=("cube", "label"),
        product=lambda study: study.fusion_path,
    ),
    Stage(
        name="train",
        makes="trained networks",
        work=_train,
        sections=("train", "predict"),  # predict.network limits which one is selected
        after=("fuse", "label"),
        product=lambda study: study.selection_path,
        learns=True,
    ),
    Stage(
        name="evaluate",
        makes="scores on held-out ground",
        work=_evaluate,
        sections=("predict",),
        after=("train",),
        product=lambda study: study.evaluation_path,
        learns=True,
    ),
    Stage(
        name="predict",
        makes="probability and class rasters",
        work=_predict,
        sections=("predict", "inventory"),
        after=("fuse", "train"),
        product=lambda study: study.prediction_path / "probability.tif",
    ),
    Stage(
        name="inventory",
        makes="outlines with attributes",
        work=_inventory,
        sections=("inventory",),
        after=("predict", "cube", "label"),
        product=lambda study: study.inventory_path / "inventory.parquet",
    ),
    Stage(
        name="report",
        makes="one page that shows it all",
        work=_report,
        sections=("publish",),
        after=("inventory", "evaluate"),
        product=lambda study: study.report_path,
    ),
    Stage(
        name="publish",
        makes="a STAC catalog of the products",
        work=_publish,
        sections=("publish",),
        after=("inventory", "evaluate", "report"),
        product=lambda study: study.stac_path / "catalog.json",
    ),
)

State = Literal["done", "stale", "missing", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where one stage stands."""

    stage: Stage
    state: State
    why: str
    facts: dict[str, Any]
    seconds: float | None


def stage_named(name: str) -> Stage:
    """Return the stage of that name."""
    for stage in STAGES:
        if stage.name == name:
            return stage
    raise InputError(f"no stage {name!r}", expected=", ".join(stage.name for stage in STAGES))


def stages_of(study: Study, *, mapping: bool) -> tuple[Stage, ...]:
    """Return the stages of a study: all, or without those that learn.

    Raises
    ------
    InputError
        The study learns but names no reference inventory.
    """
    if mapping:
        return tuple(stage for stage in STAGES if not stage.learns)
    if study.config.labels.reference is None:
        raise InputError(
            f"basin {study.config.name!r} has no reference inventory to learn from",
            expected="labels.reference in the study's file, or a trained model",
            todo="set labels.reference, or use `rockglacier map AREA --model BUNDLE`",
        )
    return STAGES


def standings(study: Study, stages: Sequence[Stage], context: Context) -> list[Standing]:
    """Say of every stage whether it is done, stale, missing or failed, and why."""
    found: list[Standing] = []
    not_done: set[str] = set()
    for stage in stages:
        standing = _standing(study, stage, context, not_done)
        if standing.state != "done":
            not_done.add(stage.name)
        found.append(standing)
    return found


def _standing(
    study: Study,
    stage: Stage,
    context: Context,
    not_done: set[str],
) -> Standing:
    failure = _failure_path(study, stage.name)
    receipt_path = _receipt_path(study, stage.name)
    receipt = read_json(receipt_path) if receipt_path.is_file() else {}
    waiting = [name for name in stage.after if name in not_done]

    def standing(state: State, why: str) -> Standing:
        return Standing(
            stage=stage,
            state=state,
            why=why,
            facts=receipt.get("facts", {}),
            seconds=receipt.get("seconds"),
        )

    if failure.is_file():
        return standing("failed", read_json(failure)["message"])
    if not receipt or not stage.product(study).exists():
        return standing("missing", "not run yet" if not receipt else "its product is gone")
    if waiting:
        return standing("stale", f"{', '.join(waiting)} has to run before it")
    changed = _changes(receipt["inputs"], _inputs(study, stage, context))
    if changed:
        return standing("stale", f"changed: {', '.join(changed)}")
    return standing("done", "")


def run_stages(
    study: Study,
    stages: Sequence[Stage],
    context: Context,
    *,
    force: bool = False,
    told: Callable[[Stage, Standing | None, dict[str, Any], float], None] | None = None,
) -> None:
    """Run those stages that are not done, in order, holding the study's folder.

    Parameters
    ----------
    study, stages, context
        What to run, and with what.
    force
        Run them even if they are done (finished blocks are still kept).
    told
        Called after every stage with the stage, its standing if it was kept, its facts and seconds.
    """
    with disk_errors(study.folder), lease(study.folder):
        study.claim()
        for stage in stages:
            standing = standings(study, _upto(stage, stages), context)[-1]
            if standing.state == "done" and not force:
                if told:
                    told(stage, standing, standing.facts, standing.seconds or 0.0)
                continue
            facts, seconds = _run_stage(study, stage, context)
            if told:
                told(stage, None, facts, seconds)


def _upto(stage: Stage, stages: Sequence[Stage]) -> list[Stage]:
    return list(stages[: list(stages).index(stage) + 1])


def _run_stage(study: Study, stage: Stage, context: Context) -> tuple[dict[str, Any], float]:
    receipt_path, failure = _receipt_path(study, stage.name), _failure_path(study, stage.name)
    failure.unlink(missing_ok=True)
    receipt_path.unlink(missing_ok=True)
    inputs = _inputs(study, stage, context)
    logger.info("%s: started", stage.name)
    start = time.perf_counter()
    try:
        facts = stage.work(study, context)
    except Exception as error:
        logger.exception("%s: failed", stage.name)
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        write_json(failure, {"message": first_line, "error": type(error).__name__})
        raise
    seconds = time.perf_counter() - start
    logger.info("%s: done in %.1f s: %s", stage.name, seconds, facts)
    write_json(
        receipt_path,
        {
            "inputs": inputs,
            "output": fingerprint([inputs, _identity(stage, study, facts)]),
            "seconds": round(seconds, 2),
            "facts": facts,
        },
    )
    return facts, seconds


def _identity(stage: Stage, study: Study, facts: dict[str, Any]) -> Any:
    """Return what later stages depend on: the scenes used for the search, else only the inputs."""
    if stage.name != "search":
        return None
    import pandas as pd

    return sorted(pd.read_parquet(study.scenes_path, columns=["id"])["id"])


def _inputs(study: Study, stage: Stage, context: Context) -> dict[str, Any]:
    """Return what the stage depends on, by name, each as a short hash."""
    resolved = study.resolved()
    inputs = {f"{name} settings": fingerprint(resolved[name]) for name in stage.sections}
    if stage.name == "search":
        inputs["area"] = fingerprint(resolved["area"])
    for file in stage.files:
        uri = file(study)
        if uri and Path(uri).is_file():
            stat = Path(uri).stat()
            inputs[Path(uri).name] = fingerprint([stat.st_size, stat.st_mtime_ns])
    for name in _stages_read(study, stage, context):
        receipt = _receipt_path(study, name)
        inputs[f"the {name} stage"] = (
            read_json(receipt)["output"] if receipt.is_file() else "missing"
        )
    if context.bundle is not None:
        inputs["the model"] = context.bundle.fingerprint
    return inputs


def _stages_read(study: Study, stage: Stage, context: Context) -> list[str]:
    """Return the earlier stages that matter: without labels, those that learn do not."""
    if context.bundle is None and study.config.labels.reference is not None:
        return list(stage.after)
    learning = {other.name for other in STAGES if other.learns}
    return [name for name in stage.after if name not in learning]


def _changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [key for key in {**before, **now} if before.get(key) != now.get(key)]


def _receipt_path(study: Study, name: str) -> Path:
    return study.receipts_path / f"{name}.json"


def _failure_path(study: Study, name: str) -> Path:
    return study.receipts_path / f"{name}.failed.json"


def require_stages_before(study: Study, stage: Stage, context: Context) -> None:
    """Check, before one stage is run alone, that what it reads was made."""
    for name in _stages_read(study, stage, context):
        earlier = stage_named(name)
        if not earlier.product(study).exists():
            raise NotFoundError(
                f"the stage `{stage.name}` needs what `{name}` makes: {earlier.makes}",
                expected=str(earlier.product(study)),
                todo=f"rockglacier {name} STUDY.yaml, or rockglacier run STUDY.yaml",
            )


def timings(study: Study, stages: Sequence[Stage]) -> Iterator[tuple[str, float]]:
    """Yield the seconds that every finished stage took when it last ran."""
    for stage in stages:
        receipt = _receipt_path(study, stage.name)
        if receipt.is_file():
            yield stage.name, read_json(receipt)["seconds"]
