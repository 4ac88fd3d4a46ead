"""What is asked of a catalog, and the same conditions checked on what comes back."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from datetime import UTC, date, datetime
from typing import Any, Final
from urllib.parse import urljoin

from shapely.errors import ShapelyError
from shapely.geometry.base import BaseGeometry

from rockglacier_stac import untrusted
from rockglacier_stac.errors import CatalogError, UnknownCollectionError
from rockglacier_stac.globe import footprint_of

UNREADABLE: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    ShapelyError,
)
"""What values of another kind than STAC's end in, wherever they are used."""


@dataclass(frozen=True, slots=True)
class Query:
    """One question to a catalog."""

    collection: str
    _: KW_ONLY
    area: BaseGeometry | None = None
    """EPSG:4326; items whose geometry does not touch it are left out."""
    start: date | None = None
    """First day, UTC."""
    end: date | None = None
    """Last day, UTC, included."""
    cloud_max: float | None = None
    """Items must have less cloud than this, percent; those that do not say are left out."""
    cloud_min: float | None = None
    """Items must have this much cloud or more, percent; those that do not say are left out."""
    brief: bool = False
    """Neither assets nor links are needed, so that a server can send less."""

    @property
    def interval(self) -> str | None:
        """The period as STAC writes it, or None."""
        if self.start is None and self.end is None:
            return None
        first = f"{self.start}T00:00:00Z" if self.start else ".."
        last = f"{self.end}T23:59:59Z" if self.end else ".."
        return f"{first}/{last}"


def satisfies(item: dict[str, Any], query: Query) -> bool:
    """Say whether an item meets every condition; servers have been seen to ignore some.

    Raises
    ------
    CatalogError
        Its time, cloud or geometry cannot be read.

    References
    ----------
    brazil-data-cube/rstac#145: a filter that the server ignored.
    """
    if item.get("collection") != query.collection:
        return False
    try:
        return _meets(item, query)
    except UNREADABLE as error:
        raise CatalogError(
            f"item {item['id']!r} cannot be read: {type(error).__name__}: {error}",
            expected="a time by RFC 3339, a number as cloud, and a geometry by GeoJSON",
            todo="mend the item, or take it out of the catalog",
        ) from error


def _meets(item: dict[str, Any], query: Query) -> bool:
    if not _has_cloud(item, query):
        return False
    if query.start is not None or query.end is not None:
        day = item_datetime(item).date()
        if (query.start and day < query.start) or (query.end and day > query.end):
            return False
    if query.area is not None:
        footprint = footprint_of(item)
        return footprint is not None and bool(footprint.intersects(query.area))
    return True


def _has_cloud(item: dict[str, Any], query: Query) -> bool:
    said = item["properties"].get("eo:cloud_cover")
    cloud = None if said is None else float(said)
    if query.cloud_max is None and query.cloud_min is None:
        return True
    if cloud is None:
        return False
    too_much = query.cloud_max is not None and cloud >= query.cloud_max
    too_little = query.cloud_min is not None and cloud < query.cloud_min
    return not too_much and not too_little


def item_datetime(item: dict[str, Any]) -> datetime:
    """Return the time of an item, UTC; the start of its interval where it has no instant."""
    properties = item["properties"]
    text = properties.get("datetime") or properties["start_datetime"]
    moment = text if isinstance(text, datetime) else datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def tidied(item: dict[str, Any], *, base: str) -> dict[str, Any]:
    """Return a copy without empty values and with every address absolute.

    Parameters
    ----------
    item
        A STAC item as a provider wrote it; nothing is migrated.
    base
        Path or URL of the file that holds the item, against which relative addresses are meant.

    Raises
    ------
    CatalogError
        It is no item.
    """
    untrusted.require_item(item, base=base)
    assets = {
        key: {**_filled(asset), "href": absolute(asset["href"], base=base)}
        for key, asset in (item.get("assets") or {}).items()
        if asset and asset.get("href")
    }
    links = [
        {**_filled(link), "href": absolute(link["href"], base=base)}
        for link in item.get("links") or []
        if link and link.get("href")
    ]
    return {**item, "properties": _filled(item["properties"]), "assets": assets, "links": links}


def _filled(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if not _is_empty(value)}


def _is_empty(value: Any) -> bool:
    """Say whether nothing is said: tables have NaN where JSON has null."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def absolute(href: str, *, base: str) -> str:
    """Return an address as an absolute one, relative ones meant from the folder of ``base``."""
    if "://" in href or os.path.isabs(href):  # noqa: PTH117 - an address may be no path
        return href
    scheme, mark, place = base.partition("://")
    if mark:  # urljoin knows no object stores
        joined = urljoin(f"https://{place}", href)
        return f"{scheme}://{joined.removeprefix('https://')}"
    return os.path.normpath(os.path.join(os.path.dirname(base), href))  # noqa: PTH118, PTH120


def unknown_collection(
    collection: str, known: Iterable[str], *, catalog: str
) -> UnknownCollectionError:
    """Return the error for a collection that is not there, naming the nearest one that is."""
    names = sorted(known)
    near = difflib.get_close_matches(collection, names, n=1, cutoff=0.5)
    return UnknownCollectionError(
        f"catalog {catalog!r} has no collection {collection!r}",
        expected=f"one of: {', '.join(names[:40])}" if names else "a catalog with collections",
        todo=f"did you mean {near[0]!r}?" if near else "name one of those",
    )
