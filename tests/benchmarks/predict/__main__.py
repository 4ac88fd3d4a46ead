"""The stage `predict` beside the bare network, a plain loop, geoai and terratorch.

Every contender predicts the same made-up basin in a process of its own, with the same network,
windows and batch, and in every round they take turns, so that a busy machine disturbs all of them.
Bare is the network on batches that lie ready in memory: the limit. Ratios are of seconds a window,
of the clock and of all processors, taken round by round, and their median is shown; peers run once,
in the first round of float32. What bfloat16 changes, and memory, are those of a small U-Net that
was trained for a while: an untrained network is certain of nothing, and memory is the ground's.
Rasters are timed beside plain tiled GeoTIFFs. Every line with a goal says whether it is met: those
of the clock hold for a machine that does nothing else.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cogs
import contender
import numpy as np
import rasterio
import torch
import zarr
from peers import PEERS, environment, why_not
from world import World, make

from rockglacier.model.trained import precision_for
from rockglacier.prediction.cog import classify
from rockglacier.prediction.store import store_path

HERE = Path(__file__).parent
GOALS = {"32-true": 1.05, "bf16-mixed": 1.10}
COG_GOAL = 1.4
MEMORY_GOAL = 1.25
"""Of four times the ground: what is held grows a little with the width, never with the area."""
OWN = ("bare", "ours", "loop")

Row = dict[str, Any]


def main() -> None:
    """Make the basin, measure in turns, print."""
    options = parsed()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.folder or temporary) / "predict"
        world = World(
            folder=folder, size=options.size, network=options.network, scale=options.scale,
            window=options.window, batch=options.batch,
        )  # fmt: skip
        make(world)
        python = None if options.no_peers else environment(folder / "peers")
        missing = {name: why_not(python, name) for name in PEERS}
        if options.no_peers:
            missing = dict.fromkeys(PEERS, "left out")
        names = [*OWN, *(name for name in PEERS if missing[name] is None)]
        cases = []
        for precision in precisions(options):
            cases.append(measure(world, names, missing, precision, options, python))
            names, missing = list(OWN), {}
        facts: Row = {"machine": machine(options), "options": vars(options), "cases": cases}
        facts["changed_classes"] = arithmetic(learnt(world, options), options)
        facts["memory"] = memory(world, options)
        facts["cogs"] = rasters(folder, options)
    if options.json:
        Path(options.json).write_text(json.dumps(facts, indent=2) + "\n")


def parsed() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python tests/benchmarks/predict", description=__doc__)
    parser.add_argument("--folder", help="where the basin and the peers are kept; default: nowhere")
    parser.add_argument("--size", type=int, default=1536, help="edge of the basin, pixels")
    parser.add_argument("--network", default="hrnet", help="with random weights")
    parser.add_argument("--scale", default="standard", help="of the network: small or standard")
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=150, help="of training, for the arithmetic")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--cog-size", type=int, default=8192)
    parser.add_argument("--no-peers", action="store_true", help="install nothing")
    parser.add_argument("--here", action="store_true", help="one process: a look, not numbers")
    parser.add_argument("--json", help="also write the numbers here")
    return parser.parse_args()


def precisions(options: argparse.Namespace) -> list[str]:
    """Return float32, and bfloat16 where the processor multiplies it."""
    native = precision_for(torch.device("cpu"))
    return ["32-true"] if native == "32-true" else ["32-true", native]


def measure(
    world: World,
    names: list[str],
    missing: dict[str, str | None],
    precision: str,
    options: argparse.Namespace,
    python: Path | None,
) -> Row:
    """Let the contenders take turns; print and return their table."""
    rounds = []
    for number in range(options.rounds):
        taking = names if number == 0 else OWN
        rounds.append({name: run(world, name, precision, options, python) for name in taking})
        print(f"{precision}: {number + 1} of {options.rounds} rounds", file=sys.stderr)
    check(world)
    print(f"\n{precision}: {world.windows} windows of {world.window} px, batch {world.batch}, "
          f"{world.scale} {world.network}")  # fmt: skip
    rows = [row_of(name, [row for row in rounds if row.get(name)]) for name in names]
    for row in rows:
        print(
            f"{row['name']:<12}{row['ms_a_window']:9.2f} ms a window{row['ratio']:8.3f} x bare"
            f"{row['cpu_ratio']:8.3f} x its processor time"
            f"{row['windows']:8} windows{row['bytes'] / 1e6:9.0f} MB"
            if row["windows"]
            else f"{row['name']:<12}ended with an error"
        )
    for name, why in missing.items():
        if why is not None:
            print(f"{name:<12}{why}")
    goal = GOALS[precision]
    print_goal(f"ours / bare, {precision}", rows[1]["ratio"], goal)
    sys.stdout.flush()
    return {"precision": precision, "rows": rows, "missing": missing, "goal": goal,
            "rounds": rounds}  # fmt: skip


def row_of(name: str, rounds: list[Row]) -> Row:
    """Return a contender's medians over the rounds that it took part in."""
    if not rounds:
        return {"name": name, "windows": 0}

    def median(key: str, limit: str | None = None) -> float:
        return statistics.median(
            row[name][key] / row[name]["windows"]
            / (row[limit][key] / row[limit]["windows"] if limit else 1)
            for row in rounds
        )  # fmt: skip

    return {
        "name": name, "ms_a_window": 1e3 * median("seconds"), "ratio": median("seconds", "bare"),
        "cpu_ratio": median("cpu_seconds", "bare"), "windows": rounds[0][name]["windows"],
        "bytes": max(row[name]["bytes"] for row in rounds),
    }  # fmt: skip


def print_goal(what: str, ratio: float, goal: float) -> None:
    """Print a ratio beside what it should be."""
    verdict = "met" if ratio <= goal else "MISSED"
    print(f"{what}: {ratio:.3f} x (goal: at most {goal} x): {verdict}")


def run(
    world: World, name: str, precision: str, options: argparse.Namespace, python: Path | None
) -> Row:
    """Run one contender in a process of its own; a peer that fails gives an empty row."""
    given = {
        "name": name, "precision": precision, "threads": options.threads,
        "folder": str(world.folder), "world": {**asdict(world), "folder": None},
    }  # fmt: skip
    if options.here:
        return contender.measured(name, precision, options.threads, world)
    interpreter = str(python) if name in PEERS else sys.executable
    command = [interpreter, str(HERE / "contender.py"), json.dumps(given)]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=name in OWN)
    if done.returncode:
        return {}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def stored(world: World) -> np.ndarray:
    """Return what the last run of ours left, percent."""
    return np.asarray(zarr.open_group(store_path(world.study()), mode="r")["probability"][:])


def check(world: World) -> None:
    """End where the plain loop, over the same windows, has another map than ours."""
    with rasterio.open(world.base / "loop.tif") as file:
        difference = np.abs(file.read(1).astype(int) - stored(world))
    if difference.max() > 1:
        raise SystemExit(f"ours and the plain loop differ by {difference.max()} percent")


def learnt(world: World, options: argparse.Namespace) -> World:
    """Return the basin with a small network that was trained."""
    return replace(world, network="unet", scale="small", steps=options.steps)


def arithmetic(world: World, options: argparse.Namespace) -> Row | None:
    """Compare the maps in float32 and in bfloat16, where the processor multiplies it; print it."""
    make(world)
    maps = []
    for precision in precisions(options):
        run(world, "ours", precision, options, None)
        maps.append(stored(world))
    if len(maps) == 1:
        print("\nthis processor does not multiply bfloat16")
        return None
    one, other = maps
    share = float((classify(one, 0.5) != classify(other, 0.5)).mean())
    changes = np.abs(one.astype(int) - other)
    print(f"\nbfloat16 changes the class of {100 * share:.3f} % of the pixels, and probabilities "
          f"by {changes.mean():.2f} percent in the mean, {changes.max()} at most "
          f"(small U-Net, {world.steps} steps)")  # fmt: skip
    return {"share": share, "mean_percent": float(changes.mean()),
            "largest_percent": int(changes.max())}  # fmt: skip


def memory(world: World, options: argparse.Namespace) -> Row:
    """Measure the memory of ours on a raster of twice the edge too."""
    sizes = (world.size, 2 * world.size)
    peaks = {}
    for size in sizes:
        other = replace(learnt(world, options), size=size)
        make(other)
        peaks[size] = run(other, "ours", precisions(options)[-1], options, None)["bytes"]
    shown = ", ".join(f"{size} px {peak / 1e6:.0f} MB" for size, peak in peaks.items())
    print(f"\nmemory of ours: {shown}")
    print_goal(
        "memory of four times the ground", peaks[sizes[1]] / max(1, peaks[sizes[0]]), MEMORY_GOAL
    )
    return {str(size): peak for size, peak in peaks.items()}


def rasters(folder: Path, options: argparse.Namespace) -> Row:
    """Time the COGs beside plain tiled GeoTIFFs; print the median ratio."""
    world = World(
        folder=folder / "rasters", size=options.cog_size, network=options.network,
        scale=options.scale, window=32, batch=1,
    )  # fmt: skip
    found = cogs.rounds(world, options.rounds)
    ratio = statistics.median(row["cogs"] / row["plain"] for row in found)
    print(f"\nrasters of {options.cog_size} px: "
          f"{statistics.median(row['cogs'] for row in found):.2f} s")  # fmt: skip
    print_goal("COGs / plain tiled GeoTIFFs", ratio, COG_GOAL)
    return {"ratio": ratio, "rounds": found}


def machine(options: argparse.Namespace) -> Row:
    """Say where it was measured."""
    return {"cpu": torch.cpu.get_capabilities().get("cpu_name") or platform.processor(),
            "threads": options.threads, "torch": torch.__version__,
            "load": os.getloadavg()[0]}  # fmt: skip


if __name__ == "__main__":
    main()
