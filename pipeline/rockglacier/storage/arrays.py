"""Zarr groups and arrays by path, here or in an object store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Literal

from rockglacier.storage.files import open_place
from rockglacier.storage.remote import BACKOFF, CLIENT, RETRIES, zarr_store
from rockglacier.storage.traffic import Traffic

if TYPE_CHECKING:
    import zarr

PIPELINE: Final = "zarr.core.codec_pipeline.FusedCodecPipeline"
"""What runs the codecs where Zarr has it: the same bytes of shards in a third of the time."""

_OPENING: Final = Lock()
"""Zarr's settings are those of the whole process: one thread changes them at a time."""


def open_group(
    path: Path,
    mode: Literal["r", "r+", "w"] = "r",
    *,
    attributes: dict[str, Any] | None = None,
    traffic: Traffic | None = None,
) -> zarr.Group:
    """Open a group of Zarr v3, or make a new one in place of what is there.

    Parameters
    ----------
    path
        Of the group.
    mode
        ``r`` to read, ``r+`` to write into what is there, ``w`` to begin anew.
    attributes
        Of a new group.
    traffic
        Counts what is read and written from then on.
    """
    import zarr

    store = _store(path, traffic, read_only=mode == "r")
    if mode == "w":
        return zarr.open_group(store, mode="w", zarr_format=3, attributes=attributes)
    return zarr.open_group(store, mode=mode)


def open_array(
    path: Path, mode: Literal["r", "r+"] = "r", *, traffic: Traffic | None = None
) -> zarr.Array[Any]:
    """Open an array of a group, e.g. ``folder / "labels.zarr" / "labels"``; as `open_group`."""
    import zarr

    return zarr.open_array(_store(path, traffic, read_only=mode == "r"), mode=mode)


def _store(path: Path, traffic: Traffic | None, *, read_only: bool) -> Any:
    if traffic is None:
        return zarr_store(path, read_only=read_only)
    from rockglacier.storage.counted import counted

    return counted(path, traffic, read_only=read_only)


def in_one_pass(array: Any) -> Any:
    """Return an array that whoever reads it decodes in its own thread, where this Zarr can.

    Parameters
    ----------
    array
        Of Zarr; anything else is returned as it is.

    Notes
    -----
    The same pixels. Sharded arrays take a third of the time, since no task is made for each of
    their chunks, and threads decode beside each other.
    """
    import zarr

    if not isinstance(array, zarr.Array):
        return array
    with one_pass():
        return zarr.open_array(array.store_path, mode="r")


@contextmanager
def one_pass() -> Iterator[None]:
    """Let arrays that are opened meanwhile run their codecs in one pass, where this Zarr can."""
    import zarr
    import zarr.core.codec_pipeline

    able = hasattr(zarr.core.codec_pipeline, PIPELINE.rpartition(".")[2])
    with _OPENING, zarr.config.set({"codec_pipeline.path": PIPELINE} if able else {}):
        yield


def open_published(uri: str, *, traffic: Traffic | None = None) -> zarr.Group:
    """Open a group to read by its address: a path, ``s3://``, ``gs://``, ``az://`` or ``https://``.

    A web server lists nothing: only arrays that are asked for by name are found there. ``traffic``
    counts what is read.
    """
    import zarr

    if not uri.startswith(("http://", "https://")):
        return open_group(open_place(uri), traffic=traffic)
    from obstore.store import HTTPStore

    from rockglacier.storage.patient import PatientStore

    kind: Any = HTTPStore
    store = kind.from_url(
        uri,
        client_options={**CLIENT, "allow_http": uri.startswith("http://")},
        retry_config={"max_retries": RETRIES, "backoff": BACKOFF},
    )
    patient: Any = PatientStore(store, read_only=True)
    if traffic is not None:
        from rockglacier.storage.counted import CountedStore

        patient = CountedStore(patient, traffic)
    return zarr.open_group(patient, mode="r")
