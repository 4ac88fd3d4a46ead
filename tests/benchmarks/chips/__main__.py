"""Measure chips per second and memory beside the limit and the peers.

Every contender lives in a process of its own and gives float32 batches of the same random chips;
in every round they take turns, so that a busy machine disturbs all of them. Ratios are taken round
by round and their median is shown.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from world import World, make

HERE = Path(__file__).parent
LIMIT = "memory map, batches in place"
COLLATED = "memory map, default collate"
LOCAL, STORE, RASTER = "ours, cache: local", "ours, from the store", "TorchGeo RasterDataset, COGs"
SLOW = "TorchGeo XarrayDataset"
NAMES = (
    LIMIT, COLLATED, "ours, cache: memory", LOCAL, STORE, "zarr-python", RASTER, SLOW,
)  # fmt: skip
GOALS = ((LOCAL, LIMIT, 0.9), (LOCAL, COLLATED, 1.0), (STORE, RASTER, 2.0))
ORIGINS = ("aligned", "unaligned")
LIBRARIES = ("numpy", "torch", "torchgeo", "zarr", "rasterio", "xarray")

Row = dict[str, Any]


def main() -> None:
    """Measure and print."""
    options = parsed()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.folder or temporary).absolute() / f"chips-{options.size}"
        world = World(folder=folder, size=options.size)
        make(world)
        running = {name: start(world, options, name) for name in contenders(options)}
        found = [
            measure(running, options, workers=workers, is_aligned=origin == "aligned")
            for workers in options.workers
            for origin in options.origins
        ]
        for process in running.values():
            process.communicate(timeout=60)
        steps = [train(world, options, workers=workers) for workers in options.workers]
    facts = {"machine": machine(), "options": vars(options), "cases": found, "training": steps}
    if options.json:
        Path(options.json).write_text(json.dumps(facts, indent=2) + "\n")


def parsed() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python tests/benchmarks/chips", description=__doc__)
    parser.add_argument("--folder", help="where the made-up basin is kept; default: nowhere")
    parser.add_argument("--size", type=int, default=4096, help="edge of the basin, pixels")
    parser.add_argument("--chips", type=int, default=320, help="chips of a pass")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--origins", nargs="+", choices=ORIGINS, default=list(ORIGINS))
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES), metavar="NAME")
    parser.add_argument("--steps", type=int, default=6, help="training steps to time")
    parser.add_argument("--network", default="hrnet", help="that takes them, small")
    parser.add_argument("--json", help="write the numbers here")
    return parser.parse_args()


def contenders(options: argparse.Namespace) -> list[str]:
    """Return the names of those that take part."""
    has_xarray = find_spec("rioxarray") is not None  # it cannot do without
    return [name for name in options.only if name != SLOW or has_xarray]


def measure(
    running: dict[str, "subprocess.Popen[str]"],
    options: argparse.Namespace,
    *,
    workers: int,
    is_aligned: bool,
) -> dict[str, Any]:
    """Let the contenders of one case take turns; print and return their table."""
    # a worker of the slow one would open the file for ever
    names = [name for name in running if name != SLOW or not workers]
    case = {"workers": workers, "is_aligned": is_aligned}
    first = {name: asked(running[name], case) for name in names}
    sums = {round(check["sum"], 1) for check in first.values()}
    if len(sums) != 1:
        raise SystemExit(f"contenders read other pixels: {first}")
    rates: dict[str, list[float]] = {name: [] for name in names}
    for number in range(options.rounds):
        for name in names:
            if name == SLOW and number:
                continue  # seconds a chip
            done = asked(running[name], {})
            rates[name].append(done["chips"] / done["seconds"])
    rows = [row_of(name, rates, first[name]["peak_bytes"]) for name in names]
    found = {"workers": workers, "aligned": is_aligned, "rows": rows, "goals": goals(rates)}
    show(found)
    return found


def train(world: World, options: argparse.Namespace, *, workers: int) -> Row:
    """Say how much of a training step's time the next batch is awaited; print and return it."""
    given = {
        "folder": str(world.folder),
        "size": world.size,
        "steps": options.steps,
        "workers": workers,
        "network": options.network,
    }
    done = subprocess.run(
        [sys.executable, HERE / "training.py", json.dumps(given)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    row: Row = json.loads(done.stdout.splitlines()[-1])
    print(
        f"\ntraining {row['network']}, {workers} workers, {row['steps']} steps on {row['device']}: "
        f"{row['chips_per_s']:.1f} chips/s, {100 * row['wait_share']:.1f} % of the time waiting"
    )
    return row


def start(world: World, options: argparse.Namespace, name: str) -> "subprocess.Popen[str]":
    """Start a contender."""
    given = {"folder": str(world.folder), "size": world.size, "count": options.chips, "name": name}
    return subprocess.Popen(
        [sys.executable, HERE / "contender.py", json.dumps(given)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )


def asked(process: "subprocess.Popen[str]", request: dict[str, Any]) -> dict[str, Any]:
    """Return what a contender answers."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{json.dumps(request)}\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"a contender ended with {process.wait()}: {process.args}")
    found: dict[str, Any] = json.loads(line)
    return found


def row_of(name: str, rates: dict[str, list[float]], peak: int) -> Row:
    """Return a line of the table."""
    return {
        "name": name,
        "chips_per_s": statistics.median(rates[name]),
        "rates": rates[name],
        "of_limit": ratio(rates, name, LIMIT),
        "peak_mb": peak / 1e6,
    }


def ratio(rates: dict[str, list[float]], name: str, other: str) -> float | None:
    """Return the median over the rounds of one rate by the other's in the same round."""
    if name not in rates or other not in rates:
        return None
    pairs = zip(rates[name], rates[other], strict=False)
    return statistics.median(own / its for own, its in pairs)


def goals(rates: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Return what was reached of the goals."""
    found = [(name, other, least, ratio(rates, name, other)) for name, other, least in GOALS]
    return [
        {"what": f"{name} / {other}", "goal": least, "found": value}
        for name, other, least, value in found
        if value is not None
    ]


def show(case: dict[str, Any]) -> None:
    """Print the table of a case."""
    kind = "aligned" if case["aligned"] else "unaligned"
    print(f"\n{case['workers']} workers, {kind}: 256 px chips of 9 bands, batches of 16")
    print(f"{'':34}{'chips/s':>10}{'of limit':>10}{'peak MB':>10}")
    for row in case["rows"]:
        share = "" if row["of_limit"] is None else f"{row['of_limit']:.3f}"
        print(f"{row['name']:34}{row['chips_per_s']:10.1f}{share:>10}{row['peak_mb']:10.0f}")
    for goal in case["goals"]:
        word = "reached" if goal["found"] >= goal["goal"] else "missed"
        print(f"  {goal['what']}: {goal['found']:.2f}, goal {goal['goal']:g}, {word}")
    sys.stdout.flush()


def machine() -> dict[str, Any]:
    """Return what the numbers depend on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "libraries": {name: version(name) for name in LIBRARIES},
    }


if __name__ == "__main__":
    main()
