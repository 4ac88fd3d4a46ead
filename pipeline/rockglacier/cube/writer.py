"""Whole blocks written into a cube, each object noted with its size and checksum."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import StorePath

from rockglacier.errors import ContractError
from rockglacier.grid import Window
from rockglacier.storage import Traffic, disk_errors, one_pass
from rockglacier.storage.counted import CountedStore, store_path


class CubeWriter:
    """Writes whole blocks of a cube, and says what objects came of each.

    Parameters
    ----------
    path
        The cube.
    traffic
        Counts what is written.

    Raises
    ------
    InputError
        The disk is full or not writable.
    """

    def __init__(self, path: Path, *, traffic: Traffic | None = None) -> None:
        self.path = path
        with disk_errors(path.parent):
            at = store_path(path, read_only=False)
            self._store = _Noting(at.store, traffic or Traffic())
            self._prefix = f"{at.path}/".lstrip("/")
            with one_pass():
                opened = StorePath(self._store, at.path)
                self._sparse = _arrays(zarr.open_group(opened, mode="r+"))
                with zarr.config.set({"array.write_empty_chunks": True}):
                    self._dense = _arrays(zarr.open_group(opened, mode="r+"))

    def write(
        self, window: Window, layers: Mapping[str, NDArray[Any]], *, period: int = 0
    ) -> dict[str, list[int]]:
        """Write layers of one block; the window is a whole block, so that no shard is read again.

        Parameters
        ----------
        window
            A block's window.
        layers
            Name to array: (band, y, x) of reflectance, (y, x) of the others.
        period
            Index of the period, for the layers that have one.

        Returns
        -------
        dict
            Key of every object written, to its size in bytes and its CRC-32.

        Raises
        ------
        ContractError
            The window is not a whole block.
        InputError
            The disk is full or not writable.
        """
        written: dict[str, list[int]] = {}
        with disk_errors(self.path.parent):
            for name, values in layers.items():
                # zarr compares every chunk with nothing at all: once a block is enough
                array = (self._sparse if _is_fill(values) else self._dense)[name]
                block = array.shards[-1]
                _require_block(array.shape[-2:], block, window)
                leading: tuple[Any, ...] = (
                    (period,) if "time" in array.metadata.dimension_names else ()
                )
                if values.ndim == 3:
                    leading += (slice(None),)
                array[(*leading, *window.slices)] = values
                place = (*(0 if isinstance(part, slice) else part for part in leading),)
                key = "/".join(map(str, (name, "c", *place, window.y // block, window.x // block)))
                noted = self._store.written.pop(self._prefix + key, None)
                if noted is not None:  # a shard of nothing but the fill value is no object
                    written[key] = noted
        return written


def _arrays(group: zarr.Group) -> dict[str, Any]:
    return {name: group[name] for name in group.array_keys()}


def _is_fill(values: NDArray[Any]) -> bool:
    """Say whether values are all NaN, or all 0 where there is no NaN."""
    return bool(np.isnan(values).all() if values.dtype.kind == "f" else not values.any())


class _Noting(CountedStore):
    """A store that notes size and checksum of what is written."""

    def __init__(self, store: Any, traffic: Traffic) -> None:
        super().__init__(store, traffic)
        self.written: dict[str, list[int]] = {}

    def _wrote(self, key: str, value: Any) -> None:
        super()._wrote(key, value)
        self.written[key] = [len(value), zlib.crc32(value.as_numpy_array())]


def _require_block(shape: tuple[int, int], block: int, window: Window) -> None:
    height, width = shape
    whole = window.y % block == 0 and window.x % block == 0
    whole &= window.height == min(block, height - window.y)
    whole &= window.width == min(block, width - window.x)
    if not whole:
        raise ContractError(
            f"{window} is not a whole block of {block} pixels of a grid of {height} x {width}",
            expected="one writer a shard",
        )
