"""A self-contained STAC catalog beside the products; publishing again gives the same bytes."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import stac_geoparquet.arrow

from rockglacier import origin, products
from rockglacier.engine import Progress, silent
from rockglacier.errors import ContractError
from rockglacier.storage import read_json, write_text
from rockglacier.study import Study
from rockglacier_stac.collection import (
    COLLECTIONS,
    CollectionName,
    Publication,
    catalog_files,
    moved,
)
from rockglacier_stac.extensions import Json, file_info
from rockglacier_stac.item import timestamp
from rockglacier_stac.validate import validate_catalog

if TYPE_CHECKING:
    from rockglacier.model.bundle import Bundle

logger = logging.getLogger(__name__)

NOTICE = "NOTICE.txt"
STAMPS = ("created", "updated")


def publish(
    study: Study, *, bundle: Bundle | None = None, progress: Progress = silent
) -> dict[str, Any]:
    """Write the study's catalog: four collections, an item in each, and a table of the items.

    Parameters
    ----------
    study
        With cube, prediction and inventory; with models if it learned.
    bundle
        The given model, if the study maps with one; it is kept beside the products.
    progress
        Told after every item.

    Returns
    -------
    dict
        ``items``, ``collections``, and ``changed``, the number of files whose content changed.

    Raises
    ------
    NotFoundError
        A product is missing.
    ContractError
        What was written is not valid.

    Notes
    -----
    ``created`` and ``updated`` of an item stay as long as nothing else in it changes; files whose
    content is the same are not touched. Files of items that are gone are removed.
    """
    items = _items(study, bundle, progress)
    stamped = {
        name: [_stamped(document, study.stac_path / name) for document in documents]
        for name, documents in items.items()
    }
    publication = _publication(study, items)
    files = catalog_files(publication, stamped)
    changed = sum(
        _write_changed(study.stac_path / name, _as_json(document))
        for name, document in files.items()
    )
    changed += _write_changed(study.stac_path / NOTICE, _notice_text(publication))
    changed += _write_items_table(study.stac_path, files)
    _remove_others(study.stac_path, set(files))
    _check(study)
    logger.info("publish: %s of %s files changed", changed, len(files) + 2)
    return {
        "items": sum(len(documents) for documents in items.values()),
        "collections": len(items),
        "changed": changed,
    }


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
    total = 3 + int(bundle is not None or study.selection_path.is_file())
    items: dict[CollectionName, list[Json]] = {"cubes": [products.cube_item(study)]}
    progress("publish", 1, total)
    model = None
    if bundle is not None:
        items["models"] = [_given_model_item(study, bundle)]
    elif study.selection_path.is_file():
        items["models"] = [products.trained_model_item(study)]
    for document in items.get("models", []):
        model = origin.own_source("models", document["id"], document["properties"]["title"])
    items["predictions"] = [products.prediction_item(study, model=model)]
    progress("publish", total - 1, total)
    items["inventories"] = [products.inventory_item(study, model=model)]
    progress("publish", total, total)
    return {name: items[name] for name in COLLECTIONS if name in items}


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
        **file_info(size=kept.stat().st_size, sha256=origin.sha256_of(kept)),
    }
    for stamp in STAMPS:
        document["properties"].pop(stamp, None)
    return document


def _keep(source: Path, target: Path) -> Path:
    """Copy a file beside the products, unless it is there already."""
    if not target.is_file() or origin.sha256_of(target) != origin.sha256_of(source):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        shutil.copyfile(source, partial)
        os.replace(partial, target)
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
        license=origin.license_of(config),
        attribution=tuple(dict.fromkeys(said)),
        notice=NOTICE,
    )


def _providers(study: Study) -> tuple[Json, ...]:
    found: list[Json] = []
    if study.config.publish.provider:
        found.append({"name": study.config.publish.provider, "roles": ["producer", "processor"]})
    return (*found, {"name": "rockglacier", "roles": ["processor"]})


def _notice_text(publication: Publication) -> str:
    lines = [publication.title, "", f"Licence: {publication.license}"]
    if publication.license == "other":
        lines.append("No licence was chosen: ask the publisher before you pass the data on.")
    lines += ["", "Attribution:", *(f"- {notice}" for notice in publication.attribution)]
    return "\n".join(lines) + "\n"


def _stamped(document: Json, folder: Path) -> Json:
    """Give an item its times: those of the published one, if it says the same."""
    path = folder / f"{document['id']}.json"
    held = read_json(path) if path.is_file() else None
    now = timestamp(datetime.now(UTC))
    created = now
    if held is not None:
        before = held["properties"]
        created = before.get("created", now)
        if _content(held) == _content(document):
            now = before.get("updated", now)
    properties = {**document["properties"], "created": created, "updated": now}
    return {**document, "properties": properties}


def _content(document: Json) -> str:
    """Return what an item says beside its times and its place in the catalog."""
    parts = {
        "id": document["id"],
        "extensions": document["stac_extensions"],
        "geometry": document["geometry"],
        "assets": document["assets"],
        "sources": [link for link in document["links"] if link["rel"] == "derived_from"],
        "properties": {
            key: value for key, value in document["properties"].items() if key not in STAMPS
        },
    }
    return json.dumps(parts, sort_keys=True, allow_nan=False)


def _as_json(document: Json) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _write_changed(path: Path, text: str) -> int:
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return 0
    write_text(path, text)
    return 1


def _write_items_table(folder: Path, files: Mapping[str, Json]) -> int:
    """Write the items as stac-geoparquet; their addresses are meant from the table's folder."""
    items = [
        moved(document, source=name.rpartition("/")[0], target=".")
        for name, document in files.items()
        if document["type"] == "Feature"
    ]
    path, partial = folder / "items.parquet", folder / ".items.parquet.partial"
    table = stac_geoparquet.arrow.parse_stac_items_to_arrow(items)
    stac_geoparquet.arrow.to_parquet(table, partial, compression="zstd")
    if path.is_file() and path.read_bytes() == partial.read_bytes():
        partial.unlink()
        return 0
    os.replace(partial, path)
    return 1


def _remove_others(folder: Path, names: set[str]) -> None:
    for path in _documents(folder):
        if path.relative_to(folder).as_posix() not in names:
            path.unlink()


def _documents(folder: Path) -> Iterator[Path]:
    for name in COLLECTIONS:
        yield from sorted((folder / name).glob("*.json"))


def _check(study: Study) -> None:
    problems = validate_catalog(study.stac_path / "catalog.json")
    if problems:
        raise ContractError(
            f"the catalog that was written has {len(problems)} problem(s):\n"
            + "\n".join(f"    {problem}" for problem in problems[:10]),
            expected="a catalog that is valid by the vendored schemas",
            todo="report it, with this message",
        )
