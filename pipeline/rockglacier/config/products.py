"""Settings of inventory, report and catalog."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from rockglacier.config.section import (
    Section,
)


class HydrologyConfig(Section):
    """Assumptions of the water equivalent."""

    ice_fraction: tuple[
        Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]
    ] = Field((0.4, 0.6), description="Lowest and highest share of the volume that is ice.")
    ice_density: float = Field(900, gt=0, le=1000, description="kg per cubic metre.")

    @model_validator(mode="after")
    def _ordered(self) -> HydrologyConfig:
        if self.ice_fraction[0] > self.ice_fraction[1]:
            raise ValueError(f"ice_fraction {list(self.ice_fraction)} is not lowest, highest")
        return self


class InventoryConfig(Section):
    """From probabilities to outlines."""

    threshold: float | None = Field(
        None, gt=0, lt=1, description="Probability of an outline; default: the model's own."
    )
    threshold_low: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Outlines reach down to this probability wherever they hold a pixel of "
        "`threshold`. The raster of classes keeps to `threshold`. Default: no hysteresis.",
    )
    min_area_km2: float = Field(0.01, ge=0, description="Smaller outlines are dropped and counted.")
    fill_holes_km2: float = Field(
        0,
        ge=0,
        description="Holes of an outline up to this area become part of it, unless another outline "
        "lies in them.",
    )
    simplify_m: float = Field(10, ge=0, description="Tolerance of the simplification, metres.")
    overlaps: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], str] = Field(
        default_factory=dict,
        description="Other data to lay the outlines over, name to file: polygons, lines, or a "
        "raster, e.g. {glaciers: rgi.gpkg, rivers: rivers.shp, permafrost: pzi.tif}. Ground under "
        "`glaciers` is not counted as eligible terrain.",
    )
    domains: str | None = Field(
        None,
        description="Template of the values that RGIK columns may have, in place of those known "
        "here: a GeoPackage with value maps or enumerations, or a YAML file, e.g. ActiCl: [active, "
        "transitional, relict].",
    )
    hydrology: HydrologyConfig | None = Field(
        None,
        description="Also estimate how much water the ice may hold, e.g. {ice_fraction: [0.4, "
        "0.6]}: a range, an upper bound while activity is unknown. Default: no estimate.",
    )


class ReportConfig(Section):
    """What the report shows beside what it always shows."""

    areas: tuple[tuple[float, float, float, float], ...] = Field(
        (),
        max_length=9,
        description="Up to nine areas shown as every network maps them, each west, south, east, "
        "north in degrees. Default: test ground around landforms of the reference of all sizes.",
    )

    @model_validator(mode="after")
    def _boxes(self) -> ReportConfig:
        for west, south, east, north in self.areas:
            if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
                raise ValueError(
                    f"area {[west, south, east, north]} is not west, south, east, north in degrees"
                )
        return self


class PublishConfig(Section):
    """What the catalog says about itself."""

    license: str = Field("other", description="SPDX identifier, or other.")
    provider: str | None = Field(None, description="Who publishes it.")
    attribution: str | None = Field(None, description="Source and licence of the reference.")
    version: str | None = Field(
        None,
        pattern=r"^[0-9A-Za-z][0-9A-Za-z.+_-]*$",
        description="Version of the products, e.g. 1.0. With a new one, the items of the old are "
        "kept as predecessors. Default: the version of the software, items are replaced.",
    )
    catalog: str | None = Field(
        None,
        description="Folder of a root catalog that several basins share, beside the products or "
        "in an object store; this basin's items are put into it. Default: none.",
    )
    api: str | None = Field(
        None,
        description="URL of a STAC API with Transactions that gets the items too. Keys are taken "
        "from STAC_API_TOKEN, or STAC_API_USER and STAC_API_PASSWORD. Default: none.",
    )
    href: str | None = Field(
        None,
        pattern=r"^(https?|s3|gs|az)://[^/@?]+(/[^?]*)?$",
        description="Address under which others reach the folder of the products, e.g. "
        "https://data.example.org/hunza; default: the store's, if `output` is in one.",
    )
