"""The inventory for other programs: a project to review in QGIS, a table for spreadsheets."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import geopandas as gpd
import pandas as pd

from rockglacier.inventory import qgis
from rockglacier.inventory.about import about_inventory
from rockglacier.inventory.qgis_style import QUEUE, Shown, write_project
from rockglacier.inventory.references import REFERENCE_COLUMNS
from rockglacier.inventory.reviews import outline_hash, read_reviews
from rockglacier.inventory.schema import COLUMNS, MARKER_COLUMNS, MOVING_AREA_COLUMNS
from rockglacier.inventory.tables import study_domains
from rockglacier.scenes.asset import gdal_path
from rockglacier.storage import local_copy, readable, write_text
from rockglacier.study import Study

PLACES: Final = {
    "longitude": "Of a point inside the outline, degrees east, WGS 84.",
    "latitude": "Of a point inside the outline, degrees north, WGS 84.",
}
HASH = "drawn_hash"
"""Column that tells an outline that was moved from one that was not."""


def export_csv(study: Study, folder: Path) -> list[Path]:
    """Write a row an outline, what its columns mean, and return both files.

    Parameters
    ----------
    study
        With its inventory.
    folder
        Takes ``NAME-PERIOD.csv``, UTF-8, in the order of the inventory, and
        ``NAME-PERIOD-columns.csv``.

    Raises
    ------
    NotFoundError
        There is no inventory yet.
    """
    source = study.require(study.inventory_path / "inventory.parquet", stage="inventory")
    table = gpd.read_parquet(readable(source))
    points = table.geometry.representative_point()
    rows = pd.DataFrame(table.drop(columns="geometry"))
    rows.insert(1, "longitude", points.x.round(6))
    rows.insert(2, "latitude", points.y.round(6))
    known = PLACES | {name: column.description for name, column in COLUMNS.items()}
    meanings = [known.get(name, "See inventory.overlaps in the study's file.")
                for name in rows.columns]  # fmt: skip
    columns = pd.DataFrame({"column": rows.columns, "meaning": meanings})
    stem = f"{study.config.name}-{study.period.name}"
    files = [folder / f"{stem}.csv", folder / f"{stem}-columns.csv"]
    for path, frame in zip(files, (rows, columns), strict=True):
        write_text(path, frame.to_csv(index=False))
    return files


def export_qgis(study: Study, folder: Path) -> list[Path]:
    """Write a GeoPackage to edit and a project over it, and return the files.

    Parameters
    ----------
    study
        With its inventory.
    folder
        Takes ``NAME-PERIOD.gpkg`` and ``NAME-PERIOD.qgz``. A GeoPackage there that was edited since
        is kept under another name.

    Raises
    ------
    NotFoundError
        There is no inventory yet.

    Notes
    -----
    Outlines that were rejected before are in the layer again, so that a decision can be changed.
    """
    source = study.require(study.inventory_path / "inventory.parquet", stage="inventory")
    table = _with_rejected(gpd.read_parquet(readable(source)), read_reviews(study))
    table[HASH] = pd.Series([outline_hash(shape) for shape in table.geometry], dtype="string")
    reference, matches = _reference(study), _matches(study)
    domains = study_domains(study)
    stem = f"{study.config.name}-{study.period.name}"
    package, project = folder / f"{stem}.gpkg", folder / f"{stem}.qgz"
    record = study.receipts_path / "inventory" / "export.json"
    kept = qgis.set_aside_if_edited(package, record)
    qgis.write_geopackage(
        package,
        table,
        table.geometry.representative_point(),
        study.area,
        name=study.config.name,
        period=study.period.name,
        reference=reference,
        matches=matches,
        domains=domains,
        about=about_inventory(study),
    )
    qgis.remember(package, record)
    columns = [str(name) for name in table.columns if name != "geometry"]
    layers = [
        Shown(title="to review", layer="outlines", kind="Polygon", columns=columns, only=QUEUE),
        Shown(title="outlines", layer="outlines", kind="Polygon", columns=columns),
        Shown(title="markers", layer="markers", kind="Point", columns=MARKER_COLUMNS,
              is_visible=False),
        Shown(title="moving areas", layer="moving_areas", kind="Polygon",
              columns=MOVING_AREA_COLUMNS, is_visible=False),
    ]  # fmt: skip
    for title, layer in (("reference", reference), ("matches", matches)):
        if layer is not None:
            names = [str(name) for name in layer.columns if name != "geometry"]
            layers.append(
                Shown(title=title, layer=title, kind="Polygon", columns=names, is_visible=False)
            )
    layers.append(Shown(title="area", layer="aoi", kind="Polygon", columns=("name", "period")))
    write_project(
        project,
        package.name,
        layers,
        domains,
        title=f"{study.config.name} {study.period.name}",
        bounds=study.area.bounds,
        rasters=_rasters(study),
    )
    return [path for path in (package, project, kept) if path is not None]


def _with_rejected(table: gpd.GeoDataFrame, reviews: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    rejected = reviews[reviews["status"] == "rejected"].drop(columns="origin")
    if rejected.empty:
        return table
    typed = rejected.reindex(columns=table.columns).astype(
        {
            name: kind
            for name, kind in table.dtypes.items()
            if name != "geometry" and str(kind) not in ("bool", "int64")
        }
    )
    for name, kind in table.dtypes.items():
        if str(kind) in ("bool", "int64"):
            typed[name] = pd.Series(0, index=typed.index, dtype=str(kind))
    return gpd.GeoDataFrame(
        pd.concat([table, typed], ignore_index=True), geometry="geometry", crs=4326
    )


def _reference(study: Study) -> gpd.GeoDataFrame | None:
    if not study.label_table_path.is_file():
        return None
    labels = gpd.read_parquet(readable(study.label_table_path))
    return labels.loc[labels["used"], list(REFERENCE_COLUMNS)]


def _matches(study: Study) -> gpd.GeoDataFrame | None:
    package = study.inventory_path / "inventory.gpkg"
    if not package.is_file():
        return None
    with local_copy(package) as copy:
        known = "matches" in qgis.layers_of(copy)
        return gpd.read_file(copy, layer="matches") if known else None


def _rasters(study: Study) -> list[tuple[str, str, int]]:
    found = study.raster_path("probability")
    if not found.is_file():
        return []
    return [("probability", gdal_path(str(found.absolute())), study.grid.epsg)]
