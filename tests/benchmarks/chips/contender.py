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

    def __init__(self) -> None:
        self.peak = 0
        self._is_done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        own = psutil.Process()
        while not self._is_done.wait(TICK_S):
            processes = [own, *own.children(recursive=True)]
            self.peak = max(self.peak, sum(anonymous(process.pid) for process in processes))

    def end(self) -> int:
        """Return bytes."""
        self._is_done.set()
        self._thread.join()
        return self.peak


def anonymous(pid: int) -> int:
    """Return the bytes of a process that are no file's; 0 once it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def main(name: str, world: World, count: int, workers: int, is_aligned: bool) -> None:
    """Answer every line on stdin with a line of JSON on stdout."""
    torch.set_num_threads(1)
    contender = CONTENDERS[name]
    share = max(LEAST_CHIPS, round(count * contender.chips / BATCH) * BATCH)
    chips = windows(world, share, is_aligned=is_aligned, seed=1)
    loader = contender.loader(world, chips, workers)
    first = contender.image(next(iter(loader)))  # opens, warms up, and shows the pixels
    check = {"sum": float(first[:LEAST_CHIPS].double().sum()), "shape": list(first.shape[1:])}
    memory = Memory()
    print(json.dumps(check), flush=True)
    for line in sys.stdin:
        if line.strip() == "end":
            break
        begin = time.perf_counter()
        done = sum(len(contender.image(batch)) for batch in loader)
        print(json.dumps({"chips": done, "seconds": time.perf_counter() - begin}), flush=True)
    print(json.dumps({"peak_bytes": memory.end()}), flush=True)
    os._exit(0)  # workers that are spawned end with their parent, not after a grace of seconds


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    folder, size = Path(given.pop("folder")), given.pop("size")
    main(world=World(folder=folder, size=size), **given)
