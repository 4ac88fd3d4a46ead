"""Whether a catalog is valid, and its assets are what it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rockglacier.engine import Progress, silent
from rockglacier.storage import readable, sha256_of
from rockglacier.validation.cube import cube_findings
from rockglacier.validation.finding import Finding, Verdict
from rockglacier.validation.raster import raster_findings
from rockglacier.validation.table import table_findings
from rockglacier_stac.extensions import Json, multihash
from rockglacier_stac.item import COG, GEOPARQUET, ZARR
from rockglacier_stac.validate import Problem, documents, target_of, validate_catalog

ITEMS = "items.parquet"
PUBLISH = "rockglacier publish STUDY.yaml"
KINDS = {COG: "COG", GEOPARQUET: "Parquet", ZARR: "cube"}


def catalog_verdicts(
    path: Path,
    *,
    assets_elsewhere: bool = False,
    quick: bool = False,
    progress: Progress = silent,
) -> Iterator[Verdict]:
    """Check a catalog, the table of its items, and every asset that lies beside it.

    Parameters
    ----------
    path
        ``catalog.json``, here or in an object store.
    assets_elsewhere
        Whether assets may have URLs; they are not looked at.
    quick
        Whether sizes of files are compared alone, not their checksums.
    progress
        Told after every block of a cube.
    """
    problems = validate_catalog(path, assets_elsewhere=assets_elsewhere)
    found = {place: document for place, document in documents(path) if isinstance(document, dict)}
    items = {place: held for place, held in found.items() if held.get("type") == "Feature"}
    yield Verdict(
        what=path.name,
        kind=f"STAC catalog, {len(items)} item(s)",
        findings=tuple(_finding(problem) for problem in problems),
    )
    table = path.with_name(ITEMS)
    if table.is_file():
        yield Verdict(
            what=table.name,
            kind="stac-geoparquet",
            findings=(
                *table_findings(table, covering=False),
                *_table_of_items(table, {str(item["id"]) for item in items.values()}),
            ),
        )
    yield from _asset_verdicts(path, items, quick=quick, progress=progress)


def _finding(problem: Problem) -> Finding:
    found, _, expected = str(problem).partition("; expected ")
    return Finding(
        found=found,
        expected=expected or "documents that are valid by the vendored schemas",
        todo=f"{PUBLISH}, then report it if it stays",
    )


def _table_of_items(table: Path, known: set[str]) -> Iterator[Finding]:
    try:
        held = set(pq.read_table(readable(table), columns=["id"]).column("id").to_pylist())
    except (pa.ArrowException, OSError, LookupError):  # told by the check of the table itself
        return
    for names, where in ((held - known, "the catalog"), (known - held, "the table")):
        if names:
            yield Finding(
                found=f"{where} lacks {', '.join(sorted(map(str, names)))}",
                expected="the same items in both",
                todo=PUBLISH,
            )


def _asset_verdicts(
    path: Path, items: dict[Path, Json], *, quick: bool, progress: Progress
) -> Iterator[Verdict]:
    seen: set[Path] = set()
    for place, item in items.items():
        properties = item.get("properties") or {}
        for asset in item.get("assets", {}).values():
            if "://" in asset["href"]:
                continue
            target = target_of(place, asset["href"])
            if target in seen or not target.exists():
                continue
            seen.add(target)
            kind = str(asset.get("type"))
            yield Verdict(
                what=_shown(target, path),
                kind=KINDS.get(kind, kind.partition(";")[0].rpartition("/")[2]),
                findings=tuple(
                    cube_findings(target, said=properties, quick=quick, progress=progress)
                    if kind == ZARR
                    else _asset_findings(target, kind, asset, properties, quick=quick)
                ),
            )


def _asset_findings(
    target: Path, kind: str, asset: Json, properties: Json, *, quick: bool
) -> Iterator[Finding]:
    said = None if quick else asset.get("file:checksum")
    if said and target.is_file() and (held := multihash(sha256_of(target))) != said:
        yield Finding(
            found=f"its content has the checksum {held}",
            expected=f"{said}, as the item says",
            todo=f"get the file again; if it is yours and right: {PUBLISH}",
        )
    if kind == COG:
        yield from raster_findings(str(target), said={**properties, **asset})
    elif kind == GEOPARQUET:
        is_data = "data" in asset.get("roles", [])
        rows = _rows(asset, properties)
        yield from table_findings(target, covering=is_data, plain=not is_data, rows=rows)


def _rows(asset: Json, properties: Json) -> Any:
    """Return how many rows the table has by the item: properties are of the one with role data."""
    own = asset.get("table:row_count")
    return (
        own
        if own is not None or "data" not in asset.get("roles", [])
        else properties.get("table:row_count")
    )


def _shown(target: Path, path: Path) -> str:
    for folder, up in ((path.parent, ""), (path.parent.parent, "../")):
        if target.is_relative_to(folder):
            return up + target.relative_to(folder).as_posix()
    return target.name
