"""A contender in a process of its own: told to run a pass, it says how long it took."""

import json
import os
import sys
import threading
import time
from pathlib import Path

import psutil
import torch
from contenders import BATCH, CONTENDERS, LEAST_CHIPS, windows
from world import World

TICK_S = 0.02


class Memory:
    """The most that this process and its workers held at once, files in the cache left out."""

    def __enter__(self) -> "Memory":
        """Watch from now on."""
        self.peak_bytes = 0
        self._is_done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._is_done.wait(TICK_S):
            self._look()

    def _look(self) -> None:
        own = psutil.Process()
        processes = [own, *own.children(recursive=True)]
        held = sum(anonymous(process.pid) for process in processes)
        self.peak_bytes = max(self.peak_bytes, held)

    def __exit__(self, *_: object) -> None:
        """Watch no more."""
        self._is_done.set()
        self._thread.join()
        self._look()  # a pass may be shorter than a tick


def anonymous(pid: int) -> int:
    """Return the bytes of a process that are no file's; 0 once it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def main(name: str, world: World, count: int) -> None:
    """Answer every line of JSON on stdin with one on stdout: a case to take up, or a pass of it."""
    torch.set_num_threads(1)
    contender = CONTENDERS[name]
    share = max(LEAST_CHIPS, round(count * contender.chips / BATCH) * BATCH)
    workers, loader = None, None
    for line in sys.stdin:
        case = json.loads(line)
        if not case:
            begin = time.perf_counter()
            chips = sum(len(contender.image(batch)) for batch in loader)
            answer = {"chips": chips, "seconds": time.perf_counter() - begin}
        else:
            if case["workers"] != workers:
                workers, loader = case["workers"], None  # let go before there is another
                loader, tell = contender.loader(world, workers)
            tell(windows(world, share, is_aligned=case["is_aligned"], seed=1))
            with Memory() as memory:  # in the pass that warms up: it would slow the timed ones
                sums = [contender.image(batch)[:LEAST_CHIPS].double().sum() for batch in loader]
            answer = {"sum": float(sums[0]), "peak_bytes": memory.peak_bytes}
        print(json.dumps(answer), flush=True)
    os._exit(0)  # workers that are spawned end with their parent, not after a grace of seconds


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    folder, size = Path(given.pop("folder")), given.pop("size")
    main(world=World(folder=folder, size=size), **given)
