"""What each product of a study is, as a STAC item; only metadata of the products is read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq
import rasterio
import zarr

from rockglacier import origin
from rockglacier.inventory.schema import COLUMNS
from rockglacier.model.card import packing
from rockglacier.storage import listing, read_json
from rockglacier.study import Study
from rockglacier_stac import extensions, item
from rockglacier_stac.extensions import Json
from rockglacier_stac.item import Asset, ModelFacts, Source

COORDINATES: Final = frozenset({"time", "time_bounds", "band", "y", "x", "spatial_ref"})
HYPERPARAMETERS: Final = (
    "set", "fusion", "chip", "batch", "seed", "trial", "split", "epochs", "best_epoch", "steps",
    "precision", "threshold", "temperature",
)  # fmt: skip
SCORES: Final = ("iou_rock_glacier", "f1_rock_glacier", "precision_rock_glacier",
                 "recall_rock_glacier")  # fmt: skip


INVENTORY_TABLES: Final = {
    "hypsometry": ("hypsometry.csv", "Area by elevation"),
    "changes": ("CHANGES.csv", "What became of every landform, version by version"),
    "water": ("water.csv", "Water equivalent of the ice, a range"),
}


def item_id(study: Study, kind: str) -> str:
    """Return the id of an item: basin, period and what it is."""
    return f"{study.config.name}-{study.config.search.period}-{kind}"


def model_id(study: Study) -> str | None:
    """Return the id of the selected model's item, or None where nothing was trained."""
    if not study.selection_path.is_file():
        return None
    return item_id(study, slug(read_json(study.selection_path)["network"]))


def slug(name: str) -> str:
    """Return a network's name as a part of ids and file names."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)


def cube_title(study: Study) -> str:
    """Return the title of the cube's item."""
    return f"Cube of {study.config.name}, {study.config.search.period}"


def cube_item(study: Study) -> Json:
    """Return the item of the cube."""
    grid, search = study.grid, study.config.search
    path = study.require(study.cube_path, stage="cube")
    group: Any = zarr.open_group(str(path), mode="r")
    bands = [str(name) for name in np.asarray(group["band"][:])]
    assets = {
        "cube": Asset(
            href=f"{origin.UP}/{study.cube_path.name}",
            type=item.ZARR,
            title="Reflectance and terrain",
            description="Zarr v3 group; `xarray.open_zarr(href, consolidated=False)` decodes it.",
            fields=_reflectance_bands(group, bands, grid.resolution),
        ),
        **origin.file_asset(study, "scenes", study.scenes_path, item.GEOPARQUET, "Scenes used"),
        **origin.file_asset(
            study, "dropped", study.dropped_path, item.GEOPARQUET, "Scenes dropped, with reasons"
        ),
        **origin.file_asset(study, "dem", study.dem_path, item.GEOPARQUET, "DEM tiles used"),
    }
    interval = (f"{search.start}T00:00:00Z", f"{search.end}T23:59:59Z")
    return item.cube_item(
        item_id(study, "cube"),
        title=cube_title(study),
        place=origin.grid_place(study),
        period=origin.period_of(study),
        provenance=origin.provenance(
            study,
            level="L3",
            how=f"{study.config.cube.composite} of the clear looks, terrain from the DEM",
            software=("zarr", "rasterio", "numpy"),
        ),
        assets=assets,
        sources=origin.sources_of(study),
        projection=origin.projection(study),
        dimensions=extensions.cube_dimensions(
            epsg=grid.epsg,
            bbox=grid.bounds,
            resolution=grid.resolution,
            bands=bands,
            times=interval[:1],
            interval=interval,
        ),
        variables=dict(_variables(group)),
    )


def _reflectance_bands(group: Any, bands: list[str], resolution: float) -> Json:
    reflectance = group["reflectance"]
    pairs = [
        extensions.raster_band(
            name,
            data_type=str(reflectance.dtype),
            nodata=0,
            resolution=resolution,
            scale=float(reflectance.attrs.get("scale_factor", 1e-4)),
            offset=float(reflectance.attrs.get("add_offset", -0.1)),
        )
        for name in bands
    ]
    return {"bands": [core for core, _ in pairs], "raster:bands": [raster for _, raster in pairs]}


def _variables(group: Any) -> Iterator[tuple[str, Json]]:
    for name, array in sorted(group.arrays()):
        dims = getattr(array.metadata, "dimension_names", None)
        if name in COORDINATES or not dims:
            continue
        text = array.attrs.get("long_name") or array.attrs.get("standard_name") or ""
        unit = array.attrs.get("units") or ""
        yield name, extensions.cube_variable(dims, description=str(text), unit=str(unit))


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
    cube = origin.own_source("cubes", item_id(study, "cube"), cube_title(study))
    return item.prediction_item(
        item_id(study, "prediction"),
        title=f"Probability of rock glaciers, {study.config.name}, {study.config.search.period}",
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
    with rasterio.open(path) as raster:
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
        **origin.file_asset(
            study, "report", study.report_path, item.HTML, "Report", roles=("overview",)
        ),
    }
    prediction = origin.own_source("predictions", item_id(study, "prediction"), "Probability")
    cube = origin.own_source("cubes", item_id(study, "cube"), cube_title(study))
    return item.inventory_item(
        item_id(study, "inventory"),
        title=f"Rock glaciers of {study.config.name}, {study.config.search.period}",
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
        table=_table(path),
    )


def _table_assets(study: Study) -> dict[str, Asset]:
    """Return where the landforms sit, a table each: elevation, aspect, slope and so on."""
    found: dict[str, Asset] = {}
    for path in listing(study.inventory_path / "tables", ".csv"):
        title = f"Landforms by {path.stem.replace('_', ' ').replace('-', ' ')}"
        found |= origin.file_asset(study, f"table_{path.stem}", path, item.CSV, title)
    return found


def _table(path: Path) -> Json:
    file = pq.ParquetFile(path)
    columns = [
        (field.name, _type_name(str(field.type)), _description(field.name))
        for field in file.schema_arrow
    ]
    return extensions.table(columns=columns, geometry="geometry", rows=file.metadata.num_rows)


def _type_name(name: str) -> str:
    return "struct" if name.startswith("struct") else name


def _description(name: str) -> str:
    if name in COLUMNS:
        return COLUMNS[name].description
    return {"geometry": "Outline, EPSG:4326, WKB.", "bbox": "Box of the outline."}.get(name, "")


def other_models(study: Study) -> list[Path]:
    """Return the folders of the trained networks that were not selected, the best trial of each."""
    selection = read_json(study.selection_path)
    chosen = read_json(study.models_path / selection["path"] / "model.json")
    best: dict[str, tuple[float, Path]] = {}
    for path in sorted(study.models_path.glob("*/trial-*/model.json")):
        settings = read_json(path)
        same = settings["split"] == chosen["split"] and settings["fusion"] == chosen["fusion"]
        if settings["network"] == chosen["network"] or not same:
            continue
        score = float(settings.get("validation", {}).get("iou_rock_glacier") or 0)
        known = best.get(settings["network"])
        if (path.with_name("model.ckpt")).is_file() and (known is None or score > known[0]):
            best[settings["network"]] = score, path.parent
    return [folder for _, (_, folder) in sorted(best.items())]


def trained_model_item(
    study: Study,
    *,
    folder: Path | None = None,
    href: str | None = None,
    sources: tuple[Source, ...] | None = None,
    more: Mapping[str, Asset] | None = None,
) -> Json:
    """Return the item of a trained model.

    Parameters
    ----------
    study
        Trained.
    folder
        Of the trial; default: the selected one.
    href
        Address of the weights; default: relative to an item in ``stac/models/``.
    sources
        Links to what it was made from; default: the study's cube, scenes and DEM tiles.
    more
        Assets beside the weights.
    """
    if folder is None:
        selection = read_json(study.require(study.selection_path, stage="train"))
        folder = study.models_path / Path(selection["path"])
    settings, fusion = read_json(folder / "model.json"), read_json(study.fusion_path)
    weights = folder / "model.ckpt"
    cube = origin.own_source("cubes", item_id(study, "cube"), cube_title(study))
    terms = packing(study)
    document = item.model_item(
        item_id(study, slug(settings["network"])),
        title=f"{item.ARCHITECTURES.get(settings['network'], settings['network'])} trained on "
        f"{study.config.name}, {study.config.search.period}",
        place=origin.place_of(study.area),
        period=origin.period_of(study),
        provenance=origin.provenance(
            study, level="L4", how="trained from random weights", software=("torch", "torchgeo")
        ),
        assets={
            "model": Asset(
                href=href or origin.href(study, weights),
                type=item.CHECKPOINT,
                title="Weights",
                roles=("mlm:model", "mlm:weights"),
                description="State dict; loads with torch.load(href, weights_only=True).",
                fields={"mlm:artifact_type": "torch.save", **origin.file_info(weights)},
            ),
            **(more or {}),
        },
        sources=(cube, *origin.sources_of(study)) if sources is None else sources,
        facts=_model_facts(study, settings, fusion),
    )
    document["properties"]["rockglacier:redistributable"] = terms["redistributable"]
    document["properties"] |= _scores(study, settings["network"])
    return document


def training_assets(study: Study) -> dict[str, Asset]:
    """Return what a model of the study learnt from: outlines, and the split of the ground."""
    found = {
        **origin.file_asset(
            study,
            "labels",
            study.label_table_path,
            item.GEOPARQUET,
            "Outlines that it learnt from",
            roles=("data", "labels"),
        ),
        **origin.file_asset(
            study, "splits", study.splits_path, item.GEOPARQUET, "Training, validation, test ground"
        ),
    }
    tables = {"labels": study.label_table_path, "splits": study.splits_path}
    return {
        name: replace(asset, fields={**asset.fields, **_table(tables[name])})
        for name, asset in found.items()
    }


def bundle_asset(study: Study) -> dict[str, Asset]:
    """Return the packed model, if it was packed beside the products."""
    path = bundle_path(study)
    return origin.file_asset(
        study, "bundle", path, "application/zip", "Packed model", roles=("data",)
    )


def bundle_path(study: Study) -> Path:
    """Return where the selected model lies packed."""
    network = slug(read_json(study.selection_path)["network"])
    return study.models_path / f"{study.config.name}-{network}.rgbundle.zip"


def _model_facts(
    study: Study, settings: Mapping[str, Any], fusion: Mapping[str, Any]
) -> ModelFacts:
    channels = tuple(settings["channels"])
    layers = fusion.get("layers", fusion["channels"])
    # a channel that was fused from several layers has no numbers of its own: 0 and 1 change nothing
    mean = dict.fromkeys(channels, 0.0) | dict(zip(layers, fusion["mean"], strict=True))
    std = dict.fromkeys(channels, 1.0) | dict(zip(layers, fusion["std"], strict=True))
    own = {key: settings[key] for key in HYPERPARAMETERS if settings.get(key) is not None}
    return ModelFacts(
        network=settings["network"],
        size=settings["size"],
        channels=channels,
        mean=tuple(float(mean[name]) for name in channels),
        std=tuple(float(std[name]) for name in channels),
        chip=settings["chip"],
        parameters=settings.get("parameters"),
        framework_version=origin.version_of("torch"),
        batch=study.config.predict.batch,
        hyperparameters={"learning_rate": study.config.train.learning_rate, **own},
    )


def _scores(study: Study, network: str) -> Json:
    """Return the scores of the model on held-out ground, with the ground's name."""
    if not study.evaluation_path.is_file():
        return {}
    evaluation = read_json(study.evaluation_path)
    scores = evaluation.get("networks", {}).get(network, {})
    found = {name: scores[name] for name in SCORES if scores.get(name) is not None}
    return {"rockglacier:scores": {"ground": evaluation["split"], **found}} if found else {}
