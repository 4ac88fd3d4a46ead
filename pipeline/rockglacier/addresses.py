"""Where the products of an item are, seen from another place than its own catalog."""

from __future__ import annotations

import posixpath
from copy import deepcopy
from pathlib import Path

from rockglacier.errors import InputError
from rockglacier.storage import RemotePath
from rockglacier.study import Study
from rockglacier_stac.collection import COLLECTIONS, moved
from rockglacier_stac.extensions import Json


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
