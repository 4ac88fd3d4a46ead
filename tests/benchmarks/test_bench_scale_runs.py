"""The benchmark of scale runs on small basins, and its numbers hold together."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parent / "scale"


@pytest.mark.soak  # a minute: a scheduler, a worker, and a network that is trained
@pytest.mark.skipif(sys.platform != "linux", reason="workers are bound to cores, as Linux can")
def test_costs_are_measured(tmp_path):
    numbers = tmp_path / "bench.json"
    command = [
        *(sys.executable, BENCH, "--edge", "512", "--factors", "1", "--fleets", "1"),
        *("--json", numbers),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(numbers.read_text())
    rows = {(row["stage"], row.get("workers")): row for row in found["rows"]}
    cube = rows["cube", 1]
    assert (cube["groups"], cube["blocks"]) == (1, 16)
    assert cube["worker_bytes"] > 50e6
    assert rows["inventory", 1]["outlines"] == 16
    costs = found["costs"]
    looked = cube["looks"] * 512**2 / 1e6
    assert costs["cube"]["seconds_per_look_megapixel"] == pytest.approx(
        cube["cpu_seconds"] / looked, abs=1e-3
    )
    assert costs["scheduler"]["tasks_per_second"] > 1
