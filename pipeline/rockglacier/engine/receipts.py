"""Tasks of a block each, and the receipts of those that are finished or failed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rockglacier.config import fingerprint
from rockglacier.storage import BYTES, listing, read_json, read_jsons, write_json

FAILED = ".failed"
"""What the name of a file ends with that says why a block failed, before its suffix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One block's work."""

    name: str
    """Name of the block; also of its receipt."""
    inputs: Mapping[str, Any]
    """All that the result depends on, JSON-able: planned items, parameters, recipe number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a block could not be built."""

    name: str
    error: str
    """Name of the exception."""
    message: str
    item: str = ""
    asset: str = ""
    href: str = ""
    expected: str = ""
    todo: str = ""


class Receipts:
    """The receipts of one stage, a JSON file a block, beside the store and not inside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """Return the path of a block's receipt."""
        return self.folder / f"{name}.json"

    def read(self, name: str) -> dict[str, Any] | None:
        """Return a receipt, or None where there is none."""
        path = self.path(name)
        return read_json(path) if path.is_file() else None

    def drop(self, name: str) -> None:
        """Forget a block, before its data is written again."""
        self.path(name).unlink(missing_ok=True)
        self.path(name + FAILED).unlink(missing_ok=True)

    def write(self, task: Task, result: Mapping[str, Any], *, seconds: float) -> None:
        """Record a finished block, after its data was written."""
        write_json(
            self.path(task.name),
            {"inputs": fingerprint(task.inputs), "seconds": round(seconds, 3), **result},
        )

    def fail(self, failure: Failure) -> None:
        """Record why a block could not be built."""
        write_json(self.path(failure.name + FAILED), asdict(failure))

    def all(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield name and content of every receipt of a finished block."""
        for name, receipt in read_jsons(self.folder).items():
            if not name.endswith(FAILED):
                yield name, receipt

    def cost(self) -> dict[str, Any]:
        """Return what all finished blocks took: bytes read and written, and seconds of workers."""
        held = [receipt for _, receipt in self.all()]
        return {
            **{name: sum(receipt.get(name, 0) for receipt in held) for name in BYTES},
            "block_seconds": round(sum(receipt["seconds"] for receipt in held), 1),
        }

    def failures(self) -> dict[str, Failure]:
        """Return the blocks that failed when they were last tried."""
        paths = listing(self.folder, f"{FAILED}.json")
        found = [Failure(**read_json(path)) for path in paths]
        return {failure.name: failure for failure in found}

    def current(self, tasks: Iterable[Task]) -> set[str]:
        """Return the blocks that were finished with the same inputs."""
        held = {name: receipt["inputs"] for name, receipt in self.all()}
        return {task.name for task in tasks if held.get(task.name) == fingerprint(task.inputs)}
