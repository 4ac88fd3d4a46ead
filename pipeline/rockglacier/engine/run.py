"""Every block whose receipt does not match, with a bounded number of groups in flight."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rockglacier.engine.cluster import on_cluster
from rockglacier.engine.group import Each, GroupWork
from rockglacier.engine.progress import Progress, silent
from rockglacier.engine.receipts import Receipts, Task
from rockglacier.engine.selection import EVERYTHING, Selection
from rockglacier.engine.tally import Outcome, Tally, failed_blocks
from rockglacier.engine.threads import in_threads


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
    tally = Tally(what=what, kept=len(current), total=len(current) + count, progress=progress)
    progress(what, tally.kept, tally.total)
    if todo:
        if client is None:
            in_threads(todo, work, receipts, tally, workers)
        else:
            on_cluster(todo, work, receipts, tally, client, resources)
    if tally.failures:
        raise failed_blocks(tally)
    left = len(tasks) - len(current) - count
    return Outcome(built=tally.built, kept=tally.kept, left=left)
