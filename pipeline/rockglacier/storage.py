"""Files of a run: whole or not at all, one writer at a time, and nothing secret in them."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from rockglacier.errors import InputError


def redact(href: str) -> str:
    """Drop what may hold a secret: the query of a signed URL, a user and password in its host."""
    if "://" not in href:
        return href
    parts = urlsplit(href)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def redact_text(text: str) -> str:
    """Drop the query of every URL in a text, e.g. a library's own log line."""
    return re.sub(r"(https?://[^\s?\"']+)\?[^\s\"']*", r"\1", text)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def write_json(path: Path, values: Any) -> None:
    """Write JSON whole or not at all; NaN and infinity are refused, as JSON has neither."""
    write_text(path, json.dumps(values, indent=2, allow_nan=False, default=str) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def require_space(folder: Path, needed_bytes: int, *, what: str) -> None:
    """Raise :class:`InputError` before work that would fill the disk."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise InputError(
            f"{free / 1e9:.1f} GB free at {str(folder)!r}; "
            f"{what} needs {needed_bytes / 1e9:.1f} GB",
            expected="a disk with room for the products",
            todo="free some space, or set `output` to a folder on a larger disk",
        )


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn a full or read-only disk into a message that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                f"the disk of {str(folder)!r} is full",
                expected="room for the products",
                todo="free some space and run the same command again: finished blocks are kept",
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise InputError(
                f"cannot write to {str(error.filename or folder)!r}: {error.strerror}",
                expected="a folder that you may write to",
                todo="set `output` to another folder, or mend its permissions",
            ) from error
        raise


@contextmanager
def lease(folder: Path) -> Iterator[None]:
    """Hold a run's folder: one run at a time.

    A lease whose process is gone (a run that was killed) is taken over.

    Raises
    ------
    InputError
        Another live process on this host, or any on another host, holds the folder.
    """
    path = folder / ".lease"
    mine = {"pid": os.getpid(), "host": socket.gethostname()}
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                with path.open("x", encoding="utf-8") as file:
                    json.dump(mine, file)
                break
            except FileExistsError:
                _take_over_if_dead(path, folder, mine)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _take_over_if_dead(path: Path, folder: Path, mine: dict[str, Any]) -> None:
    try:
        holder = read_json(path)
    except (FileNotFoundError, json.JSONDecodeError):
        holder = {}
    if holder.get("host") == mine["host"] and not _is_alive(int(holder.get("pid", 0))):
        path.unlink(missing_ok=True)
        return
    raise InputError(
        f"{str(folder)!r} is in use by process {holder.get('pid', '?')} on "
        f"{holder.get('host', 'an unknown host')}",
        expected="one run at a time for one output folder",
        todo=f"wait for it, or, if it is certainly gone, delete {str(path)!r}",
    )


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
