"""The chip benchmark runs: every contender gives the same pixels, and its numbers are written.

No test here looks at a time: on a small basin, and on a busy machine, times mean nothing.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parent / "chips"
CONTENDERS = {
    "memory map, batches in place", "memory map, default collate", "ours, cache: memory",
    "ours, cache: local", "ours, from the store", "zarr-python", "TorchGeo RasterDataset, COGs",
}  # fmt: skip


@pytest.mark.soak
def test_every_contender_reads_the_same_pixels(tmp_path):
    numbers = tmp_path / "bench-chips.json"
    command = [
        *(sys.executable, BENCH, "--folder", tmp_path, "--size", "512", "--chips", "16"),
        *("--rounds", "1", "--workers", "0", "--origins", "unaligned", "--json", numbers),
        *("--steps", "1", "--network", "deeplabv3plus"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr  # other pixels end it with their sums
    written = json.loads(numbers.read_text())
    (case,), (steps,) = written["cases"], written["training"]
    assert 0 < steps["wait_share"] < 1
    assert steps["chips_per_s"] > 0
    rows = {row["name"]: row for row in case["rows"]}
    assert set(rows) - {"TorchGeo XarrayDataset"} == CONTENDERS
    assert all(row["chips_per_s"] > 0 and row["peak_mb"] > 0 for row in rows.values())
    assert len(case["goals"]) == 3
    assert "of limit" in done.stdout
