"""The command line: help, exit codes, one-screen messages."""

import json
import subprocess
import sys
import time
from pathlib import Path

import geopandas as gpd
import pytest
import shapely
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from rockglacier import __version__
from rockglacier.cli import app, main
from rockglacier.console import EXIT_ENDED
from rockglacier.demo.basin import make_basin
from rockglacier.stages import STAGES


def rockglacier(*arguments, cwd):
    command = [str(Path(sys.executable).with_name("rockglacier")), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def area(tmp_path):
    table = gpd.GeoDataFrame(geometry=[shapely.box(74.0, 36.0, 74.1, 36.1)], crs=4326)
    table.to_file(tmp_path / "here.gpkg")
    return tmp_path / "here.gpkg"


COMMANDS = get_command(app).commands


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command):
    answer = CliRunner().invoke(app, [command, "--help"])
    assert answer.exit_code == 0
    assert "Example: rockglacier" in " ".join(answer.stdout.split())


def test_commands_of_one_stage_stand_in_the_order_of_stages():
    stages = [stage.name for stage in STAGES]
    assert [command for command in COMMANDS if command in stages] == stages


def test_version_is_that_of_the_package(tmp_path):
    answer = rockglacier("--version", cwd=tmp_path)
    assert answer.stdout.split() == ["rockglacier", __version__]


def test_help_imports_nothing_heavy():
    code = (
        "import sys, rockglacier.cli\n"
        "heavy = 'torch xarray geopandas rasterio pydantic'.split()\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"


def test_new_writes_a_file_that_the_others_read(area, tmp_path):
    assert rockglacier("new", "here", "--area", area.name, cwd=tmp_path).returncode == 0
    assert yaml.safe_load((tmp_path / "here.yaml").read_text())["area"] == "here.gpkg"
    answer = rockglacier("status", "here.yaml", cwd=tmp_path)
    assert answer.returncode == 0
    assert "missing  search" in answer.stdout


def test_new_overwrites_nothing(area, tmp_path):
    rockglacier("new", "here", "--area", area.name, cwd=tmp_path)
    answer = rockglacier("new", "here", "--area", area.name, cwd=tmp_path)
    assert answer.returncode == 1
    assert "is there already" in answer.stderr


def test_new_keeps_the_letters_of_a_path(area, tmp_path):
    area.rename(tmp_path / "Zürich 山.gpkg")
    answer = rockglacier("new", "here", "--area", "Zürich 山.gpkg", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "area: Zürich 山.gpkg\n" in (tmp_path / "here.yaml").read_text(encoding="utf-8")


def test_new_writes_nothing_for_a_reference_that_is_none(area, tmp_path):
    (tmp_path / "there.geojson").write_text(
        gpd.GeoSeries([shapely.box(10, 46, 10.1, 46.1)], crs=4326).to_json()
    )
    (tmp_path / "text.gpkg").write_text("no polygons")
    for reference, said in (("there.geojson", "touches the area"), ("text.gpkg", "cannot be read")):
        answer = rockglacier(
            "new", "here", "--area", area.name, "--reference", reference, cwd=tmp_path
        )
        assert answer.returncode == 1
        assert said in answer.stderr
        assert not (tmp_path / "here.yaml").exists()


def test_bad_file_exits_1_with_found_expected_and_what_to_do(tmp_path):
    (tmp_path / "x.yaml").write_text("name: x\narea: a.gpkg\ncub: {}\n")
    answer = rockglacier("run", "x.yaml", cwd=tmp_path)
    assert answer.returncode == 1
    assert "did you mean 'cube'?" in answer.stderr
    assert "to do:" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_wrong_usage_exits_2(tmp_path):
    assert rockglacier("run", cwd=tmp_path).returncode == 2
    assert rockglacier("dance", cwd=tmp_path).returncode == 2


def test_schema_is_json(tmp_path):
    answer = rockglacier("schema", cwd=tmp_path)
    assert json.loads(answer.stdout)["title"] == "Config"


def test_stage_alone_says_what_has_to_run_before(area, tmp_path):
    rockglacier("new", "here", "--area", area.name, cwd=tmp_path)
    answer = rockglacier("cube", "here.yaml", cwd=tmp_path)
    assert answer.returncode == 1
    assert "rockglacier search" in answer.stderr


def test_run_that_sigterm_ends_lets_its_folder_go(tmp_path):
    make_basin(tmp_path / "data", size_km=(4.0, 4.0), labelled=False)
    (tmp_path / "x.yaml").write_text(
        "name: x\narea: data/area.gpkg\nsearch: {catalog: data/items.parquet}\n"
    )
    program = str(Path(sys.executable).with_name("rockglacier"))
    run = subprocess.Popen(
        [program, "search", "x.yaml"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    lease = tmp_path / "x" / ".lease"
    while run.poll() is None and not lease.exists():
        time.sleep(0.002)
    run.terminate()
    _, said = run.communicate(timeout=60)
    assert run.returncode == EXIT_ENDED
    assert "the same command goes on" in said
    assert not lease.exists()


def test_interrupt_of_a_command_says_that_finished_work_is_kept(monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("rockglacier.config.json_schema", interrupted)
    monkeypatch.setattr(sys, "argv", ["rockglacier", "schema"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 130
    assert "Finished work is kept" in capsys.readouterr().err


def test_two_inventories_are_compared(area, tmp_path):
    answer = rockglacier("compare", area.name, area.name, "--to", "out", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("Agreement of here.gpkg (A) and here.gpkg (B)")
    assert (tmp_path / "out" / "links.parquet").is_file()
    answer = rockglacier("compare", area.name, area.name, "--reference-kind", "x", cwd=tmp_path)
    assert answer.returncode == 1
    assert "agreement or accuracy" in answer.stderr
