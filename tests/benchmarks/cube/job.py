"""A process of its own for one contender: warm up, measure, check, print one line of JSON."""

import http.client
import json
import os
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from case import Case
from world import make_world

TOUCHED = 180
"""Bytes of memory that are used before a measurement for each pixel of the area's square."""

MOST_TOUCHED = 3_000_000_000

MARK = "RESULT "
"""What the line with the result begins with."""


def contenders() -> dict[str, tuple[str, str, str]]:
    """Return name to module, function and what its result is compared with."""
    return {
        "decode": ("limits", "decode", ""),
        "ours load": ("ours", "load", "looks"),
        "ours load + median": ("ours", "median", "median"),
        "ours cube stage": ("ours", "cube", "median"),
        "odc-stac load": ("peers", "odc_load", "looks"),
        "odc-stac + xarray median + to_zarr": ("peers", "odc_median", "median"),
        "stackstac load": ("peers", "stackstac_load", "looks"),
        "stackstac + xarray median + to_zarr": ("peers", "stackstac_median", "median"),
        "copy two outputs": ("limits", "copy_twice", "ground"),
        "ours slope + aspect": ("ours", "terrain", "ground"),
        "np.save": ("limits", "save", "sample"),
        "zarr-python default": ("limits", "zarr_default", "sample"),
        "ours blocks": ("ours", "write", "sample"),
    }


def work_of(name: str, case: Case) -> Callable[[Case], Any]:
    """Return the function that is measured, with what it is given beside the case."""
    import limits

    module, function, kind = contenders()[name]
    work = getattr(__import__(module), function)
    if kind == "ground":
        return partial(work, ground=limits.elevation(case))
    return partial(work, values=limits.sample(case)) if kind == "sample" else work


def measure(name: str, case: Case) -> tuple[dict[str, Any], Any]:
    """Run a contender once; return what it took, and its result."""
    case.scratch.mkdir(parents=True, exist_ok=True)
    work = work_of(name, case)
    touch_memory(min(TOUCHED * case.area[2] ** 2, MOST_TOUCHED, free_memory() // 2))
    _counted(case)
    cpu, start = time.process_time(), time.perf_counter()
    result = work(case)
    wall, spent = time.perf_counter() - start, time.process_time() - cpu
    return {
        "wall": wall,
        "cpu": spent,
        "peak_mb": peak_mb(),
        **_counted(case),
    }, result


def touch_memory(size: int) -> None:
    """Use and free memory, in a process of its own so that its peak is not ours.

    A virtual machine gets a page from its host when it is first used, which costs many times more
    than to use it again, and may give it back meanwhile: contenders would pay for each other.
    """
    subprocess.run([sys.executable, "-c", f"b'1' * {size}"], check=True)


def free_memory() -> int:
    """Return the bytes of memory that are free, 0 where that is not known."""
    names = ("SC_AVPHYS_PAGES", "SC_PAGE_SIZE")
    if not set(names) <= set(getattr(os, "sysconf_names", {})):
        return 0
    return os.sysconf(names[0]) * os.sysconf(names[1])


def peak_mb() -> float:
    """Return the peak memory of this process, MB; not of its parent, as ru_maxrss may be."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def _counted(case: Case) -> dict[str, float]:
    """Return what the server sent since it was last asked: scenes and DEM."""
    if not case.base:
        return {}
    connection = http.client.HTTPConnection(urlsplit(case.base).netloc)
    connection.request("GET", "/count")
    counts = json.loads(connection.getresponse().read())
    connection.close()
    dem = [counts[path] for path in counts if "/Copernicus" in path]
    scenes = [counts[path] for path in counts if "/Copernicus" not in path]
    return {
        "fetched_mb": sum(count.get("bytes", 0) for count in scenes) / 1e6,
        "dem_mb": sum(count.get("bytes", 0) for count in dem) / 1e6,
        "requests": sum(count["requests"] for count in scenes),
        "heads": sum(count.get("heads", 0) for count in scenes),
    }


def checked(name: str, case: Case, result: Any, truth: str) -> dict[str, Any]:
    """Return what there is to say about a result, outside the timing."""
    from truth import rows_of, share_equal

    kind = contenders()[name][2]
    if kind == "sample":
        files = [result] if result.is_file() else [f for f in result.rglob("*") if f.is_file()]
        return {"mb": sum(f.stat().st_size for f in files) / 1e6, "objects": len(files)}
    if not truth or kind not in ("looks", "median"):
        return {}
    return {"equal": share_equal(Path(truth), kind, result(rows_of(case)))}


def main(asked: dict[str, Any]) -> dict[str, Any]:
    """Do what is asked: ``prepare`` a case, or ``measure`` a contender."""
    case = Case.from_dict(asked["case"])
    if asked["do"] == "prepare":
        from limits import ideal
        from prepare import prepare
        from truth import write_truth

        make_world(case.world, rows=case.rows, say=partial(print, file=sys.stderr))
        prepare(case, block=asked["block"])
        if asked["truth"] and not Path(asked["truth"]).is_file():
            write_truth(case.at(""), Path(asked["truth"]))
        return ideal(case.at(""))
    if asked["warm"]:
        measure(asked["name"], Case.from_dict(asked["warm"]))
    found, result = measure(asked["name"], case)
    return {**found, **checked(asked["name"], case, result, asked["truth"])}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(MARK + json.dumps(main(json.load(sys.stdin))), flush=True)
