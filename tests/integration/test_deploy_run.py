"""The commands of deploy/kubernetes as they are written, run without containers."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import yaml

from rockglacier.demo.basin import make_basin

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
READY_S = 120


def read(path):
    return yaml.safe_load((KUBERNETES / path).read_text())


def container(pod):
    (found,) = pod["spec"]["containers"]
    return found


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def healthy():
    """Ask a process for its health as its image does."""
    spec = importlib.util.spec_from_file_location("health", DEPLOY / "docker" / "health.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def wait(command):
        end = time.monotonic() + READY_S
        while not module.is_healthy(" ".join(command)):
            assert time.monotonic() < end, f"not healthy: {command}"
            time.sleep(0.2)

    return wait


def environment(**more):
    """Programs of this environment come first."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **more, "PATH": programs}


@contextmanager
def running(command, folder, **variables):
    """A process and all that it starts, for a while."""
    with (folder / f"{command[1]}.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(**variables),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(20)


def command_of(part):
    """Its command on a free port for its pages, with the name that the operator gives."""
    given = {":8787": f":{free_port()}", ":8788": f":{free_port()}", "$(DASK_WORKER_NAME)": "one"}
    return [given.get(word, word) for word in part["args"]]


@pytest.fixture
def cluster(tmp_path, healthy):
    """Scheduler and worker of the cluster's resource, on other ports: the scheduler's address."""
    spec = read("dask-cluster.yaml")["spec"]
    folder = tmp_path / "cluster"
    folder.mkdir()
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    scheduler, worker = (command_of(container(spec[part])) for part in ("scheduler", "worker"))
    scheduler += ["--port", str(port)]
    variables = {item["name"]: item["value"] for item in container(spec["scheduler"])["env"]}
    with ExitStack() as stack:
        stack.enter_context(running(scheduler, folder, **variables))
        healthy(scheduler)
        # the operator tells workers so where their scheduler is
        stack.enter_context(running(worker, folder, DASK_SCHEDULER_ADDRESS=address))
        healthy(worker)
        yield address


def test_the_job_builds_a_cube_on_the_cluster_and_leaves_its_own_folder_alone(cluster, tmp_path):
    basin = make_basin(tmp_path / "basin", size_km=(3.0, 2.0), labelled=False)
    study = read("run/study.yaml")
    assert study["compute"]["cluster"].startswith("tcp://rockglacier-scheduler.")
    study |= {"area": str(basin.area), "output": str(tmp_path / "out")}
    study["search"]["catalog"] = str(basin.items)
    study["compute"]["cluster"] = cluster
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    command = container(read("run/job.yaml")["spec"]["template"])["command"]
    answer = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    assert "1 workers at" in (tmp_path / "out" / "logs" / "run.log").read_text()
    assert (tmp_path / "out" / "cube.zarr" / "zarr.json").is_file()
    assert [path.name for path in folder.iterdir()] == ["study.yaml"]  # it is read-only there
