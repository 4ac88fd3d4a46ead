"""Where blocks are worked on: threads here, processes here, or a Dask cluster somewhere."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rockglacier.config import ComputeConfig, parse_bytes
from rockglacier.errors import InputError, RemoteError
from rockglacier.storage import redact

if TYPE_CHECKING:
    from distributed import Client

    from rockglacier.study import Study

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 10
SCHEMES = ("tcp", "tls", "ucx", "ws", "wss")
"""Protocols of a Dask scheduler's address."""

HOSTED = ("gateway", "kubernetes", "coiled")
"""Services that start a cluster for a run, each a library of its own."""

WORKER_BYTES = 2 * 2**30
"""Memory below which a worker process on this machine is not worth its start: a group of blocks
with its scenes takes about 1 GB."""

SHARE_OF_MEMORY = 0.9
"""The rest is for the process that runs the command."""

ALLOWED_DEATHS = 1
"""Of workers, under one block: it is set aside at the second."""

SETTINGS = {
    "distributed.scheduler.allowed-failures": ALLOWED_DEATHS,
    "distributed.worker.profile.enabled": False,
}
"""Of Dask on this machine; its profiler stops the threads of a worker a hundred times a second."""


@contextmanager
def cluster_client(
    kind: str | None = None,
    *,
    compute: ComputeConfig | None = None,
    workers: int | None = None,
    study: Study | None = None,
) -> Iterator[Client | None]:
    """Give a Dask client for the time of a run, or None for threads of this process.

    Parameters
    ----------
    kind
        ``threads``; ``local``: worker processes on this machine; the address of a scheduler,
        e.g. ``tls://host:8786``; or ``gateway``, ``kubernetes``, ``coiled``: a service that starts
        a cluster. Default: ``compute.cluster``.
    compute
        How many workers, and of what size; default: that of the study.
    workers
        In place of ``compute.workers``.
    study
        Whose folder every worker must be able to write to, and whose scenes to read.

    Yields
    ------
    Client or None
        Closed at the end; what was started for it is stopped, other people's workers are not.

    Raises
    ------
    InputError
        ``kind`` is none of these, a library is missing, or workers do not see the study's folder.
    RemoteError
        No scheduler answers, the service gives no workers, or theirs is another environment.

    Notes
    -----
    Keys and settings of the environment reach workers by a plugin, never by a task; see
    ``rockglacier.workers``. Processes are spawned, never forked, so a script that uses ``local``
    needs the usual ``if __name__ == "__main__":``.
    """
    compute = compute or (study.config.compute if study else ComputeConfig.model_validate({}))
    if workers is not None:
        compute = compute.model_copy(update={"workers": workers})
    kind = kind or compute.cluster
    if kind == "threads":
        yield None
        return
    with _client(kind, compute) as client:
        from rockglacier.workers import equipped, self_test

        with equipped(client, timeout_s=compute.timeout_s, is_relayed=kind == "kubernetes"):
            self_test(client, at=_shown(kind), study=study)
            if link := dashboard_link(client):
                logger.info("dashboard: %s", link)
            yield client


@contextmanager
def _client(kind: str, compute: ComputeConfig) -> Iterator[Client]:
    if kind == "local":
        with _local_client(compute) as client:
            yield client
    elif kind in HOSTED:
        from rockglacier.hosted import hosted_client

        with hosted_client(kind, compute) as client:
            yield client
    elif kind.partition("://")[0] in SCHEMES and "://" in kind:
        with _connected(kind) as client:
            yield client
    else:
        raise InputError(
            f"no cluster {kind!r}",
            expected=f"threads, local, the address of a scheduler, {', '.join(HOSTED)}",
            todo="for example --cluster tcp://HOST:8786",
        )


def local_size(compute: ComputeConfig, *, cores: int, memory_bytes: int) -> tuple[int, int, int]:
    """Return processes, threads of each, and bytes of memory of each, for one machine.

    As many processes as cores allow and memory can feed; both may be set.
    """
    threads = compute.threads or 1
    usable = int(SHARE_OF_MEMORY * memory_bytes)
    wanted = parse_bytes(compute.memory) if compute.memory else None
    fitting = min(cores // threads, usable // (wanted or WORKER_BYTES))
    number = compute.workers or max(1, fitting)
    return number, threads, wanted or usable // number


@contextmanager
def _local_client(compute: ComputeConfig) -> Iterator[Client]:
    import dask
    from dask.system import CPU_COUNT
    from distributed import Client, LocalCluster
    from distributed.system import MEMORY_LIMIT

    number, threads, memory = local_size(compute, cores=CPU_COUNT, memory_bytes=MEMORY_LIMIT)
    with (
        dask.config.set(SETTINGS),
        LocalCluster(
            n_workers=number,
            threads_per_worker=threads,
            memory_limit=memory,
            processes=True,
            resources={"GPU": compute.gpu} if compute.gpu else None,
            dashboard_address="127.0.0.1:0",  # any port that is free
        ) as cluster,
        Client(cluster) as client,
    ):
        if compute.adaptive:
            cluster.adapt(minimum=compute.adaptive[0], maximum=compute.adaptive[1])
        logger.info("%s worker processes on this machine, %.1f GB each", number, memory / 1e9)
        yield client


@dataclass(frozen=True, slots=True, kw_only=True)
class Joining:
    """What another process of this machine needs to work on the cluster of a client."""

    address: str
    security: Any
    """Certificates of the client, or None."""

    @classmethod
    def of(cls, client: Client) -> Joining:
        """Return that of a client."""
        return cls(address=str(client.scheduler.address), security=client.security)  # type: ignore[union-attr]

    @contextmanager
    def client(self) -> Iterator[Client]:
        """Give a client of its own of the same cluster."""
        if self.address.startswith("gateway://"):
            importlib.import_module("dask_gateway")  # it knows such addresses
        with _connected(self.address, security=self.security) as client:
            yield client


@contextmanager
def _connected(address: str, *, security: Any = None) -> Iterator[Client]:
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECT_SECONDS, security=security)
    except TypeError as error:  # what Dask says of certificates that it was not given
        raise InputError(
            f"no certificates to join {redact(address)!r} with",
            expected="distributed.comm.tls.ca-file, .client.cert and .client.key of Dask",
            todo="set DASK_DISTRIBUTED__COMM__TLS__CA_FILE, ..._TLS__CLIENT__CERT and "
            "..._TLS__CLIENT__KEY to the files that whoever started the scheduler gave you",
        ) from error
    except (OSError, TimeoutError) as error:
        raise RemoteError(
            f"no Dask scheduler answers at {redact(address)!r} within {CONNECT_SECONDS} s",
            expected="the address that `dask scheduler` prints, reachable from here",
            todo="start it (`dask scheduler`, then `dask worker ADDRESS`), or use --cluster local",
            href=redact(address),
        ) from error
    with client:
        yield client


def _shown(kind: str) -> str:
    return repr(redact(kind)) if "://" in kind else f"the {kind} cluster"


def dashboard_link(client: Any) -> str:
    """Return the address of the scheduler's dashboard, or nothing where there is none."""
    is_ours = "LocalCluster" in type(client.cluster).__name__
    if is_ours and importlib.util.find_spec("bokeh") is None:
        return ""  # a server without pages
    try:
        return client.dashboard_link or ""
    except KeyError:  # a scheduler that was started without one
        return ""
