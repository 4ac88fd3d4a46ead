"""STAC 1.1 items of the four products, from plain values; no pixel and no file is read here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from rockglacier_stac import extensions
from rockglacier_stac.errors import StacError
from rockglacier_stac.extensions import Json

VERSION = "1.1.0"
ZARR = "application/vnd+zarr; version=3"
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
GEOPARQUET = "application/vnd.apache.parquet"
GEOPACKAGE = "application/geopackage+sqlite3"
CHECKPOINT = "application/octet-stream; application=pytorch"
GEOJSON = "application/geo+json"
HTML = "text/html"
CSV = "text/csv"
KEYWORDS = ("rock_glacier", "permafrost")
"""Of every item: the class that it is about comes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something lies."""

    geometry: Json
    """GeoJSON, WGS 84."""
    bbox: tuple[float, float, float, float]
    """West, south, east, north, degrees; west > east across the antimeridian."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """When the imagery was taken."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What something was made from."""

    href: str
    """Address of the source item, or a path relative to the item that links to it."""
    title: str
    """Id of the source item."""
    type: str = GEOJSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A file or a store that an item offers."""

    href: str
    """Relative to the item."""
    type: str
    title: str
    roles: tuple[str, ...] = ("data",)
    description: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Fields of extensions."""

    def to_dict(self) -> Json:
        """Return the asset as STAC has it."""
        values: Json = {"href": self.href, "type": self.type, "title": self.title}
        if self.description:
            values["description"] = self.description
        return values | {"roles": list(self.roles)} | dict(self.fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Whose it is and how it was made."""

    level: str
    """L3 for a composite, L4 for what is derived from it."""
    lineage: str
    """In words, with the hash of the settings."""
    software: Mapping[str, str]
    """Version by name."""
    version: str
    """Of the product."""
    license: str
    """SPDX identifier, or ``other``."""
    attribution: tuple[str, ...] = ()
    """Notices that a user of the data has to pass on."""
    basin: str = ""
    """Name of the basin, to search by."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The configuration, without a path of one machine or a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What is known of a trained network."""

    network: str
    """unet, deeplabv3plus, hrnet, or another name."""
    size: str
    channels: tuple[str, ...]
    mean: tuple[float, ...]
    """Of each channel before standardisation."""
    std: tuple[float, ...]
    chip: int
    """Edge of a chip, pixels."""
    parameters: int | None
    framework_version: str | None
    """Of PyTorch, if it is known."""
    batch: int | None
    hyperparameters: Mapping[str, Any]
    classes: int = 2
    pretrained: str | None = None
    """Weights that its training began from, by name or address; None: random ones."""

    def __post_init__(self) -> None:
        sizes = len(self.channels), len(self.mean), len(self.std)
        if len(set(sizes)) > 1:
            raise StacError(
                f"{sizes[0]} channels with {sizes[1]} means and {sizes[2]} deviations",
                expected="one of each for every channel",
            )


ARCHITECTURES = {"unet": "U-Net", "deeplabv3plus": "DeepLabV3+", "hrnet": "HRNetV2"}


def timestamp(moment: datetime) -> str:
    """Return a moment as RFC 3339 in UTC, to the second.

    Raises
    ------
    StacError
        The moment has no time zone.
    """
    if moment.tzinfo is None:
        raise StacError(f"{moment!r} has no time zone", expected="an aware datetime")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def cube_item(
    identifier: str,
    *,
    title: str,
    place: Place,
    period: Period,
    provenance: Provenance,
    assets: Mapping[str, Asset],
    sources: Sequence[Source],
    projection: Json,
    dimensions: Json,
    variables: Json,
) -> Json:
    """Return the item of a cube: one Zarr store with reflectance and terrain on one grid.

    Parameters
    ----------
    identifier, title
        Names of the item.
    place, period, provenance
        Where, when and how.
    assets
        Among them the store.
    sources
        Every scene and DEM tile read.
    projection, dimensions, variables
        From :func:`extensions.projection`, :func:`extensions.cube_dimensions` and, by name,
        :func:`extensions.cube_variable`.
    """
    fields = {**projection, "cube:dimensions": dimensions, "cube:variables": variables}
    return _item(identifier, title, place, period, provenance, assets, sources, fields)


def prediction_item(
    identifier: str,
    *,
    title: str,
    place: Place,
    period: Period,
    provenance: Provenance,
    assets: Mapping[str, Asset],
    sources: Sequence[Source],
    projection: Json,
) -> Json:
    """Return the item of the rasters of a prediction: probability and classes.

    Assets called ``probability`` and ``classes`` get hints how to draw them.
    """
    renders: Json = {}
    if "probability" in assets:
        renders["probability"] = {
            "title": "Probability of a rock glacier, percent",
            "assets": ["probability"],
            "rescale": [[0, 100]],
            "colormap_name": "magma",
            "nodata": 255,
            "resampling": "average",
        }
    if "classes" in assets:
        renders["classes"] = {
            "title": "Candidates of rock glaciers",
            "assets": ["classes"],
            "colormap": {
                str(entry["value"]): f"#{entry['color_hint']}"
                for entry in extensions.landform_classes()
                if not entry.get("nodata")
            },
            "nodata": 255,
            "resampling": "nearest",
        }
    fields: Json = {**projection, **({"renders": renders} if renders else {})}
    return _item(identifier, title, place, period, provenance, assets, sources, fields)


def inventory_item(
    identifier: str,
    *,
    title: str,
    place: Place,
    period: Period,
    provenance: Provenance,
    assets: Mapping[str, Asset],
    sources: Sequence[Source],
    table: Json,
) -> Json:
    """Return the item of an inventory; ``table`` is from :func:`extensions.table`."""
    return _item(identifier, title, place, period, provenance, assets, sources, table)


def model_item(
    identifier: str,
    *,
    title: str,
    place: Place,
    period: Period,
    provenance: Provenance,
    assets: Mapping[str, Asset],
    sources: Sequence[Source],
    facts: ModelFacts,
) -> Json:
    """Return the item of a trained network; one asset has the role ``mlm:model``.

    ``place`` and ``period`` are those of the ground that it was trained on.
    """
    architecture = ARCHITECTURES.get(facts.network, facts.network)
    fields: Json = {
        # the schema wants a letter first
        "mlm:name": identifier if identifier[0].isalpha() else f"model-{identifier}",
        "mlm:architecture": architecture,
        "mlm:tasks": ["semantic-segmentation"],
        "mlm:framework": "PyTorch",
        "mlm:pretrained": facts.pretrained is not None,
        "mlm:pretrained_source": facts.pretrained,
        "mlm:accelerator": None,
        "mlm:accelerator_constrained": False,
        "mlm:input": [_model_input(facts)],
        "mlm:output": [_model_output(facts)],
        "mlm:hyperparameters": {"size": facts.size, **facts.hyperparameters},
    }
    if facts.framework_version is not None:
        fields["mlm:framework_version"] = facts.framework_version
    if facts.parameters is not None:
        fields["mlm:total_parameters"] = facts.parameters
    if facts.batch is not None:
        fields["mlm:batch_size_suggestion"] = facts.batch
    described = {name: _with_bands(asset, facts) for name, asset in assets.items()}
    return _item(identifier, title, place, period, provenance, described, sources, fields)


def _with_bands(asset: Asset, facts: ModelFacts) -> Asset:
    """Describe the channels at the weights: core 1.1 has no bands at an item, MLM wants them."""
    if "mlm:model" not in asset.roles:
        return asset
    bands = [
        {"name": name, "statistics": {"mean": mean, "stddev": std}}
        for name, mean, std in zip(facts.channels, facts.mean, facts.std, strict=True)
    ]
    return replace(asset, fields={**asset.fields, "bands": bands, "raster:bands": bands})


def _model_input(facts: ModelFacts) -> Json:
    return {
        "name": "features",
        "description": "Features of the chip, standardised by the numbers below, in this order",
        "bands": list(facts.channels),
        "input": {
            "shape": [-1, len(facts.channels), facts.chip, facts.chip],
            "dim_order": ["batch", "channel", "height", "width"],
            "data_type": "float32",
        },
        "value_scaling": [
            {"type": "z-score", "mean": mean, "stddev": std}
            for mean, std in zip(facts.mean, facts.std, strict=True)
        ],
        "resize_type": None,
        "pre_processing_function": None,
    }


def _model_output(facts: ModelFacts) -> Json:
    return {
        "name": "logits",
        "description": "Logits of the classes; softmax of logits over the temperature gives the "
        "probability",
        "tasks": ["semantic-segmentation"],
        "result": {
            "shape": [-1, facts.classes, facts.chip, facts.chip],
            "dim_order": ["batch", "class", "height", "width"],
            "data_type": "float32",
        },
        "classification:classes": [
            entry for entry in extensions.landform_classes() if not entry.get("nodata")
        ],
        "post_processing_function": None,
    }


def _id_of(source: Source) -> str:
    """Return the id of a source: that of an own item is the name of its file."""
    path = PurePosixPath(source.href)
    is_own = len(path.parts) == 3 and path.parts[0] == ".." and path.suffix == ".json"
    return path.stem if is_own else source.title


def _item(
    identifier: str,
    title: str,
    place: Place,
    period: Period,
    provenance: Provenance,
    assets: Mapping[str, Asset],
    sources: Sequence[Source],
    fields: Mapping[str, Any],
) -> Json:
    """Return an item without the links that its place in a catalog gives it."""
    properties: Json = {
        "title": title,
        "datetime": None,
        "start_datetime": timestamp(period.start),
        "end_datetime": timestamp(period.end),
        "license": provenance.license,
        "version": provenance.version,
        **extensions.processing(
            level=provenance.level,
            lineage=provenance.lineage,
            software=provenance.software,
            settings=provenance.settings,
        ),
        "keywords": list(KEYWORDS),
        "sci:publications": [extensions.METHOD],
        **fields,
    }
    if provenance.basin:
        properties["rockglacier:basin"] = provenance.basin
    if sources:
        # links cannot be searched
        properties["rockglacier:sources"] = [_id_of(source) for source in sources]
    if provenance.attribution:
        properties["rockglacier:attribution"] = list(provenance.attribution)
    document: Json = {
        "type": "Feature",
        "stac_version": VERSION,
        "stac_extensions": [],
        "id": identifier,
        "geometry": place.geometry,
        "bbox": list(place.bbox),
        "properties": properties,
        "links": [
            {
                "rel": "derived_from",
                "href": source.href,
                "type": source.type,
                "title": source.title,
            }
            for source in sources
        ],
        "assets": {name: asset.to_dict() for name, asset in assets.items()},
    }
    document["stac_extensions"] = extensions.used_extensions(document)
    return document
