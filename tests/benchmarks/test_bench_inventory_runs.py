"""The benchmark of outlines runs: both sides draw the same pixels, and the numbers are written."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parent / "inventory"


def test_both_sides_draw_the_same_pixels(tmp_path):
    pytest.importorskip("rasterstats")
    numbers = tmp_path / "bench.json"
    command = [
        *(sys.executable, BENCH, "--size", "1000", "--rounds", "1"),
        *("--json", numbers),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr  # other pixels end it
    found = json.loads(numbers.read_text())
    assert found["size"] == 1000
    assert found["ratio"] == found["seconds"][0]["ours"] / found["seconds"][0]["peer"]
    assert " 0 outlines" not in done.stdout
