"""Items that are published again: their times, and the versions that they replace. Pure."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from typing import Final

from rockglacier_stac import extensions
from rockglacier_stac.extensions import Json

STAMPS: Final = ("created", "updated")
PREDECESSOR, SUCCESSOR, LATEST = "predecessor-version", "successor-version", "latest-version"
RELATIONS: Final = frozenset({PREDECESSOR, SUCCESSOR, LATEST})


def edition(document: Json, held: Json | None, *, now: str, keep: bool) -> tuple[Json, Json | None]:
    """Return an item with its times and its predecessor, and the predecessor if that is new.

    Parameters
    ----------
    document
        What is published now.
    held
        What is published under that id, if anything.
    now
        RFC 3339.
    keep
        Whether another version is a successor; otherwise it replaces what is held.

    Returns
    -------
    tuple
        The item, and, where it is of another version than ``held``, ``held`` as it is kept: under
        an id with its version, deprecated, with links to its successor. Of its assets only those
        are kept whose content the new version still has: the others were written over.
    """
    if held is None:
        return _stamped(document, created=now, updated=now), None
    before = held["properties"]
    created = before.get("created", now)
    if not keep or before.get("version") == document["properties"]["version"]:
        links = [link for link in held["links"] if link["rel"] == PREDECESSOR]
        new = {**document, "links": [*document["links"], *links]}
        same = content_of(new) == content_of(held)
        return _stamped(new, created=created, updated=before["updated"] if same else now), None
    old = _kept(held, document)
    link = _link(PREDECESSOR, old)
    new = {**document, "links": [*document["links"], link]}
    return _stamped(new, created=created, updated=now), old


def old_id(document: Json) -> str:
    """Return the id that an item will have once there is a newer version of it."""
    version = re.sub(r"[^A-Za-z0-9.-]", "-", document["properties"]["version"])
    return f"{document['id']}-v{version}"


def is_old(document: Json) -> bool:
    """Say whether an item is an earlier version of another."""
    return any(link["rel"] == SUCCESSOR for link in document.get("links", []))


def content_of(document: Json) -> str:
    """Return what an item says beside its times and its place in a catalog."""
    parts = {
        "id": document["id"],
        "extensions": document["stac_extensions"],
        "geometry": document["geometry"],
        "assets": document["assets"],
        "sources": [
            link for link in document["links"] if link["rel"] in {"derived_from", PREDECESSOR}
        ],
        "properties": {
            key: value for key, value in document["properties"].items() if key not in STAMPS
        },
    }
    return json.dumps(parts, sort_keys=True, allow_nan=False)


def _stamped(document: Json, *, created: str, updated: str) -> Json:
    properties = {**document["properties"], "created": created, "updated": updated}
    return {**document, "properties": properties}


def _kept(held: Json, new: Json) -> Json:
    old = deepcopy(held)
    old["id"] = old_id(held)
    old["properties"]["deprecated"] = True
    old["assets"] = {
        name: asset
        for name, asset in old["assets"].items()
        if "file:checksum" in asset and asset == new["assets"].get(name)
    }
    if not any("mlm:model" in asset["roles"] for asset in old["assets"].values()):
        # MLM describes a model that can be had
        for fields in (old["properties"], *old["assets"].values()):
            for key in [key for key in fields if key.startswith("mlm:")]:
                del fields[key]
    if "renders" in old["properties"]:
        kept = {
            name: render
            for name, render in old["properties"]["renders"].items()
            if set(render["assets"]) <= set(old["assets"])
        }
        old["properties"]["renders"] = kept
        if not kept:
            del old["properties"]["renders"]
    old["links"] += [_link(SUCCESSOR, new), _link(LATEST, new)]
    old["stac_extensions"] = extensions.used_extensions(old)
    return old


def _link(rel: str, document: Json) -> Json:
    version = document["properties"]["version"]
    return {
        "rel": rel,
        "href": f"./{document['id']}.json",
        "type": "application/geo+json",
        "title": f"Version {version}",
    }
