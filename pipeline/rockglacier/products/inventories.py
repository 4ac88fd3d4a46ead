"""The inventory as a STAC item."""

from __future__ import annotations

from typing import Final

from rockglacier import origin
from rockglacier.products.names import applicability, cube_source, item_id
from rockglacier.products.tables import table_of
from rockglacier.storage import listing
from rockglacier.study import Study
from rockglacier_stac import item
from rockglacier_stac.extensions import Json
from rockglacier_stac.item import Asset, Source

INVENTORY_TABLES: Final = {
    "hypsometry": ("hypsometry.csv", "Area by elevation"),
    "changes": ("CHANGES.csv", "What became of every landform, version by version"),
    "water": ("water.csv", "Water equivalent of the ice, a range"),
}


def inventory_item(study: Study, *, model: Source | None) -> Json:
    """Return the item of the inventory."""
    folder = study.inventory_path
    path = study.require(folder / "inventory.parquet", stage="inventory")
    assets = {
        **origin.file_asset(
            study, "inventory", path, item.GEOPARQUET, "Inventory, GeoParquet", roles=("data",)
        ),
        **origin.file_asset(
            study,
            "geopackage",
            folder / "inventory.gpkg",
            item.GEOPACKAGE,
            "Inventory for desktop GIS, GeoPackage",
            roles=("data",),
        ),
        **{
            name: asset
            for name, (file, title) in INVENTORY_TABLES.items()
            for asset in origin.file_asset(study, name, folder / file, item.CSV, title).values()
        },
        **_table_assets(study),
        **origin.file_asset(
            study,
            "matches",
            folder / "matches.parquet",
            item.GEOPARQUET,
            "Links to the outlines of the reference",
        ),
    }
    if study.period == study.teaching_period:
        assets |= origin.file_asset(
            study, "report", study.report_path, item.HTML, "Report", roles=("overview",)
        )
    prediction = origin.own_source("predictions", item_id(study, "prediction"), "Probability")
    cube = cube_source(study)
    document = item.inventory_item(
        item_id(study, "inventory"),
        title=f"Rock glaciers of {study.config.name}, {study.period.name}",
        place=origin.place_of(study.area),
        period=origin.period_of(study),
        provenance=origin.provenance(
            study,
            level="L4",
            how="outlines of the probability above the threshold; candidates, not yet reviewed",
            software=("shapely", "geopandas"),
        ),
        assets=assets,
        sources=[prediction, cube, *([model] if model else []), *origin.sources_of(study)],
        table=table_of(path),
    )
    document["properties"] |= applicability(study)
    return document


def _table_assets(study: Study) -> dict[str, Asset]:
    """Return where the landforms sit, a table each: elevation, aspect, slope and so on."""
    found: dict[str, Asset] = {}
    for path in listing(study.inventory_path / "tables", ".csv"):
        title = f"Landforms by {path.stem.replace('_', ' ').replace('-', ' ')}"
        found |= origin.file_asset(study, f"table_{path.stem}", path, item.CSV, title)
    return found
