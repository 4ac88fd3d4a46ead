"""Settings of scenes and cube."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from rockglacier.config.section import (
    Band,
    Percent,
    Section,
)
from rockglacier_stac.providers import PROVIDERS


class SearchConfig(Section):
    """Which scenes and which DEM, from which catalog."""

    catalog: str = Field(
        "earth-search",
        description="earth-search, planetary-computer, cdse (needs S3 keys in the environment), "
        "the URL of a STAC API, or a path or URL of a stac-geoparquet file or a static "
        "catalog.json.",
    )
    collection: str = Field(
        "sentinel-2-c1-l2a",
        description="Sentinel-2 L2A collection; default: the best of a catalog known by name.",
    )
    assets: dict[Band | Literal["SCL", "MASK", "DEM"], str] = Field(
        default_factory=dict,
        description="Asset keys of a catalog that names its assets in its own way, e.g. {B02: "
        "band_2, SCL: classes, DEM: height}. MASK names a mask of clouds that comes with every "
        "item; see cube.mask_values.",
    )
    dem_catalog: str | None = Field(None, description="Catalog of the DEM; default: the same one.")
    dem_collection: str = Field(
        "cop-dem-glo-30",
        description="DEM collection; default: that of a catalog known by name.",
    )
    start: date = Field(date(2024, 1, 1), description="First day of the period.")
    end: date = Field(date(2024, 12, 31), description="Last day of the period.")
    season: tuple[int, int] | None = Field(
        None,
        description="First and last month in which scenes are used, wrapping over New Year if the "
        "first is larger; default July to October in the north, January to April in the south.",
    )
    scene_cloud_max: Percent = Field(5, description="The item's own cloud cover, percent.")
    basin_cloud_max: Percent = Field(5, description="Cloud over the basin from SCL, percent.")
    min_clear: int = Field(
        8,
        ge=0,
        description="Passes that show every place free of cloud and snow, as far as there are; "
        "scenes beyond those are left out. 0: take all.",
    )

    @model_validator(mode="before")
    @classmethod
    def _of_provider(cls, values: Any) -> Any:
        """Fill in the collections of a catalog that is known by name."""
        if not isinstance(values, dict):
            return values
        scenes = PROVIDERS.get(str(values.get("catalog")))
        dem = PROVIDERS.get(str(values.get("dem_catalog") or values.get("catalog")))
        known = {"collection": scenes.collections[0]} if scenes else {}
        if dem:
            known["dem_collection"] = dem.dem_collection
        return {**known, **values}

    @model_validator(mode="after")
    def _ordered(self) -> SearchConfig:
        if self.end < self.start:
            raise ValueError(f"end {self.end} lies before start {self.start}")
        if self.season and not all(1 <= month <= 12 for month in self.season):
            raise ValueError(f"season {list(self.season)} is not two months from 1 to 12")
        return self

    @property
    def period(self) -> str:
        """Name of the period in file names, e.g. ``2024``."""
        return years(self.start, self.end)


class ExtraConfig(Section):
    """A raster of your own that joins the cube as a layer."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="Name of the layer.")
    href: str = Field(description="A path or an address; one band.")
    resampling: Literal["nearest", "bilinear", "cubic", "average", "mode"] = Field(
        "bilinear",
        description="nearest or mode for classes, average for what is much finer than the grid.",
    )
    nodata: float | None = Field(
        None, description="What is no data; default: what the file says is."
    )
    license: str = Field(
        min_length=1, description="SPDX identifier or the owner's words; told with every product."
    )
    unit: str = Field("1", description="Unit of its values.")


class CubeConfig(Section):
    """The pixel grid and what is composed on it."""

    item: str | None = Field(
        None,
        description="Path or URL of a published cube's STAC item: grid, scenes and pixels are its, "
        "and nothing is searched or composed.",
    )
    resolution: float = Field(10, gt=0, description="Edge of a pixel, metres.")
    bands: tuple[Band, ...] = Field(
        ("B02", "B03", "B04", "B08", "B11", "B12"), min_length=1, description="Reflectance bands."
    )
    block: int = Field(2048, ge=128, multiple_of=128, description="Edge of a block, pixels.")
    margin_m: float = Field(
        0,
        ge=0,
        le=20_000,
        description="Ground mapped around the rectangle of the area, metres, so that a landform "
        "across its edge is seen whole; basins of an atlas have 1000.",
    )
    composite: Literal["median", "mean", "first-clear", "least-cloudy"] = Field(
        "median",
        description="How the clear looks of a pixel become one value: their median or mean, the "
        "earliest, or that of the scene with least cloud over the basin.",
    )
    clear_classes: tuple[int, ...] = Field(
        (4, 5, 6, 7), description="Scene classes that are as good as can be."
    )
    snow_classes: tuple[int, ...] = Field(
        (11,), description="Scene classes used, and counted, where no look is clear."
    )
    shadow_classes: tuple[int, ...] = Field(
        (2,), description="Scene classes used, and counted, where there is nothing else."
    )
    periods: Literal["one", "years", "seasons"] | tuple[tuple[date, date], ...] = Field(
        "one",
        description="A composite of the whole time, of each year or meteorological season of it, "
        "or of each [first day, last day] of a list.",
    )
    cloud_buffer_m: float = Field(
        0, ge=0, le=5000, description="Ground around clouds and their shadow left out, metres."
    )
    buffer_classes: tuple[int, ...] = Field(
        (3, 8, 9, 10), description="Scene classes around which ground is left out."
    )
    mask_values: tuple[Annotated[int, Field(ge=1, le=255)], ...] = Field(
        (1,),
        min_length=1,
        description="Values of the asset search.assets names as MASK that count as cloud.",
    )
    coarse_bands: Literal["repeat", "interpolate"] = Field(
        "repeat",
        description="How bands of 20 m and 60 m come on the grid: as they are, or interpolated "
        "between the centres of their pixels.",
    )
    dem_gaps: Literal["none", "sea"] = Field(
        "none", description="What is where the DEM has no tile: no elevation, or the sea, 0 m."
    )
    extra: tuple[ExtraConfig, ...] = Field(
        (),
        description="Rasters that join the cube as layers, e.g. [{name: coherence, href: "
        "coherence.tif, license: CC-BY-4.0}].",
    )
    on_unreadable: Literal["fail", "skip"] = Field(
        "fail",
        description="A scene that cannot be read fails the block, or is skipped and counted.",
    )

    @model_validator(mode="after")
    def _extra_names(self) -> CubeConfig:
        names = [layer.name for layer in self.extra]
        if len(set(names)) < len(names):
            raise ValueError("extra has two layers of one name")
        return self

    @model_validator(mode="after")
    def _periods_in_order(self) -> CubeConfig:
        if isinstance(self.periods, tuple):
            if not self.periods or any(end < start for start, end in self.periods):
                raise ValueError("periods is not a list of [first day, last day]")
            if list(self.periods) != sorted(self.periods):
                raise ValueError("periods are not in order of time")
        return self


def years(start: date, end: date) -> str:
    """Return the years of the first and the last day as one name, e.g. ``2023-2024``."""
    return "-".join(str(year) for year in sorted({start.year, end.year}))
