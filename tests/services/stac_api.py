"""A STAC API over PostgreSQL on free ports: pgstac and stac-fastapi, as a fixture needs them."""

import os
import pwd
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir

import requests
import yaml

ROOT = Path(__file__).parents[2]
HOW = "sh scripts/services.sh (as root it installs PostgreSQL with PostGIS)"
COMPOSE = ROOT / "deploy" / "compose" / "compose.yaml"
"""Its settings of the search are those of the tests."""


def postgres_program(name):
    """Return a program of PostgreSQL, the newest, or None."""
    held = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda p: int(p.parts[4]))
    return str(held[-1]) if held else shutil.which(name)


def server_program(name):
    path = ROOT / ".services" / "bin" / name
    return str(path) if path.is_file() else None


def missing():
    """Return what is not installed, by name."""
    found = {"initdb": postgres_program("initdb")}
    found |= {name: server_program(name) for name in ("pypgstac", "uvicorn")}
    extensions = list(Path("/usr/share/postgresql").glob("*/extension"))  # as Debian has it
    if extensions and not any((folder / "postgis.control").is_file() for folder in extensions):
        found["PostGIS"] = None
    return [name for name, path in found.items() if path is None]


@contextmanager
def postgres(folder, port):
    """PostgreSQL refuses to be run by root: then it runs as the user of its package."""
    data = folder / "data"
    user = {}
    if os.geteuid() == 0:
        known = pwd.getpwnam("postgres")
        os.chown(folder, known.pw_uid, known.pw_gid)
        user = {"user": known.pw_uid, "group": known.pw_gid, "extra_groups": []}
        for parent in folder.parents:  # it has to get there
            if parent.stat().st_uid == 0 and parent.is_relative_to(gettempdir()):
                parent.chmod(parent.stat().st_mode | 0o011)
    make = ["-D", data, "-U", "stac", "-A", "trust", "--no-sync", "--locale=C.UTF-8", "-E", "UTF8"]
    subprocess.run([postgres_program("initdb"), *make], check=True, capture_output=True, **user)
    settings = ("listen_addresses=127.0.0.1", "fsync=off", "synchronous_commit=off")
    command = [postgres_program("postgres"), "-D", data, "-p", str(port), "-k", folder]
    for setting in settings:
        command += ["-c", setting]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, **user)
    try:
        yield process
    finally:
        process.send_signal(2)  # fast shutdown
        process.wait(20)


def wait_for(ready, process, log, seconds=180):
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if ready():
            return
        time.sleep(0.05)
    raise RuntimeError(f"a server did not start:\n{log.read_text()[-2000:]}")


@contextmanager
def stac_api(folder, ports):
    """Yield the address of a STAC API that takes transactions."""
    database, port = ports
    environment = {
        **os.environ,
        "PGHOST": "127.0.0.1",
        "PGPORT": str(database),
        "PGUSER": "stac",
        "PGDATABASE": "stac",
        "PGPASSWORD": "x",
        "ENABLE_TRANSACTIONS_EXTENSIONS": "true",
    }

    def run(*command):
        subprocess.run(command, env=environment, check=True, capture_output=True)

    psql = [postgres_program("psql"), "-q", "-v", "ON_ERROR_STOP=1"]

    def answers():
        ask = [*psql, "-d", "postgres", "-c", "select 1"]
        return (
            subprocess.run(ask, env=environment, capture_output=True, check=False).returncode == 0
        )

    with postgres(folder, database) as process:
        wait_for(answers, process, folder / "log")
        run(*psql, "-d", "postgres", "-c", "create database stac")
        run(*psql, "-c", "create extension postgis")
        run(server_program("pypgstac"), "migrate")
        settings = folder / "search.sql"
        stack = yaml.safe_load(COMPOSE.read_text())
        settings.write_text(stack["configs"]["search"]["content"])
        run(*psql, "-f", settings)
        program, *options = stack["services"]["api"]["command"]
        command = [server_program(program), *options, "--host", "127.0.0.1"]
        command += ["--port", str(port), "--log-level", "warning"]
        url = f"http://127.0.0.1:{port}"
        log = folder / "api.log"

        def is_up():
            try:
                return requests.get(url, timeout=2).ok
            except requests.RequestException:
                return False

        with log.open("wb") as out:
            api = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
        try:
            wait_for(is_up, api, log)
            yield url
        finally:
            api.terminate()
            api.wait(15)
