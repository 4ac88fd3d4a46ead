"""Documents that several publishers share on a server: whether two are equal, and both in one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final

from rockglacier_stac.extensions import Json
from rockglacier_stac.versions import RELATIONS

OWN_LINKS: Final = frozenset({"derived_from", "license", *RELATIONS})
"""Links that say something of ours; a server may add any others."""


def core(document: Mapping[str, Any]) -> Json:
    """Return what a document says beside the links that servers make, and empty values.

    It is compared as values, not as text: 20.0 comes back as 20.
    """
    links = [
        {key: link[key] for key in ("rel", "href", "type", "title") if link.get(key)}
        for link in document.get("links", [])
        if link["rel"] in OWN_LINKS
    ]
    kept = {
        key: _without_nulls(value)
        for key, value in document.items()
        if key not in ("links", "stac_version") and value not in (None, [], {})
    }
    return {**kept, "links": sorted(links, key=lambda link: (link["rel"], link["href"]))}


def _without_nulls(value: Any) -> Any:
    """Return a value as servers give it back: some leave out what is null."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def widened(collection: Json, held: Json | None) -> Json:
    """Return a collection that also holds what the API has: extent, summaries, makers, notices."""
    wanted, held = deepcopy(collection), held or {}
    providers = list(wanted.get("providers", []))
    providers += [found for found in held.get("providers", []) if found not in providers]
    # in one order from the first time on, or the second time would change it
    wanted["providers"] = sorted(providers, key=lambda found: json.dumps(found, sort_keys=True))
    wanted["description"] = _with_notices(wanted["description"], held.get("description", ""))
    if "extent" not in held:
        return wanted
    wanted["extent"] = _extent(wanted, held)
    if "summaries" in wanted or held.get("summaries"):
        both = [found.get("summaries") or {} for found in (wanted, held)]
        wanted["summaries"] = {
            name: sorted({value for found in both for value in found.get(name, [])})
            for name in sorted({*both[0], *both[1]})
        }
    assets = {**held.get("item_assets", {}), **wanted.get("item_assets", {})}
    if assets:
        wanted["item_assets"] = dict(sorted(assets.items()))
    said = {link["href"] for link in wanted["links"]}
    wanted["links"] += [
        {key: link[key] for key in ("rel", "href", "type", "title") if link.get(key)}
        for link in held.get("links", [])
        if link["rel"] == "license" and link["href"] not in said
    ]
    if held.get("license") not in (None, wanted["license"]):
        wanted["license"] = "other"
    return wanted


def _extent(wanted: Json, held: Json) -> Json:
    """Return the box and the time that hold those of both."""
    boxes = [found["extent"]["spatial"]["bbox"][0] for found in (wanted, held)]
    spans = [found["extent"]["temporal"]["interval"][0] for found in (wanted, held)]
    west, south, east, north = zip(*boxes, strict=True)
    if len({w > e for w, e in zip(west, east, strict=True)}) > 1:  # one crosses the antimeridian
        box = [-180.0, min(south), 180.0, max(north)]
    else:
        box = [min(west), min(south), max(east), max(north)]
    starts, ends = zip(*spans, strict=True)
    return {
        "spatial": {"bbox": [box]},
        "temporal": {"interval": [[min(map(_moment, starts)), max(map(_moment, ends))]]},
    }


def _with_notices(text: str, held: str) -> str:
    """Return a description with the notices of both: other basins may owe other ones."""
    heading = "\n\nAttribution:\n"
    head, _, ours = text.partition(heading)
    notices = sorted({*ours.splitlines(), *held.partition(heading)[2].splitlines()})
    return head + heading + "\n".join(notices) if notices else head


def _moment(text: str) -> str:
    """Return a time as we write it; servers write the same one with +00:00 or with fractions."""
    return text.replace("+00:00", "Z").replace(".000000Z", "Z")
