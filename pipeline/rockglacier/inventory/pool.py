"""Threads that work ahead of whoever takes their results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from rockglacier.storage import is_local

WAITING: Final = 4
"""Threads that read a store elsewhere, each a patch or a block in memory."""


def threads(folder: Path) -> int:
    """Return how many threads read landforms and blocks of a folder.

    Most of what they do holds the interpreter: on a disk several take longer than one, and only
    where a read waits for a network is it worth while.
    """
    return 1 if is_local(folder) else WAITING


def in_order[Part, Result](
    work: Callable[[Part], Result], parts: Sequence[Part], *, threads: int
) -> Iterator[Result]:
    """Yield the results in the order of the parts, worked at by threads, twice as many ahead."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Result]] = deque()
        for part in parts:
            waiting.append(pool.submit(work, part))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
