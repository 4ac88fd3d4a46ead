"""Groups of blocks on the workers of a Dask cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError
from typing import Any

from rockglacier.engine.group import GroupWork, failure_of, run_group
from rockglacier.engine.receipts import Failure, Receipts, Task
from rockglacier.engine.tally import Tally
from rockglacier.errors import RemoteError

IN_FLIGHT = 2
"""Groups for each worker: one that it works on, and one that waits there."""


def enough(groups: Sequence[Sequence[Task]], wanted: int) -> list[Sequence[Task]]:
    """Return groups halved until there are as many as wanted, or each is a block.

    The blocks of a group lie row by row, so that halves are whole rows as long as there are two.
    """
    found = list(groups)
    while len(found) < wanted and (largest := max(map(len, found), default=0)) > 1:
        found = [
            half
            for group in found
            for half in (_halves(group) if 2 * len(group) > largest else [group])
        ]
    return found


def _halves(group: Sequence[Task]) -> list[Sequence[Task]]:
    middle = (len(group) + 1) // 2
    return [group[:middle], group[middle:]]


def _run_remotely(
    tasks: Sequence[Task], work: GroupWork, receipts: Receipts
) -> list[str | Failure]:
    outcomes: list[str | Failure] = []
    run_group(tasks, work, receipts, outcomes.append, lambda: False)
    return outcomes


def on_cluster(
    todo: Sequence[Sequence[Task]],
    work: GroupWork,
    receipts: Receipts,
    tally: Tally,
    client: Any,
    resources: Mapping[str, float] | None,
) -> None:
    """Run groups on a cluster: two a worker in flight, so that none waits for the scheduler.

    Where fewer groups wait than workers could take, they are halved, down to blocks: what these
    share is then read twice, but nobody is idle.

    A group that takes its worker down with it is tried again block by block, and a block that does
    so alone at the end, as it may only have waited behind another; then it is set aside.
    """
    from distributed import KilledWorker, as_completed
    from distributed.comm.core import CommClosedError

    queue = list(todo)
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
        workers = max(1, len(client.nthreads()))  # they come and go
        free = max(0, IN_FLIGHT * workers - len(flying))
        queue[:] = enough(queue, free)
        for group in queue[:free]:
            submit(group)
        del queue[:free]

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
                    failure = failure_of(group[0].name, error)
                    receipts.fail(failure)
                    outcomes = [failure]
            for outcome in outcomes:
                tally.add(outcome)
            fill()
            if not flying and suspects:
                alone = suspects.pop()
                submit([alone])
    except (CancelledError, CommClosedError) as error:
        raise RemoteError(
            "the Dask scheduler is gone, with groups at work",
            expected="a scheduler that lives as long as the run",
            todo="start it again and run the same command: finished blocks are kept",
        ) from error
    finally:
        if client.status == "running":
            client.cancel(list(flying))
