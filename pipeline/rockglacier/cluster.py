"""Where blocks are worked on: threads here, processes here, or somebody's Dask cluster."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rockglacier.errors import InputError, RemoteError
from rockglacier.storage import redact

if TYPE_CHECKING:
    from distributed import Client

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 10
SCHEMES = ("tcp", "tls", "ucx", "ws", "wss")
"""Protocols of a Dask scheduler's address."""


@contextmanager
def cluster_client(kind: str = "threads", *, workers: int | None = None) -> Iterator[Client | None]:
    """Give a Dask client for the time of a run, or None for threads of this process.

    Parameters
    ----------
    kind
        ``threads``; ``local``: worker processes on this machine; or the address of a scheduler,
        e.g. ``tcp://host:8786``, whose workers see the study's folder under the same path.
    workers
        Worker processes of ``local``; default: one a core.

    Yields
    ------
    Client or None
        Closed at the end; processes that were started here are stopped, other people's are not.

    Raises
    ------
    InputError
        ``kind`` is neither of the three.
    RemoteError
        No scheduler answers there, or its workers have no rockglacier.

    Notes
    -----
    Processes are spawned, never forked, so a script that uses ``local`` needs the usual
    ``if __name__ == "__main__":``.
    """
    if kind == "threads":
        yield None
    elif kind == "local":
        with _local_client(workers) as client:
            yield client
    elif kind.partition("://")[0] in SCHEMES and "://" in kind:
        with _connected(kind) as client:
            _check_workers(client, kind)
            yield client
    else:
        raise InputError(
            f"no cluster {kind!r}",
            expected="threads, local, or the address of a scheduler",
            todo="for example --cluster tcp://HOST:8786",
        )


@contextmanager
def _local_client(workers: int | None) -> Iterator[Client]:
    from distributed import Client, LocalCluster

    number = workers or os.cpu_count() or 1
    with (
        LocalCluster(
            n_workers=number, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        logger.info("%s worker processes on this machine", number)
        yield client


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError) as error:
        raise RemoteError(
            f"no Dask scheduler answers at {redact(address)!r} within {CONNECT_SECONDS} s",
            expected="the address that `dask scheduler` prints, reachable from here",
            todo="start it (`dask scheduler`, then `dask worker ADDRESS`), or use --cluster local",
            href=redact(address),
        ) from error
    with client:
        yield client


def _check_workers(client: Client, address: str) -> None:
    """Ask every worker for its rockglacier before it is given hours of work."""
    try:
        found = client.run(_installed)
    except ModuleNotFoundError as error:
        raise RemoteError(
            f"workers of {redact(address)!r} cannot work: {error}",
            expected="the same environment on workers as here",
            todo="install rockglacier where the workers run",
            href=redact(address),
        ) from error
    if not found:
        logger.warning("%s has no workers yet: the run waits for the first", redact(address))
    logger.info("%s workers at %s", len(found), redact(address))


def _installed() -> bool:
    return True
