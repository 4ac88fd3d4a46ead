"""Measure the cube engine beside its limit and its peers: ``python tests/benchmarks/cube --help``.

Every contender runs in a process of its own, after a warm-up on a tiny world (imports, compiled
kernels and threads are not measured); the contenders of a part take turns in every round.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from case import Case
from job import MARK
from table import Run, Summary, goals, goals_text
from world import FULL, World

HERE = Path(__file__).parent
WARM = 256
"""Scale of the world of the warm-up."""
IN_FLIGHT = 16
"""Threads of the limit and the peers where every request waits."""
SLOW = "to_zarr"
"""What the names of contenders end with that take minutes."""

READS = (
    "decode",
    "ours load",
    "ours load + median",
    "ours cube stage",
    "odc-stac load",
    "odc-stac + xarray median + to_zarr",
    "stackstac load",
    "stackstac + xarray median + to_zarr",
)
PARTS = {
    "local": READS,
    "http": READS,
    "latency": READS,
    "growth": ("ours cube stage",),
    "terrain": ("copy two outputs", "ours slope + aspect"),
    "zarr": ("np.save", "zarr-python default", "ours blocks"),
}
REMOTE = ("http", "latency")
LIBRARIES = (
    *("numpy", "xarray", "dask", "zarr", "rasterio", "numba", "odc-stac", "stackstac"),
    *("bottleneck", "numbagg"),  # change what a median costs xarray, for better or worse
)


class Bench:
    """One benchmark: its worlds, studies and runs."""

    def __init__(self, args: argparse.Namespace, address: str) -> None:
        self.args, self.address = args, address
        self.folder: Path = args.folder.absolute()
        self.studies = self.folder / "studies"
        self.prepared: dict[Path, dict[str, int]] = {}
        self.runs: list[Run] = []
        self.ideal_mb = 0.0
        for left in (self.studies, *self.folder.glob("run-*")):  # of one that was stopped
            shutil.rmtree(left, ignore_errors=True)
        affinity = getattr(os, "sched_getaffinity", None)
        self.cores = len(affinity(0)) if affinity else os.cpu_count() or 1

    def case(
        self,
        part: str,
        scale: int,
        *,
        rows: int = 1,
        edge: int = 0,
        block: int = 0,
    ) -> tuple[Case, dict[str, int]]:
        """Return a case that is prepared, and what it has to fetch.

        Parameters
        ----------
        part, scale
            Of the benchmark; of the world.
        rows
            Of tiles.
        edge
            Of an area in the middle of the world; default: the world's own area.
        block
            Of the cube; default: half of the scale.
        """
        world = World(root=self.folder, scale=scale)
        area = world.centred(edge) if edge else world.area
        block = block or _whole_chunks(scale // 2)
        wait = self.args.delay if part == "latency" else 0
        mode = part if part in REMOTE else "local"
        case = Case(
            world=world,
            area=area,
            base=f"{self.address}/{wait}/{world.folder.name}" if part in REMOTE else "",
            study=self.studies / f"{mode}-{scale}-{area[2]}-{block}" / "study.yaml",
            threads=max(self.cores, IN_FLIGHT) if part == "latency" else self.cores,
            scratch=self.folder,
            rows=rows,
        )
        if case.study not in self.prepared:
            self.prepared[case.study] = ask(
                do="prepare", case=case.to_dict(), block=block, truth=self.truth_of(case)
            )
        return case, self.prepared[case.study]

    def truth_of(self, case: Case) -> str:
        """Return where it says what has to come out; empty where that is not looked at."""
        measured = case.world.scale == self.args.size and case.rows == 1
        return str(self.studies / "truth.npz") if measured else ""

    def warm(self, part: str) -> Case | None:
        """Return what a process runs first, unless it is not to."""
        return self.case(part, WARM)[0] if self.args.warm else None

    def measure(
        self,
        part: str,
        turn: int,
        name: str,
        case: Case,
        warm: Case | None,
        *,
        label: str = "",
    ) -> None:
        """Run a contender once, and say what it took."""
        with tempfile.TemporaryDirectory(dir=self.folder, prefix="run-") as scratch:
            found = ask(
                do="measure",
                name=name,
                case=case.writing(Path(scratch, "run")).to_dict(),
                warm=warm and warm.writing(Path(scratch, "warm")).to_dict(),
                truth=self.truth_of(case),
            )
        self.runs.append({"part": part, "round": turn, "name": label or name, **found})
        numbers = {key: round(value, 3) for key, value in found.items()}
        say(f"{part} {turn} {label or name}: {numbers or 'failed'}")

    def part(self, part: str) -> str:
        """Measure a part; return its table."""
        if part == "growth":
            return self.growth()
        reads = PARTS[part] == READS
        case, ideal = self.case(part, self.args.size)
        warm = self.warm(part)
        for turn in range(self.args.rounds):
            for name in PARTS[part]:
                slow = name.endswith(SLOW) and turn >= self.args.slow_rounds
                if not slow and (not self.args.only or name in self.args.only):
                    self.measure(part, turn, name, case, warm)
        if reads:
            self.ideal_mb = ideal["bytes"] / 1e6
        title = self._title(part, case, ideal) if reads else part
        return Summary(self.runs, self.ideal_mb).text(part, title)

    def _title(self, part: str, case: Case, ideal: dict[str, int]) -> str:
        how = {
            "local": "local files",
            "http": "HTTP on this machine",
            "latency": f"HTTP, every answer {self.args.delay} ms late",
        }
        return (
            f"{how[part]}, {case.threads} threads: {case.area[2]} x {case.area[2]} px from "
            f"{ideal['files']} files, {ideal['blocks']} blocks, {ideal['bytes'] / 1e6:.0f} MB "
            f"({ideal['decoded'] / 1e6:.0f} MB decoded, "
            f"{ideal['decoded'] / ideal['inside']:.2f} x what lies inside)"
        )

    def growth(self) -> str:
        """Measure the memory of the whole stage on basins of different size."""
        warm = self.warm("growth")
        for label, (edge, block) in self.basins().items():
            case, _ = self.case("growth", self.args.size, rows=2, edge=edge, block=block)
            self.measure("growth", 0, "ours cube stage", case, warm, label=label)
        return Summary(self.runs).text("growth", "the whole stage as the basin grows")

    def basins(self) -> dict[str, tuple[int, int]]:
        """Return label to edge and block of basins: the first two differ sixteenfold in area."""
        scale = self.args.size
        small, usual = _whole_chunks(scale // 8), _whole_chunks(scale // 2)
        sizes = ((scale // 2, small), (2 * scale, small), (2 * scale, usual))
        return {f"{edge} px, blocks of {block} px": (edge, block) for edge, block in sizes}


def _whole_chunks(block: int) -> int:
    """Return the nearest edge of a block that the cube takes."""
    return max(128, 128 * round(block / 128))


def ask(**what: Any) -> dict[str, Any]:
    """Let a process of its own do something; only what is measured may fail."""
    done = subprocess.run(
        [sys.executable, HERE / "job.py"],
        input=json.dumps(what),
        capture_output=True,
        text=True,
        check=False,
    )
    for line in done.stdout.splitlines():
        if line.startswith(MARK):
            return json.loads(line.removeprefix(MARK))
    say(done.stderr[-4000:])
    if what["do"] != "measure":
        raise SystemExit(1)
    return {}


def say(text: str) -> None:
    """Tell how it goes on, apart from the tables."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine; yield the address."""
    folder.mkdir(parents=True, exist_ok=True)
    server = subprocess.Popen(
        [sys.executable, HERE / "serve.py", folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
    finally:
        server.stdin.close()
        server.wait(timeout=10)
        server.stdout.close()


def machine() -> dict[str, Any]:
    """Return what the numbers depend on beside the code."""
    import rasterio

    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        named = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = named[0].partition(": ")[2] if named else model
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "gdal": rasterio.__gdal_version__,
        **{name: installed(name) for name in LIBRARIES},
    }


def installed(name: str) -> str:
    """Return the version of a library, or that it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def parse(given: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="bench-cube", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="worlds are kept here")
    parser.add_argument("--size", type=int, default=4096, help="edge of the area, multiple of 256")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slow-rounds", type=int, default=1, help="rounds of what takes minutes")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    names = dict.fromkeys(name for part in PARTS.values() for name in part)
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME")
    parser.add_argument("--delay", type=int, default=50, help="milliseconds, of `latency`")
    parser.add_argument("--json", type=Path, help="all numbers; default: in the folder")
    parser.add_argument(
        "--no-warm", dest="warm", action="store_false", help="measure first runs: for tests"
    )
    return parser.parse_args(given)


def main() -> int:
    """Measure, print the tables, write the numbers; 1 if a contender failed."""
    args = parse()
    before, start = machine(), time.time()
    with serving(args.folder) as address:
        bench = Bench(args, address)
        for part in args.parts:
            print(bench.part(part), flush=True)
    summary = Summary(bench.runs, bench.ideal_mb)
    if args.size < FULL:
        print(f"the goals are meant for {FULL} px")
    print(goals_text(summary, goals(*list(bench.basins())[:2])))
    shutil.rmtree(bench.studies, ignore_errors=True)
    result = {
        "machine": before,
        "seconds": round(time.time() - start),
        "settings": {
            key: value for key, value in vars(args).items() if key not in ("folder", "json")
        },
        "tables": {part: summary.rows(part) for part in args.parts},
        "runs": bench.runs,
    }
    path = args.json or bench.folder / "bench-cube.json"
    path.write_text(json.dumps(result, indent=1))
    return int(any("wall" not in run for run in bench.runs))


if __name__ == "__main__":
    sys.exit(main())
