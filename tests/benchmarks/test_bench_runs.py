"""The benchmarks run: every contender is measured, and all of them give the same pixels.

No test here looks at a time: on a small world, and on a busy machine, times mean nothing.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parent / "cube"
LOOKS = {"ours load", "odc-stac load", "stackstac load"}
MEDIANS = {
    "ours load + median",
    "ours cube stage",
    "odc-stac + xarray median + to_zarr",
    "stackstac + xarray median + to_zarr",
}


STORES = {"zarr-python default", "ours blocks"}


def bench(folder, *options):
    """Run the benchmark at its smallest size; return its words and its numbers."""
    command = [sys.executable, BENCH, "--folder", folder, "--size", "256", "--rounds", "1"]
    done = subprocess.run(
        [*command, "--no-warm", *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((folder / "bench-cube.json").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the made-up world is kept."""
    return tmp_path_factory.mktemp("bench")


def test_every_contender_is_measured_and_right(folder):
    names = {"decode", *LOOKS, *MEDIANS, "ours slope + aspect", *STORES}
    told, numbers = bench(folder, "--parts", "local", "terrain", "zarr", "--only", *names)
    local, terrain, stores = (numbers["tables"][part] for part in ("local", "terrain", "zarr"))
    assert set(local) == {"decode", *LOOKS, *MEDIANS}
    assert set(terrain) == {"ours slope + aspect"}
    assert set(stores) == STORES
    for name, row in {**local, **terrain, **stores}.items():
        assert name in told
        assert row["wall"] > 0
        assert row["cpu"] > 0
        assert row["peak_mb"] > 50
    right = {name: local[name]["equal"] for name in LOOKS | MEDIANS}
    assert right == dict.fromkeys(LOOKS | MEDIANS, 1.0)
    assert stores["zarr-python default"]["objects"] > stores["ours blocks"]["objects"]
    assert "load, local: x decode" in told


@pytest.mark.services
def test_bytes_and_requests_are_counted_where_answers_come_late(folder):
    names = ("decode", "ours load")
    _, numbers = bench(folder, "--parts", "latency", "--delay", "20", "--only", *names)
    table = numbers["tables"]["latency"]
    assert set(table) == set(names)
    for row in table.values():
        assert row["requests"] >= 56  # one a file at least
        assert row["times_ideal"] >= 1
        assert row["wall"] > 0.04  # a file's header comes before its blocks, each late
    assert table["ours load"]["equal"] == 1.0
