"""The benchmark of the prediction runs: the plain loop has our map, and the numbers are written."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parent / "predict"


@pytest.mark.soak
def test_the_plain_loop_has_our_map_and_every_number_is_written(tmp_path):
    numbers = tmp_path / "bench.json"
    command = [
        *(sys.executable, BENCH, "--here", "--no-peers", "--size", "96", "--window", "32"),
        *(
            "--network",
            "unet",
            "--scale",
            "small",
            "--steps",
            "2",
            "--rounds",
            "1",
            "--cog-size",
            "512",
            "--json",
            numbers,
        ),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr  # another map ends it
    found = json.loads(numbers.read_text())
    for case in found["cases"]:
        assert [row["name"] for row in case["rows"]] == ["bare", "ours", "loop"]
        assert {row["windows"] for row in case["rows"]} == {36}
    assert set(found["memory"]) == {"96", "192"}
    assert found["cogs"]["ratio"] > 0
    assert "geoai       left out" in done.stdout
