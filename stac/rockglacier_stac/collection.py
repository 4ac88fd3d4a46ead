"""The four collections, and a self-contained catalog of files with relative links. Pure."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final, Literal

from rockglacier_stac import extensions
from rockglacier_stac.errors import StacError
from rockglacier_stac.extensions import Json
from rockglacier_stac.item import VERSION

CollectionName = Literal["cubes", "models", "predictions", "inventories"]
COLLECTIONS: Final[tuple[CollectionName, ...]] = ("cubes", "models", "predictions", "inventories")
"""Names of the four collections in the order of production; also of their folders."""

PLACE: Final = frozenset({"root", "parent", "collection", "license"})
"""Links that an item's place in a catalog gives it."""

SCHEMA: Final = "rockglacier.schema.json"
"""File of the schema of our own fields, in the catalog's folder."""

JSON_TYPE = "application/json"
SCHEMA_TYPE = "application/schema+json"
ITEM_TYPE = "application/geo+json"
_NOWHERE = "/x" * 32  # a folder deep enough for any number of `..`, wherever the process runs
SUMMARISED = (
    "rockglacier:basin",
    "version",
    "proj:code",
    "mlm:architecture",
    "mlm:framework",
    "processing:level",
)
SHARED_BY_ASSETS = ("title", "type", "roles", "classification:classes")
"""What a collection says of an asset that its items have; statistics are the items' own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What all collections of a catalog share."""

    identifier: str
    """Of the catalog."""
    title: str
    description: str
    providers: tuple[Json, ...]
    license: str
    attribution: tuple[str, ...]
    """Notices that a user of the data has to pass on."""
    notice: str
    """File of the notices, relative to the catalog's folder."""


@cache
def _template(name: CollectionName) -> Json:
    path = files("rockglacier_stac").joinpath("templates", f"{name}.json")
    values: Json = json.loads(path.read_text(encoding="utf-8"))
    return values


def collection_id(name: CollectionName) -> str:
    """Return the id of a collection, e.g. ``rock-glacier-cubes``."""
    return str(_template(name)["id"])


def own_schema() -> Json:
    """Return the schema of the fields ``rockglacier:``, which lie at no address."""
    return extensions.vendored()[extensions.EXTENSIONS["rockglacier"]]


def collection(name: CollectionName, items: Sequence[Json], publication: Publication) -> Json:
    """Return a collection of items: extent, summaries, providers, licence, notices.

    Parameters
    ----------
    name
        Which of the four.
    items
        At least one.
    publication
        What is said of all products.

    Raises
    ------
    StacError
        There is no item.
    """
    if not items:
        raise StacError(f"the collection {name!r} has no item", expected="at least one")
    template = deepcopy(_template(name))
    licences = {item["properties"]["license"] for item in items}
    document: Json = {
        "type": "Collection",
        "stac_version": VERSION,
        "stac_extensions": [],
        "id": template["id"],
        "title": template["title"],
        "description": template["description"] + _notices(publication.attribution),
        "keywords": template["keywords"],
        "license": licences.pop() if len(licences) == 1 else "other",
        "providers": [dict(provider) for provider in publication.providers],
        "extent": _extent(items),
        "summaries": _summaries(items),
        "item_assets": _item_assets(items, template["item_assets"]),
        "sci:publications": [extensions.METHOD],
        "links": [],
    }
    if name == "models":  # the schema of MLM 1.4.0 refuses every summary that STAC knows
        del document["summaries"]
    document["stac_extensions"] = extensions.used_extensions(document)
    return document


def _item_assets(items: Sequence[Json], said: Json) -> Json:
    """Return what the assets of one name have in common; a template's words come first."""
    found: Json = {}
    for item in items:
        for key, asset in item["assets"].items():
            if key in found:
                continue
            found[key] = {name: asset[name] for name in SHARED_BY_ASSETS if name in asset}
            found[key] |= said.get(key, {})
            bands = [
                {name: value for name, value in band.items() if name != "statistics"}
                for band in asset.get("bands", [])
            ]
            if bands and "mlm:model" not in asset.get("roles", []):
                found[key]["bands"] = bands
    return dict(sorted(found.items()))


def _notices(attribution: Sequence[str]) -> str:
    if not attribution:
        return ""
    return "\n\nAttribution:\n" + "\n".join(f"- {notice}" for notice in attribution)


def _extent(items: Sequence[Json]) -> Json:
    boxes = [item["bbox"] for item in items]
    starts = [item["properties"]["start_datetime"] for item in items]
    ends = [item["properties"]["end_datetime"] for item in items]
    return {
        "spatial": {"bbox": [_union(boxes)]},
        "temporal": {"interval": [[min(starts), max(ends)]]},
    }


def _union(boxes: Sequence[Sequence[float]]) -> list[float]:
    """Return the box around boxes; the whole globe's width if only some cross the antimeridian."""
    west, south, east, north = zip(*boxes, strict=True)
    crossing = [w > e for w, e in zip(west, east, strict=True)]
    if any(crossing) and not all(crossing):
        return [-180.0, min(south), 180.0, max(north)]
    return [min(west), min(south), max(east), max(north)]


def _summaries(items: Sequence[Json]) -> Json:
    found: Json = {}
    for name in SUMMARISED:
        values = sorted({item["properties"][name] for item in items if name in item["properties"]})
        if values:
            found[name] = values
    return found


def catalog_files(
    publication: Publication, items: Mapping[CollectionName, Sequence[Json]]
) -> dict[str, Json]:
    """Lay out a self-contained catalog: every document by its path, with relative links.

    Parameters
    ----------
    publication
        What is said of all products.
    items
        Items by collection, as the builders return them; collections without items are left out.

    Returns
    -------
    dict
        ``catalog.json``, ``cubes/collection.json``, ``cubes/ID.json`` and so on, in a stable order.
        The notices and :func:`own_schema` belong beside ``catalog.json``.
    """
    children = [name for name in COLLECTIONS if items.get(name)]
    documents: dict[str, Json] = {"catalog.json": {}}
    child_links: list[Json] = []
    for name in children:
        document = collection(name, items[name], publication)
        links = _family("../catalog.json", "../catalog.json")
        links.append(_notice_link(publication, up="../"))
        documents[f"{name}/collection.json"] = document
        for item in items[name]:
            links.append(
                _link("item", f"./{item['id']}.json", ITEM_TYPE, item["properties"]["title"])
            )
            documents[f"{name}/{item['id']}.json"] = _placed(item, document["id"], publication)
        document["links"] = links
        child_links.append(
            _link("child", f"./{name}/collection.json", JSON_TYPE, document["title"])
        )
    documents["catalog.json"] = {
        "type": "Catalog",
        "stac_version": VERSION,
        "id": publication.identifier,
        "title": publication.title,
        "description": publication.description,
        "links": [
            _link("root", "./catalog.json", JSON_TYPE),
            *child_links,
            _notice_link(publication, up="./"),
            _link("describedby", f"./{SCHEMA}", SCHEMA_TYPE, "Schema of the fields rockglacier:"),
        ],
    }
    return documents


def _placed(item: Json, collection_identifier: str, publication: Publication) -> Json:
    placed = deepcopy(item)
    placed["collection"] = collection_identifier
    placed["links"] = [
        *_family("../catalog.json", "./collection.json"),
        _link("collection", "./collection.json", JSON_TYPE),
        _notice_link(publication, up="../"),
        *(link for link in placed["links"] if link["rel"] not in PLACE),
    ]
    return placed


def _family(root: str, parent: str) -> list[Json]:
    return [_link("root", root, JSON_TYPE), _link("parent", parent, JSON_TYPE)]


def _notice_link(publication: Publication, *, up: str) -> Json:
    return _link("license", up + publication.notice, "text/plain", "Licence and attribution")


def _link(rel: str, href: str, kind: str, title: str = "") -> Json:
    return {"rel": rel, "href": href, "type": kind, **({"title": title} if title else {})}


def moved(item: Json, *, source: str, target: str) -> Json:
    """Return an item whose relative addresses are meant from another folder.

    Parameters
    ----------
    item
        As it lies in a folder ``source``.
    source, target
        Folders, relative to the catalog's: ``cubes`` to ``.`` for an item that goes into a table
        beside ``catalog.json``.
    """
    result = deepcopy(item)
    for entry in (*result["links"], *result["assets"].values()):
        href = entry["href"]
        if "://" not in href:
            path, mark, fragment = href.partition("#")
            path = posixpath.relpath(
                posixpath.join(_NOWHERE, source, path), posixpath.join(_NOWHERE, target)
            )
            entry["href"] = f"{path}{mark}{fragment}"
    return result
