"""Clusters that a service starts for a run: Dask Gateway, the Kubernetes operator, Coiled.

Each has its own library, an extra of this package, imported only here. What a service would be
asked for is made by plain functions, so that it can be shown and checked without the service.
"""

from __future__ import annotations

import difflib
import importlib
import logging
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rockglacier.config import ComputeConfig
from rockglacier.errors import InputError, RemoteError, RockGlacierError
from rockglacier.storage import redact_text

if TYPE_CHECKING:
    from distributed import Client

logger = logging.getLogger(__name__)

LIBRARIES = {
    "gateway": "dask_gateway",
    "kubernetes": "dask_kubernetes.operator",
    "coiled": "coiled",
}

WORKERS = 2
"""Where `compute.workers` is not set."""

WORKER_SECONDS = 900
"""For the first worker: a cloud's machine and its image take minutes."""

ALLOWED_FAILURES = {"name": "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "value": "1"}
"""A block that takes two workers down with it is set aside."""

SENT = {"distributed.scheduler.allowed-failures": 1}
"""The same, where the client's own settings of Dask go to the scheduler and win there."""

LEAST_CORES = 2
"""Of a machine of Coiled: its client refuses fewer, as no x86 machine has one."""

KUBERNETES_OPTIONS = ("namespace", "image", "secret", "service_account", "scheduler_memory")
"""Keys of `compute.options`; the others of the resource follow from `compute`."""

POD = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
CONTAINER = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
"""What a namespace asks of pods that enforces the standard ``restricted``."""

SCHEDULER_PORTS = {"tcp-comm": 8786, "http-dashboard": 8787}


@contextmanager
def hosted_client(kind: str, compute: ComputeConfig) -> Iterator[Client]:
    """Start a cluster at a service, give its client, and stop the cluster at the end.

    Raises
    ------
    InputError
        The service's library is not installed, or an option is not known.
    RemoteError
        The service gives no cluster, or no worker in time.
    """
    library = _library(kind)
    cluster = _started(kind, lambda: STARTS[kind](library, compute))
    try:
        _scale(cluster, compute)
        with cluster.get_client() as client:
            _wait(client, kind, compute)
            yield client
    finally:
        cluster.close()


def _library(kind: str) -> Any:
    try:
        return importlib.import_module(LIBRARIES[kind])
    except ModuleNotFoundError as error:
        raise InputError(
            f"--cluster {kind} needs a library that is not installed: {error.name}",
            expected=f"the extra {kind!r} of rockglacier",
            todo=f"pip install 'rockglacier[{kind}]'",
        ) from error


def _started(kind: str, start: Callable[[], Any]) -> Any:
    try:
        return start()
    except RockGlacierError:
        raise
    except Exception as error:  # every service has errors of its own, and of its transport
        raise RemoteError(
            f"{kind} gave no cluster: {redact_text(f'{type(error).__name__}: {error}')}",
            expected="a service that answers, and an account that may start clusters",
            todo=f"see deploy/{FOLDERS[kind]}/README.md; test it with the service's own client",
        ) from error


def _start_gateway(library: Any, compute: ComputeConfig) -> Any:
    with library.Gateway() as gateway:  # the cluster has a connection of its own
        return gateway.new_cluster(shutdown_on_close=True, **gateway_options(compute))


def _start_kubernetes(library: Any, compute: ComputeConfig) -> Any:
    name = f"rockglacier-{secrets.token_hex(3)}"
    options = _checked(compute.options, KUBERNETES_OPTIONS, "kubernetes")
    return library.KubeCluster(
        custom_cluster_spec=kubernetes_cluster(compute, name=name),
        namespace=options.get("namespace"),
    )


def _start_coiled(library: Any, compute: ComputeConfig) -> Any:
    import dask

    with dask.config.set(SENT):
        return library.Cluster(**coiled_arguments(compute))


STARTS: Mapping[str, Callable[[Any, ComputeConfig], Any]] = {
    "gateway": _start_gateway,
    "kubernetes": _start_kubernetes,
    "coiled": _start_coiled,
}
FOLDERS = {"gateway": "dask-gateway", "kubernetes": "kubernetes", "coiled": "coiled"}


def _scale(cluster: Any, compute: ComputeConfig) -> None:
    if compute.adaptive:
        cluster.adapt(minimum=compute.adaptive[0], maximum=compute.adaptive[1])
    else:
        cluster.scale(compute.workers or WORKERS)


def _wait(client: Client, kind: str, compute: ComputeConfig) -> None:
    least = max(1, compute.adaptive[0]) if compute.adaptive else 1
    if compute.adaptive and compute.adaptive[0] == 0:
        return  # the first block calls for the first worker
    try:
        client.wait_for_workers(least, timeout=WORKER_SECONDS)
    except TimeoutError as error:
        raise RemoteError(
            f"{kind} gave no worker within {WORKER_SECONDS} s",
            expected="room for the workers that `compute` asks for",
            todo="ask for fewer or smaller ones, or look into the service's own log",
        ) from error


def gateway_options(compute: ComputeConfig) -> dict[str, Any]:
    """Return the options of a Gateway cluster: which there are, its server decides."""
    return dict(compute.options)


def kubernetes_cluster(compute: ComputeConfig, *, name: str) -> dict[str, Any]:
    """Return the ``DaskCluster`` that the Kubernetes operator is asked for.

    Parameters
    ----------
    compute
        Workers, threads, memory and GPUs; ``options`` may hold ``namespace``, ``image``,
        ``secret`` (name of a Secret whose keys become variables of workers), ``service_account``
        and ``scheduler_memory``.
    name
        Of the resource.

    Raises
    ------
    InputError
        An option is not known, or there is no image.
    """
    options = _checked(compute.options, KUBERNETES_OPTIONS, "kubernetes")
    if "image" not in options:
        raise InputError(
            "kubernetes needs an image for its workers, and compute.options.image is not set",
            expected="an image with the same rockglacier as here",
            todo="build deploy/docker/Dockerfile and push it where the cluster can pull it",
        )
    scheduler = {
        "name": "scheduler",
        "image": options["image"],
        "args": ["dask", "scheduler", "--host", "0.0.0.0"],  # noqa: S104 its pod alone
        "env": [ALLOWED_FAILURES],
        "ports": [
            {"name": port, "containerPort": number, "protocol": "TCP"}
            for port, number in SCHEDULER_PORTS.items()
        ],
        "readinessProbe": {"httpGet": {"port": "http-dashboard", "path": "/health"}},
        "livenessProbe": {"httpGet": {"port": "http-dashboard", "path": "/health"}},
        "resources": _resources(1, options.get("scheduler_memory", "2Gi"), 0),
        "securityContext": CONTAINER,
    }
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskCluster",
        "metadata": {"name": name},
        "spec": {
            "idleTimeout": 1800,
            "worker": {
                "replicas": compute.adaptive[0] if compute.adaptive else compute.workers or WORKERS,
                "spec": _pod(_worker(compute, options), options),
            },
            "scheduler": {
                "spec": _pod(scheduler, options),
                "service": {
                    "type": "ClusterIP",
                    "selector": {
                        "dask.org/cluster-name": name,
                        "dask.org/component": "scheduler",
                    },
                    "ports": [
                        {"name": port, "protocol": "TCP", "port": number, "targetPort": port}
                        for port, number in SCHEDULER_PORTS.items()
                    ],
                },
            },
        },
    }


def _worker(compute: ComputeConfig, options: Mapping[str, Any]) -> dict[str, Any]:
    threads = compute.threads or 1
    memory = _quantity(compute.memory) if compute.memory else "4Gi"
    command = ["dask", "worker", "--name", "$(DASK_WORKER_NAME)", "--nthreads", str(threads)]
    command += ["--memory-limit", memory.replace("i", "iB")]
    if compute.gpu:
        command += ["--resources", f"GPU={compute.gpu}"]
    secret = options.get("secret")
    return {
        "name": "worker",
        "image": options["image"],
        "args": command,
        "resources": _resources(threads, memory, compute.gpu),
        "securityContext": CONTAINER,
        **({"envFrom": [{"secretRef": {"name": secret}}]} if secret else {}),
    }


def _quantity(memory: str) -> str:
    """Return an amount as Kubernetes spells it: 4GiB is 4Gi there, 4GB is 4G."""
    return memory.replace(" ", "").rstrip("Bb")


def _resources(cpu: int, memory: str, gpu: int) -> dict[str, Any]:
    gpus = {"nvidia.com/gpu": str(gpu)} if gpu else {}
    return {
        "requests": {"cpu": str(cpu), "memory": memory, **gpus},
        "limits": {"memory": memory, **gpus},
    }


def _pod(container: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    account = options.get("service_account")
    return {
        **({"serviceAccountName": account} if account else {}),
        "automountServiceAccountToken": False,
        "securityContext": POD,
        "containers": [container],
    }


def coiled_arguments(compute: ComputeConfig) -> dict[str, Any]:
    """Return the arguments of ``coiled.Cluster``; those of ``options`` win.

    Cores and memory of machines with a GPU are what they come with, unless ``compute`` says them.
    """
    threads = compute.threads or 1
    workers: Any = list(compute.adaptive) if compute.adaptive else compute.workers or WORKERS
    worker_options: dict[str, Any] = {"nthreads": threads}
    if compute.gpu:
        worker_options["resources"] = {"GPU": compute.gpu}
    asked = {
        "n_workers": workers,
        "worker_cpu": max(threads, LEAST_CORES) if compute.threads or not compute.gpu else None,
        "worker_memory": compute.memory or (None if compute.gpu else "4GiB"),
        "worker_gpu": compute.gpu or None,
        "worker_options": worker_options,
        "spot_policy": "spot_with_fallback",
        "idle_timeout": "20 minutes",
        "environ": {ALLOWED_FAILURES["name"]: ALLOWED_FAILURES["value"]},
        "shutdown_on_close": True,
    }
    return {
        **{name: value for name, value in asked.items() if value is not None},
        **compute.options,
    }


def _checked(options: Mapping[str, Any], known: tuple[str, ...], kind: str) -> Mapping[str, Any]:
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise InputError(f"compute.options.{name}: unknown option of {kind}; {hint}")
    return options
