"""Blocks as tasks: bounded work in flight, a receipt for each finished block, resume by receipt.

Tasks come in groups: a group shares what its blocks read, and its work yields block by block. The
receipt of a block goes before its data is written and comes back afterwards, wherever the work
runs; so whatever is killed, the next run finds what is finished. A block that fails is set aside
with its cause, and the others are done.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import Any, Protocol

from rockglacier.config import fingerprint
from rockglacier.errors import (
    BlocksFailedError,
    ContractError,
    InputError,
    RemoteError,
    RockGlacierError,
)
from rockglacier.storage import listing, read_json, read_jsons, redact_text, write_json

logger = logging.getLogger(__name__)

FAILED = ".failed"
"""What the name of a file ends with that says why a block failed, before its suffix."""

MAX_FAILURES = 20
"""Blocks that may fail before a run gives up: the cause is then not theirs."""


class Progress(Protocol):
    """Told what is being done, how much of it is done, and how much there is."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Report ``done`` of ``total``."""


def silent(what: str, done: int, total: int) -> None:
    """Report nothing: the progress of a caller who does not want any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One block's work."""

    name: str
    """Name of the block; also of its receipt."""
    inputs: Mapping[str, Any]
    """All that the result depends on, JSON-able: planned items, parameters, recipe number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a block could not be built."""

    name: str
    error: str
    """Name of the exception."""
    message: str
    item: str = ""
    asset: str = ""
    href: str = ""
    expected: str = ""
    todo: str = ""


class Receipts:
    """The receipts of one stage, a JSON file a block, beside the store and not inside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """Return the path of a block's receipt."""
        return self.folder / f"{name}.json"

    def read(self, name: str) -> dict[str, Any] | None:
        """Return a receipt, or None where there is none."""
        path = self.path(name)
        return read_json(path) if path.is_file() else None

    def is_current(self, task: Task) -> bool:
        """Say whether a block was finished with the same inputs."""
        receipt = self.read(task.name)
        return receipt is not None and receipt["inputs"] == fingerprint(task.inputs)

    def drop(self, name: str) -> None:
        """Forget a block, before its data is written again."""
        self.path(name).unlink(missing_ok=True)
        self.path(name + FAILED).unlink(missing_ok=True)

    def write(self, task: Task, result: Mapping[str, Any], *, seconds: float) -> None:
        """Record a finished block, after its data was written."""
        write_json(
            self.path(task.name),
            {"inputs": fingerprint(task.inputs), "seconds": round(seconds, 3), **result},
        )

    def fail(self, failure: Failure) -> None:
        """Record why a block could not be built."""
        write_json(self.path(failure.name + FAILED), asdict(failure))

    def all(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield name and content of every receipt of a finished block."""
        for name, receipt in read_jsons(self.folder).items():
            if not name.endswith(FAILED):
                yield name, receipt

    def failures(self) -> dict[str, Failure]:
        """Return the blocks that failed when they were last tried."""
        paths = listing(self.folder, f"{FAILED}.json")
        found = [Failure(**read_json(path)) for path in paths]
        return {failure.name: failure for failure in found}

    def current(self, tasks: Iterable[Task]) -> set[str]:
        """Return the blocks that were finished with the same inputs."""
        held = {name: receipt["inputs"] for name, receipt in self.all()}
        return {task.name for task in tasks if held.get(task.name) == fingerprint(task.inputs)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which blocks a run is about; the default is all of them."""

    rows: tuple[int, int] | None = None
    """First block row, and the one after the last."""
    cols: tuple[int, int] | None = None
    only_failed: bool = False

    @classmethod
    def parse(cls, text: str, *, only_failed: bool = False) -> Selection:
        """Read ``r0:r1,c0:c1``, rows and columns of blocks, the ends not included.

        Raises
        ------
        InputError
            The text is of another form.
        """
        found = re.fullmatch(r"(\d+):(\d+),(\d+):(\d+)", text.replace(" ", ""))
        if not found:
            raise InputError(
                f"blocks {text!r}",
                expected="rows and columns of blocks, the ends not included, e.g. 0:2,3:5",
            )
        r0, r1, c0, c1 = (int(number) for number in found.groups())
        return cls(rows=(r0, r1), cols=(c0, c1), only_failed=only_failed)

    def meant(self, names: Iterable[str], receipts: Receipts) -> set[str]:
        """Return which blocks, named as ``r0003c0012``, are meant.

        Raises
        ------
        InputError
            There is no block in these rows and columns.
        """
        names = set(names)
        if self.rows is not None and self.cols is not None:
            places = {name: tuple(map(int, name[1:].split("c"))) for name in names}
            (r0, r1), (c0, c1) = self.rows, self.cols
            inside = {n for n, (row, col) in places.items() if r0 <= row < r1 and c0 <= col < c1}
            if names and not inside:
                row, col = (max(place[axis] for place in places.values()) for axis in (0, 1))
                raise InputError(
                    f"no block in rows {r0}:{r1} and columns {c0}:{c1}",
                    expected=f"some of rows 0:{row + 1} and columns 0:{col + 1}",
                )
            names = inside
        return names & receipts.failures().keys() if self.only_failed else names


EVERYTHING = Selection()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a stage did with its blocks."""

    built: int
    kept: int
    """Blocks whose receipt already matched."""
    left: int = 0
    """Blocks that are not built and were not meant."""

    def __add__(self, other: Outcome) -> Outcome:
        """Return what became of the blocks of both."""
        return Outcome(
            built=self.built + other.built,
            kept=self.kept + other.kept,
            left=self.left + other.left,
        )

    @property
    def facts(self) -> dict[str, Any]:
        """What a stage tells of its blocks; one with blocks left is not done."""
        blocks = self.built + self.kept + self.left
        return {"blocks": blocks, "built": self.built, "kept": self.kept, "left": self.left}


GroupWork = Callable[[Sequence[Task]], Iterator[tuple[Task, Mapping[str, Any]]]]
"""Builds the blocks of a group: yields each when its data is written, with its receipt's facts."""


@dataclass(frozen=True, slots=True)
class Each:
    """The work of a group whose blocks share nothing."""

    work: Callable[[Task], Mapping[str, Any]]

    def __call__(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Mapping[str, Any]]]:
        """Build one block after the other."""
        for task in tasks:
            yield task, self.work(task)


def run_tasks(
    tasks: Sequence[Task],
    work: Callable[[Task], Mapping[str, Any]],
    *,
    receipts: Receipts,
    what: str,
    workers: int,
    client: Any | None = None,
    progress: Progress = silent,
    selection: Selection = EVERYTHING,
) -> Outcome:
    """Run ``work`` on every task whose receipt does not match; parameters as `run_groups`."""
    return run_groups(
        [[task] for task in tasks],
        Each(work),
        receipts=receipts,
        what=what,
        workers=workers,
        client=client,
        progress=progress,
        selection=selection,
    )


def run_groups(
    groups: Sequence[Sequence[Task]],
    work: GroupWork,
    *,
    receipts: Receipts,
    what: str,
    workers: int,
    client: Any | None = None,
    resources: Mapping[str, float] | None = None,
    progress: Progress = silent,
    selection: Selection = EVERYTHING,
) -> Outcome:
    """Build every block whose receipt does not match, a bounded number of groups at a time.

    Parameters
    ----------
    groups
        Tasks, one a block, by what they share.
    work
        Writes the data of blocks and yields what their receipts should say (JSON-able). With a
        ``client`` it must be picklable, and so must the receipts.
    receipts
        Where finished and failed blocks are recorded.
    what
        What the progress is called.
    workers
        Groups in flight.
    client
        A ``distributed.Client``; default: threads of this process.
    resources
        Dask resources that a group takes of its worker, such as a GPU.
    progress
        Told after every block; with a client after every group.
    selection
        The blocks that are meant; the others are left as they are.

    Raises
    ------
    BlocksFailedError
        Blocks could not be built; names each with its cause. The others are done and keep their
        receipts, so that the same call goes on from there.
    InputError, ContractError
        At once: what is wrong is not one block's, or no block is meant.
    """
    tasks = [task for group in groups for task in group]
    current = receipts.current(tasks)
    meant = selection.meant((task.name for task in tasks), receipts)
    todo = [[t for t in group if t.name in meant and t.name not in current] for group in groups]
    todo = [group for group in todo if group]
    count = sum(map(len, todo))
    tally = _Tally(what=what, kept=len(current), total=len(current) + count, progress=progress)
    progress(what, tally.kept, tally.total)
    if todo:
        if client is None:
            _in_threads(todo, work, receipts, tally, workers)
        else:
            _on_cluster(todo, work, receipts, tally, client, resources)
    if tally.failures:
        raise _error(tally)
    left = len(tasks) - len(current) - count
    return Outcome(built=tally.built, kept=tally.kept, left=left)


@dataclass(kw_only=True)
class _Tally:
    """What has come of the blocks so far."""

    what: str
    kept: int
    total: int
    progress: Progress
    built: int = 0
    failures: list[Failure] | None = None

    def add(self, outcome: str | Failure) -> None:
        """Count a block: its name if it is built, or its failure."""
        if isinstance(outcome, Failure):
            self.failures = [*(self.failures or []), outcome]
            if len(self.failures) >= MAX_FAILURES:
                raise _error(self)
        else:
            self.built += 1
            self.progress(self.what, self.kept + self.built, self.total)


def _run_group(
    tasks: Sequence[Task],
    work: GroupWork,
    receipts: Receipts,
    told: Callable[[str | Failure], None],
    stopped: Callable[[], bool],
) -> None:
    """Build the blocks of a group, and record each; if one fails, build the rest one by one."""
    for task in tasks:
        receipts.drop(task.name)
    left = {task.name: task for task in tasks}
    start = time.perf_counter()
    try:
        for task, result in work(tasks):
            receipts.write(task, result, seconds=time.perf_counter() - start)
            del left[task.name]
            told(task.name)
            start = time.perf_counter()
            if stopped():
                return
    except (InputError, ContractError):
        raise
    except Exception as error:
        if len(tasks) == 1:
            failure = _failure(tasks[0].name, error)
            ours = isinstance(error, RockGlacierError)
            logger.error(
                "block %s: %s", failure.name, failure.message, exc_info=None if ours else error
            )
            receipts.fail(failure)
            told(failure)
            return
        for task in left.values():
            if not stopped():
                _run_group([task], work, receipts, told, stopped)


def _failure(name: str, error: BaseException) -> Failure:
    kind = type(error).__name__
    return Failure(
        name=name,
        error=kind,
        message=error.found
        if isinstance(error, RockGlacierError)
        else redact_text(f"{kind}: {error}"),
        **{key: getattr(error, key, "") for key in ("item", "asset", "href", "expected", "todo")},
    )


def _error(tally: _Tally) -> BlocksFailedError:
    failures = tally.failures or []
    waiting = tally.total - tally.kept - tally.built - len(failures)
    return BlocksFailedError(
        tally.what,
        failures=[(failure.name, failure.message) for failure in failures],
        done=tally.kept + tally.built,
        waiting=waiting,
        expected=next((failure.expected for failure in failures if failure.expected), ""),
        todo=next((failure.todo for failure in failures if failure.todo), ""),
    )


def _in_threads(
    todo: Sequence[Sequence[Task]],
    work: GroupWork,
    receipts: Receipts,
    tally: _Tally,
    workers: int,
) -> None:
    """Run groups in threads; what they report is handled here, in the caller's thread."""
    queue = iter(todo)
    reports: SimpleQueue[str | Failure | _Ended] = SimpleQueue()
    stop = Event()

    def run(group: Sequence[Task]) -> None:
        error = None
        try:
            _run_group(group, work, receipts, reports.put, stop.is_set)
        except BaseException as caught:  # raised again in the caller's thread
            error = caught
        reports.put(_Ended(error))

    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="group") as pool:
        running = 0
        try:
            for _, group in zip(range(workers), queue, strict=False):
                pool.submit(run, group)
                running += 1
            while running:
                report = reports.get()
                if not isinstance(report, _Ended):
                    tally.add(report)
                    continue
                running -= 1
                if report.error is not None:
                    raise report.error
                following = next(queue, None)
                if following is not None:
                    pool.submit(run, following)
                    running += 1
        finally:
            stop.set()


@dataclass(frozen=True, slots=True)
class _Ended:
    error: BaseException | None


def _run_remotely(
    tasks: Sequence[Task], work: GroupWork, receipts: Receipts
) -> list[str | Failure]:
    outcomes: list[str | Failure] = []
    _run_group(tasks, work, receipts, outcomes.append, lambda: False)
    return outcomes


def _on_cluster(
    todo: Sequence[Sequence[Task]],
    work: GroupWork,
    receipts: Receipts,
    tally: _Tally,
    client: Any,
    resources: Mapping[str, float] | None,
) -> None:
    """Run groups on a cluster: two a worker in flight, so that none waits for the scheduler.

    A group that takes its worker down with it is tried again block by block, and a block that does
    so alone at the end, as it may only have waited behind another; then it is set aside.
    """
    from distributed import KilledWorker, as_completed

    queue = iter(todo)
    flying: dict[Any, Sequence[Task]] = {}
    suspects: list[Task] = []
    alone: Task | None = None
    running = as_completed()

    def submit(group: Sequence[Task]) -> None:
        future = client.submit(
            _run_remotely, group, work, receipts, pure=False, resources=resources
        )
        flying[future] = group
        running.add(future)

    def fill() -> None:
        while len(flying) < 2 * max(1, len(client.nthreads())):  # workers come and go
            group = next(queue, None)
            if group is None:
                return
            submit(group)

    try:
        fill()
        for future in running:
            group = flying.pop(future)
            try:
                outcomes = future.result()
            except KilledWorker as error:
                if len(group) > 1:
                    for task in group:
                        submit([task])
                    continue
                outcomes = []
                if group[0] is not alone:
                    suspects.append(group[0])
                else:
                    failure = _failure(group[0].name, error)
                    receipts.fail(failure)
                    outcomes = [failure]
            except CancelledError as error:
                raise RemoteError(
                    f"the Dask scheduler is gone, with {len(flying) + 1} group(s) at work",
                    expected="a scheduler that lives as long as the run",
                    todo="start it again and run the same command: finished blocks are kept",
                ) from error
            for outcome in outcomes:
                tally.add(outcome)
            fill()
            if not flying and suspects:
                alone = suspects.pop()
                submit([alone])
    finally:
        if client.status == "running":
            client.cancel(list(flying))
