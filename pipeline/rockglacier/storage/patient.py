"""Zarr in an object store, asked again where obstore itself gives up."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import stamina
from zarr.storage import ObjectStore

from rockglacier.storage.faults import PATIENCE, is_cut


class PatientStore(ObjectStore[Any]):
    """A store that survives half an answer.

    obstore goes on where the body of a file breaks off, but not where that of a refusal ("no such
    key") or of a listing does.
    """

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        """Return a file or a part of it."""
        return await _again(super().get, key, prototype, byte_range)

    async def get_partial_values(self, prototype: Any, key_ranges: Any) -> list[Any]:
        """Return parts of files."""
        return await _again(super().get_partial_values, prototype, list(key_ranges))

    async def exists(self, key: str) -> bool:
        """Say whether a file is there."""
        return await _again(super().exists, key)

    async def set(self, key: str, value: Any) -> None:
        """Write a file."""
        await _again(super().set, key, value)

    async def set_if_not_exists(self, key: str, value: Any) -> None:
        """Write a file, unless it is there; it may be one whose writing was not confirmed."""
        await _again(super().set_if_not_exists, key, value)

    async def delete(self, key: str) -> None:
        """Delete a file."""
        await _again(super().delete, key)

    async def delete_dir(self, prefix: str) -> None:
        """Delete a folder."""
        await _again(super().delete_dir, prefix)

    async def list_prefix(self, prefix: str) -> AsyncGenerator[str, None]:
        """Yield the names of all files that begin so."""
        for name in await _again(_all, super().list_prefix, prefix):
            yield name

    async def list_dir(self, prefix: str) -> AsyncGenerator[str, None]:
        """Yield the names of what is in a folder."""
        for name in await _again(_all, super().list_dir, prefix):
            yield name


async def _again(work: Any, *args: Any) -> Any:
    return await stamina.AsyncRetryingCaller(**PATIENCE)(is_cut, work, *args)


async def _all(work: Any, prefix: str) -> list[str]:
    return [name async for name in work(prefix)]
