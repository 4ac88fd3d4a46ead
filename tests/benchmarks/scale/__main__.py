"""Measure how time, memory, tasks, objects and bytes grow with a basin's area, and what units cost.

Basins of 1, 4 and 16 times an area; a read group of the cube is as large as the smallest. The
scheduler and each worker are processes of their own, a worker to a core; every other stage is one
process, on all cores. Their memory is watched from outside. What two workers can gain at most is
what two commands gain that run side by side, each with a scheduler and a worker of its own.
"""

import argparse
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from operator import itemgetter
from pathlib import Path
from typing import Any

import psutil
from world import World, make

from rockglacier.scale import Fleet, area_of, estimate, table_lines

HERE = Path(__file__).parent
COSTS = HERE.parents[2] / "pipeline" / "rockglacier" / "costs.json"
FACTORS = (1, 4, 16)
WATCH_S = 0.1
QUIET = 0.25
"""Processes that want a core, for each core, below which a machine is at rest."""
GOALS = {"time": 1.1, "memory": 1.1, "two workers": 1.8, "tasks": 1.0}
STOP_S = 30
ROUNDS = 3
"""Cubes of the largest area by each number of workers, of which the median counts."""
FLYING = 2
"""Groups that the engine keeps at each worker: one in work, one that waits."""
AREAS = (("Hunza", 13_733, 1), ("High Mountain Asia", 4_000_000, 300),
         ("all glacierised mountains, taken for 10 M km²", 10_000_000, 800))  # fmt: skip
FLEETS = (2, 1), (200, 1), (200, 50), (2000, 300)
"""Workers, and commands that share them."""
LOOKS = 10.0
LIBRARIES = ("numpy", "numba", "rasterio", "zarr", "distributed", "torch")

Row = dict[str, Any]


def main() -> None:
    """Measure and print."""
    options = parsed()
    load = os.getloadavg()[0]
    if options.plan:
        print("\n".join(plan_lines(json.loads(COSTS.read_text()))))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.folder or temporary) / "scale"
        largest = round(max(options.factors) ** 0.5)
        world = World(folder=folder, edge=options.edge, largest=largest)
        make(world)
        found = measure(world, options.factors, options.fleets)
    costs = {"measured": about(world, found, load), **unit_costs(world, found)}
    show(found)
    if options.json:
        Path(options.json).write_text(json.dumps({"rows": found, "costs": costs}, indent=2) + "\n")
    if options.keep_costs:
        COSTS.write_text(json.dumps(costs, indent=2) + "\n")


def parsed() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python tests/benchmarks/scale", description=__doc__)
    parser.add_argument("--folder", help="where the made-up basins are kept; default: nowhere")
    parser.add_argument("--edge", type=int, default=2048, help="of the smallest basin, pixels")
    parser.add_argument("--factors", type=int, nargs="+", choices=FACTORS, default=list(FACTORS))
    parser.add_argument("--fleets", type=int, nargs="+", default=[1, 2], help="workers of the cube")
    parser.add_argument("--json", help="write the numbers here")
    parser.add_argument("--keep-costs", action="store_true", help="as those that `plan` uses")
    parser.add_argument("--plan", action="store_true", help="only what the kept costs foretell")
    return parser.parse_args()


def measure(world: World, factors: list[int], fleets: list[int]) -> list[Row]:
    """Return a row a stage, area and number of workers."""
    rows = cubes(world, factors, fleets)
    job(world, 1, "train")
    for factor in factors:
        for stage in ("fuse", "predict", "inventory"):
            rows.append({"stage": stage, "factor": factor, "workers": 1,
                         **job(world, factor, stage)})  # fmt: skip
            tell(rows[-1])
    return rows


def cubes(world: World, factors: list[int], fleets: list[int]) -> list[Row]:
    """Build the cubes: every area by one worker, the largest by all fleets.

    Fleets take turns, so that a slow minute of the machine is a slow minute for each.
    """
    largest = max(factors)
    with ExitStack() as stack:
        ready = {workers: stack.enter_context(fleet(workers)) for workers in fleets}
        for workers, (address, _) in ready.items():
            # every worker imports and compiles what it needs; not counted
            job(world, min(largest, workers**2), "cube", address)
        rows = [empty(world, *ready[min(fleets)])]
        ways = [("cube", factor, {"basin": ready[min(fleets)]}) for factor in factors[:-1]]
        ways += [("cube", largest, {"basin": one}) for one in ready.values()]
        if {1, 2} <= ready.keys():
            other = stack.enter_context(fleet(1, core=1))
            job(world, 1, "cube", other[0], name="other")
            ways.append(("two cubes", largest, {"basin": ready[1], "other": other}))
        runs: list[list[Row]] = [[] for _ in ways]
        for _ in range(ROUNDS):
            for (stage, factor, used), found in zip(ways, runs, strict=True):
                found.append({"stage": stage, **at_once(world, factor, used)})
    for found in runs:
        middle = sorted(found, key=itemgetter("seconds"))[ROUNDS // 2]
        rows.append({**middle, "rounds": [row["seconds"] for row in found]})
        tell(rows[-1])
    return rows


def faster(one: Row, other: Row) -> float:
    """Return by how much the other is faster: the middle of what each round says."""
    return statistics.median(a / b for a, b in zip(one["rounds"], other["rounds"], strict=True))


def at_once(world: World, factor: int, fleets: Mapping[str, tuple[str, "Watch"]]) -> Row:
    """Build a cube by each fleet at the same time; return the slowest, with the cores of all."""
    watches = [watch for _, watch in fleets.values()]
    with ThreadPoolExecutor() as pool:
        for watch in watches:
            watch.reset()
        started = [
            pool.submit(job, world, factor, "cube", address, name=name)
            for name, (address, _) in fleets.items()
        ]
        last = max((one.result() for one in started), key=itemgetter("seconds"))
    return {
        "factor": factor,
        "workers": watches[0].workers,
        **last,
        **{name: max(watch.peaks[name] for watch in watches) for name in watches[0].peaks},
        "cpu_seconds": sum(watch.busy_s() for watch in watches),
    }


def empty(world: World, address: str, watch: "Watch") -> Row:
    """Return how many tasks a scheduler hands out in a second of its core."""
    watch.reset()
    done = job(world, 1, "empty", address)
    return {"stage": "empty", "tasks_per_second": done["tasks"] / watch.busy_s("scheduler_bytes")}


def tell(row: Row) -> None:
    """Say that a row is there."""
    took = f"{row['seconds']:.1f} s, {row['cpu_seconds']:.1f} s of a core"
    print(f"  {row['stage']} x{row['factor']}, {row['workers']} worker(s): {took}")
    sys.stdout.flush()


def job(world: World, factor: int, stage: str, *more: str, name: str = "basin") -> Row:
    """Run a stage in a process of its own and return what it says."""
    study = world.study(factor, name)
    made = {
        "cube": study.cube_path,
        "fuse": study.features_path,
        "predict": study.prediction_path,
    }
    if stage in made:
        shutil.rmtree(made[stage], ignore_errors=True)
        shutil.rmtree(study.receipts_path / stage, ignore_errors=True)
    command = [
        sys.executable,
        HERE / "job.py",
        world.folder,
        world.edge,
        factor,
        name,
        stage,
        *more,
    ]
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    if done.returncode:
        raise SystemExit(f"{stage} of basin x{factor} ended with {done.returncode}")
    found: Row = json.loads(done.stdout.splitlines()[-1])
    return found


class Watch:
    """The largest memory of the scheduler and of any worker since the last reset."""

    def __init__(self, scheduler: int, workers: list[int]) -> None:
        # none has children, of which every look would search all processes of the machine
        self._processes = {
            "scheduler_bytes": [psutil.Process(scheduler)],
            "worker_bytes": [psutil.Process(pid) for pid in workers],
        }
        self.workers = len(workers)
        self.peaks: dict[str, int] = {}
        self.reset()

    def reset(self) -> None:
        """Forget what was seen."""
        self.peaks = dict.fromkeys(self._processes, 0)
        self._begun = {name: self._worked_s(name) for name in self._processes}

    def busy_s(self, name: str = "worker_bytes") -> float:
        """Return the seconds of the processor that all workers took since the last reset."""
        return self._worked_s(name) - self._begun[name]

    def _worked_s(self, name: str) -> float:
        spent = [process.cpu_times() for process in self._processes[name]]
        return sum(times.user + times.system for times in spent)

    def look(self) -> None:
        """Look at every process."""
        for name, processes in self._processes.items():
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    self.peaks[name] = max(self.peaks[name], process.memory_info().rss)


@contextmanager
def fleet(workers: int, *, core: int = 0) -> Iterator[tuple[str, Watch]]:
    """Start a scheduler and workers, each worker on a core of its own, from this one on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    dask = [sys.executable, "-m", "dask"]
    # as the images of deploy/docker and workers of this machine have it
    environment = {**os.environ, "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
    at = ["--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    running = [subprocess.Popen([*dask, "scheduler", *at], **quiet)]
    options = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0"]
    for number in range(workers):
        one = subprocess.Popen([*dask, "worker", address, *options], **quiet)
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(one.pid, {cores[(core + number) % len(cores)]})
        running.append(one)
    watch, stop = Watch(running[0].pid, [one.pid for one in running[1:]]), threading.Event()

    def look() -> None:
        while not stop.wait(WATCH_S):
            watch.look()

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        ready(address, workers)
        yield address, watch
    finally:
        stop.set()
        watcher.join()
        for process in reversed(running):
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end; it may be slow where the machine is busy."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def ready(address: str, workers: int) -> None:
    """Wait until the workers are there."""
    from distributed import Client

    with Client(address, timeout=120) as client:
        client.wait_for_workers(workers, timeout=120)


def row_of(rows: list[Row], stage: str, factor: int, workers: int = 1) -> Row | None:
    """Return a row, or None."""
    wanted = {"stage": stage, "factor": factor, "workers": workers}
    return next((row for row in rows if wanted.items() <= row.items()), None)


def unit_costs(world: World, rows: list[Row]) -> dict[str, Any]:
    """Return what a unit costs, on the largest area: there the start of a process weighs least.

    Seconds are those of one core, which other work on the machine hardly changes.
    """
    factor = max(row.get("factor", 0) for row in rows)
    cube, fuse, predict, inventory = (
        row_of(rows, stage, factor) or {} for stage in ("cube", "fuse", "predict", "inventory")
    )
    megapixels = factor * world.edge**2 / 1e6
    looked = megapixels * cube["looks"]
    small = row_of(rows, "cube", min(row["factor"] for row in rows if "factor" in row)) or cube
    return {
        "cube": {
            "seconds_per_look_megapixel": round(cube["cpu_seconds"] / looked, 4),
            "reads_per_look_megapixel": round(cube["reads"] / looked, 2),
            "read_bytes_per_look_megapixel": round(cube["read_bytes"] / looked),
            "objects_per_block": round(cube["objects"] / cube["blocks"], 2),
            "written_bytes_per_megapixel": round(cube["bytes"] / megapixels),
            "worker_bytes": cube["worker_bytes"],
        },
        "fuse": {
            "seconds_per_megapixel": round(fuse["cpu_seconds"] / megapixels, 4),
            "objects_per_block": round(fuse["objects"] / cube["blocks"], 2),
            "written_bytes_per_megapixel": round(fuse["bytes"] / megapixels),
        },
        "predict": {
            # windows overlap by half
            "seconds_per_window_megapixel": round(predict["cpu_seconds"] / megapixels / 4, 4),
            "objects_per_block": round(predict["objects"] / cube["blocks"], 2),
            "written_bytes_per_megapixel": round(predict["bytes"] / megapixels),
            "peak_bytes": predict["peak_bytes"],
        },
        "inventory": {
            "seconds_per_megapixel": round(inventory["cpu_seconds"] / megapixels, 4),
            "seconds_per_outline": round(inventory["cpu_seconds"] / inventory["outlines"], 5),
            "bytes_per_outline": round(inventory["bytes"] / inventory["outlines"]),
            "peak_bytes": inventory["peak_bytes"],
        },
        "scheduler": {
            "tasks_per_second": round(
                next(row["tasks_per_second"] for row in rows if row["stage"] == "empty")
            ),
            "bytes": small["scheduler_bytes"],
            "bytes_per_task_in_flight": cube["task_bytes"],
        },
    }


def about(world: World, rows: list[Row], load: float) -> dict[str, Any]:
    """Return what the numbers depend on."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(load),
        "edge": world.edge,
        "factor": max(row.get("factor", 0) for row in rows),
        "network": "unet, small",
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def machine(load: float) -> str:
    """Say what kind of machine this is, and whether it was at rest."""
    memory = psutil.virtual_memory().total / 2**30
    cores = os.cpu_count() or 1
    words = f"{cores} cores of {processor()} and {memory:.0f} GiB of memory, files on its own disk"
    if load < QUIET * cores:
        return f"{words}; at rest when the benchmark began"
    return f"{words}; shared with other work (load {load:.1f}), so seconds of a core are upper ones"


def processor() -> str:
    """Return the name of the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), "") or platform.processor() or platform.machine()


def show(rows: list[Row]) -> None:
    """Print the table, and what was reached of the goals."""
    columns = ("workers", "s", "core s", "peak MB", "sched MB", "tasks", "groups", "objects", "MB")
    print(f"\n{'':10}{'area':>5}" + "".join(f"{name:>9}" for name in columns))
    for row in rows:
        if "factor" not in row:
            continue
        peak = row.get("worker_bytes", row["peak_bytes"])
        cells = (
            row["workers"],
            f"{row['seconds']:.1f}",
            f"{row['cpu_seconds']:.1f}",
            f"{peak / 1e6:.0f}",
            f"{row['scheduler_bytes'] / 1e6:.0f}" if "scheduler_bytes" in row else "",
            row.get("tasks_held", ""),
            row.get("groups", ""),
            row["objects"],
            f"{row['bytes'] / 1e6:.1f}",
        )
        print(f"{row['stage']:10}{row['factor']:>5}" + "".join(f"{cell:>9}" for cell in cells))
    for what, value, goal, is_reached in goals(rows):
        word = "reached" if is_reached else "missed"
        print(f"  {what}: {value:.2f}, goal {goal:g}, {word}")
    largest = max(row.get("factor", 0) for row in rows)
    alone, apart = row_of(rows, "cube", largest), row_of(rows, "two cubes", largest)
    if alone and apart:
        gain = 2 * faster(alone, apart)
        print(f"  two commands apart by one: {gain:.2f}, what this machine gives at most")


def goals(rows: list[Row]) -> Iterator[tuple[str, float, float, bool]]:
    """Yield what was aimed at, what was found, and whether it was reached."""
    factors = sorted({row["factor"] for row in rows if "factor" in row})
    small, large = factors[0], factors[-1]
    if small == large:
        return
    for stage in ("cube", "fuse", "predict", "inventory"):
        one, many = row_of(rows, stage, small), row_of(rows, stage, large)
        if one and many:
            grown = many["seconds"] / one["seconds"] / (large / small)
            yield f"{stage}: time by area", grown, GOALS["time"], grown <= GOALS["time"]
            key = "worker_bytes" if stage == "cube" else "peak_bytes"
            memory = many[key] / one[key]
            yield f"{stage}: memory", memory, GOALS["memory"], memory <= GOALS["memory"]
    for row in [row for row in rows if row["stage"] == "cube" and row["factor"] == large]:
        held = row["tasks_held"] - FLYING * row["workers"]
        name = f"scheduler: tasks beyond {FLYING} for each of {row['workers']} worker(s)"
        yield name, held, GOALS["tasks"], held <= GOALS["tasks"]
    one, many = row_of(rows, "cube", small), row_of(rows, "cube", large)
    if one and many:
        memory = many["scheduler_bytes"] / one["scheduler_bytes"]
        yield "scheduler: memory", memory, GOALS["memory"], memory <= GOALS["memory"]
    alone, both = row_of(rows, "cube", large), row_of(rows, "cube", large, 2)
    if alone and both:
        gain, goal = faster(alone, both), GOALS["two workers"]
        yield "cube: two workers by one", gain, goal, gain >= goal


def plan_lines(costs: Mapping[str, Any]) -> list[str]:
    """Return what the costs foretell of three areas, by one command and by many side by side."""
    rows = [
        (name, estimate(area_of(km2, looks=LOOKS, basins=basins),
                        Fleet(workers=workers, commands=commands), costs))
        for name, km2, basins in AREAS
        for workers, commands in FLEETS
        if commands <= basins
    ]  # fmt: skip
    return table_lines(rows)


if __name__ == "__main__":
    main()
