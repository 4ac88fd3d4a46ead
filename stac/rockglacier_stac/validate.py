"""Check a catalog on disk without a network: schemas, links, assets, and what must not be in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import unquote

from jsonschema import Draft7Validator
from jsonschema.exceptions import best_match
from pystac.validation.local_validator import get_local_schema_cache
from referencing import Registry, Resource
from referencing.exceptions import NoSuchResource, Unresolvable

from rockglacier_stac import untrusted
from rockglacier_stac.errors import CatalogError
from rockglacier_stac.extensions import Json, vendored

CORE: Final[dict[str, str]] = {
    "Feature": "https://schemas.stacspec.org/v1.1.0/item-spec/json-schema/item.json",
    "Collection": "https://schemas.stacspec.org/v1.1.0/collection-spec/json-schema/collection.json",
    "Catalog": "https://schemas.stacspec.org/v1.1.0/catalog-spec/json-schema/catalog.json",
}
STRUCTURE: Final = frozenset({"root", "parent", "child", "item", "collection"})
"""Relations that make up the catalog and are followed."""

_LOCAL_PATH = re.compile(r"^(?:/|[A-Za-z]:[\\/]|\\\\|~|file:)")
_SECRET = re.compile(
    r"[?&](?:sig|signature|token|sas|key|awsaccesskeyid|x-amz-[a-z-]+|x-goog-[a-z-]+)=",
    re.IGNORECASE,
)
_USER = re.compile(r"^[a-z][a-z0-9+.-]*://[^/@]+@", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with a catalog."""

    path: str
    """File, relative to the catalog's folder."""
    identifier: str
    """Id of the STAC object, if it has one."""
    message: str
    """What was found and what was expected."""

    def __str__(self) -> str:
        name = f" ({self.identifier})" if self.identifier else ""
        return f"{self.path}{name}: {self.message}"


def validate_catalog(path: str | Path, *, assets_elsewhere: bool = False) -> list[Problem]:
    """Check a catalog and everything below it.

    Parameters
    ----------
    path
        A ``catalog.json`` or ``collection.json``, or the folder that holds it; any path that
        behaves as a local one.
    assets_elsewhere
        Whether assets may have URLs; they are not looked at.

    Returns
    -------
    list of Problem
        Empty if all is well.

    Notes
    -----
    Core schemas are those of pystac, extension schemas those vendored here. Nothing is ever
    fetched: a schema that is not vendored, and a part of the catalog or an asset that lies
    elsewhere, is a problem. Other links may point to the internet (``derived_from`` does) and are
    not followed.
    """
    start = _start(path)
    if not start.is_file():
        return [Problem(path=start.name, identifier="", message="no such file")]
    return list(_walk(start, assets_elsewhere=assets_elsewhere))


def validate_document(document: Json) -> list[str]:
    """Check one STAC object against the core and extension schemas; return what is wrong."""
    kind = document.get("type")
    if kind not in CORE:
        return [f"type {kind!r}; expected one of {', '.join(CORE)}"]
    if document.get("stac_version") != "1.1.0":
        return [f"stac_version {document.get('stac_version')!r}; expected '1.1.0'"]
    found = [*_against(CORE[kind], document)]
    for address in document.get("stac_extensions", []):
        if not isinstance(address, str) or address not in vendored():
            found.append(
                f"extension {address!r} has no vendored schema; expected one of those in "
                "rockglacier_stac/schemas (nothing is fetched)"
            )
        else:
            found += _against(address, document)
    return found


def documents(path: str | Path) -> Iterator[tuple[Path, Json | str]]:
    """Yield every document of a catalog with its path, or what is wrong with it instead.

    Parameters
    ----------
    path
        As of :func:`validate_catalog`; nothing if it is not there.
    """
    start = _start(path)
    queue, seen = [start], {start}
    while queue:
        place = queue.pop(0)
        if not place.is_file():
            continue
        document = _document(place)
        yield place, document
        if isinstance(document, str):
            continue
        for target in _below(document, place):
            if target not in seen:
                seen.add(target)
                queue.append(target)


def _start(path: str | Path) -> Path:
    start = path if isinstance(path, Path) else Path(path)
    return (start / "catalog.json" if start.is_dir() else start).resolve()


def _document(path: Path) -> Json | str:
    try:
        found = untrusted.loads(path.read_bytes(), source=path.name)
    except CatalogError as error:
        return f"not JSON: {error.found}"
    if not isinstance(found, dict):
        return f"a {type(found).__name__}; expected a STAC object"
    links, assets = found.get("links", []), found.get("assets", {})
    if not isinstance(links, list) or not isinstance(assets, dict):
        return "links or assets of another kind; expected a list of links, and assets by name"
    entries = [*links, *assets.values()]
    if not all(isinstance(entry, dict) and isinstance(entry.get("href"), str) for entry in entries):
        return "a link or an asset without an address; expected a text `href` in each"
    return found


def _walk(start: Path, *, assets_elsewhere: bool) -> Iterator[Problem]:
    names: dict[tuple[str, str], str] = {}
    for path, document in documents(start):
        shown = _shown(path, start.parent)
        if isinstance(document, str):
            yield Problem(path=shown, identifier="", message=document)
            continue
        identifier = str(document.get("id", ""))
        own = (str(document.get("collection", document.get("type"))), identifier)
        messages = [
            *validate_document(document),
            *_broken_links(document, path),
            *_broken_assets(document, path, may_be_elsewhere=assets_elsewhere),
            *_leaks(document),
        ]
        if own in names:
            messages.append(f"id {identifier!r} is also that of {names[own]}; expected one of each")
        names[own] = shown
        for message in messages:
            yield Problem(path=shown, identifier=identifier, message=message)


@cache
def _registry() -> Registry[Any]:
    schemas = get_local_schema_cache() | vendored()
    resources = [(name, Resource.from_contents(schema)) for name, schema in schemas.items()]
    return Registry(retrieve=_no_network).with_resources(resources)  # type: ignore[call-arg]


def _no_network(address: str) -> NoReturn:
    raise NoSuchResource(address)


@cache
def _validator(address: str) -> Draft7Validator:
    return Draft7Validator(_registry().contents(address), registry=_registry())


def _against(address: str, document: Json) -> Iterator[str]:
    try:
        error = best_match(_validator(address).iter_errors(document))
    except Unresolvable as missing:
        yield f"{address} refers to a schema that is not vendored: {missing.ref}"
        return
    if error is not None:
        place = "/".join(str(part) for part in error.absolute_path) or "the object"
        yield f"{place}: {error.message[:300]} (schema {address})"


def _broken_links(document: Json, path: Path) -> Iterator[str]:
    is_there = cache(lambda href: target_of(path, href).exists())
    for link in document.get("links", []):
        rel, href = link.get("rel"), str(link.get("href", ""))
        if "://" in href:
            if rel in STRUCTURE:
                yield f"link {rel!r} to {href!r}; expected a relative path (nothing is fetched)"
        elif not is_there(href.partition("#")[0]):
            yield f"link {rel!r} to {href!r}: no such file"
        elif rel == "collection":
            collection = _document(target_of(path, href))
            held = None if isinstance(collection, str) else collection.get("id")
            if held != document.get("collection"):
                yield f"collection {document.get('collection')!r}; the link's is {held!r}"
    if document.get("type") == "Feature" and not any(
        link.get("rel") == "collection" for link in document.get("links", [])
    ):
        yield "no link to a collection; expected one"


def _broken_assets(document: Json, path: Path, *, may_be_elsewhere: bool) -> Iterator[str]:
    for name, asset in document.get("assets", {}).items():
        href = asset["href"]
        if "://" in href:
            if may_be_elsewhere:
                continue
            yield f"asset {name!r} at {href!r}; expected a relative path (nothing is fetched)"
        elif not target_of(path, href).exists():
            yield f"asset {name!r} at {href!r}: no such file"
        elif "file:size" in asset and target_of(path, href).stat().st_size != asset["file:size"]:
            yield (
                f"asset {name!r} has {target_of(path, href).stat().st_size} bytes; "
                f"expected {asset['file:size']}"
            )


def _leaks(document: Json) -> Iterator[str]:
    for text in _texts(document):
        if _LOCAL_PATH.match(text) and not text.startswith("//"):
            yield f"{text!r} is a path of one machine; expected a relative one"
        elif _SECRET.search(text) or _USER.match(text):
            # the value itself may be the secret: do not repeat it
            yield f"an address of {text.partition('?')[0].rpartition('@')[2]!r} holds a signature"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _below(document: Json, path: Path) -> Iterator[Path]:
    for link in document.get("links", []):
        if link.get("rel") in ("child", "item") and "://" not in str(link.get("href", "")):
            yield target_of(path, str(link["href"]))


def target_of(path: Path, href: str) -> Path:
    """Return where a relative address of a document leads."""
    return (path.parent / unquote(href.partition("#")[0])).resolve()


def _shown(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
