"""Answers of a server that several basins share: asked by cells of a fixed grid, kept as files."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import shapely
from shapely.geometry.base import BaseGeometry

from rockglacier_stac.catalogs import Catalog
from rockglacier_stac.errors import SECRET_VALUE
from rockglacier_stac.globe import Bbox, box_of, cut
from rockglacier_stac.search import Query, item_datetime, satisfies
from rockglacier_stac.sign import unsigned

logger = logging.getLogger(__name__)

CELL: Final = 1
"""Edge of a cell, degrees: about that of a tile of Sentinel-2."""
MAX_AGE_S: Final = 7 * 86_400.0
"""Older answers are asked for again: providers process scenes anew."""


class KeptCatalog:
    """A server's catalog whose answers are kept for other basins, and for the next run.

    Parameters
    ----------
    catalog
        A server's; see :class:`rockglacier_stac.catalogs.Catalog`.
    folder
        Of the answers, on this machine; several runs may share it.
    max_age_s
        Age of an answer from which it is asked for again, seconds.

    Notes
    -----
    A question is asked for whole cells, and its items are chosen from theirs by the rules of
    :func:`rockglacier_stac.search.satisfies`, so that the answer is that of the server itself.
    Basins side by side, and periods and limits that are equal, share cells. Items are written
    without tokens that are asked for anew when pixels are read. An answer whose addresses carry
    other signatures is not kept: they would have ended before it is read again.
    """

    def __init__(self, catalog: Catalog, folder: Path, *, max_age_s: float = MAX_AGE_S) -> None:
        self._catalog, self._folder, self._max_age_s = catalog, folder, max_age_s

    @property
    def name(self) -> str:
        """Name of the server."""
        return self._catalog.name

    @property
    def is_remote(self) -> bool:
        """As the catalog itself says."""
        return self._catalog.is_remote

    def collections(self) -> list[str]:
        """Return the ids of the collections."""
        return self._catalog.collections()

    def search(self, query: Query) -> list[dict[str, Any]]:
        """Return the items in order of time; see ``Catalog.search``."""
        if query.area is None:
            return self._catalog.search(query)
        found = {
            item["id"]: item
            for cell in cells_of(query.area)
            for item in self._answer(query, cell)
            if satisfies(item, query)
        }
        return sorted(found.values(), key=lambda item: (item_datetime(item), item["id"]))

    def _answer(self, query: Query, cell: Bbox) -> list[dict[str, Any]]:
        """Return the items of a cell, those that are kept or those of the server."""
        path = self._folder / f"{self._key(query, cell)}.json"
        kept = _read(path, self._max_age_s)
        if kept is not None:
            logger.info("%s: the answer for %s is kept", self.name, cell)
            return kept
        asked = replace(query, area=box_of(cell))
        items = [_without_tokens(item) for item in self._catalog.search(asked)]
        if any(map(_is_signed, items)):
            logger.info(
                "%s: the answer for %s is not kept: its addresses are signed", self.name, cell
            )
            return items
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        partial.write_text(json.dumps(items, default=str), encoding="utf-8")
        os.replace(partial, path)
        return items

    def _key(self, query: Query, cell: Bbox) -> str:
        asked = [
            self.name, query.collection, cell, query.interval, query.cloud_max, query.cloud_min,
            query.brief,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]


def cells_of(area: BaseGeometry) -> Iterator[Bbox]:
    """Yield the cells that an area touches, none of them across the antimeridian.

    Parameters
    ----------
    area
        EPSG:4326.

    Examples
    --------
    >>> list(cells_of(shapely.box(179.5, -17.2, 180.5, -17.1)))
    [(179.0, -18.0, 180.0, -17.0), (-180.0, -18.0, -179.0, -17.0)]
    """
    for part in shapely.get_parts(cut(area)):
        west, south, east, north = part.bounds
        shapely.prepare(part)
        for x in range(math.floor(west), min(math.floor(east), 179) + 1, CELL):
            for y in range(math.floor(south), min(math.floor(north), 89) + 1, CELL):
                if part.intersects(shapely.box(x, y, x + CELL, y + CELL)):
                    yield float(x), float(y), float(x + CELL), float(y + CELL)


def _read(path: Path, max_age_s: float) -> list[dict[str, Any]] | None:
    try:
        if time.time() - path.stat().st_mtime > max_age_s:
            return None
        found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return found


def _is_signed(item: dict[str, Any]) -> bool:
    assets = (item.get("assets") or {}).values()
    return any(SECRET_VALUE.search(asset["href"]) for asset in assets)


def _without_tokens(item: dict[str, Any]) -> dict[str, Any]:
    assets = item.get("assets") or {}
    plain = {key: {**asset, "href": unsigned(asset["href"])} for key, asset in assets.items()}
    return {**item, "assets": plain} if assets else item
