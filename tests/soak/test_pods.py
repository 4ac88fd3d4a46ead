"""The pods of deploy/kubernetes are played with their security settings: scheduler, worker, Job.

What this machine has not is left out: secrets of a namespace, probes, an account. Ports are free
ones of this machine, as pods have no network of their own here.
"""

import copy
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import yaml
import zarr

from ports import free_ports
from rockglacier.config import parse_config
from rockglacier.cube.build import build_cube
from rockglacier.demo.basin import make_basin as make_demo_basin
from rockglacier.run import run_stages
from rockglacier.stages import STAGES, Context
from rockglacier.study import Study

pytestmark = pytest.mark.soak

KUBERNETES = Path(__file__).parents[2] / "deploy" / "kubernetes"
DONE_S = 300


def read(path):
    return yaml.safe_load((KUBERNETES / path).read_text())


@pytest.fixture
def play(engine, image, tmp_path):
    if not engine.is_podman:
        pytest.skip("docker plays no pods")

    with ExitStack() as stack:

        def start(name, spec, *, arguments=None, environment=None, data=None, files=None):
            name, spec = f"rockglacier-test-{name}", copy.deepcopy(spec)
            spec |= {"hostNetwork": True, "restartPolicy": "Never"}
            del spec["serviceAccountName"]
            (container,) = spec["containers"]
            for unknown in ("envFrom", "livenessProbe", "readinessProbe", "ports"):
                container.pop(unknown, None)
            container["image"] = image
            if arguments:
                container["args"] = arguments
            given = [{"name": key, "value": value} for key, value in (environment or {}).items()]
            container["env"] = [*container.get("env", []), *given]
            if data:
                container.setdefault("volumeMounts", []).append(
                    {"name": "data", "mountPath": str(data)}
                )
                spec.setdefault("volumes", []).append(
                    {"name": "data", "hostPath": {"path": str(data), "type": "Directory"}}
                )
            documents = [
                {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
            ]
            if files:
                documents.insert(0, {"apiVersion": "v1", "kind": "ConfigMap",
                                     "metadata": {"name": "study"}, "data": files})  # fmt: skip
            path = tmp_path / f"{name}.yaml"
            path.write_text(yaml.safe_dump_all(documents))
            stack.callback(engine, "pod", "rm", "--force", name)
            engine.must("kube", "play", path)
            return f"{name}-{container['name']}"

        yield start


def test_scheduler_worker_and_job_build_a_cube_as_their_pods_say(engine, play, tmp_path):
    data = tmp_path / "data"
    basin = make_demo_basin(data, seed=3, size_km=(3.0, 2.0), labelled=False)
    for path in (data, *data.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    port, *pages = map(str, free_ports(3))
    address = f"tcp://127.0.0.1:{port}"
    spec = read("dask-cluster.yaml")["spec"]
    scheduler, worker = spec["scheduler"]["spec"], spec["worker"]["spec"]
    own = {":8787": f":{pages[0]}", ":8788": f":{pages[1]}", "$(DASK_WORKER_NAME)": "one"}

    def arguments(pod):
        return [own.get(word, word) for word in pod["containers"][0]["args"]]

    play("scheduler", scheduler, arguments=[*arguments(scheduler), "--port", port])
    # the operator tells workers so where their scheduler is
    told = {"DASK_SCHEDULER_ADDRESS": address}
    play("worker", worker, arguments=arguments(worker), environment=told, data=data)

    study = read("run/study.yaml") | {"area": str(basin.area), "output": str(data / "out")}
    study["search"]["catalog"] = str(basin.items)
    study["compute"]["cluster"] = address
    job = read("run/job.yaml")["spec"]["template"]["spec"]
    name = play("job", job, data=data, files={"study.yaml": yaml.safe_dump(study)})
    assert ended(engine, name) == "0", engine("logs", name).stderr[-3000:]

    assert "1 workers at" in (data / "out" / "logs" / "run.log").read_text()
    values = {**study, "output": str(data / "here"), "compute": {}}
    here = Study(config=parse_config(values, source="test"), base=data)
    run_stages(here, [one for one in STAGES if one.name == "search"], Context())
    build_cube(here)
    mine, theirs = (
        zarr.open_group(str(data / one / "cube.zarr"), mode="r") for one in ("here", "out")
    )
    for layer in mine.array_keys():
        if layer != "band":
            np.testing.assert_array_equal(mine[layer][...], theirs[layer][...], err_msg=layer)


def ended(engine, name):
    """Wait for the end of a container, and return its status."""
    end = time.monotonic() + DONE_S
    state = ("container", "inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", name)
    while (found := engine.must(*state).split())[0] != "exited":
        assert time.monotonic() < end, engine("logs", name).stderr[-3000:]
        time.sleep(0.5)
    return found[1]
