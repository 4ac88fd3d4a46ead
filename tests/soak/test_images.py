"""The images are built, and what runs in them does its work."""

import os
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import zarr

from ports import free_ports
from rockglacier.config import load_config
from rockglacier.cube.build import build_cube
from rockglacier.demo.basin import make_basin as make_demo_basin
from rockglacier.run import run_stages
from rockglacier.stages import STAGES, Context
from rockglacier.study import Study

pytestmark = pytest.mark.soak

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "deploy" / "docker"
USER = 10001
READY_S = 60
STUDY = """\
name: valley
area: data/area.gpkg
search: {catalog: data/items.parquet, start: 2024-07-01, end: 2024-10-31}
cube: {block: 256}
"""


def test_a_container_runs_as_a_user_who_can_write_nothing_of_the_image(engine, image):
    closed = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL")  # noqa: S108 the container's
    assert engine.run(image, "id", "-u", options=closed).strip() == str(USER)
    assert engine.run(image, "rockglacier", "--version", options=closed).startswith("rockglacier")
    writable = "find / -xdev -type d -writable -not -path '/proc/*' 2>/dev/null || true"
    found = engine.run(image, "sh", "-c", writable).split()
    assert {path.split("/")[1] for path in found} <= {"tmp", "var", "home", "run", "work"}
    assert not [path for path in found if path.startswith("/opt")]


def test_what_only_the_build_needs_is_not_in_the_image(engine, image):
    held = engine.run(image, "sh", "-c", "ls / /opt; which uv gcc git || true")
    assert "src" not in held.split()
    assert not {"/usr/bin/gcc", "/usr/bin/git", "/usr/local/bin/uv"} & set(held.split())
    names = engine.run(image, "python", "-c", "import importlib.metadata as m; "
                       "print(*sorted(d.name for d in m.distributions()))")  # fmt: skip
    assert {"rockglacier", "distributed", "rasterio", "dask-gateway"} <= set(names.split())
    assert not {"torch", "pytest", "ruff"} & set(names.split())


def test_scheduler_and_worker_in_containers_build_the_cube_that_is_built_here(
    engine, image, tmp_path
):
    make_demo_basin(tmp_path / "data", seed=3, size_km=(5.0, 4.0), name="valley")
    (tmp_path / "valley.yaml").write_text(STUDY)
    (tmp_path / "here.yaml").write_text(STUDY.replace("name: valley", "name: here"))
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    at, health, worker_health = free_ports(3)
    address = f"tcp://127.0.0.1:{at}"
    mount = ("--volume", f"{tmp_path}:{tmp_path}", "--workdir", tmp_path)
    with ExitStack() as stack:

        def start(name, port, *command):
            name = f"rockglacier-test-{os.getpid()}-{name}"
            engine.must("run", *engine.plain, "--detach", "--name", name, *mount, image, *command)
            stack.callback(engine, "rm", "--force", name)
            wait_until_healthy(engine, name)

        scheduler = ("dask", "scheduler", "--host", "127.0.0.1", "--port", at)
        start("scheduler", health, *scheduler, "--dashboard-address", f"127.0.0.1:{health}")
        worker = ("dask", "worker", address, "--nworkers", 2, "--nthreads", 1)
        start("worker", worker_health, *worker, "--dashboard-address", f"127.0.0.1:{worker_health}")
        engine.run(image, "rockglacier", "search", "valley.yaml", options=mount)
        engine.run(image, "rockglacier", "cube", "valley.yaml", "--cluster", address, options=mount)

    here = Study(config=load_config(tmp_path / "here.yaml"), base=tmp_path)
    run_stages(here, [one for one in STAGES if one.name == "search"], Context())
    build_cube(here)
    there = Study(config=load_config(tmp_path / "valley.yaml"), base=tmp_path)
    mine, theirs = (zarr.open_group(str(one.cube_path), mode="r") for one in (here, there))
    assert (there.cube_path / "zarr.json").stat().st_uid == USER
    for name in mine.array_keys():
        if name != "band":
            np.testing.assert_array_equal(mine[name][...], theirs[name][...], err_msg=name)


def wait_until_healthy(engine, name):
    """Ask as the image's health check does; before anything answers it has to say so."""
    end = time.monotonic() + READY_S
    while engine("exec", name, "python", "/opt/health.py").returncode:
        assert time.monotonic() < end, engine("logs", name).stderr[-2000:]
        time.sleep(0.2)


def test_the_image_with_networks_is_built_and_has_them(engine):
    engine.build(DOCKER / "Dockerfile.gpu", ROOT, "localhost/rockglacier-gpu:test")
    said = engine.run("localhost/rockglacier-gpu:test", "python", "-c",
                      "import torch, torchgeo; print(torch.version.cuda)")  # fmt: skip
    assert said.strip()
