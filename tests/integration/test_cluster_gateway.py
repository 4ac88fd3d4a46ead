"""A real Dask Gateway with its local backend: a cluster, the self-test, a whole small cube."""

import gc
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import zarr

from rockglacier.cluster import cluster_client
from rockglacier.config import ComputeConfig, parse_config
from rockglacier.cube.build import build_cube
from rockglacier.demo.basin import make_basin as make_demo_basin
from rockglacier.engine import Receipts, Task, run_tasks
from rockglacier.errors import RemoteError
from rockglacier.run import run_stages, standings
from rockglacier.stages import STAGES, Context
from rockglacier.study import Study
from rockglacier_stac.validate import validate_catalog

CONFIG = Path(__file__).parents[2] / "deploy" / "dask-gateway" / "dask_gateway_config.py"
START_SECONDS = 60

# dask-gateway 2026.3 closes the connection of a cluster that was refused only when it is collected,
# and its loop is gone by then
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <function Gateway.__del__:pytest.PytestUnraisableExceptionWarning"
)


def free_ports():
    """Return a port whose next two are free as well."""
    for _ in range(50):
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
        try:
            for offset in range(3):
                with socket.socket() as other:
                    other.bind(("127.0.0.1", port + offset))
        except OSError:
            continue
        return port
    raise AssertionError("no three free ports in a row")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    pytest.importorskip("dask_gateway", reason="needs the extra gateway")
    pytest.importorskip("dask_gateway_server", reason="needs dask-gateway-server[local]")
    import dask

    folder, port = tmp_path_factory.mktemp("gateway"), free_ports()
    password = secrets.token_hex(8)
    environment = {**os.environ, "GATEWAY_PASSWORD": password, "GATEWAY_PORT": str(port)}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "dask_gateway_server", "--config", CONFIG],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
        )
        url = f"http://127.0.0.1:{port}"
        for _ in range(10 * START_SECONDS):
            try:
                urllib.request.urlopen(f"{url}/api/health", timeout=5).close()  # noqa: S310 ours
                break
            except OSError:
                time.sleep(0.1)
        settings = {
            "gateway.address": url,
            "gateway.proxy-address": f"tls://127.0.0.1:{port + 1}",
            "gateway.auth.type": "basic",
            "gateway.auth.kwargs": {"username": "alice", "password": password},
        }
        with dask.config.set(settings):
            yield folder / "log"
            gc.collect()  # a cluster that was refused leaves its connection to the collector
        server.terminate()
        server.wait(30)


def compute(**values):
    return ComputeConfig.model_validate({"cluster": "gateway", "workers": 2, **values})


def make_work():
    # by value: workers cannot import the module of a test
    def work(task):
        return {"key": os.environ["AWS_SECRET_ACCESS_KEY"]}

    return work


def test_blocks_are_built_behind_a_gateway_with_keys_that_no_task_holds(
    gateway, tmp_path, monkeypatch
):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    receipts = Receipts(tmp_path / "receipts")
    tasks = [Task(name=f"r{number:04}c0000", inputs={"n": number}) for number in range(4)]
    asked = compute(workers=1, options={"worker_cores": 1, "worker_memory": 1})
    with cluster_client(compute=asked) as client:
        outcome = run_tasks(
            tasks, make_work(), receipts=receipts, what="work", workers=1, client=client
        )
    assert outcome.built == 4
    assert {receipt["key"] for _, receipt in receipts.all()} == {"very-secret"}


@pytest.mark.soak
def test_a_cube_built_behind_a_gateway_equals_one_built_here(gateway, make_basin, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    here, there = make_basin("here", block=128), make_basin("there", block=128)
    build_cube(here)
    asked = compute(options={"worker_cores": 1, "worker_memory": 1.5})
    with cluster_client(compute=asked, study=there) as client:
        held = client.run(os.getenv, "AWS_SECRET_ACCESS_KEY")
        assert set(held.values()) == {"very-secret"}
        facts = build_cube(there, client=client)
    assert facts["built"] == 9
    mine, theirs = (zarr.open_group(str(s.cube_path), mode="r") for s in (here, there))
    for name in mine.array_keys():
        if name != "band":
            np.testing.assert_array_equal(mine[name][...], theirs[name][...], err_msg=name)


@pytest.mark.soak
def test_a_whole_small_basin_is_run_behind_a_gateway(gateway, tmp_path):
    """Search, training and publication here; blocks of cube, features and prediction there."""
    made = make_demo_basin(tmp_path / "data", seed=3, size_km=(5.0, 4.0), name="valley")
    values = {
        "name": "valley",
        "area": "data/area.gpkg",
        "search": {"catalog": "data/items.parquet", "start": "2024-07-01", "end": "2024-10-31"},
        "cube": {"block": 256},
        "labels": {"reference": "data/reference.gpkg", "split": "strip", "guard": 64},
        "train": {
            "networks": ["unet"], "size": "small", "chip": 64, "batch": 16, "epochs": 1,
            "chips_per_epoch": 32,
        },
        "predict": {"window": 64},
    }  # fmt: skip
    assert made.area == tmp_path / "data" / "area.gpkg"
    study = Study(config=parse_config(values, source="test"), base=tmp_path)
    asked = compute(options={"worker_cores": 1, "worker_memory": 2})
    with cluster_client(compute=asked, study=study) as client:
        run_stages(study, STAGES, Context(client=client))
        assert {one.state for one in standings(study, STAGES, Context())} == {"done"}
    blocks = {block.name for block in study.grid.blocks()}
    for stage in ("cube", "fuse", "predict"):
        told = dict(Receipts(study.receipts_path / stage).all())
        assert set(told) == blocks
        for what in ("seconds", "read_bytes", "written_bytes"):
            # a block of a group may be there at once, when another was built
            assert sum(receipt[what] for receipt in told.values()) > 0
    assert validate_catalog(study.stac_path) == []


def test_an_option_that_the_server_has_not_is_named(gateway):
    with (
        pytest.raises(RemoteError, match=r"gateway gave no cluster: .*worker_speed"),
        cluster_client(compute=compute(options={"worker_speed": 9})),
    ):
        pass
