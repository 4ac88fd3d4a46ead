"""Threads that work ahead of whoever takes their results in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

MAX_THREADS: Final = 8


def threads() -> int:
    """Return how many threads read landforms and blocks."""
    return min(MAX_THREADS, os.cpu_count() or 1)


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
