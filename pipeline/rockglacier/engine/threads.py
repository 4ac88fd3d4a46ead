"""Groups of blocks in threads of this process."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event

from rockglacier.engine.group import GroupWork, run_group
from rockglacier.engine.receipts import Failure, Receipts, Task
from rockglacier.engine.tally import Tally


def in_threads(
    todo: Sequence[Sequence[Task]],
    work: GroupWork,
    receipts: Receipts,
    tally: Tally,
    workers: int,
) -> None:
    """Run groups in threads; what they report is handled here, in the caller's thread.

    A single worker is the caller's thread itself: a network is fastest where it was made.
    """
    if workers == 1:
        for group in todo:
            run_group(group, work, receipts, tally.add, lambda: False)
        return
    queue = iter(todo)
    reports: SimpleQueue[str | Failure | _Ended] = SimpleQueue()
    stop = Event()

    def run(group: Sequence[Task]) -> None:
        error = None
        try:
            run_group(group, work, receipts, reports.put, stop.is_set)
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
