"""Blocks that share what they read: built one after the other, each with its receipt."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rockglacier.engine.receipts import Failure, Receipts, Task
from rockglacier.errors import ContractError, InputError, RockGlacierError
from rockglacier.storage import redact_text

logger = logging.getLogger(__name__)

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


def run_group(
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
            failure = failure_of(tasks[0].name, error)
            ours = isinstance(error, RockGlacierError)
            logger.error(
                "block %s: %s", failure.name, failure.message, exc_info=None if ours else error
            )
            receipts.fail(failure)
            told(failure)
            return
        for task in left.values():
            if not stopped():
                run_group([task], work, receipts, told, stopped)


def failure_of(name: str, error: BaseException) -> Failure:
    """Return why a block could not be built, with nothing that may be secret."""
    kind = type(error).__name__
    return Failure(
        name=name,
        error=kind,
        message=error.found
        if isinstance(error, RockGlacierError)
        else redact_text(f"{kind}: {error}"),
        **{key: getattr(error, key, "") for key in ("item", "asset", "href", "expected", "todo")},
    )
