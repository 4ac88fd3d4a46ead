"""Documents of strangers: JSON that is neither too large nor too deep, and items that are items."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, NoReturn

from rockglacier_stac.errors import CatalogError, refused

LARGEST_BYTES: Final = 512 * 2**20
"""Of one JSON or Parquet document of a catalog."""
DEEPEST: Final = 100
"""Nesting of a document: items need 10."""


def check_size(size: int, *, source: str) -> None:
    """Refuse a document of a stranger that is too large.

    Raises
    ------
    CatalogError
        It is.
    """
    if size > LARGEST_BYTES:
        raise refused(source, source, f"{size / 1e6:.0f} MB", f"{LARGEST_BYTES / 1e6:.0f} MB")


def loads(data: bytes | str, *, source: str) -> Any:
    """Return JSON of a stranger.

    Raises
    ------
    CatalogError
        It is too large, too deep, holds NaN or infinity, is a page for people, or cut short.
    """
    check_size(len(data), source=source)
    start = data[:200].lstrip() if isinstance(data, str) else data[:200].lstrip().decode("latin-1")
    if start.lower().startswith(("<!doctype", "<html", "<?xml")):
        raise refused(source, source, "a page instead of JSON", "JSON")
    try:
        found = json.loads(data, parse_constant=_no_constant)
    except RecursionError:
        raise refused(source, source, "nesting without end", f"{DEEPEST} levels") from None
    except _ConstantError as error:
        raise refused(source, source, f"{error}, which is not JSON", "numbers or null") from None
    except ValueError as error:
        raise CatalogError(f"{source!r} is not JSON: {error}") from error
    if _depth(found) > DEEPEST:
        raise refused(source, source, "nesting without end", f"{DEEPEST} levels")
    return found


class _ConstantError(Exception):
    pass


def _no_constant(name: str) -> NoReturn:
    raise _ConstantError(name)


def _depth(value: Any) -> int:
    deepest, level = 0, [value] if isinstance(value, dict | list) else []
    while level and deepest <= DEEPEST:
        deepest += 1
        level = [inner for outer in level for inner in _inner(outer)]
    return deepest


def _inner(value: Any) -> list[Any]:
    held = value.values() if isinstance(value, dict) else value
    return [inner for inner in held if isinstance(inner, dict | list)]


def require_item(item: Any, *, base: str) -> dict[str, Any]:
    """Return an item if its parts are of the kinds that STAC gives them.

    Parameters
    ----------
    item
        As JSON or a table gave it.
    base
        Path or URL of the document that holds it.

    Raises
    ------
    CatalogError
        A part is missing, or of another kind.
    """
    for place, kind in _oddities(item):
        raise refused(base, base, f"an item whose {place} is {kind}", "an item of STAC")
    found: dict[str, Any] = item
    return found


def _oddities(item: Any) -> Iterator[tuple[str, str]]:
    """Yield what is not as STAC has it: its place, and what was found."""
    if not isinstance(item, dict):
        yield "whole", _kind(item)
        return
    if not isinstance(item.get("id"), str) or not item["id"]:
        yield "id", _kind(item.get("id"))
    if not isinstance(item.get("properties"), dict):
        yield "properties", _kind(item.get("properties"))
    for name, inner in (("assets", dict), ("links", list)):
        if not isinstance(item.get(name) or inner(), inner):
            yield name, _kind(item[name])
            return
    assets = (item.get("assets") or {}).items()
    entries = [(f"asset {name!r}", asset) for name, asset in assets]
    entries += [("link", link) for link in item.get("links") or []]
    for name, entry in entries:
        if entry is not None and not isinstance(entry, dict):
            yield name, _kind(entry)
        elif entry and not isinstance(entry.get("href") or "", str):
            yield f"href of {name}", _kind(entry["href"])


def _kind(value: Any) -> str:
    return "missing" if value is None else f"of type {type(value).__name__}"
