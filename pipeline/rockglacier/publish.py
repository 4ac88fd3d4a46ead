"""A self-contained STAC catalog beside the products; publishing again gives the same bytes."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rockglacier import origin, products
from rockglacier.addresses import public_address, with_base
from rockglacier.catalog import NOTICE, write_catalog
from rockglacier.deposit import write_deposit
from rockglacier.engine import Progress, silent
from rockglacier.errors import ContractError
from rockglacier.scenes.notices import license_of, makers
from rockglacier.shelf import add_to_catalog, is_own
from rockglacier.storage import listing, open_place, put, read_json, sha256_of
from rockglacier.study import Study
from rockglacier_stac.collection import COLLECTIONS, CollectionName, Publication, collection_id
from rockglacier_stac.extensions import Json, file_info
from rockglacier_stac.item import timestamp
from rockglacier_stac.transactions import SERVER_LINKS, Sent, TransactionApi
from rockglacier_stac.validate import validate_catalog
from rockglacier_stac.versions import RELATIONS, STAMPS, is_old

if TYPE_CHECKING:
    from rockglacier.model.bundle import Bundle

logger = logging.getLogger(__name__)

GLOBE = ((-180,), (-90,), (180,), (90,))
"""West, south, east, north: where items across the antimeridian are asked for."""


def publish(
    study: Study, *, bundle: Bundle | None = None, progress: Progress = silent
) -> dict[str, Any]:
    """Write the study's catalog: four collections, items in each, and a table of the items.

    Parameters
    ----------
    study
        With cube, prediction and inventory; with models if it learned. Where the settings name a
        shared catalog or an API, they get the items too.
    bundle
        The given model, if the study maps with one; it is kept beside the products.
    progress
        Told after every item.

    Returns
    -------
    dict
        ``items``, ``collections``, and ``changed``, the number of files whose content changed; with
        a shared catalog ``changed_in_catalog``; with an API ``sent``, the number of its objects
        that were created, replaced or deleted.

    Raises
    ------
    NotFoundError
        A product is missing.
    ContractError
        What was written is not valid.

    Notes
    -----
    Files whose content is the same are not touched, and publishing twice changes nothing. Files of
    items that are gone are removed, those of earlier versions are kept.
    """
    settings = study.config.publish
    items = _items(study, bundle, progress)
    publication = _publication(study, items)
    now = timestamp(datetime.now(UTC))
    keep = settings.version is not None
    changed = write_catalog(study.stac_path, publication, items, now=now, keep=keep)
    _check(study)
    facts: dict[str, Any] = {
        "items": sum(len(documents) for documents in items.values()),
        "collections": len(items),
        "changed": changed,
    }
    logger.info("publish: %s of the catalog's files changed", changed)
    if settings.catalog:
        folder = open_place(study.resolve(settings.catalog))
        facts["changed_in_catalog"] = add_to_catalog(folder, study, publication, items, now=now)
    if settings.api:
        facts["sent"] = send(study, settings.api).changed
    return facts


def deposit(study: Study, folder: Path | None = None) -> Path:
    """Write the folder for a data repository; see :mod:`rockglacier.deposit`."""
    return write_deposit(study, _publication(study, _published(study)), folder)


def share(study: Study, folder: Path) -> int:
    """Put the published items into a root catalog that several basins share.

    Returns
    -------
    int
        Number of files of that catalog whose content changed.

    Raises
    ------
    NotFoundError
        Nothing was published yet.
    InputError
        The products cannot be reached from there, or somebody else has been writing for minutes.
    """
    items = {
        name: [document for document in documents if not is_old(document)]
        for name, documents in _published(study).items()
    }
    now = timestamp(datetime.now(UTC))
    return add_to_catalog(folder, study, _publication(study, items), items, now=now)


def _published(study: Study) -> dict[CollectionName, list[Json]]:
    """Return the items of the study's own catalog, earlier versions too."""
    study.require(study.stac_path / "catalog.json", stage="publish")
    return {
        name: [
            document
            for path in listing(study.stac_path / name, ".json")
            if (document := read_json(path))["type"] == "Feature"
        ]
        for name in COLLECTIONS
    }


def send(study: Study, url: str) -> Sent:
    """Put the published items, and their earlier versions, into a STAC API.

    Items that this study had put there from the same place and does not make any more are deleted;
    those of other basins and periods, of other publishers, and earlier versions are not.

    Raises
    ------
    NotFoundError
        Nothing was published yet.
    InputError
        Nobody but this machine can reach the products.
    """
    study.require(study.stac_path / "catalog.json", stage="publish")
    base, api = public_address(study), TransactionApi(url)
    collections: list[Json] = []
    items: list[Json] = []
    for name in COLLECTIONS:
        for path in listing(study.stac_path / name, ".json"):
            document = with_base(read_json(path), base=base)
            document["links"] = [
                _api_link(link, api, collection_id(name), base=base)
                for link in document["links"]
                if link["rel"] not in SERVER_LINKS
            ]
            (collections if document["type"] == "Collection" else items).append(document)
    sent = api.send(collections, items)
    made = {item["id"] for item in items}

    def is_gone(item: Json) -> bool:
        hrefs = [asset["href"] for asset in item.get("assets", {}).values()]
        return (
            item["id"] not in made
            and is_own(item, study)
            and not is_old(item)
            and bool(hrefs)
            and all(href.startswith(f"{base.rstrip('/')}/") for href in hrefs)
        )

    boxes = [item["bbox"] for item in items if item["bbox"][0] <= item["bbox"][2]]
    west, south, east, north = zip(*boxes, strict=True) if len(boxes) == len(items) else GLOBE
    bbox = [min(west), min(south), max(east), max(north)]
    for name in COLLECTIONS:
        sent.removed += api.remove(collection_id(name), is_gone, bbox=bbox)
    return sent


def _api_link(link: Json, api: TransactionApi, collection: str, *, base: str) -> Json:
    """Return a link as the API has it: other items of the catalog are items of the API."""
    folder, _, file = link["href"].rpartition("/")
    identifier = file.removesuffix(".json")
    if link["rel"] in RELATIONS:
        return {**link, "href": api.item_url(collection, identifier)}
    if link["rel"] == "derived_from" and folder.startswith("../"):
        other = collection_id(cast("CollectionName", folder.removeprefix("../")))
        return {**link, "href": api.item_url(other, identifier)}
    return link


def model_item(study: Study) -> Json:
    """Return the item of the selected model for a packed model: the weights lie beside it.

    Links to sources that only exist beside the products of this study are left out.
    """
    sources = tuple(source for source in origin.sources_of(study) if "://" in source.href)
    return products.trained_model_item(study, href="./model.ckpt", sources=sources)


def _items(
    study: Study, bundle: Bundle | None, progress: Progress
) -> dict[CollectionName, list[Json]]:
    """Return the items by collection, each linked to those that it was made from."""
    items: dict[CollectionName, list[Json]] = {"cubes": [products.cube_item(study)]}
    progress("publish", 1, 4)
    model = None
    if bundle is not None:
        items["models"] = [_given_model_item(study, bundle)]
    elif study.selection_path.is_file():
        _pack(study)
        items["models"] = [
            products.trained_model_item(study, more=products.bundle_asset(study)),
            *(
                products.trained_model_item(study, folder=folder)
                for folder in products.other_models(study)
            ),
        ]
    progress("publish", 2, 4)
    if "models" in items:
        chosen = items["models"][0]
        model = origin.own_source("models", chosen["id"], chosen["properties"]["title"])
    every = study.each_period()
    items["predictions"] = [products.prediction_item(one, model=model) for one in every]
    progress("publish", 3, 4)
    items["inventories"] = [products.inventory_item(one, model=model) for one in every]
    if labels := products.label_item(study):
        items["inventories"].append(labels)
    progress("publish", 4, 4)
    return {name: items[name] for name in COLLECTIONS if name in items}


def _pack(study: Study) -> None:
    """Pack the selected model beside the products, so that its item can be mapped with.

    Packing asks the network once, on features that are a cache: without them it is left out.
    """
    if not (study.features_path.exists() and study.labels_path.exists()):
        return
    from rockglacier.model.bundle import write_bundle

    write_bundle(study, products.bundle_path(study), item=model_item(study))


def _given_model_item(study: Study, bundle: Bundle) -> Json:
    """Return the item that came with a packed model, its one asset the packed file itself.

    Raises
    ------
    ContractError
        The packed model has no item.
    """
    if bundle.item is None:
        raise ContractError(
            f"the packed model {bundle.path.name!r} has no STAC item",
            expected="item.json in it",
            todo="pack it again with `rockglacier pack`",
        )
    kept = _keep(bundle.path, study.models_path / bundle.path.name)
    document: Json = json.loads(json.dumps(bundle.item))
    document["links"] = [
        link
        for link in document["links"]
        if link["rel"] == "derived_from" and "://" in link["href"]
    ]
    document["assets"]["model"] |= {
        "href": f"{origin.UP}/models/{kept.name}",
        "type": "application/zip",
        "title": "Packed model",
        "description": "model.ckpt in it holds the weights; `rockglacier map --model` reads it.",
        **file_info(size=kept.stat().st_size, sha256=sha256_of(kept)),
    }
    for stamp in STAMPS:
        document["properties"].pop(stamp, None)
    return document


def _keep(source: Path, target: Path) -> Path:
    """Copy a file beside the products, unless it is there already."""
    if not target.is_file() or sha256_of(target) != sha256_of(source):
        put(source, target)
    return target


def _publication(study: Study, items: Mapping[CollectionName, list[Json]]) -> Publication:
    config = study.config
    title = f"Rock glaciers of {config.name}, {config.search.period}"
    said = [
        notice
        for documents in items.values()
        for document in documents
        for notice in document["properties"].get("rockglacier:attribution", [])
    ]
    return Publication(
        identifier=f"{config.name}-{config.search.period}",
        title=title,
        description=f"{title}: the cube, the model, its prediction and the inventory, each linked "
        "to what it was made from. Outlines are candidates until a person confirms them.",
        providers=_providers(study),
        license=license_of(config),
        attribution=tuple(dict.fromkeys(said)),
        notice=NOTICE,
    )


def _providers(study: Study) -> tuple[Json, ...]:
    """Return whose products these are, and who made what they are made from."""
    found: list[Json] = []
    if name := study.config.publish.provider:
        is_licensed = license_of(study.config) == study.config.publish.license != "other"
        found.append({"name": name, "roles": ["processor", *["licensor"] * is_licensed]})
    found.append({"name": "rockglacier", "roles": ["processor"]})
    return (*found, *map(dict, makers(study)))


def _check(study: Study) -> None:
    problems = validate_catalog(study.stac_path / "catalog.json")
    if problems:
        raise ContractError(
            f"the catalog that was written has {len(problems)} problem(s):\n"
            + "\n".join(f"    {problem}" for problem in problems[:10]),
            expected="a catalog that is valid by the vendored schemas",
            todo="report it, with this message",
        )
