"""The folder of a static catalog, of which only what changed is written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import stac_geoparquet.arrow

from rockglacier.errors import ContractError, InputError
from rockglacier.storage import listing, read_bytes, read_json, uploaded, write_bytes
from rockglacier_stac.collection import (
    COLLECTIONS,
    SCHEMA,
    CollectionName,
    Publication,
    catalog_files,
    moved,
    own_schema,
)
from rockglacier_stac.extensions import Json
from rockglacier_stac.validate import validate_document
from rockglacier_stac.versions import edition, is_old, old_id

NOTICE: Final = "NOTICE.txt"
ITEMS: Final = "items.parquet"

Items = Mapping[CollectionName, Sequence[Json]]


def write_catalog(
    folder: Path, publication: Publication, items: Items, *, now: str, keep: bool = False
) -> int:
    """Write a catalog that holds exactly these items, and their earlier versions.

    Parameters
    ----------
    folder
        Held by this run.
    publication
        What is said of all products.
    items
        By collection, each as it is meant in ``folder/COLLECTION/``.
    now
        RFC 3339: when what changed was updated.
    keep
        Whether items of another version are kept beside the new ones.

    Returns
    -------
    int
        Number of files whose content changed; the others are not touched.

    Notes
    -----
    ``created`` and ``updated`` of an item stay as long as nothing else in it changes.
    """
    stamped = {
        name: editions(folder / name, found, now=now, keep=keep) for name, found in items.items()
    }
    changed = write_documents(folder, publication, stamped)
    for name in COLLECTIONS:
        kept = {f"{document['id']}.json" for document in stamped.get(name, [])}
        for path in listing(folder / name, ".json"):
            if path.name == "collection.json":
                if name not in stamped:
                    path.unlink()
            elif path.name not in kept and not (name in stamped and is_old(read_json(path))):
                path.unlink()
    return changed


def editions(folder: Path, items: Sequence[Json], *, now: str, keep: bool) -> list[Json]:
    """Give items their times and their predecessors, and keep those predecessors."""
    found = []
    for document in items:
        path = folder / f"{document['id']}.json"
        held = read_json(path) if path.is_file() else None
        new, old = edition(document, held, now=now, keep=keep)
        if old is not None:
            version = new["properties"]["version"]
            if (folder / f"{old_id(new)}.json").is_file():
                raise InputError(
                    f"{document['id']!r} was published as version {version!r} before",
                    expected="a new version for new content",
                    todo="set publish.version to one that was never used",
                )
            write_bytes(folder / f"{old['id']}.json", as_json(old))
        found.append(new)
    return found


def write_documents(folder: Path, publication: Publication, items: Items) -> int:
    """Write these items, what leads to them and their table; return the number of files changed."""
    files = catalog_files(publication, items)
    for name, document in files.items():
        problems = validate_document(document)
        if problems:
            raise ContractError(
                f"{name} is not valid:\n" + "\n".join(f"    {problem}" for problem in problems),
                expected="documents that are valid by the vendored schemas",
                todo="report it, with this message",
            )
    # items first: whoever reads meanwhile never follows a link to what is not there yet
    order = sorted(files, key=lambda name: (files[name]["type"] != "Feature", name.count("/") == 0))
    changed = sum(_write_changed(folder / name, as_json(files[name])) for name in order)
    changed += _write_changed(folder / NOTICE, notice_text(publication).encode())
    changed += _write_changed(folder / SCHEMA, as_json(own_schema()))
    return changed + _write_items_table(folder, files)


def notice_text(publication: Publication) -> str:
    """Return licence and attribution as a text for people."""
    lines = [publication.title, "", f"Licence: {publication.license}"]
    if publication.license == "other":
        lines.append("No licence was chosen: ask the publisher before you pass the data on.")
    lines += ["", "Attribution:", *(f"- {notice}" for notice in publication.attribution)]
    return "\n".join(lines) + "\n"


def as_json(document: Json) -> bytes:
    """Return a document as it is written; NaN and infinity are refused."""
    return (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _write_changed(path: Path, data: bytes) -> int:
    if path.is_file() and read_bytes(path) == data:
        return 0
    write_bytes(path, data)
    return 1


def _write_items_table(folder: Path, files: Mapping[str, Json]) -> int:
    """Write the items as stac-geoparquet; their addresses are meant from the table's folder."""
    items = [
        moved(document, source=name.rpartition("/")[0], target=".")
        for name, document in files.items()
        if document["type"] == "Feature"
    ]
    for document in items:
        # free values have no one type for a column
        document["properties"].pop("processing:expression", None)
    path = folder / ITEMS
    table = stac_geoparquet.arrow.parse_stac_items_to_arrow(items)
    with uploaded(path) as partial:
        stac_geoparquet.arrow.to_parquet(table, partial, compression="zstd")
        if path.is_file() and read_bytes(path) == partial.read_bytes():
            return 0
    return 1
