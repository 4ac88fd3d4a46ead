"""What a network frees is kept, unless somebody decided otherwise."""

import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy as np
from rockglacier.model.memory import keep_freed_memory

kept = keep_freed_memory()
for number in range(22):
    np.ones(64 * 2**20, np.uint8)
    if number == 1:
        begin = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begin)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
def test_pages_are_not_taken_anew():
    def ran(environment):
        done = subprocess.run(
            [sys.executable, "-c", FAULTS],
            capture_output=True, text=True, check=True, env=environment,
        )  # fmt: skip
        kept, faults = done.stdout.split()
        return kept == "True", int(faults)

    kept, faults = ran({})
    if not kept:
        pytest.skip("another C library than glibc")
    told, others = ran({"MALLOC_TRIM_THRESHOLD_": "65536"})
    assert not told
    assert faults < others / 10
