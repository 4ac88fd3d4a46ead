"""Folders as a whole: moved, and worked on by libraries that know only local files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from rockglacier.storage.files import fetch, put
from rockglacier.storage.remote import RemotePath


def move(path: Path, to: Path) -> None:
    """Give a file or a folder another name, to which nothing else has a claim.

    In an object store the files are copied one by one before the first one is deleted.
    """
    if not (isinstance(path, RemotePath) and isinstance(to, RemotePath)):
        os.replace(path, to)
        return
    import obstore

    names = path.objects() or [path.object_name]
    for name in names:
        below = name.removeprefix(path.object_name)
        path.ask(obstore.copy, name, f"{to.object_name}{below}")
    path.ask(obstore.delete, names)


@contextmanager
def local_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder of this machine with the content of ``folder``, which is made if need be.

    That is the folder itself, or a copy that lasts as long as the context;
    :func:`upload` brings back what changed.
    """
    if not isinstance(folder, RemotePath):
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="rockglacier-") as held:
        copy = Path(held) / folder.name
        copy.mkdir()
        for name in folder.objects():
            target = copy / name.removeprefix(f"{folder.object_name}/")
            target.parent.mkdir(parents=True, exist_ok=True)
            fetch(RemotePath(f"{folder.scheme}://{folder.bucket}/{name}"), target)
        yield copy


def upload(source: Path, folder: Path, *, last: str = "") -> None:
    """Put the files of a local folder into ``folder``, each whole; nothing where they are one.

    Parameters
    ----------
    source
        A local folder.
    folder
        Here or in an object store.
    last
        Name of the file whose presence says that the others are there.
    """
    if source == folder:
        return
    files = [path for path in source.rglob("*") if path.is_file()]
    for path in sorted(files, key=lambda path: (path.name == last, path)):
        put(path, folder / path.relative_to(source).as_posix())


@cache
def scratch() -> Path:
    """Return a folder of this machine that lasts as long as this process."""
    return Path(_kept().name)


@cache
def _kept() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="rockglacier-")
