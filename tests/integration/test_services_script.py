"""What scripts/services.sh installs, offline: stand-ins write down what they are asked for."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("sh", "cat", "cksum", "dirname", "ls", "mkdir", "rm")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="it is a shell script")


class Machine:
    """A checkout in a folder with a blank in its name; ``said`` holds what was asked for."""

    def __init__(self, folder, *, user=0):
        self.root, self.bin, self.log = folder / "a checkout", folder / "bin", folder / "log"
        for path in (self.root / "scripts", self.root / ".venv" / "bin", self.bin):
            path.mkdir(parents=True)
        for name in ("services.sh", "services.txt"):
            shutil.copyfile(ROOT / "scripts" / name, self.root / "scripts" / name)
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        self.tool("id", f"echo {user}")
        self.tool("apt-get")
        self.tool("chromium")
        self.tool(self.root / ".venv" / "bin" / "python", 'mkdir -p "$PWD/.services"')

    def tool(self, name, text="", *, status=0):
        path = self.bin / name
        path.write_text(
            f'#!/bin/sh\necho "{path.name} $*" >> "{self.log}"\n{text}\nexit {status}\n'
        )
        path.chmod(0o755)

    def run(self):
        self.log.write_text("")
        environment = {
            "PATH": str(self.bin),
            "POSTGRESQL": str(self.bin / "none"),
            "POSTGRESQL_SHARE": str(self.root.parent / "share"),
        }
        answer = subprocess.run(
            ["sh", str(self.root / "scripts" / "services.sh")],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        self.said = [line for line in self.log.read_text().splitlines() if line[:2] != "id"]
        return answer


def test_root_gets_what_is_missing_and_a_second_run_nothing(tmp_path):
    machine = Machine(tmp_path)
    assert machine.run().returncode == 0
    install = "install -y -qq --no-install-recommends"
    assert machine.said[:2] == [
        "apt-get update -qq",
        f"apt-get {install} postgresql postgis postgresql-postgis nginx-light",
    ]
    assert [line.split()[3] for line in machine.said[2:]] == ["venv", "pip"]
    assert "-r scripts/services.txt" in machine.said[3]
    for name in ("initdb", "nginx"):
        machine.tool(name)
    assert machine.run().returncode == 0
    assert machine.said == []


def test_only_what_is_missing_is_installed(tmp_path):
    machine = Machine(tmp_path)
    machine.tool("initdb")
    machine.run()
    assert machine.said[1].endswith("recommends nginx-light")


def test_postgresql_without_postgis_gets_it(tmp_path):
    machine = Machine(tmp_path)
    for name in ("initdb", "nginx"):
        machine.tool(name)
    extensions = tmp_path / "share" / "15" / "extension"
    extensions.mkdir(parents=True)
    machine.run()
    assert machine.said[1].endswith("recommends postgis postgresql-postgis")
    (extensions / "postgis.control").touch()
    machine.run()
    assert machine.said == []


def test_a_browser_is_installed_apart_as_not_every_system_has_one(tmp_path):
    machine = Machine(tmp_path)
    (machine.bin / "chromium").unlink()
    for name in ("initdb", "nginx"):
        machine.tool(name)
    assert machine.run().returncode == 0
    assert machine.said[:2] == [
        "apt-get update -qq",
        "apt-get install -y -qq --no-install-recommends chromium",
    ]


def test_another_list_is_installed_anew(tmp_path):
    machine = Machine(tmp_path)
    machine.run()
    with (machine.root / "scripts" / "services.txt").open("a") as file:
        file.write("another==1\n")
    machine.run()
    assert [line.split()[3] for line in machine.said[2:]] == ["venv", "pip"]


def test_others_are_told_what_to_install_and_get_the_rest(tmp_path):
    machine = Machine(tmp_path, user=1000)
    answer = machine.run()
    assert answer.returncode == 0
    assert "sudo apt-get install postgresql postgis postgresql-postgis nginx-light" in answer.stderr
    assert [line.split()[3] for line in machine.said] == ["venv", "pip"]


def test_a_machine_without_network_is_told_and_gets_the_rest(tmp_path):
    machine = Machine(tmp_path)
    machine.tool("apt-get", status=100)
    answer = machine.run()
    assert answer.returncode == 0
    assert "are skipped" in answer.stderr


def test_a_failed_environment_is_made_again(tmp_path):
    machine = Machine(tmp_path)
    python = machine.root / ".venv" / "bin" / "python"
    machine.tool(python, status=1)
    assert machine.run().returncode != 0
    machine.tool(python, 'mkdir -p "$PWD/.services"')
    assert machine.run().returncode == 0
    assert [line.split()[3] for line in machine.said[2:]] == ["venv", "pip"]
