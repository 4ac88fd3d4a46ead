"""Running the stages in order: which are done, which are stale and why, and what is left."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rockglacier.branch import Branch
from rockglacier.config import fingerprint
from rockglacier.engine import Failure, Receipts, Task
from rockglacier.errors import ContractError, InputError, NotFoundError
from rockglacier.labels.every_fold import has_folds, other_folds
from rockglacier.stages import STAGES, Blocks, Context, Stage, stage_named
from rockglacier.storage import (
    disk_errors,
    file_at,
    lease,
    listing,
    read_json,
    readable,
    write_json,
)
from rockglacier.study import Study, open_study

logger = logging.getLogger(__name__)


State = Literal["done", "stale", "missing", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where one stage stands."""

    stage: Stage
    state: State
    why: str
    facts: dict[str, Any]
    seconds: float | None


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
        for one in standings(study, stages, context):
            if one.stage.check and (force or one.state != "done"):
                one.stage.check(study)
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
    if facts.get("left"):
        logger.info("%s: %s blocks are left", stage.name, facts["left"])
        return facts, seconds
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

    return sorted(pd.read_parquet(readable(study.scenes_path), columns=["id"])["id"])


def _inputs(study: Study, stage: Stage, context: Context) -> dict[str, Any]:
    """Return what the stage depends on, by name, each as a short hash."""
    resolved = study.resolved()
    inputs = {f"{name} settings": fingerprint(_setting(resolved, name)) for name in stage.sections}
    if stage.name == "search":
        inputs["area"] = fingerprint(resolved["area"])
    files = _files_of(study, stage)
    if stage.name == "inventory":
        files += [str(one.reviews_path) for one in study.each_period()[1:]]
    for uri in files:
        if (path := file_at(_archive(uri))).is_file():
            stat = path.stat()
            name = path.name if path.name not in inputs else f"{path.parent.name}/{path.name}"
            inputs[name] = fingerprint([stat.st_size, stat.st_mtime_ns])
    if stage.name == "train":
        inputs |= _teachers(study)
    for name in _stages_read(study, stage, context):
        receipt = _receipt_path(study, name)
        inputs[f"the {name} stage"] = (
            read_json(receipt)["output"] if receipt.is_file() else "missing"
        )
    if context.bundle is not None and stage.name not in ("search", "cube"):
        inputs["the model"] = context.bundle.fingerprint
    return inputs


def _files_of(study: Study, stage: Stage) -> list[str]:
    """Return the files of the person that a stage reads."""
    files = [uri for file in stage.files if (uri := file(study))]
    if stage.name == "inventory":
        files += [study.resolve(uri) for uri in study.config.inventory.overlaps.values()]
    return files


def _archive(uri: str) -> str:
    """Return the file itself of an address such as ``hunza.zip!outlines.shp``."""
    return uri.partition("!")[0]


def _teachers(study: Study) -> dict[str, Any]:
    """Return what training depends on of the other basins that it learns from."""
    found = {}
    for uri in study.config.train.basins:
        path = Path(study.resolve(uri))
        other = open_study(path) if path.is_file() else None
        receipts = [_receipt_path(other, name) for name in ("cube", "label")] if other else []
        found[f"basin {path.stem}"] = fingerprint(
            [read_json(receipt)["output"] if receipt.is_file() else None for receipt in receipts]
        )
    return found


def _setting(resolved: dict[str, Any], name: str) -> Any:
    """Return a section of the config, or with a dot one key of it."""
    section, _, key = name.partition(".")
    return resolved[section][key] if key else resolved[section]


def _stages_read(study: Study, stage: Stage, context: Context) -> list[str]:
    """Return the earlier stages that matter: without labels, those that learn do not."""
    if context.bundle is None and study.config.labels.reference is not None:
        return list(stage.after)
    learning = {other.name for other in STAGES if other.learns}
    return [name for name in stage.after if name not in learning]


def _changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [key for key in {**before, **now} if before.get(key) != now.get(key)]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockCounts:
    """Where the blocks of a stage stand."""

    done: int
    stale: int
    """Built from other inputs than those of now."""
    missing: int
    failures: Mapping[str, Failure]
    """By block; of several folds and periods by these and the block."""

    def __add__(self, other: BlockCounts) -> BlockCounts:
        """Return the counts of both."""
        return BlockCounts(
            done=self.done + other.done,
            stale=self.stale + other.stale,
            missing=self.missing + other.missing,
            failures={**self.failures, **other.failures},
        )


def block_counts(study: Study, standing: Standing) -> BlockCounts | None:
    """Count the blocks of a stage, over all its periods and folds.

    Parameters
    ----------
    study, standing
        The stage and where it stands. None of its blocks is stale if it is done, nor if what they
        are made of cannot be told, as of a map with a model that was given to the run.

    Returns
    -------
    BlockCounts or None
        None if the stage has no blocks, or nothing is recorded of them.
    """
    stage = standing.stage
    if stage.blocks is None:
        return None
    places = _places(study, stage)
    held = [Receipts(place.receipts_path / stage.name) for place in places]
    if not any(listing(receipts.folder) for receipts in held):
        return None
    counts = BlockCounts(done=0, stale=0, missing=0, failures={})
    for place, receipts in zip(places, held, strict=True):
        tasks = None if standing.state == "done" else _tasks(place, stage.blocks)
        counts += _counted(place, tasks, receipts)
    return counts


def _places(study: Study, stage: Stage) -> list[Study]:
    """Return the study in each period and fold in which a stage has blocks of its own."""
    folds = [study]
    if stage.name == "fuse" and has_folds(study):
        with suppress(ContractError):  # of other settings: the label stage is stale
            folds += other_folds(study)
    return [one for fold in folds for one in fold.each_period()] if stage.each_period else folds


def _tasks(study: Study, blocks: Blocks) -> Sequence[Task] | None:
    try:
        return blocks(study)[0]
    except (NotFoundError, InputError):
        return None


def _counted(study: Study, tasks: Sequence[Task] | None, receipts: Receipts) -> BlockCounts:
    names = {block.name for block in study.grid.blocks()}
    held = {name for name, _ in receipts.all()} & names
    current = held if tasks is None else receipts.current(tasks)
    period = f"{study.period.name} " if len(study.periods) > 1 and study.chosen else ""
    fold = f"fold {study.config.labels.fold} " if isinstance(study, Branch) else ""
    return BlockCounts(
        done=len(current),
        stale=len(held - current),
        missing=len(names - held),
        failures={fold + period + name: failure for name, failure in receipts.failures().items()},
    )


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


def require_files(study: Study, stages: Sequence[Stage]) -> None:
    """Check, before anything is built, that files of the person which stages read are there.

    Raises
    ------
    InputError
        One is missing. What a run made itself, and what lies on servers, is not looked for.
    """
    for stage in stages:
        for uri in _files_of(study, stage):
            is_ours = Path(uri).is_relative_to(str(study.folder))
            is_there = Path(uri).exists() or Path(_archive(uri)).is_file()
            if "://" in uri or uri.startswith("/vsi") or is_ours or is_there:
                continue
            raise InputError(
                f"no file {uri!r}",
                expected=f"a file that the stage `{stage.name}` reads",
                todo="mend its path; in a study's file it is meant from the folder of that file",
            )


def timings(study: Study, stages: Sequence[Stage]) -> Iterator[tuple[str, float]]:
    """Yield the seconds that every finished stage took when it last ran."""
    for stage in stages:
        receipt = _receipt_path(study, stage.name)
        if receipt.is_file():
            yield stage.name, read_json(receipt)["seconds"]
