"""Two polygon files compared, and what came of it as files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from rockglacier.inventory.compare import ReferenceKind, Sides, compare
from rockglacier.inventory.geoparquet import write_geoparquet
from rockglacier.inventory.polygons import area_of, read_outlines
from rockglacier.storage import write_json, write_text
from rockglacier.study import read_area


def compare_files(
    a: str,
    b: str,
    *,
    within: str | None = None,
    reference_kind: ReferenceKind = "agreement",
) -> Sides:
    """Compare two polygon files; see :func:`rockglacier.inventory.compare.compare`.

    Parameters
    ----------
    a, b
        Any polygon file that OGR reads, or GeoParquet; any CRS.
    within
        Polygon file of the ground that both cover. Default: that of the layers ``aoi`` which our
        own GeoPackages hold, where at least one file is such a one.
    reference_kind
        ``accuracy`` if ``b`` counts as true here.

    Raises
    ------
    InputError
        A file cannot be used, or the two lie apart.
    """
    tables = read_outlines(a, name="inventory A"), read_outlines(b, name="inventory B")
    area = read_area(within) if within else _common_area(a, b)
    names = (Path(a).name, Path(b).name)
    return compare(*tables, within=area, reference_kind=reference_kind, names=names)


def _common_area(a: str, b: str) -> BaseGeometry | None:
    areas = [area for area in (area_of(a), area_of(b)) if area is not None]
    return shapely.intersection_all(areas) if areas else None


def write_comparison(sides: Sides, folder: Path) -> list[Path]:
    """Write a comparison, and return the files.

    ``links.parquet`` (GeoParquet 1.1) and ``links.csv``, ``outlines_a.csv``, ``outlines_b.csv``,
    ``size_classes.csv``, ``curve.csv`` and ``comparison.json``.
    """
    links = folder / "links.parquet"
    write_geoparquet(sides.links, links)
    scores = sides.summary
    tables = {
        "links.csv": sides.links.drop(columns="geometry"),
        "outlines_a.csv": sides.objects_a,
        "outlines_b.csv": sides.objects_b,
        "size_classes.csv": pd.json_normalize(scores["size_classes"], sep="_"),
        "curve.csv": pd.DataFrame(scores["curve"]),
    }
    for name, table in tables.items():
        write_text(folder / name, table.to_csv(index=False))
    write_json(folder / "comparison.json", scores)
    return [links, *(folder / name for name in tables), folder / "comparison.json"]
