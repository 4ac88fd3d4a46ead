"""The folder of a static catalog: only what changed is written, and several basins may share it."""

from __future__ import annotations

import json
import logging
import posixpath
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Final

import stac_geoparquet.arrow

from rockglacier.errors import ContractError, InputError
from rockglacier.storage import (
    RemotePath,
    lease,
    listing,
    read_bytes,
    read_json,
    uploaded,
    write_bytes,
)
from rockglacier.study import Study
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
from rockglacier_stac.versions import STAMPS, edition, is_old, old_id

logger = logging.getLogger(__name__)

NOTICE: Final = "NOTICE.txt"
ITEMS: Final = "items.parquet"
WAIT_S: Final = 120.0
"""How long to wait for another basin that is being put into the same catalog: seconds are usual."""

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
        name: _editions(folder / name, found, now=now, keep=keep) for name, found in items.items()
    }
    changed = _write(folder, publication, stamped)
    for name in COLLECTIONS:
        kept = {f"{document['id']}.json" for document in stamped.get(name, [])}
        for path in _documents(folder / name):
            if path.name == "collection.json":
                if name not in stamped:
                    path.unlink()
            elif path.name not in kept and not (name in stamped and is_old(read_json(path))):
                path.unlink()
    return changed


def add_to_catalog(
    folder: Path, study: Study, publication: Publication, items: Items, *, now: str
) -> int:
    """Put a basin's items into a root catalog that others share, and leave the others as they are.

    Parameters
    ----------
    folder
        Of the root catalog, here or in an object store; new or of several basins.
    study
        Whose items they are; those that it published there before and no longer has are removed.
    publication
        Of the study; the root has words of its own.
    items
        By collection, each as it is meant in the study's own catalog.
    now
        RFC 3339: when what changed was updated.

    Returns
    -------
    int
        Number of files whose content changed.

    Raises
    ------
    InputError
        Somebody else has been writing there for minutes, or the products cannot be reached from
        there.
    """
    own = {
        name: [rehoused(item, study, folder, name) for item in found]
        for name, found in items.items()
    }
    keep = study.config.publish.version is not None
    with _turn(folder):
        held = {name: list(_held(folder / name)) for name in COLLECTIONS}
        providers = [
            provider
            for name in COLLECTIONS
            for provider in _collection_of(folder / name).get("providers", [])
        ]
        together: dict[CollectionName, list[Json]] = {}
        for name in COLLECTIONS:
            brought = _without_others(own.get(name, []), held[name], study)
            new = _editions(folder / name, brought, now=now, keep=keep)
            ids = {document["id"] for document in new}
            others = [
                document
                for document in held[name]
                if document["id"] not in ids and not _is_of(document, study)
            ]
            for document in held[name]:
                if document["id"] not in ids and _is_of(document, study):
                    (folder / name / f"{document['id']}.json").unlink()
            if new or others:
                together[name] = sorted([*new, *others], key=lambda found: str(found["id"]))
        shared = _shared_publication(publication, providers, together)
        changed = _write(folder, shared, together)
        for name in COLLECTIONS:
            if name not in together and [path.name for path in _documents(folder / name)] == [
                "collection.json"
            ]:
                (folder / name / "collection.json").unlink()
        return changed


def _without_others(items: Sequence[Json], held: Sequence[Json], study: Study) -> list[Json]:
    """Leave out what another basin has published: a model that this one was mapped with."""
    known = {document["id"]: _said(document) for document in held}
    return [item for item in items if _is_of(item, study) or known.get(item["id"]) != _said(item)]


def _said(item: Json) -> Json:
    return {name: value for name, value in item["properties"].items() if name not in STAMPS}


def _is_of(document: Json, study: Study) -> bool:
    """Say whether an item was made by this study, of all its time or of one of its periods."""
    basin, identifier = study.config.name, document["id"]
    if document["properties"].get("rockglacier:basin") != basin:
        return False
    periods = {study.config.search.period, *(period.name for period in study.periods)}
    kinds = [
        identifier.removeprefix(f"{basin}-{period}-")
        for period in periods
        if identifier.startswith(f"{basin}-{period}-")
    ]
    # what goes on with a number is of a longer period
    return any(not kind[:2].isdigit() for kind in kinds)


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Hold a shared folder, after waiting for whoever holds it."""
    end = time.monotonic() + WAIT_S
    with ExitStack() as stack:
        while True:
            try:
                held = stack.enter_context(lease(folder))
                break
            except InputError:
                if time.monotonic() > end:
                    raise
                time.sleep(random.uniform(0.05, 0.5))  # noqa: S311 - only so that not all ask at once
        yield
        held.check()


def _shared_publication(
    publication: Publication, providers: Sequence[Json], items: Items
) -> Publication:
    said = [
        notice
        for found in items.values()
        for document in found
        for notice in document["properties"].get("rockglacier:attribution", [])
    ]
    together: list[Json] = []
    for provider in (*providers, *publication.providers):
        if provider not in together:
            together.append(provider)
    licences = {document["properties"]["license"] for found in items.values() for document in found}
    return Publication(
        identifier="rock-glaciers",
        title="Rock glaciers",
        description="Cubes, models, predictions and inventories of several basins, each linked to "
        "what it was made from. Outlines are candidates until a person confirms them.",
        providers=tuple(sorted(together, key=lambda found: json.dumps(found, sort_keys=True))),
        license=licences.pop() if len(licences) == 1 else "other",
        attribution=tuple(sorted(set(said))),
        notice=NOTICE,
    )


def rehoused(item: Json, study: Study, folder: Path, name: str) -> Json:
    """Return an item of the study's own catalog as it is meant in ``folder/name/``.

    Products beside the catalog get relative addresses; others that of ``publish.href`` or of their
    store.

    Raises
    ------
    InputError
        Neither is possible.
    """
    base = _address_of(study)
    beside = not isinstance(folder, RemotePath) and not isinstance(study.folder, RemotePath)
    if beside and study.folder.resolve().is_relative_to(folder.resolve().parent):
        up = posixpath.relpath(study.stac_path.resolve().as_posix(), folder.resolve().as_posix())
        placed = moved(item, source=f"{up}/{name}", target=name)
        links = zip(item["links"], placed["links"], strict=True)
        placed["links"] = [old if _is_own(old["href"]) else new for old, new in links]
        return placed
    if base is None:
        raise InputError(
            f"the products in {str(study.folder)!r} cannot be reached from the catalog in "
            f"{str(folder)!r}",
            expected="a catalog beside the folder of the products, or publish.href, the address "
            "under which others reach the products",
            todo="set publish.href, or another publish.catalog",
        )
    return with_base(item, base=base)


def with_base(item: Json, *, base: str) -> Json:
    """Return an item of the study's own catalog whose products lie under an address.

    Links to items of the same catalog stay relative.
    """
    placed: Json = deepcopy(item)
    entries = [*placed.get("assets", {}).values()]
    entries += [link for link in placed["links"] if not _is_own(link["href"])]
    for entry in entries:
        href = entry["href"]
        if "://" not in href:
            path = posixpath.normpath(posixpath.join("stac/collection", href.partition("#")[0]))
            if path.startswith("../"):  # a catalog of scenes beside the products stays here
                path = "scenes.parquet"
            mark, fragment = href.partition("#")[1:]
            entry["href"] = f"{base.rstrip('/')}/{path}{mark}{fragment}"
    return placed


def _is_own(href: str) -> bool:
    """Say whether an address is that of a document of the catalog."""
    own = ("./", "../catalog.json", *(f"../{name}/" for name in COLLECTIONS))
    return href.startswith(own)


def _address_of(study: Study) -> str | None:
    if study.config.publish.href:
        return study.config.publish.href
    return str(study.folder) if isinstance(study.folder, RemotePath) else None


def public_address(study: Study) -> str:
    """Return where others reach the products of a study.

    Raises
    ------
    InputError
        They lie on this machine, and publish.href is not set.
    """
    address = _address_of(study)
    if address is None:
        raise InputError(
            f"the products in {str(study.folder)!r} are on this machine only",
            expected="publish.href, the address under which others reach them",
            todo="set publish.href, e.g. https://data.example.org/hunza",
        )
    return address


def _held(folder: Path) -> Iterator[Json]:
    """Return the items that a collection's folder holds, without earlier versions."""
    for path in _documents(folder):
        if path.name != "collection.json":
            document = read_json(path)
            if not is_old(document):
                yield document


def _collection_of(folder: Path) -> Json:
    path = folder / "collection.json"
    found: Json = read_json(path) if path.is_file() else {}
    return found


def _documents(folder: Path) -> list[Path]:
    return listing(folder, ".json")


def _editions(folder: Path, items: Sequence[Json], *, now: str, keep: bool) -> list[Json]:
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


def _write(folder: Path, publication: Publication, items: Items) -> int:
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
