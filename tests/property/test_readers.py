"""Whatever a person gives it, a reader says what is wrong by an error of ours, or reads it."""

import os
import re
import subprocess
import sys
import warnings

import pytest
from hypothesis import HealthCheck, given, settings

import fuzzed

SECONDS = int(os.environ.get("ROCKGLACIER_FUZZ_SECONDS", "60"))
"""A reader, driven by coverage."""
EXAMPLES = {"config": 200, "config-file": 40, "item": 200, "labelme": 150, "inventory": 60}


def run(name, examples):
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(fuzzed.READERS[name][0])
    def fuzz(value):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fuzzed.check(name, value)

    fuzz()


@pytest.mark.parametrize("name", fuzzed.READERS)
def test_readers_end_in_errors_of_ours(name):
    run(name, EXAMPLES[name])


@pytest.mark.soak
@pytest.mark.parametrize("name", fuzzed.READERS)
def test_readers_end_in_errors_of_ours_after_many_tries(name):
    run(name, 100 * EXAMPLES[name])


@pytest.mark.soak
@pytest.mark.parametrize("name", fuzzed.READERS)
def test_readers_end_in_errors_of_ours_where_coverage_drives(name, tmp_path):
    pytest.importorskip("atheris", reason="uv pip install --group soak")
    command = [sys.executable, fuzzed.__file__, name, f"-max_total_time={SECONDS}"]
    # long inputs at once: a short one is no document
    command += ["-len_control=0", "-max_len=4096", "-timeout=60", "-rss_limit_mb=0"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    said = answer.stdout + answer.stderr
    assert answer.returncode == 0, said[-4000:]
    runs = re.search(r"Done (\d+) runs", said)
    covered = re.findall(r"cov: (\d+)", said)
    assert int(runs[1]) > 10
    assert int(covered[-1]) > 20, "atheris sees none of our code"
    print(f"{name}: {runs[1]} runs, {covered[-1]} places of our code")
