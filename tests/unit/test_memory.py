"""Freed memory goes back to the system."""

import subprocess
import sys

import pytest

SCRIPT = """
import threading
import numpy as np
from rockglacier.memory import return_large_blocks

return_large_blocks()

def held():
    status = open("/proc/self/status").read().splitlines()
    return int(next(line for line in status if line.startswith("VmRSS")).split()[1])

def work():
    np.ones(31 * 2**20, np.uint8)  # freed: the C library would keep what is smaller from now on
    kept = []
    for _ in range(8):
        kept.append((np.ones(16 * 2**20, np.uint8), np.ones(1000, np.uint8)))
    small = [pair[1] for pair in kept]
    kept.clear()
    return small

before = held()
rest = []
threads = [threading.Thread(target=lambda: rest.append(work())) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(held() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells the memory of a process in /proc")
def test_large_blocks_are_returned_when_they_are_freed():
    told = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert int(told.stdout) < 32 * 1024  # of 4 x 8 x 16 MiB that were in use
