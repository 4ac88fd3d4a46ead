"""A root catalog that several basins share: each puts its items in and leaves the others alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from rockglacier.addresses import rehoused
from rockglacier.catalog import NOTICE, Items, editions, write_documents
from rockglacier.storage import listing, read_json, turn
from rockglacier.study import Study
from rockglacier_stac.collection import COLLECTIONS, CollectionName, Publication
from rockglacier_stac.extensions import Json
from rockglacier_stac.versions import STAMPS, is_old


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
    with turn(folder):
        held = {name: list(_held(folder / name)) for name in COLLECTIONS}
        providers = [
            provider
            for name in COLLECTIONS
            for provider in _collection_of(folder / name).get("providers", [])
        ]
        together: dict[CollectionName, list[Json]] = {}
        gone: list[Path] = []
        for name in COLLECTIONS:
            brought = _without_others(own.get(name, []), held[name], study)
            new = editions(folder / name, brought, now=now, keep=keep)
            ids = {document["id"] for document in new}
            left = [document for document in held[name] if document["id"] not in ids]
            others = [document for document in left if not is_own(document, study)]
            gone += [folder / name / f"{one['id']}.json" for one in left if is_own(one, study)]
            if new or others:
                together[name] = sorted([*new, *others], key=lambda found: str(found["id"]))
        changed = write_documents(folder, _shared(publication, providers, together), together)
        for path in gone:  # nothing leads there any more
            path.unlink()
        for name in set(COLLECTIONS) - set(together):
            if [path.name for path in listing(folder / name, ".json")] == ["collection.json"]:
                (folder / name / "collection.json").unlink()
        return changed


def _without_others(items: Sequence[Json], held: Sequence[Json], study: Study) -> list[Json]:
    """Leave out what another basin has published: a model that this one was mapped with."""
    known = {document["id"]: _said(document) for document in held}
    return [item for item in items if is_own(item, study) or known.get(item["id"]) != _said(item)]


def _said(item: Json) -> Json:
    return {name: value for name, value in item["properties"].items() if name not in STAMPS}


def is_own(document: Json, study: Study) -> bool:
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


def _shared(publication: Publication, providers: Sequence[Json], items: Items) -> Publication:
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


def _held(folder: Path) -> Iterator[Json]:
    """Return the items that a collection's folder holds, without earlier versions."""
    for path in listing(folder, ".json"):
        if path.name != "collection.json":
            document = read_json(path)
            if not is_old(document):
                yield document


def _collection_of(folder: Path) -> Json:
    path = folder / "collection.json"
    found: Json = read_json(path) if path.is_file() else {}
    return found
