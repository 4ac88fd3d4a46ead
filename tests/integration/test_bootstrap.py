"""The bootstrap of a checkout, offline: a uv that installs nothing stands in for the network."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("sh", "awk", "cat", "cksum", "cp", "date", "dirname", "env", "ls", "rm", "sed", "tr")
POLLUTED = {
    "PYTHONPATH": "/nowhere/site-packages",
    "PYTHONHOME": "/nowhere",
    "VIRTUAL_ENV": "/nowhere/venv",
    "CONDA_PREFIX": "/nowhere/conda",
    "PIP_REQUIRE_VIRTUALENV": "1",
    "PIP_TARGET": "/nowhere/target",
    "UV_PYTHON": "/nowhere/python",
}
FIXED_PLACES = [
    Path(f"{folder}/python{version}")
    for folder in ("/usr/local/bin", "/opt/homebrew/bin")
    for version in ("3.12", "3.13", "3.14")
]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the bootstrap is a shell script")


class Machine:
    """A checkout in a folder with a blank in its name, and a PATH of a few tools only."""

    def __init__(self, folder):
        self.root, self.bin, self.home = folder / "a checkout", folder / "bin", folder / "home"
        for path in (self.root / "scripts", self.bin, self.home):
            path.mkdir(parents=True)
        for name in ("scripts/bootstrap.sh", "pyproject.toml", "requirements.lock"):
            shutil.copyfile(ROOT / name, self.root / name)
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        self.tool("id", "exit 1")  # so that no home is found beside $HOME
        self.disk(free_gb=50)

    def tool(self, name, text):
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def disk(self, *, free_gb):
        self.tool("df", f"printf 'Filesystem\\n/dev/disk 1 1 {free_gb * 1048576} 1%% /\\n'")

    def python(self):
        """Put a good Python on the PATH, behind shims of versions that are not installed."""
        self.tool("python3.12", "exit 127")
        self.tool("python3.13", "echo 'pyenv: version not installed' >&2; exit 127")
        (self.bin / "python3").symlink_to(sys._base_executable)

    def uv(self):
        """Put a uv on the PATH that makes environments, and only writes down what it installs."""
        make = f'for last; do :; done; "{sys._base_executable}" -m venv --without-pip "$last"'
        self.tool(
            "uv",
            f'{{ echo "$@"; env; }} >>"{self.bin}/uv.log"\n'
            f'case "$1" in venv) {make} ;; --version) echo uv 1 ;; esac',
        )

    def installed(self):
        log = self.bin / "uv.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [line for line in lines if line.startswith("pip install")], lines

    def run(self, **variables):
        return subprocess.run(
            ["sh", "scripts/bootstrap.sh"],
            cwd=self.root,
            env={"PATH": str(self.bin), "HOME": str(self.home), **variables},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_no_python_and_no_uv_is_told(machine):
    found = [str(path) for path in FIXED_PLACES if path.exists()]
    if found:
        pytest.skip(f"the script rightly finds {found[0]} whatever the PATH is")
    machine.tool("python3.12", "exit 127")
    machine.tool("python3", "exit 1")
    answer = machine.run()
    assert answer.returncode == 1
    assert "no Python >= 3.12 found. Install Python 3.12 or uv" in answer.stderr
    assert "PYTHON=/path/to/python3.12 make demo" in answer.stderr
    assert not (machine.root / ".venv").exists()


def test_interpreter_named_by_hand_that_is_none_is_told(machine):
    machine.python()
    machine.uv()
    answer = machine.run(PYTHON="/bin/false")
    assert answer.returncode == 1
    assert "PYTHON=/bin/false is not a CPython >= 3.12 with venv and ensurepip" in answer.stderr
    assert machine.installed()[0] == []
    assert not (machine.root / ".venv").exists()


def test_too_small_disk_is_told_before_anything_is_made(machine):
    machine.python()
    machine.uv()
    machine.disk(free_gb=3)
    answer = machine.run()
    assert answer.returncode == 1
    assert "found 3 GB free on the disk of" in answer.stderr
    assert "needs 10 GB" in answer.stderr
    assert "larger disk" in answer.stderr
    assert not (machine.root / ".venv").exists()


def test_what_lies_about_in_the_environment_harms_neither_the_first_run_nor_the_second(machine):
    machine.python()
    machine.uv()
    answer = machine.run(**POLLUTED)
    assert answer.returncode == 0, answer.stderr
    installed, log = machine.installed()
    assert [line.split()[-2:] for line in installed] == [
        ["-r", "requirements.lock"],
        ["--editable", "."],
    ]
    seen = dict(line.split("=", 1) for line in log if "=" in line)
    assert not set(seen) & (set(POLLUTED) - {"PIP_REQUIRE_VIRTUALENV"})
    assert (seen["PIP_REQUIRE_VIRTUALENV"], seen["UV_SYSTEM_CERTS"]) == ("0", "1")

    again = machine.run(**POLLUTED)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert machine.installed() == (installed, log)


@pytest.mark.parametrize("change", ["lock", "place"])
def test_environment_of_another_lock_or_place_is_made_anew(machine, change):
    machine.python()
    machine.uv()
    assert machine.run().returncode == 0
    if change == "lock":
        with (machine.root / "requirements.lock").open("a") as lock:
            lock.write("another==1\n")
    else:
        machine.root = machine.root.rename(machine.root.with_name("elsewhere"))
    answer = machine.run()
    assert answer.returncode == 0
    assert "ready: Python 3." in answer.stderr
    assert len(machine.installed()[0]) == 4


def test_help_of_make_and_of_the_command_need_no_clean_environment(tmp_path):
    environment = {**os.environ, **POLLUTED}
    answer = subprocess.run(
        ["make", "-C", str(ROOT), "help"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert "demo " in answer.stdout
    del environment["PYTHONHOME"]  # no Python starts with a wrong one; make takes it away
    answer = subprocess.run(
        [str(Path(sys.executable).with_name("rockglacier")), "--help"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert "rockglacier demo" in answer.stdout
