"""A Zarr store that counts the bytes that go through it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

from zarr.storage import LocalStore, StorePath, WrapperStore

from rockglacier.storage.remote import zarr_store
from rockglacier.storage.traffic import Traffic


class CountedStore(WrapperStore[Any]):
    """A store whose objects are counted, by their stored bytes, when they are read and written."""

    def __init__(self, store: Any, traffic: Traffic) -> None:
        super().__init__(store)
        self.traffic = traffic

    def _with_store(self, store: Any) -> Self:
        return type(self)(store, self.traffic)

    def _read(self, found: Any) -> Any:
        if found is not None:
            self.traffic.read(len(found))
        return found

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        """Return an object or a part of it."""
        return self._read(await super().get(key, prototype, byte_range))

    def get_sync(self, key: str, *, prototype: Any = None, byte_range: Any = None) -> Any:
        """Return an object or a part of it, at once."""
        return self._read(super().get_sync(key, prototype=prototype, byte_range=byte_range))

    async def get_partial_values(self, prototype: Any, key_ranges: Any) -> list[Any]:
        """Return parts of objects."""
        return [self._read(one) for one in await super().get_partial_values(prototype, key_ranges)]

    async def get_ranges(self, key: str, byte_ranges: Any, **options: Any) -> AsyncIterator[Any]:
        """Yield parts of an object."""
        async for group in super().get_ranges(key, byte_ranges, **options):
            for _, part in group:
                self._read(part)
            yield group

    async def set(self, key: str, value: Any) -> None:
        """Write an object."""
        await super().set(key, value)
        self._wrote(key, value)

    def set_sync(self, key: str, value: Any) -> None:
        """Write an object at once."""
        super().set_sync(key, value)
        self._wrote(key, value)

    def _wrote(self, key: str, value: Any) -> None:
        self.traffic.written(len(value))


def counted(path: Path, traffic: Traffic, *, read_only: bool) -> StorePath:
    """Return what zarr opens a store, or an array in it, by, with its bytes counted."""
    at = store_path(path, read_only=read_only)
    return StorePath(CountedStore(at.store, traffic), at.path)


def store_path(path: Path, *, read_only: bool) -> StorePath:
    """Return the place of a store, here or in an object store."""
    place = zarr_store(path, read_only=read_only)
    return StorePath(LocalStore(place, read_only=read_only)) if isinstance(place, str) else place
