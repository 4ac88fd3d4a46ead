"""The rasters of a period as a STAC item."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import rasterio

from rockglacier import origin
from rockglacier.products.names import cube_source, item_id
from rockglacier.storage import local_copy
from rockglacier.study import Study
from rockglacier_stac import extensions, item
from rockglacier_stac.extensions import Json
from rockglacier_stac.item import Asset, Source

DOUBTS: Final = {
    "spread": "Standard deviation of the probabilities of networks and views, percentage points",
    "agreement": "Share of the networks that call it a rock glacier, percent",
}
"""Rasters of an ensemble, and their titles."""


def prediction_item(study: Study, *, model: Source | None) -> Json:
    """Return the item of the period's rasters, made by ``model`` if that is published too."""
    folder = study.prediction_path
    probability = study.require(folder / "probability.tif", stage="predict")
    assets = {
        "probability": _raster_asset(
            study, probability, "probability", "Probability of a rock glacier, percent", scale=0.01
        )
    }
    if (folder / "classes.tif").is_file():
        assets["classes"] = _raster_asset(
            study, folder / "classes.tif", "classes", "Candidates of rock glaciers"
        )
    for name, title in DOUBTS.items():
        if (folder / f"{name}.tif").is_file():
            path = folder / f"{name}.tif"
            assets[name] = _raster_asset(study, path, name, title, scale=0.01)
    cube = cube_source(study)
    return item.prediction_item(
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


def _raster_asset(
    study: Study, path: Path, name: str, title: str, *, scale: float | None = None
) -> Asset:
    with local_copy(path) as copy, rasterio.open(copy) as raster:
        tags = raster.tags(1)
        core, described = extensions.raster_band(
            name,
            data_type=raster.dtypes[0],
            nodata=raster.nodata,
            resolution=study.grid.resolution,
            scale=scale,
            statistics=_statistics(tags),
        )
    fields: Json = {"bands": [core], "raster:bands": [described], **origin.file_info(path)}
    if name == "classes":
        fields["classification:classes"] = extensions.landform_classes()
    return Asset(href=origin.href(study, path), type=item.COG, title=title, fields=fields)


def _statistics(tags: Mapping[str, str]) -> dict[str, float]:
    """Return the exact statistics that are written in a band's tags."""
    names = ("minimum", "maximum", "mean", "stddev", "valid_percent")
    return {
        name: float(tags[f"STATISTICS_{name.upper()}"])
        for name in names
        if f"STATISTICS_{name.upper()}" in tags
    }
