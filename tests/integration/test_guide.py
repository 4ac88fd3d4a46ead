"""Every code block of the guide runs, in the order of the page, in one folder of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "pipeline" / "guide"
PAGES = [
    "build-a-cube",
    "train-from-my-inventory",
    "publish",
    "score-a-map",
    "edit-in-qgis",
    "map-my-basin",
    "many-basins",
    "label-from-zero",
    "cluster",
]  # in this order: pages use what those before them made
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("guide")


def run_block(language, code, folder):
    if language == "yaml":
        name = code.splitlines()[0].removeprefix("# ")
        (folder / name).write_text(code)
        return
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "-c", code] if language == "python" else ["sh", "-e", "-c", code]
    answer = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, f"{code}\n{answer.stdout}\n{answer.stderr}"


@pytest.mark.parametrize("page", PAGES)
def test_code_of_the_guide_runs(page, folder):
    blocks = BLOCK.findall((GUIDE / f"{page}.md").read_text())
    assert blocks
    for language, code in blocks:
        run_block(language, code, folder)


def test_every_page_is_run():
    assert sorted(path.stem for path in GUIDE.glob("*.md")) == sorted(PAGES)
