"""Files by address, whole or not at all, and as local files for libraries that need such."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit
from urllib.request import url2pathname

from rockglacier.errors import ContractError, InputError
from rockglacier.storage.faults import disk_errors
from rockglacier.storage.remote import SCHEMES, RemotePath
from rockglacier.storage.secrets import redact

REQUESTS_IN_FLIGHT = 32
"""Small files of a store that are read at once: each is mostly waiting."""


def open_place(uri: str | Path) -> Path:
    """Return an address as a path: an absolute one, or one in an object store.

    Parameters
    ----------
    uri
        A local path, or an address of s3, gs, az or file.

    Raises
    ------
    InputError
        Another scheme, or an address without a bucket.
    """
    if isinstance(uri, Path):
        return uri.absolute()
    scheme, mark, rest = uri.partition("://")
    if not mark:
        return Path(uri).absolute()
    if scheme == "file":
        return Path(url2pathname(urlsplit(uri).path))
    if scheme not in SCHEMES or not rest.strip("/"):
        raise InputError(
            f"nothing can be written to {uri!r}",
            expected="a local folder, or an address such as s3://BUCKET/FOLDER (also gs, az)",
        )
    return RemotePath(uri)


def file_at(uri: str) -> Path:
    """Return a person's file as a path, here or in an object store; other URLs are left as such."""
    return open_place(uri) if uri.partition("://")[0] in SCHEMES else Path(uri)


def read_bytes(path: Path) -> bytes:
    """Return a file whole."""
    return path.read_bytes()


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    if isinstance(path, RemotePath):
        path.write_bytes(data)
        return
    partial = path.with_name(f".{path.name}.partial")
    with disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        os.replace(partial, path)


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8 whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, values: Any) -> None:
    """Write JSON whole or not at all; NaN and infinity are refused, as JSON has neither."""
    write_text(path, json.dumps(values, indent=2, allow_nan=False, default=str) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    ContractError
        It is not JSON, is cut short, or holds NaN or infinity, which JSON has not.
    """
    return parse_json(path.read_bytes(), source=str(path))


def parse_json(data: bytes, *, source: str) -> Any:
    """Return what JSON says; ``source`` names it in messages, and errors are as of `read_json`."""
    try:
        return json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ContractError(
            f"{redact(source)!r} is not JSON: {error}",
            expected="a whole file as it was written",
            todo="get the file again, or run the stage again that writes it",
        ) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} in it, where JSON has numbers and null")


def read_jsons(folder: Path) -> dict[str, Any]:
    """Return the JSON files of a folder by their names without suffix, many read at once."""
    paths = listing(folder, ".json")
    if not isinstance(folder, RemotePath):
        return {path.stem: read_json(path) for path in paths}
    with ThreadPoolExecutor(REQUESTS_IN_FLIGHT) as pool:
        return dict(zip((path.stem for path in paths), pool.map(read_json, paths), strict=True))


def listing(folder: Path, suffix: str = "") -> list[Path]:
    """Return what lies in a folder and ends so, by name; nothing if there is no such folder."""
    if not isinstance(folder, RemotePath) and not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name.endswith(suffix))


def remove(path: Path) -> None:
    """Delete a file, or a folder with all that is in it; what is not there is no fault."""
    if isinstance(path, RemotePath):
        import obstore

        path.unlink(missing_ok=True)
        if names := path.objects():
            path.ask(obstore.delete, names)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def local_copy(path: Path) -> Iterator[Path]:
    """Yield a local file with the content of ``path``: itself, or a copy that is deleted later."""
    if not isinstance(path, RemotePath):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="rockglacier-") as folder:
        copy = Path(folder) / path.name
        fetch(path, copy)
        yield copy


def fetch(path: RemotePath, to: Path) -> None:
    """Write the content of a file in an object store into a local one, piece by piece."""
    import obstore

    with disk_errors(path), to.open("wb") as file:
        for part in path.ask(obstore.get, path.object_name).stream():
            file.write(part)


def put(path: Path, to: Path) -> None:
    """Write the content of a local file to another path, whole or not at all."""
    if not isinstance(to, RemotePath):
        with uploaded(to) as partial:
            shutil.copyfile(path, partial)
        return
    import obstore

    to.ask(obstore.put, to.object_name, path)


def readable(path: Path) -> Any:
    """Return what tables are read by: the path, or the content of a file in an object store.

    For libraries that open files by name: pandas, GeoPandas, pyarrow.
    """
    return io.BytesIO(path.read_bytes()) if isinstance(path, RemotePath) else path


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hex digits."""
    with local_copy(path) as copy, copy.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def uploaded(path: Path) -> Iterator[Path]:
    """Yield a local file to write, of the same name, that becomes ``path`` whole at the end.

    After an error ``path`` is as it was.
    """
    if isinstance(path, RemotePath):
        with tempfile.TemporaryDirectory(prefix="rockglacier-") as folder:
            made = Path(folder) / path.name
            yield made
            put(made, path)
        return
    partial = path.with_name(f".{path.name}.partial")
    with disk_errors(path.parent):
        remove(partial)
        partial.mkdir(parents=True)
    try:
        with disk_errors(path.parent):
            yield partial / path.name
        os.replace(partial / path.name, path)
    finally:
        remove(partial)
