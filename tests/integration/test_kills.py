"""Processes killed at random while a cube is built on a Dask cluster; the next run goes on."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml
import zarr

from rockglacier.demo.basin import make_basin

BIN = Path(sys.executable).parent
ROUNDS_MAX = 100


@pytest.fixture(scope="module")
def basin(tmp_path_factory):
    """A searched basin of many blocks, and its cube built without any harm."""
    folder = tmp_path_factory.mktemp("kills")
    made = make_basin(folder / "catalog", size_km=(6.0, 6.0), labelled=False)
    config = {
        "name": "basin",
        "area": str(made.area),
        "search": {
            "catalog": str(made.items),
            "start": "2024-01-01",
            "end": "2024-12-31",
            "basin_cloud_max": 40,
        },
        "cube": {"block": 128},
    }
    for name in ("whole", "harmed"):
        config["output"] = name
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(config))
    rockglacier(folder, "search", "whole.yaml").check_returncode()
    shutil.copytree(folder / "whole", folder / "searched")
    rockglacier(folder, "cube", "whole.yaml").check_returncode()
    return folder


def rockglacier(folder, *arguments):
    return subprocess.run(
        [BIN / "rockglacier", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


class Cluster:
    """A scheduler and two workers, processes of their own, brought back when they are gone."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.log = (folder / "cluster.log").open("w")
        self.scheduler, self.workers = None, []

    def _start(self, *arguments):
        return subprocess.Popen(
            [BIN / "dask", *arguments], stdout=self.log, stderr=self.log, cwd="/"
        )

    def mend(self):
        """Start what is not there."""
        if self.scheduler is None or self.scheduler.poll() is not None:
            for worker in self.workers:
                worker.kill()
                worker.wait()
            self.workers = []
            at = ("--host", "127.0.0.1", "--port", str(self.port))
            self.scheduler = self._start("scheduler", *at, "--no-dashboard")
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        while len(self.workers) < 2:
            options = ("--no-nanny", "--nthreads", "1", "--no-dashboard")
            self.workers.append(self._start("worker", self.address, *options))

    def stop(self):
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()
        self.log.close()


@pytest.fixture
def cluster(tmp_path):
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.stop()


def arrays(path):
    group = zarr.open_group(str(path), mode="r")
    return {name: group[name][...] for name in group.array_keys() if name != "band"}


def build_with_kills(folder, cluster, kills, seed):
    """Build the cube, killing a process at a time until ``kills`` are done; return who was hit."""
    rng = np.random.default_rng(seed)
    victims = []
    shutil.rmtree(folder / "harmed", ignore_errors=True)
    shutil.copytree(folder / "searched", folder / "harmed")
    study = folder / "harmed" / "study.yaml"
    study.write_text(study.read_text().replace("output: whole", "output: harmed"))
    receipts = folder / "harmed" / "receipts" / "cube"
    for _ in range(ROUNDS_MAX):
        cluster.mend()
        command = [BIN / "rockglacier", "cube", "harmed.yaml", "--cluster", cluster.address]
        run = subprocess.Popen(command, cwd=folder, stdout=cluster.log, stderr=cluster.log)
        while run.poll() is None and len(victims) < kills:
            # a few more blocks, then somebody dies in the middle of the next
            aim = len(list(receipts.glob("r*.json"))) + int(rng.integers(1, 5))
            while run.poll() is None and len(list(receipts.glob("r*.json"))) < aim:
                time.sleep(0.02)
            time.sleep(rng.uniform(0, 0.3))
            if run.poll() is not None:
                break
            targets = [("run", run), ("scheduler", cluster.scheduler)]
            targets += [("worker", worker) for worker in cluster.workers]
            hit = targets[rng.integers(len(targets))]
            hit[1].send_signal(signal.SIGKILL)
            hit[1].wait()
            victims.append(hit[0])
            if hit[0] == "worker":
                cluster.mend()
        if len(victims) >= kills and run.wait() == 0:
            return victims
        run.wait()
        if run.returncode == 0:  # done before the last kill: some blocks are lost, once more
            for receipt in rng.permutation(sorted(receipts.glob("r*.json")))[:12]:
                receipt.unlink()
    raise AssertionError(f"not done after {ROUNDS_MAX} runs: {victims}")


@pytest.mark.parametrize(("kills", "seed"), [(5, 1), pytest.param(30, 2, marks=pytest.mark.soak)])
def test_a_cube_built_between_kills_equals_one_built_in_peace(basin, cluster, kills, seed):
    victims = build_with_kills(basin, cluster, kills, seed)
    assert len(victims) == kills
    whole, harmed = arrays(basin / "whole/cube.zarr"), arrays(basin / "harmed/cube.zarr")
    assert whole["reflectance"].any()
    assert whole.keys() == harmed.keys()
    for name, values in whole.items():
        np.testing.assert_array_equal(values, harmed[name], err_msg=name)
    assert not [
        process.pid
        for process in psutil.process_iter(["cwd"])
        if process.info["cwd"] == str(basin) and process.pid != os.getpid()
    ]
