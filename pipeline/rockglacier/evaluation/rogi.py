"""RoGI CCI, the consensus inventory of twelve areas, as a benchmark: one area left out at a time.

The file is the user's download (doi 10.5281/zenodo.14501398, CC-BY-4.0); nothing of it is in this
package.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from rockglacier.errors import InputError
from rockglacier.evaluation.benchmark import Benchmark, Rules, area_row, area_table
from rockglacier.grid import projected, utm_epsg
from rockglacier.storage.vector import in_degrees, layers_of, read_features

CITATION: Final = (
    "Rouyet et al. 2025, Earth Syst. Sci. Data 17, 4125-4157, doi 10.5194/essd-17-4125-2025"
)
NAMES: Final = ("AreaName", "Area", "AOI", "Name", "Region", "Country", "PolyUID")
"""Columns that may name an area, the first that is there and names every one differently."""
ID: Final = ("PrimaryID", "Primary_ID")
TYPE: Final = ("OutType", "Out.Type")
UNDRAWN_M: Final = 150.0
"""Radius around a marker without an outline that is not judged: half of a typical landform."""


def rogi_benchmark(path: Path, *, version: str = "2.0") -> Benchmark:
    """Return the benchmark that a RoGI CCI GeoPackage makes.

    Parameters
    ----------
    path
        The GeoPackage with the layers ``..._AOI_...``, ``..._GO_...`` and, if there is one,
        ``..._PM_...``.
    version
        Of the data.

    Returns
    -------
    Benchmark
        Every area of interest is a test area and a fold of its own: a model that is scored on one
        has learnt from the others at most.

    Raises
    ------
    InputError
        A layer is missing, or an area holds no outline that is judged.

    Notes
    -----
    Truth is the extended outlines. A landform of which only a restricted outline exists, and the
    ground around a marker without any outline, is a rock glacier of unknown extent: it is ignored.
    """
    if not path.is_file():
        raise InputError(
            f"there is no file {str(path)!r}",
            expected="the GeoPackage of RoGI CCI",
            todo="download it from doi 10.5281/zenodo.14501398",
        )
    layers = list(layers_of(str(path), what="RoGI CCI"))
    areas = _layer(path, layers, "AOI")
    outlines = _layer(path, layers, "GO")
    markers = _layer(path, layers, "PM") if _named(layers, "PM") else None
    rows = _areas(areas)
    reference = [
        part
        for row in rows
        for part in _reference(row["area"], row["geometry"], row["epsg"], outlines, markers)
    ]
    if not any(part["use"] == "landform" for part in reference):
        raise InputError(
            f"no extended outline of {str(path)!r} lies in an area of interest",
            expected=f"a column {TYPE[0]} with the value Extended",
        )
    return Benchmark(
        name="rogi-cci",
        version=version,
        title="RoGI CCI, leave one area out",
        protocol="leave-one-area-out",
        resolution=10.0,
        areas=area_table(rows),
        reference=gpd.GeoDataFrame(reference, geometry="geometry", crs=4326),
        license="CC-BY-4.0",
        citation=CITATION,
        rules=Rules(),
    )


def _named(layers: list[str], part: str) -> str | None:
    return next((name for name in layers if part in re.split(r"[_.]", name)), None)


def _layer(path: Path, layers: list[str], part: str) -> gpd.GeoDataFrame:
    name = _named(layers, part)
    if name is None:
        raise InputError(
            f"{str(path)!r} has no layer {part}: {', '.join(layers)}",
            expected="a layer whose name holds _AOI_, and one with _GO_",
        )
    table = read_features(str(path), what="RoGI CCI", layer=name)
    table = table[~(table.geometry.isna() | table.geometry.is_empty)]
    shapes = in_degrees(table.geometry).make_valid()
    return table.set_geometry(shapes).reset_index(drop=True)


def _areas(table: gpd.GeoDataFrame) -> list[dict[str, Any]]:
    column = next((c for c in NAMES if c in table and table[c].notna().all()
                   and table[c].is_unique), None)  # fmt: skip
    names = (
        [_slug(value) for value in table[column]]
        if column
        else [f"area-{number:02d}" for number in range(1, len(table) + 1)]
    )
    return [
        area_row(name, ground, epsg=utm_epsg(ground), fold=fold)
        for fold, (name, ground) in enumerate(zip(names, table.geometry, strict=True))
    ]


def _slug(value: object) -> str:
    return re.sub(r"[^a-z0-9]+", "-", str(value).lower()).strip("-")


def _reference(
    area: str,
    ground: BaseGeometry,
    epsg: int,
    outlines: gpd.GeoDataFrame,
    markers: gpd.GeoDataFrame | None,
) -> list[dict[str, Any]]:
    here = outlines[outlines.intersects(ground)]
    ids = _column(here, ID)
    is_extended = _column(here, TYPE).str.lower() == "extended"
    drawn = set(ids[is_extended])
    rows = [
        _row(area, name, "landform", shape)
        for name, shape in zip(ids[is_extended], here.geometry[is_extended], strict=True)
    ]
    rows += [
        _row(area, name, "ignore", shape)
        for name, shape in zip(ids[~is_extended], here.geometry[~is_extended], strict=True)
        if name not in drawn
    ]
    if markers is None:
        return rows
    inside = markers[markers.within(ground)]
    known = set(ids)
    for name, point in zip(_column(inside, ID), inside.geometry, strict=True):
        if name not in known:
            circle = projected(point, epsg=epsg).buffer(UNDRAWN_M)
            rows.append(_row(area, name, "ignore", projected(circle, epsg=4326, source_epsg=epsg)))
    return rows


def _row(area: str, name: str, use: str, shape: shapely.Geometry) -> dict[str, Any]:
    return {"area": area, "id": name, "use": use, "geometry": shape}


def _column(table: gpd.GeoDataFrame, names: tuple[str, ...]) -> pd.Series:
    column = next((name for name in names if name in table), None)
    if column is None:
        raise InputError(
            f"the table has no column {names[0]!r}: {', '.join(map(str, table.columns))}",
            expected=" or ".join(names),
        )
    values = table[column].astype("string").fillna("")
    return values.where(values != "", [f"row-{index}" for index in np.asarray(table.index)])
