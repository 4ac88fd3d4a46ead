"""The stages from the catalog to the publication: what each makes, reads and depends on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rockglacier.engine import EVERYTHING, Progress, Receipts, Selection, Task, silent
from rockglacier.errors import InputError
from rockglacier.study import Study

if TYPE_CHECKING:
    from rockglacier.model.bundle import Bundle


Blocks = Callable[[Study], tuple[Sequence[Task], Receipts]]
"""Gives the blocks of a stage and where they are recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a run gives its stages beside the study."""

    progress: Progress = silent
    client: Any | None = None
    """A ``distributed.Client``, or None for threads of this process."""
    selection: Selection = EVERYTHING
    """Blocks that are meant; a stage with blocks left over is not done."""
    refit: bool = False
    """Features are fitted anew, though there are numbers that would do."""
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
    """Sections of the config that it depends on, or single keys of one: ``inventory.threshold``."""
    after: tuple[str, ...]
    """Stages whose products it reads."""
    product: Callable[[Study], Path]
    """One product whose absence means that the stage has to run."""
    files: tuple[Callable[[Study], str | None], ...] = ()
    """Files of the person that it reads: it is stale when they change."""
    learns: bool = False
    """Needs a reference inventory; left out when mapping with a given model."""
    blocks: Blocks | None = None
    """Its blocks and where they are recorded, if it can build some of them."""
    each_period: bool = False
    """Its blocks are recorded period by period."""
    check: Callable[[Study], None] | None = None
    """Raises what would stop it for lack of a library, so that no earlier stage runs in vain."""


def _search(study: Study, context: Context) -> dict[str, Any]:
    if study.config.cube.item:
        from rockglacier.cube.published import take_search

        return take_search(study)
    from rockglacier.scenes.select import search_scenes

    return search_scenes(study, progress=context.progress)


def _cube(study: Study, context: Context) -> dict[str, Any]:
    from rockglacier.cube.build import build_cube
    from rockglacier.cube.published import take_cube

    make = take_cube if study.config.cube.item else build_cube
    return make(
        study, progress=context.progress, client=context.client, selection=context.selection
    )


def _cube_blocks(study: Study) -> tuple[Sequence[Task], Receipts]:
    from rockglacier.cube.build import cube_tasks
    from rockglacier.cube.published import take_tasks

    return take_tasks(study) if study.config.cube.item else cube_tasks(study)


def _label(study: Study, context: Context) -> dict[str, Any]:
    from rockglacier.labels.burn import label_basin

    return label_basin(study, progress=context.progress, selection=context.selection)


def _label_blocks(study: Study) -> tuple[Sequence[Task], Receipts]:
    from rockglacier.labels.burn import label_tasks

    return label_tasks(study)


def _fuse(study: Study, context: Context) -> dict[str, Any]:
    from rockglacier.features.fusion import fuse
    from rockglacier.labels.every_fold import other_folds, write_split

    told: Any = {
        "refit": context.refit,
        "progress": context.progress,
        "client": context.client,
        "selection": context.selection,
    }
    if context.bundle is not None:
        return fuse(study, fusion=context.bundle.fusion, **told)
    facts = fuse(study, **told)
    for fold in other_folds(study):
        write_split(fold, study)
        more = fuse(fold, **told)
        facts |= {name: facts[name] + more[name] for name in ("blocks", "built", "kept", "left")}
    return facts


def _fuse_blocks(study: Study) -> tuple[Sequence[Task], Receipts]:
    from rockglacier.features.fusion import fuse_tasks

    return fuse_tasks(study)


def _train(study: Study, context: Context) -> dict[str, Any]:
    from rockglacier.labels.every_fold import other_folds
    from rockglacier.model.fit import train

    facts = train(study, progress=context.progress)
    for fold in other_folds(study):
        more = train(fold, progress=context.progress)
        facts |= {name: facts[name] + more[name] for name in ("trials", "built", "kept", "seconds")}
    return facts


def _check_networks(study: Study) -> None:
    from rockglacier.model.networks import builder_of  # imports PyTorch

    for name in study.config.train.networks:
        if ":" in name:
            builder_of(name)


def _evaluate(study: Study, context: Context) -> dict[str, Any]:
    from rockglacier.evaluation.everywhere import write_everywhere
    from rockglacier.evaluation.judge import evaluate
    from rockglacier.evaluation.pooled import IOU, evaluate_folds
    from rockglacier.prediction.infer import infer_window

    facts = evaluate(study, infer=infer_window, progress=context.progress)
    if study.config.protocol == "paper":
        facts |= write_everywhere(study, infer=infer_window, progress=context.progress)
    if not study.config.labels.every_fold:
        return facts
    pooled = evaluate_folds(study, infer=infer_window, progress=context.progress)
    return {**facts, "pooled": {name: row[IOU] for name, row in pooled.items()}}


def _predict(study: Study, context: Context) -> dict[str, Any]:
    from rockglacier.prediction.infer import predict

    return _in_each_period(
        study,
        lambda one: predict(
            one,
            bundle=context.bundle,
            progress=context.progress,
            client=context.client,
            selection=context.selection,
        ),
    )


def _predict_blocks(study: Study) -> tuple[Sequence[Task], Receipts]:
    from rockglacier.prediction.infer import predict_tasks

    return predict_tasks(study)


def _inventory(study: Study, context: Context) -> dict[str, Any]:
    from rockglacier.inventory.periods import count_periods
    from rockglacier.inventory.qgis import require_closed
    from rockglacier.inventory.tables import build_inventory

    for one in study.each_period():
        require_closed(one.inventory_path / "inventory.gpkg")
    facts = _in_each_period(
        study, lambda one: build_inventory(one, bundle=context.bundle, progress=context.progress)
    )
    count_periods(study)
    return facts


def _in_each_period(study: Study, work: Callable[[Study], dict[str, Any]]) -> dict[str, Any]:
    """Return what a stage tells of the period that teaches, of several also that of each."""
    found = {one.period.name: work(one) for one in study.each_period()}
    name, facts = next(iter(found.items()))
    if len(found) == 1:
        return facts
    counts: dict[str, Any] = {
        key: sum(each.get(key, 0) for each in found.values())
        for key in ("blocks", "built", "kept", "left")
        if any(key in each for each in found.values())
    }
    return {"period": name, **facts, **counts, "periods": found}


def _report(study: Study, context: Context) -> dict[str, Any]:
    from rockglacier.evaluation.mapped import write_adjusted_area
    from rockglacier.report.page import write_report

    if context.bundle is not None:
        from rockglacier.model.applicability import write_applicability

        shift = write_applicability(study, context.bundle)
        return {**shift, **write_report(study, progress=context.progress)}
    adjusted = write_adjusted_area(study)
    facts = write_report(study, progress=context.progress)
    return facts if adjusted is None else {**facts, "adjusted_area_km2": adjusted["adjusted_km2"]}


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


def _glacier_file(study: Study) -> str | None:
    given = study.config.labels.glaciers
    return study.resolve(given) if given else None


def _sub_basin_file(study: Study) -> str | None:
    labels = study.config.labels
    is_used = labels.split == "sub-basins" and labels.sub_basins
    return study.resolve(str(labels.sub_basins)) if is_used else None


def _reviews_file(study: Study) -> str | None:
    return str(study.reviews_path)


def _calibration_file(study: Study) -> str | None:
    path = study.prediction_path / "calibration.json"  # of evaluation.few
    return str(path) if path.is_file() else None


def _domains_file(study: Study) -> str | None:
    given = study.config.inventory.domains
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
        name="label",
        makes="burnt labels and the split of the ground",
        work=_label,
        sections=("labels",),
        after=("search",),
        product=lambda study: study.splits_path,
        blocks=_label_blocks,
        files=(_area_file, _reference_file, _complete_file, _glacier_file, _sub_basin_file),
        learns=True,
    ),
    Stage(
        name="cube",
        makes="reflectance and terrain on one grid",
        work=_cube,
        sections=("cube",),
        after=("search",),
        product=lambda study: study.cube_path,
        blocks=_cube_blocks,
    ),
    Stage(
        name="fuse",
        makes="the features that a network sees",
        work=_fuse,
        sections=("features",),
        after=("cube", "label"),
        product=lambda study: study.fusion_path,
        blocks=_fuse_blocks,
        each_period=True,
    ),
    Stage(
        name="train",
        makes="trained networks",
        work=_train,
        sections=("train", "predict.network"),  # it limits which one is selected
        after=("fuse", "label"),
        product=lambda study: study.selection_path,
        learns=True,
        check=_check_networks,
    ),
    Stage(
        name="evaluate",
        makes="scores on held-out ground",
        work=_evaluate,
        sections=("predict", "inventory"),
        after=("train",),
        product=lambda study: study.evaluation_path,
        learns=True,
    ),
    Stage(
        name="predict",
        makes="probability and class rasters",
        work=_predict,
        sections=("predict", "inventory.threshold"),  # the raster of classes is cut there
        after=("fuse", "train"),
        product=lambda study: study.raster_path("probability"),
        blocks=_predict_blocks,
        each_period=True,
    ),
    Stage(
        name="inventory",
        makes="outlines with attributes",
        work=_inventory,
        sections=("inventory",),
        after=("predict", "cube", "label"),
        product=lambda study: study.inventory_path / "inventory.parquet",
        files=(_reviews_file, _domains_file),
    ),
    Stage(
        name="report",
        makes="one page that shows it all",
        work=_report,
        sections=("report", "publish"),
        after=("inventory", "evaluate"),
        product=lambda study: study.report_path,
        files=(_calibration_file,),
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
