"""Basins in a queue: in turn or some at once, each on its own; what fails stops no other."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from rockglacier.atlas.merged import write_merged
from rockglacier.errors import InputError, InUseError, RockGlacierError
from rockglacier.publish import share
from rockglacier.run import Standing, run_stages, standings
from rockglacier.stages import Context, Stage
from rockglacier.storage import is_local, read_json, turn, write_json
from rockglacier.study import RECORD, Study, open_study

logger = logging.getLogger(__name__)

State = Literal["waiting", "running", "done", "failed", "stopped"]

Told = Callable[[Study, Stage, Standing | None, dict[str, Any], float], None]
"""Told after every stage, as by :func:`rockglacier.run.run_stages`, of which basin it is."""

StageTold = Callable[[Stage, Standing | None, dict[str, Any], float], None]
"""The same of a basin that is known."""

ANSWERS, CATALOG, PROGRESS = "search", "stac", "progress.json"

TABLE_TURN: Final = ".progress-lease"
"""Held by whoever reads and writes the table of progress: moments."""

MERGE_TURN: Final = ".merge-lease"
"""Held by whoever puts the inventories together."""

MERGE_WAIT_S: Final = 3600.0
"""A million outlines take many minutes."""


class Beside(Protocol):
    """Runs several basins at once, each where it harms no other."""

    at_once: int

    def __call__(self, study: Study, stages: Sequence[Stage], told: StageTold) -> None:
        """Run a basin's stages; raise what ``told`` raises, and why it failed."""

    def stop(self) -> None:
        """Let all end soon, with what is finished kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a run may take; what is left over waits for the next one."""

    hours: float | None = None
    """No stage begins after so many hours of this run."""
    basins: int | None = None
    """Basins that are worked on; those that are done already do not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Where one basin stands."""

    basin: str
    state: State = "waiting"
    stage: str = ""
    """The last that ended."""
    done: int = 0
    """Stages that are done."""
    stages: int = 0
    seconds: float = 0.0
    """Of this run; as a status, of all stages that are done."""
    outlines: int | None = None
    area_km2: float | None = None
    """Of the outlines."""
    ground: str = ""
    """How like it is to that which a given model was trained on: alike, shifted, unlike."""
    why: str = ""
    """Why it failed, or waits."""
    products: str = ""
    """Its folder, from that of the table."""


class Spent(Exception):  # noqa: N818 - no error: the run ends where it should
    """The budget is spent, with stages left."""


def in_order(studies: Sequence[Study]) -> list[Study]:
    """Return basins by ``compute.priority``, the highest first; else as they are given.

    Raises
    ------
    InputError
        Two have one name or one folder: their products would be taken for each other's.
    """
    for what, values in (
        ("name", [study.config.name for study in studies]),
        ("output folder", [str(study.folder) for study in studies]),
    ):
        twice = sorted(value for value, n in Counter(values).items() if n > 1)
        if twice:
            raise InputError(
                f"several basins have the {what} {twice[0]!r}",
                expected="a name and a folder of its own for each",
                todo=f"change `{'name' if what == 'name' else 'output'}` in one of their files",
            )
    return sorted(studies, key=lambda study: -study.config.compute.priority)


def run_queue(
    studies: Sequence[Study],
    *,
    folder: Path,
    stages_of: Callable[[Study], Sequence[Stage]],
    context: Context,
    budget: Budget | None = None,
    around: Callable[[Study], AbstractContextManager[Any]] = lambda study: nullcontext(),
    told: Told | None = None,
    beside: Beside | None = None,
) -> list[Row]:
    """Run basins in turn or some at once; put inventories together, and items on one shelf.

    Parameters
    ----------
    studies
        In any order; see :func:`in_order`.
    folder
        What belongs to no single basin: ``progress.json``, the answers of servers in ``search/``,
        the root catalog ``stac/``, and the inventory of all; see
        :func:`rockglacier.atlas.merged.write_merged`. Basins that other runs brought there stay in
        the table and, as long as their products are there, in the inventory.
    stages_of
        The stages of a basin; with ``publish`` among them its items are put on the shelf.
    context
        What every run is given.
    budget
        Default: none, all basins are run.
    around
        Entered for the time of a basin's run; not of one that is run ``beside``.
    told
        Told after every stage, from several threads where basins are run ``beside`` each other.
    beside
        Runs basins at once, begun in their order; one that learns from another of them waits for
        it. Default: one after another, in this process.

    Returns
    -------
    list of Row
        A row a basin, in the order in which they were run. A basin that failed says why; run again,
        it goes on from there, and the others are kept.

    Raises
    ------
    InputError
        See :func:`in_order`; or a basin's folder is one of those that all share.
    """
    _require_apart(studies, folder)
    ordered = [replace(study, answers=folder / ANSWERS) for study in in_order(studies)]
    queue = Queue(
        folder=folder,
        rows={
            study.config.name: Row(basin=study.config.name, products=_products(study, folder))
            for study in ordered
        },
        budget=budget or Budget(),
        told=told,
    )
    queue.save()

    def here(study: Study, stages: Sequence[Stage], told: StageTold) -> None:
        with around(study):
            run_stages(study, stages, context, told=told)

    try:
        if beside is None:
            for study in ordered:
                queue.run(study, stages_of, context, here)
        else:
            _run_beside(queue, ordered, stages_of, context, beside)
    finally:
        queue.save()
    with turn(folder, name=MERGE_TURN, wait_s=MERGE_WAIT_S):
        write_merged([*ordered, *queue.neighbours()], folder)
    return list(queue.rows.values())


def _require_apart(studies: Sequence[Study], folder: Path) -> None:
    shared = {folder, folder / ANSWERS, folder / CATALOG}
    for study in studies:
        if study.folder in shared:
            raise InputError(
                f"basin {study.config.name!r} has the folder {str(study.folder)!r}, which the "
                "basins share",
                expected=f"another one than {', '.join(sorted(map(str, shared)))}",
                todo="change `output` in its file",
            )


def _run_beside(
    queue: Queue,
    ordered: Sequence[Study],
    stages_of: Callable[[Study], Sequence[Stage]],
    context: Context,
    beside: Beside,
) -> None:
    ended = [threading.Event() for _ in ordered]

    def run(place: int) -> None:
        try:
            teachers = _teachers(ordered[place])
            for other, its_end in zip(ordered[:place], ended, strict=False):
                if other.folder in teachers:  # it began before, so that nobody waits for ever
                    its_end.wait()
            queue.run(ordered[place], stages_of, context, beside)
        finally:
            ended[place].set()

    with ThreadPoolExecutor(beside.at_once, thread_name_prefix="basin") as pool:
        running = [pool.submit(run, place) for place in range(len(ordered))]
        try:
            for one in running:
                one.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            beside.stop()
            raise


def _teachers(study: Study) -> set[Path]:
    """Return the folders of the basins that a study learns from."""
    files = [Path(study.resolve(uri)) for uri in study.config.train.basins]
    return {open_study(path).folder for path in files if path.is_file()}


@dataclass(kw_only=True)
class Queue:
    """The rows of a run, and what is left of its budget."""

    folder: Path
    rows: dict[str, Row]
    budget: Budget
    told: Told | None

    def __post_init__(self) -> None:
        self._start = time.monotonic()
        self._begun = 0
        self._elsewhere: set[str] = set()
        self._lock = threading.RLock()

    def save(self) -> None:
        """Write the table, for people and programs that look on; other runs write theirs too."""
        with self._lock, turn(self.folder, name=TABLE_TURN):
            held = {row["basin"]: row for row in self.table()}
            own = [
                held.get(name, asdict(row)) if name in self._elsewhere else asdict(row)
                for name, row in self.rows.items()
            ]
            write_json(self.folder / PROGRESS, [*own, *self._others()])

    def table(self) -> list[dict[str, Any]]:
        """Return the rows as they were written last, by whichever run."""
        path = self.folder / PROGRESS
        return read_json(path) if path.is_file() else []

    def _others(self) -> list[dict[str, Any]]:
        """Return the rows of basins that are not of this run."""
        return [row for row in self.table() if row["basin"] not in self.rows]

    def neighbours(self) -> list[Study]:
        """Return the basins beside those of this run whose products are on this machine."""
        places = [str(row.get("products", "")) for row in self._others()]
        records = [Path(self.folder, place, RECORD) for place in places if "://" not in place]
        return [open_study(record) for record in records if record.is_file()]

    def change(self, basin: str, **values: Any) -> None:
        """Change a row, and write the table."""
        with self._lock:
            self.rows[basin] = replace(self.rows[basin], **values)
            self.save()

    def run(
        self,
        study: Study,
        stages_of: Callable[[Study], Sequence[Stage]],
        context: Context,
        work: Callable[[Study, Sequence[Stage], StageTold], None],
    ) -> None:
        """Run a basin by a piece of work; only Ctrl-C and the like come out of it."""
        name, start = study.config.name, time.monotonic()
        try:
            stages = stages_of(study)
            if why := self._refusal(study, stages, context):
                self.change(name, stages=len(stages), why=why)
                return
            self.change(name, state="running", stages=len(stages))
            work(study, stages, self._teller(study, stages, start))
            took = round(time.monotonic() - start, 1)
            is_published = any(stage.name == "publish" for stage in stages)
            why = self._shared(study) if is_published else ""
            self.change(name, state="done", seconds=took, why=why)
        except Spent:
            self.change(name, state="waiting", why=self._spent())
        except InUseError as error:
            self.change(name, state="waiting", why=reason(error))
            self._elsewhere.add(name)  # its row is from now on that of the run that holds it
        except Exception as error:
            logger.exception("basin %s: failed", name)
            self.change(name, state="failed", why=reason(error))
        except BaseException:
            self.change(name, state="stopped")
            raise

    def _shared(self, study: Study) -> str:
        """Put a basin's items on the shelf of all; say why that is not possible, or nothing."""
        try:
            share(study, self.folder / CATALOG)
        except InputError as error:
            logger.warning("%s: %s", study.config.name, error)
            return f"not in the catalog of all: {reason(error)}"
        return ""

    def _refusal(self, study: Study, stages: Sequence[Stage], context: Context) -> str:
        """Say why a basin does not begin, or nothing; one that is done costs nothing."""
        left = [one for one in standings(study, stages, context) if one.state != "done"]
        if not left:
            return ""
        limit = self.budget.basins
        with self._lock:
            if limit is not None and self._begun >= limit:
                return f"{limit} basin(s) were worked on, the budget of this run"
            if self._is_late():
                return self._spent()
            self._begun += 1
        return ""

    def _is_late(self) -> bool:
        hours = self.budget.hours
        return hours is not None and time.monotonic() - self._start >= 3600 * hours

    def _spent(self) -> str:
        return f"{self.budget.hours:g} h are over, the budget of this run"

    def _teller(self, study: Study, stages: Sequence[Stage], start: float) -> StageTold:
        def told(
            stage: Stage, kept: Standing | None, facts: dict[str, Any], seconds: float
        ) -> None:
            number = list(stages).index(stage) + 1
            drawn: dict[str, Any] = {}
            if stage.name == "inventory":
                drawn = {"outlines": facts.get("objects"), "area_km2": facts.get("area_km2")}
            if stage.name == "report":
                drawn = {"ground": facts.get("applicability", "")}
            self.change(
                study.config.name,
                stage=stage.name,
                done=number,
                seconds=round(time.monotonic() - start, 1),
                **drawn,
            )
            if self.told:
                self.told(study, stage, kept, facts, seconds)
            if kept is None and number < len(stages) and self._is_late():
                raise Spent

        return told


def row_of(study: Study, stages: Sequence[Stage], context: Context) -> Row:
    """Return where a basin stands, from what its runs left."""
    found = standings(study, stages, context)
    done = [one for one in found if one.state == "done"]
    failed = next((one for one in found if one.state == "failed"), None)
    drawn = next((one.facts for one in done if one.stage.name == "inventory"), {})
    shown = next((one.facts for one in done if one.stage.name == "report"), {})
    whole: State = "done" if len(done) == len(found) else "waiting"
    return Row(
        basin=study.config.name,
        state="failed" if failed else whole,
        stage=done[-1].stage.name if done else "",
        done=len(done),
        stages=len(found),
        seconds=round(sum(one.seconds or 0.0 for one in done), 1),
        outlines=drawn.get("objects"),
        area_km2=drawn.get("area_km2"),
        ground=shown.get("applicability", ""),
        why=failed.why if failed else "",
    )


def _products(study: Study, folder: Path) -> str:
    place = study.folder
    return os.path.relpath(place, folder) if is_local(place) and is_local(folder) else str(place)


def reason(error: BaseException) -> str:
    """Return an error in a line."""
    if isinstance(error, RockGlacierError):
        return error.found.splitlines()[0]
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}".rstrip(": ")


def failures(rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """Yield name and cause of the basins that failed."""
    return ((row.basin, row.why) for row in rows if row.state == "failed")
