"""Whatever a person gives it, a reader says what is wrong by an error of ours, or reads it."""

import importlib.util
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

spec = importlib.util.spec_from_file_location("fuzzed", Path(__file__).parents[1] / "fuzzed.py")
fuzzed = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fuzzed)

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
