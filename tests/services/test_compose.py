"""The compose file: valid by its schema, no secret in it, nothing open to the world."""

import importlib.util
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "compose" / "compose.yaml"
SECRETS = {"PASSWORD", "SECRET", "KEY"}


@pytest.fixture(scope="module")
def stack():
    return yaml.safe_load(COMPOSE.read_text())


def schema_check(path):
    program = ROOT / ".services" / "bin" / "check-jsonschema"
    if not program.is_file():
        pytest.skip("no check-jsonschema: sh scripts/services.sh")
    command = [program, "--builtin-schema", "vendor.compose-spec", path]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_is_valid_by_the_schema_of_compose():
    answer = schema_check(COMPOSE)
    assert answer.returncode == 0, answer.stdout


def test_the_check_would_find_a_fault(tmp_path):
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(COMPOSE.read_text().replace("    ports:", "    portz:", 1))
    assert "portz" in schema_check(wrong).stdout


def test_every_secret_comes_from_the_environment(stack):
    for service in stack["services"].values():
        for name, value in service["environment"].items() if "environment" in service else ():
            if SECRETS & set(name.split("_")):
                assert value.startswith("${"), name


def test_ports_are_open_to_this_machine_only(stack):
    for service in stack["services"].values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")


def test_services_and_files_that_it_names_are_there(stack):
    services = stack["services"]
    for service in services.values():
        assert set(service.get("depends_on", [])) <= set(services)
        if "build" in service:
            context = (COMPOSE.parent / service["build"]["context"]).resolve()
            assert context == ROOT
            assert (context / service["build"]["dockerfile"]).is_file()


def test_commands_of_the_pipeline_are_installed(stack):
    assert importlib.util.find_spec("distributed")
    entries = {
        service["entrypoint"][0]
        for service in stack["services"].values()
        if "entrypoint" in service
    }
    assert entries == {"dask", "rockglacier"}
