"""Blocks as tasks: bounded work in flight, a receipt for each finished block, resume by receipt."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rockglacier.config import fingerprint
from rockglacier.storage import read_json, write_json


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

    def write(self, task: Task, result: Mapping[str, Any], *, seconds: float) -> None:
        """Record a finished block, after its data was written."""
        write_json(
            self.path(task.name),
            {"inputs": fingerprint(task.inputs), "seconds": round(seconds, 3), **result},
        )

    def all(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield name and content of every receipt."""
        for path in sorted(self.folder.glob("*.json")):
            yield path.stem, read_json(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a stage did with its blocks."""

    built: int
    kept: int
    """Blocks whose receipt already matched."""


def run_tasks(
    tasks: Sequence[Task],
    work: Callable[[Task], Mapping[str, Any]],
    *,
    receipts: Receipts,
    what: str,
    workers: int,
    client: Any | None = None,
    progress: Progress = silent,
) -> Outcome:
    """Run ``work`` on every task whose receipt does not match, a bounded number at a time.

    Parameters
    ----------
    tasks
        One a block.
    work
        Writes the block's data and returns what its receipt should say (JSON-able). With a
        ``client`` it must be picklable.
    receipts
        Where finished blocks are recorded.
    what
        What the progress is called.
    workers
        Blocks in flight.
    client
        A ``distributed.Client``; default: threads of this process.
    progress
        Told after every block.

    Raises
    ------
    Exception
        The first failure of a block, after the blocks in flight have ended; finished blocks keep
        their receipts, so that the same call goes on from there.
    """
    todo = [task for task in tasks if not receipts.is_current(task)]
    kept = len(tasks) - len(todo)
    progress(what, kept, len(tasks))
    if not todo:
        return Outcome(built=0, kept=kept)
    if client is not None:
        built = _run_on_cluster(todo, work, receipts, what, kept, len(tasks), client, progress)
    else:
        built = _run_in_threads(todo, work, receipts, what, kept, len(tasks), workers, progress)
    return Outcome(built=built, kept=kept)


def _timed(
    work: Callable[[Task], Mapping[str, Any]], task: Task
) -> tuple[Mapping[str, Any], float]:
    start = time.perf_counter()
    return work(task), time.perf_counter() - start


def _run_in_threads(
    todo: Sequence[Task],
    work: Callable[[Task], Mapping[str, Any]],
    receipts: Receipts,
    what: str,
    kept: int,
    total: int,
    workers: int,
    progress: Progress,
) -> int:
    queue = iter(todo)
    running: dict[Future[tuple[Mapping[str, Any], float]], Task] = {}
    built = 0
    with ThreadPoolExecutor(max_workers=workers) as pool:

        def submit_next() -> None:
            task = next(queue, None)
            if task is not None:
                receipts.drop(task.name)
                running[pool.submit(_timed, work, task)] = task

        for _ in range(workers):
            submit_next()
        while running:
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                task = running.pop(future)
                result, seconds = future.result()
                receipts.write(task, result, seconds=seconds)
                built += 1
                progress(what, kept + built, total)
                submit_next()
    return built


def _run_on_cluster(
    todo: Sequence[Task],
    work: Callable[[Task], Mapping[str, Any]],
    receipts: Receipts,
    what: str,
    kept: int,
    total: int,
    client: Any,
    progress: Progress,
) -> int:
    from distributed import as_completed

    in_flight = 2 * max(1, sum(client.nthreads().values()))
    queue = iter(todo)
    tasks: dict[str, Task] = {}

    def submit(task: Task) -> Any:
        receipts.drop(task.name)
        future = client.submit(_timed, work, task, pure=False)
        tasks[future.key] = task
        return future

    running = as_completed([submit(task) for _, task in zip(range(in_flight), queue, strict=False)])
    built = 0
    for future in running:
        result, seconds = future.result()
        receipts.write(tasks.pop(future.key), result, seconds=seconds)
        built += 1
        progress(what, kept + built, total)
        following = next(queue, None)
        if following is not None:
            running.add(submit(following))
    return built
