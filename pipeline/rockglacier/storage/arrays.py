"""Zarr groups and arrays by path, here or in an object store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rockglacier.storage.remote import zarr_store

if TYPE_CHECKING:
    import zarr


def open_group(
    path: Path, mode: Literal["r", "r+", "w"] = "r", *, attributes: dict[str, Any] | None = None
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
    """
    import zarr

    store = zarr_store(path, read_only=mode == "r")
    if mode == "w":
        return zarr.open_group(store, mode="w", zarr_format=3, attributes=attributes)
    return zarr.open_group(store, mode=mode)


def open_array(path: Path, mode: Literal["r", "r+"] = "r") -> zarr.Array[Any]:
    """Open an array of a group, e.g. ``folder / "labels.zarr" / "labels"``."""
    import zarr

    return zarr.open_array(zarr_store(path, read_only=mode == "r"), mode=mode)
