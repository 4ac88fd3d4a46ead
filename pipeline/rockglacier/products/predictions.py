"""The rasters of a period as a STAC item."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import rasterio

from rockglacier import origin
from rockglacier.products.names import applicability, cube_source, item_id
from rockglacier.storage import listing, local_copy
from rockglacier.study import Study
from rockglacier_stac import extensions, item
from rockglacier_stac.extensions import Json
from rockglacier_stac.item import Asset, Source

RASTERS: Final = {
    "probability": "Probability of a rock glacier, percent",
    "classes": "Candidates of rock glaciers",
    "spread": "Standard deviation of the probabilities of networks and views, percentage points",
    "agreement": "Share of the networks that call it a rock glacier, percent",
}
"""Layers, of which an ensemble alone has the last two, and their titles."""
VRT: Final = "application/xml"


def prediction_item(study: Study, *, model: Source | None) -> Json:
    """Return the item of the period's rasters, made by ``model`` if that is published too."""
    study.require(study.raster_path("probability"), stage="predict")
    assets = {key: asset for name in RASTERS for key, asset in _raster_assets(study, name).items()}
    cube = cube_source(study)
    document = item.prediction_item(
        item_id(study, "prediction"),
        title=f"Probability of rock glaciers, {study.config.name}, {study.period.name}",
        place=origin.grid_place(study),
        period=origin.period_of(study),
        provenance=origin.provenance(
            study,
            level="L4",
            how="a network over overlapping windows, blended",
            software=("torch", "rasterio", "zarr"),
        ),
        assets=assets,
        sources=[cube, *([model] if model else []), *origin.sources_of(study)],
        projection=origin.projection(study),
    )
    document["properties"] |= applicability(study)
    return document


def _raster_assets(study: Study, name: str) -> dict[str, Asset]:
    """Return a layer's raster, if it has one, and the COGs behind a VRT, by their names."""
    whole = study.raster_path(name)
    if not whole.is_file():
        return {}
    parts = [] if whole.suffix == ".tif" else listing(study.prediction_path, ".tif")
    paths = [whole, *(part for part in parts if part.name.startswith(f"{name}-"))]
    return {path.stem: _raster_asset(study, path, name) for path in paths}


def _raster_asset(study: Study, path: Path, name: str) -> Asset:
    with local_copy(path) as copy, rasterio.open(copy) as raster:
        tags = raster.tags(1)
        place = extensions.projection(
            epsg=study.grid.epsg,
            shape=raster.shape,
            transform=list(raster.transform)[:6],
            bbox=raster.bounds,
        )
        core, described = extensions.raster_band(
            name,
            data_type=raster.dtypes[0],
            nodata=raster.nodata,
            resolution=study.grid.resolution,
            scale=None if name == "classes" else 0.01,
            statistics=_statistics(tags),
        )
    fields: Json = {"bands": [core], "raster:bands": [described], **origin.file_info(path)}
    if raster.shape != study.grid.shape:  # one of several: the item's fields are of them all
        fields |= place
    if name == "classes":
        fields["classification:classes"] = extensions.landform_classes()
    kind = VRT if path.suffix == ".vrt" else item.COG
    return Asset(href=origin.href(study, path), type=kind, title=RASTERS[name], fields=fields)


def _statistics(tags: Mapping[str, str]) -> dict[str, float]:
    """Return the exact statistics that are written in a band's tags."""
    names = ("minimum", "maximum", "mean", "stddev", "valid_percent")
    return {
        name: float(tags[f"STATISTICS_{name.upper()}"])
        for name in names
        if f"STATISTICS_{name.upper()}" in tags
    }
