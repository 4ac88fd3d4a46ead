"""Paths in an object store, with the few file methods that a run needs of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import stamina

from rockglacier.errors import InputError
from rockglacier.storage.faults import PATIENCE, disk_errors, is_cut

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("s3", "gs", "az", "memory")
"""``memory`` lasts as long as its process: for tests and trials."""

RETRIES = 8
BACKOFF: dict[str, Any] = {
    "init_backoff": timedelta(milliseconds=200),
    "max_backoff": timedelta(seconds=10),
    "base": 2,
}
"""A store that is away for half a minute stops no run."""

CLIENT: dict[str, Any] = {
    "connect_timeout": timedelta(seconds=10),
    "read_timeout": timedelta(seconds=60),
    "timeout": timedelta(minutes=15),
}
"""A shard is tens of megabytes: a slow line may take minutes, but never silently one."""


class RemotePath(Path, PurePosixPath):
    """A file or a folder in an object store.

    It is spelled as a path and does what a run does with its files; folders are there as long as
    something is in them. Whatever would take it for a local file is told so.

    Examples
    --------
    >>> RemotePath("s3://bucket/hunza") / "receipts" / "cube.json"
    RemotePath('s3://bucket/hunza/receipts/cube.json')
    """

    def __str__(self) -> str:
        return super().__str__().replace(":/", "://", 1)

    def __fspath__(self) -> str:
        """Refuse: a library that opens files by name would write one called ``s3:``."""
        raise InputError(
            f"{str(self)!r} is in an object store, and this step reads and writes local files",
            expected="a local folder",
            todo="set `output` to a local folder",
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self),)

    @property
    def bucket(self) -> str:
        """Bucket, or container."""
        return self.parts[1]

    @property
    def object_name(self) -> str:
        """What the store calls it."""
        return "/".join(self.parts[2:])

    @property
    def scheme(self) -> str:
        """Protocol."""
        return self.parts[0].rstrip(":")

    @property
    def store(self) -> ObjectStore:
        """The bucket."""
        settings = () if self.scheme == "memory" else _settings()
        return _open_store(self.scheme, self.bucket, settings)

    @property
    def store_of_folder(self) -> ObjectStore:
        """A store that is the folder; in memory the bucket, which has no such."""
        if self.scheme == "memory":
            return self.store
        return _open_store(self.scheme, self.bucket, _settings(), self.object_name)

    def is_absolute(self) -> bool:
        """Say yes."""
        return True

    def absolute(self) -> Self:
        """Return the path itself."""
        return self

    def resolve(self, strict: bool = False) -> Self:
        """Return the path without ``..`` in it; a store knows no links."""
        parts: list[str] = []
        for part in self.parts[2:]:
            if part != "..":
                parts.append(part)
            elif parts:
                parts.pop()
        return type(self)(*self.parts[:2], *parts)

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Return size and time of a file.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        """
        import obstore

        found = self.ask(obstore.head, self.object_name)
        changed = found["last_modified"].timestamp()
        whole = (int(changed),) * 3
        return os.stat_result(
            (stat.S_IFREG, 0, 0, 1, 0, 0, found["size"], *whole),
            {"st_mtime": changed, "st_mtime_ns": round(changed * 1e9)},
        )

    def is_file(self, **_: Any) -> bool:
        """Say whether it is a file; a store that does not answer raises."""
        try:
            self.stat()
        except FileNotFoundError:
            return False
        return True

    def is_dir(self, **_: Any) -> bool:
        """Say whether anything is in the folder."""
        return bool(self.objects(first=True))

    def exists(self, **_: Any) -> bool:
        """Say whether it is a file, or a folder with something in it."""
        return self.is_file() or self.is_dir()

    def read_bytes(self) -> bytes:
        """Return a file whole."""
        import obstore

        def whole(store: ObjectStore, name: str) -> bytes:
            return bytes(obstore.get(store, name).bytes())

        return self.ask(whole, self.object_name)

    def open(self, mode: str = "r", *_: Any, **__: Any) -> Any:
        """Open a file to read bytes of it, piece by piece; refuse anything else."""
        if mode != "rb":
            return open(self, mode)  # noqa: PTH123 - says why not
        import obstore

        return closing(self.ask(obstore.open_reader, self.object_name))

    def write_bytes(self, data: Any) -> int:
        """Write a file whole or not at all."""
        import obstore

        self.ask(obstore.put, self.object_name, bytes(data))
        return len(data)

    def read_text(self, encoding: str | None = None, *_: Any, **__: Any) -> str:
        """Return a text whole."""
        return self.read_bytes().decode(encoding or "utf-8")

    def write_text(self, data: str, encoding: str | None = None, *_: Any, **__: Any) -> int:
        """Write a text whole or not at all."""
        return self.write_bytes(data.encode(encoding or "utf-8"))

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete a file."""
        import obstore

        if not missing_ok:
            self.stat()
        with suppress(FileNotFoundError):
            self.ask(obstore.delete, self.object_name)

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing: a folder comes with its first file."""

    def iterdir(self) -> Iterator[Self]:  # type: ignore[override]
        """Yield what is in the folder, by name."""
        import obstore

        found = self.ask(obstore.list_with_delimiter, self.object_name or None)
        names = [item["path"] for item in found["objects"]] + list(found["common_prefixes"])
        for name in sorted(PurePosixPath(name).name for name in names):
            yield self / name

    def glob(self, pattern: Any, **_: Any) -> Iterator[Self]:  # type: ignore[override]
        """Yield what matches a pattern, one part a folder; ``**`` is not known."""
        first, rest = (*str(pattern).split("/", 1), "")[:2]
        if not any(sign in first for sign in "*?["):
            child = self / first
            yield from child.glob(rest) if rest else [child] if child.exists() else []
            return
        for child in self.iterdir():
            if fnmatchcase(child.name, first):
                yield from child.glob(rest) if rest else [child]

    def objects(self, *, first: bool = False) -> list[str]:
        """Return the names of all objects in the folder and below, or a few of them."""
        import obstore

        def pages(store: ObjectStore, prefix: str | None) -> list[str]:
            found = obstore.list(store, prefix, chunk_size=1 if first else 1000)
            return [
                item["path"] for page in (islice(found, 1) if first else found) for item in page
            ]

        return self.ask(pages, self.object_name or None)

    def ask[T](self, work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call a function of obstore on the bucket; say clearly why it fails."""
        with disk_errors(self):
            return stamina.RetryingCaller(**PATIENCE)(is_cut, work, self.store, *args, **kwargs)


def is_local(path: Path) -> bool:
    """Say whether a path is of a local file or folder."""
    return not isinstance(path, RemotePath)


def zarr_store(path: Path, *, read_only: bool) -> Any:
    """Return what zarr and xarray open a store, or an array in it, by.

    Open it in the process that uses it: a worker takes the keys from its own environment.
    """
    if not isinstance(path, RemotePath):
        return str(path)
    from zarr.storage import StorePath

    from rockglacier.storage.patient import PatientStore

    # the path is a prefix: in a store of the whole bucket zarr makes every folder above a group
    place = PatientStore(path.store_of_folder, read_only=read_only)
    return StorePath(place, path.object_name if path.scheme == "memory" else "")


def gdal_settings() -> dict[str, str]:
    """Return GDAL's own spelling of the environment's S3 endpoint, where GDAL has none yet.

    One set of variables (``AWS_ENDPOINT_URL``, keys, region) then serves the store and GDAL alike;
    keys and region have the same names for both.
    """
    endpoint = _endpoint()
    if not endpoint:
        return {}
    parts = urlsplit(endpoint)
    hosted = os.environ.get("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "false").lower() == "true"
    settings = {
        "AWS_S3_ENDPOINT": parts.netloc + parts.path.rstrip("/"),
        "AWS_HTTPS": "NO" if parts.scheme == "http" else "YES",
        "AWS_VIRTUAL_HOSTING": "TRUE" if hosted else "FALSE",
    }
    return {name: value for name, value in settings.items() if name not in os.environ}


def _endpoint() -> str:
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    return next((os.environ[name] for name in names if os.environ.get(name)), "")


def _settings() -> tuple[tuple[str, str], ...]:
    """Return the variables that a store is opened with: other ones, another store."""
    prefixes = ("AWS_", "AZURE_", "GOOGLE_")
    return tuple(sorted(item for item in os.environ.items() if item[0].startswith(prefixes)))


@lru_cache(maxsize=32)
def _open_store(
    scheme: str, bucket: str, settings: tuple[tuple[str, str], ...], prefix: str | None = None
) -> ObjectStore:
    from obstore.store import AzureStore, GCSStore, MemoryStore, S3Store

    if scheme == "memory":
        return MemoryStore()
    kind = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}[scheme]
    known: dict[str, Any] = {}
    if scheme == "s3" and dict(settings).get("AWS_NO_SIGN_REQUEST", "").upper() in ("YES", "TRUE"):
        known["skip_signature"] = True
    return kind(
        bucket,
        prefix=prefix,
        client_options={**CLIENT, "allow_http": _endpoint().startswith("http://")},
        retry_config={"max_retries": RETRIES, "backoff": BACKOFF},
        **known,
    )
