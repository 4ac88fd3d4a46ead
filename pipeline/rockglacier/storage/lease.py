"""One writer at a time: a lease on a run's folder, here or in an object store."""

from __future__ import annotations

import json
import logging
import os
import random
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from rockglacier.errors import ContractError, InputError, InUseError, RemoteError, RockGlacierError
from rockglacier.storage.faults import disk_errors
from rockglacier.storage.files import parse_json, read_json
from rockglacier.storage.remote import RemotePath

logger = logging.getLogger(__name__)

BEAT_S = 15.0
"""A lease in an object store is renewed this often."""

EXPIRY_S = 75.0
"""One that was not renewed for so long is of a dead run: five beats, so that a slow line is not."""

OF_A_RUN: Final = ".lease"
"""Name of the lease of a whole folder."""

WAIT_S: Final = 120.0
"""How long to wait for one's turn where seconds are usual."""


class Lease:
    """A folder held by this run."""

    def check(self) -> None:
        """Raise if the folder was lost to another run, e.g. while this machine slept."""


@contextmanager
def turn(folder: Path, *, name: str = OF_A_RUN, wait_s: float = WAIT_S) -> Iterator[Lease]:
    """Hold a folder that several runs share, after waiting for whoever holds it.

    Parameters
    ----------
    folder
        Here or in an object store.
    name
        Of what is held, where a folder has several things that take turns.
    wait_s
        At most, seconds.

    Raises
    ------
    InputError
        Somebody else held it all the time.
    RemoteError
        At the end: another run took it over meanwhile.
    """
    end = time.monotonic() + wait_s
    with ExitStack() as stack:
        while True:
            try:
                held = stack.enter_context(lease(folder, name=name))
                break
            except InputError:
                if time.monotonic() > end:
                    raise
                time.sleep(random.uniform(0.05, 0.5))  # noqa: S311 - only so that not all ask at once
        yield held
        held.check()


@contextmanager
def lease(folder: Path, *, name: str = OF_A_RUN) -> Iterator[Lease]:
    """Hold a run's folder, or by another name a thing in it: one run at a time.

    A lease whose process is gone (a run that was killed) is taken over: at once if it ran on this
    host, and in an object store also from another host, after it was not renewed for
    ``EXPIRY_S``. No clocks are compared.

    Raises
    ------
    InputError
        Another live run holds the folder; on a disk, any on another host.
    RemoteError
        At the end, or from ``check``: another run took the folder over meanwhile.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    mine = {"pid": os.getpid(), "host": socket.gethostname()}
    path = folder / name
    with _remote(path, mine) if isinstance(path, RemotePath) else _local(path, mine) as held:
        yield held


@contextmanager
def _local(path: Path, mine: dict[str, Any]) -> Iterator[Lease]:
    is_mine = False
    try:
        with disk_errors(path.parent):
            while not is_mine:
                try:
                    with path.open("x", encoding="utf-8") as file:
                        is_mine = True  # whatever stops the run from here on
                        json.dump(mine, file, allow_nan=False)
                except FileExistsError:
                    try:
                        holder = read_json(path)
                    except (FileNotFoundError, ContractError):
                        holder = {}
                    if not (_is_dead(holder, mine) or _is_left_empty(path)):
                        raise _in_use(path.parent, path, holder) from None
                    path.unlink(missing_ok=True)
        yield Lease()
    finally:
        if is_mine:
            path.unlink(missing_ok=True)


@contextmanager
def _remote(path: RemotePath, mine: dict[str, Any]) -> Iterator[Lease]:
    held = RemoteLease(path, mine)
    held.take()
    beat = threading.Thread(target=held.renew_until_told, name="lease", daemon=True)
    beat.start()
    try:
        yield held
    except BaseException:
        # what went wrong in the run matters more than the lease
        with suppress(RockGlacierError):
            held.end(beat)
        raise
    held.end(beat)


class RemoteLease(Lease):
    """A lease in an object store: written and renewed only if nobody else wrote it meanwhile."""

    def __init__(self, path: RemotePath, mine: dict[str, Any]) -> None:
        self.path, self.mine = path, {**mine, "token": secrets.token_hex(8)}
        self.stop = threading.Event()
        self.lost: RockGlacierError | None = None
        self._version: dict[str, str] = {}
        self._beats = 0

    def take(self) -> None:
        """Take the lease, or raise :class:`InputError` because a live run holds it."""
        from obstore.exceptions import AlreadyExistsError

        with disk_errors(self.path):
            while True:
                with suppress(AlreadyExistsError):
                    self._put("create")
                    return
                found = self._read()
                if found is None:  # released between the two requests
                    continue
                holder, version = found
                if holder.get("token") == self.mine["token"]:
                    # the store did write it, and only the answer was lost
                    self._version = version
                    return
                if not _is_dead(holder, self.mine):
                    logger.info("is a run still there? up to %g s to see: %s", EXPIRY_S, holder)
                    later = self._watch(version)
                    if later is None:
                        continue
                    if later != version:
                        raise _in_use(self.path.parent, self.path, holder)
                if self._replace(version):
                    logger.warning("took over the lease of a run that is gone: %s", holder)
                    return

    def _watch(self, version: dict[str, str]) -> dict[str, str] | None:
        """Return the version of a lease after it changed or expired; None if it was released."""
        end = time.monotonic() + EXPIRY_S
        while time.monotonic() < end:
            time.sleep(BEAT_S / 3)
            found = self._read()
            if found is None or found[1] != version:
                return found and found[1]
        return version

    def renew_until_told(self) -> None:
        """Renew the lease from beat to beat, until told to stop or another run has it."""
        last = time.monotonic()
        while not self.stop.wait(BEAT_S):
            try:
                with disk_errors(self.path):
                    if not self._replace(self._version):
                        self.lost = _lost(self.path)
            except RockGlacierError as error:
                # a store that is away for a while is no loss, unless others may think us dead
                if time.monotonic() - last > EXPIRY_S:
                    self.lost = error
            else:
                last = time.monotonic()
            if self.lost is not None:
                logger.error("%s", self.lost)
                return

    def check(self) -> None:
        """Raise if the folder was lost to another run, e.g. while this machine slept."""
        if self.lost is not None:
            raise self.lost

    def end(self, beat: threading.Thread) -> None:
        """Stop renewing and give the folder back, if it is still held."""
        self.stop.set()
        beat.join()
        self.check()
        with disk_errors(self.path):
            found = self._read()
            if found is None or found[0].get("token") != self.mine["token"]:
                raise _lost(self.path)
            self.path.unlink(missing_ok=True)

    def _replace(self, version: dict[str, str]) -> bool:
        """Write the lease over one version of it; say whether that was still the newest."""
        from obstore.exceptions import PreconditionError

        try:
            self._put(version)
        except (PreconditionError, FileNotFoundError):
            found = self._read()
            if found is None or found[0] != self._content():
                return False
            self._version = found[1]
        return True

    def _put(self, mode: Any) -> None:
        import obstore

        self._beats += 1
        data = json.dumps(self._content(), allow_nan=False).encode()
        name = self.path.object_name
        done = self.path.ask(obstore.put, name, data, mode=mode, use_multipart=False)
        self._version = _version(done)

    def _content(self) -> dict[str, Any]:
        return {**self.mine, "beats": self._beats}

    def _read(self) -> tuple[dict[str, Any], dict[str, str]] | None:
        import obstore

        try:
            found = self.path.ask(obstore.get, self.path.object_name)
            held = parse_json(bytes(found.bytes()), source=str(self.path))
            return held, _version(found.meta)
        except FileNotFoundError:
            return None


def _version(meta: Any) -> dict[str, str]:
    return {name: meta[name] for name in ("e_tag", "version") if meta.get(name)}


def _is_dead(holder: dict[str, Any], mine: dict[str, Any]) -> bool:
    return holder.get("host") == mine["host"] and not _is_alive(int(holder.get("pid", 0)))


def _is_left_empty(path: Path) -> bool:
    """Say whether whoever made a lease was killed before it wrote into it."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return True
    return found.st_size == 0 and time.time() - found.st_mtime > EXPIRY_S


def _is_alive(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _in_use(folder: Path, path: Path, holder: dict[str, Any]) -> InUseError:
    return InUseError(
        f"{str(folder)!r} is in use by process {holder.get('pid', '?')} on "
        f"{holder.get('host', 'an unknown host')}",
        expected="one run at a time for one output folder",
        todo=f"wait for it, or, if it is certainly gone, delete {str(path)!r}",
    )


def _lost(path: RemotePath) -> RemoteError:
    return RemoteError(
        f"another run has taken over {str(path.parent)!r}",
        expected="one run at a time for one output folder; this one was silent for too long",
        todo="let the other run finish, then run the same command again",
        href=str(path.parent),
    )
