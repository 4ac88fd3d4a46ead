"""What a worker is given before its first block, and what it must be able to do.

Keys and settings are of the environment of whoever runs the study. A plugin takes them to the
workers, those that come later too, and takes them away again; no task ever holds one.
"""

from __future__ import annotations

import faulthandler
import importlib.metadata
import logging
import os
import platform
import re
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from distributed.diagnostics.plugin import WorkerPlugin

from rockglacier.errors import InputError, RemoteError, RockGlacierError
from rockglacier.storage import open_place, redact_text, remove, write_bytes
from rockglacier.storage.secrets import SECRET_NAME

if TYPE_CHECKING:
    from distributed import Client

    from rockglacier.scenes.record import Scene
    from rockglacier.study import Study

logger = logging.getLogger(__name__)

SETTINGS = re.compile(r"(AWS|AZURE|GOOGLE|GS|GDAL|CPL|VSI|PC_SDK)_")
"""How variables begin that open a store or say how GDAL reads."""

OF_THIS_MACHINE = re.compile(
    r".*_(FILE|BUNDLE|PATH|DIR|CREDENTIALS|PROFILE)$|GDAL_(DATA|CACHEMAX|NUM_THREADS)$|.*_LOG_?.*"
)
"""Among them, those that name a file here or fit only this machine."""

LIBRARIES = ("rockglacier", "dask", "distributed", "numpy", "numba", "rasterio", "zarr", "xarray")
"""What must be equal everywhere: results, or what travels between processes, depend on it."""

LOOPBACK = re.compile(r"inproc://|\w+://(127\.|localhost|\[::1\])")

TOPIC = "rockglacier"
"""Of the events that workers send."""

LAST_WORDS_S = 0.5
"""For an event to leave a worker before it ends."""


class Equipment(WorkerPlugin):
    """Variables of the environment for a worker, and a limit on the time of its blocks."""

    def __init__(self, variables: Mapping[str, str], *, timeout_s: float | None) -> None:
        self.name = f"rockglacier-{secrets.token_hex(4)}"  # others may run on the same workers
        self.variables = dict(variables)
        self.timeout_s = timeout_s
        self._before: dict[str, str | None] = {}
        self._since: dict[Any, float] = {}
        self._worker: Any = None

    def __repr__(self) -> str:
        return f"Equipment({sorted(self.variables)}, timeout_s={self.timeout_s})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_worker": None, "_before": {}, "_since": {}}

    def setup(self, worker: Any) -> None:
        """Set the variables; GDAL and the object store read them at their next opening."""
        self._worker = worker
        self._before = {name: os.environ.get(name) for name in self.variables}
        os.environ.update(self.variables)

    def teardown(self, worker: Any) -> None:
        """Leave the environment as it was."""
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    def transition(self, key: Any, start: str, finish: str, **kwargs: Any) -> None:
        """Begin to count when a group begins, and stop when it ends."""
        if self.timeout_s is None or finish != "executing":
            self._since.pop(key, None)
            return
        began = self._since[key] = time.monotonic()
        self._worker.loop.call_later(self._limit_s(key), self._check, key, began)

    def _limit_s(self, key: Any) -> float:
        return float(self.timeout_s or 0) * len(self._blocks(key))

    def _blocks(self, key: Any) -> list[str]:
        """Return the names of the blocks of a group; one without a name for another task."""
        arguments = getattr(self._worker.state.tasks[key].run_spec, "args", ())
        group = next(iter(arguments), None)
        members = getattr(group, "args", group)
        names = [getattr(getattr(m, "value", m), "name", None) for m in members or ()]
        return [name for name in names if isinstance(name, str)] or [""]

    def _check(self, key: Any, began: float) -> None:
        """End the worker: a thread that hangs in C cannot be stopped by anything less."""
        if self._since.get(key) != began:
            return
        names = [name for name in self._blocks(key) if name]
        message = f"{', '.join(names) or key}: not done after {self._limit_s(key):g} s"
        logger.error("%s; the worker ends", message)
        faulthandler.dump_traceback(file=sys.__stderr__ or 2)
        self._worker.log_event(TOPIC, {"message": message})
        self._worker.loop.call_later(LAST_WORDS_S, os._exit, 1)


def settings_for(address: str, environment: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the variables that go to workers, and the names of secrets that do not.

    Parameters
    ----------
    address
        Of the scheduler. A secret goes through TLS or stays on this machine; a plain connection to
        another host carries settings alone, and workers there have keys of their own.
    environment
        Of this process.
    """
    named = {
        name: value
        for name, value in environment.items()
        if SETTINGS.match(name) and not OF_THIS_MACHINE.fullmatch(name)
    }
    if address.startswith(("tls://", "wss://", "gateway://")) or LOOPBACK.match(address):
        return named, []
    kept = sorted(name for name in named if SECRET_NAME.match(name) or "KEY" in name)
    return {name: value for name, value in named.items() if name not in kept}, kept


@contextmanager
def equipped(
    client: Client, *, timeout_s: float | None, is_relayed: bool = False
) -> Iterator[None]:
    """Equip the workers of a client, those that come later too, for the time of a run.

    Parameters
    ----------
    client
        Of the cluster.
    timeout_s
        Longest time for a block; see ``compute.timeout_s``.
    is_relayed
        The scheduler's address here is the near end of a tunnel, and workers are not here.
    """
    address = "a tunnel" if is_relayed else str(getattr(client.scheduler, "address", ""))
    variables, kept = settings_for(address, os.environ)
    if kept:
        logger.warning(
            "%s stay here: %s is not encrypted. Give workers keys of their own, or use tls://",
            ", ".join(kept),
            address,
        )
    client.subscribe_topic(TOPIC, _heard)
    equipment = Equipment(variables, timeout_s=timeout_s)
    client.register_plugin(equipment)
    try:
        yield
    finally:
        if client.status == "running":
            with suppress(OSError, TimeoutError):  # a scheduler that just went needs no cleaning
                client.unregister_worker_plugin(equipment.name)
                client.unsubscribe_topic(TOPIC)


def _heard(event: tuple[Any, Any]) -> None:
    logger.warning(
        "%s; its worker was ended, and the group is tried elsewhere", event[1]["message"]
    )


def versions() -> dict[str, str]:
    """Return the versions of what must be equal on workers and here."""
    import rasterio

    found = {name: importlib.metadata.version(name) for name in LIBRARIES}
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python, **found, "gdal": rasterio.__gdal_version__}


def self_test(client: Client, *, at: str, study: Study | None = None) -> None:
    """Let every worker show what it will need, before it is given hours of work.

    Versions are compared; with a study, every worker reads a pixel of one asset, if scenes were
    chosen already, and writes a file into the study's folder, which is read here and deleted.

    Parameters
    ----------
    client
        Of the cluster.
    at
        What to call the cluster in messages.
    study
        The study that is about to run.

    Raises
    ------
    RemoteError
        A worker has other versions or no rockglacier, or cannot read or write.
    InputError
        What a worker writes does not arrive here.
    """
    found = _asked(client, at, versions)
    if not found:
        logger.warning("%s has no workers yet: the run waits for the first", at)
        return
    _compare(found, at)
    if study is not None:
        _try_folder(client, at, study)
        _try_asset(client, at, study)
    logger.info("%s workers at %s", len(found), at)


def _asked(client: Client, at: str, work: Any, *arguments: Any) -> dict[str, Any]:
    """Ask every worker; the first that fails is named, with why."""
    try:
        answers = client.run(work, *arguments, on_error="return")
    except ModuleNotFoundError as error:
        raise _no_module(at, error) from error
    for worker, answer in answers.items():
        if isinstance(answer, ModuleNotFoundError):
            raise _no_module(at, answer) from answer
        if isinstance(answer, RockGlacierError):
            raise RemoteError(
                f"worker {worker} of {at}: {answer.found}",
                expected=answer.expected,
                todo=answer.todo,
            ) from answer
        if isinstance(answer, BaseException):
            raise RemoteError(
                f"worker {worker} of {at} cannot work: "
                f"{redact_text(f'{type(answer).__name__}: {answer}')}",
                expected="the same environment on workers as here",
                todo="look into the log of that worker",
            ) from answer
    return answers


def _no_module(at: str, error: ModuleNotFoundError) -> RemoteError:
    return RemoteError(
        f"workers of {at} cannot work: {error}",
        expected="the same environment on workers as here",
        todo="install rockglacier, the same version as here, where the workers run",
    )


def _compare(found: Mapping[str, Mapping[str, str]], at: str) -> None:
    mine = versions()
    lines = [
        f"    {worker}: {name} {theirs.get(name)}, here {version}"
        for worker, theirs in found.items()
        for name, version in mine.items()
        if theirs.get(name) != version
    ]
    if lines:
        raise RemoteError(
            f"workers of {at} have other versions:\n" + "\n".join(lines[:10]),
            expected="the same environment on workers as here",
            todo="install from the same lock file, or run in the image that the workers run in",
        )


def _try_folder(client: Client, at: str, study: Study) -> None:
    token = secrets.token_hex(8)
    folder = study.folder / f".self-test-{token}"
    is_here = not folder.exists()
    try:
        written = _asked(client, at, _write, str(folder), token)
        for worker, name in written.items():
            path = folder / name
            if not path.is_file() or path.read_bytes() != token.encode():
                raise InputError(
                    f"what worker {worker} of {at} writes to {str(study.folder)!r} is not there",
                    expected="a folder that workers and this process share",
                    todo="set `output` to an address such as s3://BUCKET/FOLDER, or mount the "
                    "folder on workers under the same path",
                )
    finally:
        if is_here:
            remove(folder)


def _write(folder: str, token: str) -> str:
    name = f"{platform.node()}-{os.getpid()}"
    write_bytes(open_place(folder) / name, token.encode())
    return name


def _try_asset(client: Client, at: str, study: Study) -> None:
    from rockglacier.scenes.record import read_scenes

    if not study.scenes_path.is_file():
        logger.info("no scenes are chosen yet: workers did not have to read one")
        return
    scenes = read_scenes(study.scenes_path)
    if scenes:
        _asked(client, at, _read, scenes[0])


def _read(scene: Scene) -> None:
    from rasterio.windows import Window

    from rockglacier.scenes.asset import read_asset

    asset = "SCL" if "SCL" in scene.assets else next(iter(scene.assets))
    read_asset(scene, asset, lambda raster: raster.read(1, window=Window(0, 0, 1, 1)))
