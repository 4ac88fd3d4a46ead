"""One YAML file a basin: parsed once, here, into frozen models; unknown keys are refused."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rockglacier.errors import InputError
from rockglacier_stac.providers import PROVIDERS

Percent = Annotated[float, Field(ge=0, le=100)]
Band = Literal["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"]
NetworkName = Literal["unet", "deeplabv3plus", "hrnet"]
NetworkBuilder = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        description="package.module:build, called with channels and classes.",
    ),
]
Share = Annotated[float, Field(ge=0, le=1)]
FeatureSet = Literal["paper-pc1", "paper-rgb", "triplets", "stack", "bands"]


class Section(BaseModel):
    """A part of the file: no unknown keys, finite numbers, no changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


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


class LabelConfig(Section):
    """The reference inventory and how the ground is split."""

    reference: str | None = Field(
        None, description="Polygon inventory (GeoPackage, GeoParquet, Shapefile, GeoJSON)."
    )
    layer: str | None = Field(
        None,
        description="Layer of the reference; default: that of outlines by its name, else the first "
        "with polygons.",
    )
    complete_within: str | None = Field(
        None,
        description="Polygon file within which the reference is complete; unlabelled ground "
        "outside it is ignored. Default: the area. Has to be set where the reference is empty "
        "because there is no rock glacier.",
    )
    where: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Keep only polygons whose column has one of the values, e.g. "
        "{OutType: [Extended]}; the others are ignored ground.",
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="Our name of a column to that of the file, e.g. {OutType: kind}; RGIK columns "
        "are found in both spellings without it.",
    )
    ignore_band_m: float = Field(
        0,
        ge=0,
        description="Ground so near to an outline, metres, inside and outside, counts in no loss. "
        "Scores always count it.",
    )
    glaciers: str | None = Field(
        None, description="Polygon file of glaciers, which look like rock glaciers."
    )
    in_glaciers: Literal["ignore", "hard"] = Field(
        "ignore",
        description="Background in `glaciers` counts in no loss, or counts more (hard negatives).",
    )
    split: Literal["strip", "blocks", "folds", "sub-basins", "train-only"] = Field(
        "blocks",
        description="strip: one contiguous strip each for test and validation; blocks: scattered "
        "blocks; folds: the strip number `fold` of `folds` is test ground; sub-basins: that of "
        "`sub_basins` is; train-only: everything trains, for basins that only teach.",
    )
    folds: int = Field(5, ge=2, description="Strips of equal width (split: folds).")
    sub_basins: str | None = Field(
        None, description="Polygon file of at least three sub-basins (split: sub-basins)."
    )
    fold: int = Field(
        0, ge=0, description="Number of the fold, or of the sub-basin in the file, that is tested."
    )
    every_fold: bool = Field(
        False,
        description="Also fuse and train every other fold, each on ground of its own, in `folds/`; "
        "`evaluate` pools the ground that they test (split: folds, sub-basins).",
    )
    split_block: int = Field(
        512, ge=64, description="Edge of a block of the split, pixels (split: blocks)."
    )
    test_share: float = Field(
        0.2, ge=0, lt=0.9, description="Share of the ground held out to test."
    )
    validation_share: float = Field(0.15, ge=0, lt=0.9, description="Share held out to choose.")
    guard: int = Field(
        256, ge=0, description="Unused band around test and validation ground, pixels."
    )
    seed: int = Field(0, description="Seed of the split.")

    @model_validator(mode="after")
    def _fold_is_there(self) -> LabelConfig:
        if self.split == "folds" and self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} is none of 0 to {self.folds - 1}")
        if self.split == "sub-basins" and self.sub_basins is None:
            raise ValueError("split sub-basins needs the polygon file sub_basins")
        if self.every_fold and self.split not in ("folds", "sub-basins"):
            raise ValueError(f"split {self.split} has no folds to train every one of")
        return self


class FeatureConfig(Section):
    """What a network sees."""

    set: FeatureSet = Field("stack", description="Named feature set; see the guide.")
    period: str | None = Field(
        None,
        description="Name of the period, of several, that features are fitted to and networks "
        "learn from: that of the imagery of the reference, e.g. 2023. Default: the first.",
    )


class TrainConfig(Section):
    """Networks and their training."""

    networks: tuple[NetworkName | NetworkBuilder, ...] = Field(
        ("hrnet",),
        min_length=1,
        description="unet, deeplabv3plus, hrnet, or package.module:build, a function of channels "
        "and classes that returns another network.",
    )
    size: Literal["small", "standard"] = Field(
        "standard",
        description="standard: ResNet-34 U-Net, DeepLabV3+ on MobileNetV2, HRNetV2-W32; small: "
        "versions that train on a laptop in minutes.",
    )
    encoders: dict[NetworkName, str] = Field(
        default_factory=dict,
        description="Encoders in place of those of the size, e.g. {unet: vgg16, deeplabv3plus: "
        "tu-xception65, hrnet: w18}.",
    )
    pretrained: dict[NetworkName, str] = Field(
        default_factory=dict,
        description="Weights of the encoders to start from: imagenet, a name such as "
        "ResNet50_Weights.SENTINEL2_ALL_MOCO, or a file. Default: random weights.",
    )
    chip: int = Field(256, ge=32, multiple_of=32, description="Edge of a training chip, pixels.")
    batch: int = Field(8, ge=2, description="Chips that pass the network together.")
    accumulate: int = Field(1, ge=1, description="Batches whose gradients make one step.")
    epochs: int = Field(60, ge=1)
    chips_per_epoch: int = Field(512, ge=2)
    patience: int = Field(12, ge=1, description="Epochs without progress before stopping.")
    max_minutes: float | None = Field(None, gt=0, description="Time limit of one trial.")
    loss: Literal["ce", "weighted-ce", "focal", "dice", "ce-dice"] = Field(
        "ce-dice", description="ce-dice: weighted cross-entropy plus Dice of the rock glaciers."
    )
    landform_weight: float = Field(
        2.0, gt=0, description="Weight of a landform's pixel (loss: weighted-ce, ce-dice)."
    )
    hard_weight: float = Field(
        2.0,
        gt=0,
        description="Weight of a pixel of hard negatives (labels.in_glaciers: hard) against other "
        "background (loss: all but dice).",
    )
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0, description="For sgd 1e-4 is usual.")
    schedule: Literal["cosine", "poly"] = Field(
        "cosine", description="How the learning rate falls to a hundredth."
    )
    warm_up: float = Field(
        0.1, ge=0, lt=1, description="Share of the steps in which the learning rate rises."
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where the hardware multiplies it natively."
    )
    deterministic: bool = Field(
        False, description="Only algorithms whose result is the same in every run; slower on GPUs."
    )
    trials: int = Field(1, ge=1, description="Trials of each network, with seeds of their own.")
    positive_share: Share = Field(
        0.5, description="Share of the chips that are centred on a landform."
    )
    min_valid_share: Share = Field(
        0, description="Least share of a training chip that has features and a label."
    )
    elevation: tuple[float, float] | None = Field(
        None,
        description="Training chips whose mean elevation, metres, lies outside are not drawn; "
        "validation, test and prediction are never filtered.",
    )
    cache: Literal["auto", "memory", "local", "none"] = Field(
        "auto",
        description="Decoded features and labels: in memory, or in a local memory-mapped file; "
        "auto: memory as far as it is small.",
    )
    workers: int = Field(0, ge=0, description="Processes that read chips beside the training.")
    random_split: tuple[NetworkName | NetworkBuilder, ...] = Field(
        (), description="Networks also trained on the leaking random 9:1 split, to show its leak."
    )
    basins: tuple[str, ...] = Field(
        (),
        description="Files of other studies, labelled already, whose ground trains and chooses "
        "too, each basin in equal measure, e.g. [chitral.yaml].",
    )
    seed: int = 0

    @model_validator(mode="after")
    def _fits_together(self) -> TrainConfig:
        if self.elevation and self.elevation[0] >= self.elevation[1]:
            raise ValueError(f"elevation {list(self.elevation)} is not a lower and an upper limit")
        batches = -(-self.chips_per_epoch // self.batch)
        if self.accumulate > batches:
            raise ValueError(
                f"accumulate {self.accumulate} is more than the {batches} batches of an epoch"
            )
        return self


class PredictConfig(Section):
    """Windows of the prediction."""

    network: NetworkName | NetworkBuilder | None = Field(
        None, description="Which trained network; default: the best on the validation ground."
    )
    window: int = Field(256, ge=32, multiple_of=32, description="Edge of a window, pixels.")
    overlap: float = Field(
        0.5, ge=0, le=0.75, description="Share of a window shared with the next."
    )
    batch: int = Field(8, ge=1)
    ensemble: Literal["none", "trials", "networks", "all"] = Field(
        "none",
        description="Whose mean is the probability: the selected trial alone; all trials of its "
        "network; the best trial of every network; all trials of all networks. Each takes the time "
        "of one.",
    )
    views: Literal[1, 2, 4, 8] = Field(
        1,
        description="How often a network sees every window: as it is, also mirrored (2), upside "
        "down too (4), turned by quarters too (8). The mean counts; the time is so many times as "
        "long.",
    )
    temperature: float | None = Field(
        None,
        ge=0.1,
        le=10,
        description="What logits are divided by; thresholds move with it. Default: what fits the "
        "validation ground.",
    )
    out_of_fold: bool = Field(
        False,
        description="Every pixel by the networks of a fold that never saw it (labels.every_fold). "
        "`predict --out-of-fold` does it once.",
    )

    @model_validator(mode="after")
    def _one_network_or_several(self) -> PredictConfig:
        if self.network is not None and self.ensemble in ("networks", "all"):
            raise ValueError(f"network {self.network} is one, ensemble {self.ensemble} is several")
        return self

    @property
    def stride(self) -> int:
        """Step from one window to the next, pixels."""
        return max(1, round(self.window * (1 - self.overlap)))


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


class ComputeConfig(Section):
    """Where blocks are worked on; changes nothing in the products."""

    cluster: str = Field(
        "threads",
        description="threads, local (worker processes on this machine), the address of a Dask "
        "scheduler (tcp://HOST:8786, tls://HOST:8786), or a service: gateway, kubernetes, coiled. "
        "`--cluster` wins over it.",
    )
    priority: int = Field(
        0, description="Of several basins, those with a higher number are run first."
    )
    workers: int | None = Field(
        None, ge=1, description="Workers; default: what cores and memory allow, 2 of a service."
    )
    threads: int | None = Field(None, ge=1, description="Threads of a worker; default: 1.")
    memory: str | None = Field(
        None,
        pattern=r"^[0-9]+(\.[0-9]+)? ?([kMGT]i?)?B$",
        description="Memory of a worker, e.g. 4GiB; default: an equal share of this machine, 4GiB "
        "of a service.",
    )
    adaptive: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=1)]] | None = Field(
        None,
        description="Least and most workers, in place of a fixed number, e.g. [2, 40]: they come "
        "and go with the work.",
    )
    gpu: int = Field(
        0, ge=0, description="GPUs of a worker, which it declares as the Dask resource GPU."
    )
    timeout_s: float | None = Field(
        None,
        gt=0,
        description="Longest time for a block on a worker, seconds; a worker that takes longer is "
        "ended, and the block tried on another. Default: none.",
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="What the service is asked for beside that: options of a Gateway's cluster, "
        "arguments of coiled.Cluster, or namespace, image, secret and service_account on "
        "Kubernetes. No keys: they are taken from the environment.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> ComputeConfig:
        if self.adaptive and self.adaptive[0] > self.adaptive[1]:
            raise ValueError(f"adaptive {list(self.adaptive)} is not least, most")
        return self


class Config(Section):
    """A study: one basin, from search to publication."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", description="Names files and items.")
    area: str | tuple[float, float, float, float] = Field(
        description="Polygon file, or west, south, east, north in degrees."
    )
    output: str | None = Field(None, description="Folder of the products; default: the name.")
    protocol: Literal["leak-free", "paper"] = Field(
        "leak-free", description="paper: the settings of the 2025 study, its random split included."
    )
    search: SearchConfig = SearchConfig()  # type: ignore[call-arg]
    cube: CubeConfig = CubeConfig()  # type: ignore[call-arg]
    labels: LabelConfig = LabelConfig()  # type: ignore[call-arg]
    features: FeatureConfig = FeatureConfig()  # type: ignore[call-arg]
    train: TrainConfig = TrainConfig()  # type: ignore[call-arg]
    predict: PredictConfig = PredictConfig()  # type: ignore[call-arg]
    inventory: InventoryConfig = InventoryConfig()  # type: ignore[call-arg]
    report: ReportConfig = ReportConfig()  # type: ignore[call-arg]
    publish: PublishConfig = PublishConfig()  # type: ignore[call-arg]
    compute: ComputeConfig = ComputeConfig()  # type: ignore[call-arg]

    @model_validator(mode="after")
    def _folds_for_out_of_fold(self) -> Config:
        if self.predict.out_of_fold and not self.labels.every_fold:
            raise ValueError("predict.out_of_fold needs labels.every_fold")
        return self

    @model_validator(mode="before")
    @classmethod
    def _paper_settings(cls, values: Any) -> Any:
        """Fill what ``protocol: paper`` means under whatever the file says itself."""
        if not isinstance(values, dict) or values.get("protocol") != "paper":
            return values
        merged = dict(values)
        for section, settings in PAPER.items():
            given = merged.get(section) or {}
            if isinstance(given, dict):
                merged[section] = {**settings, **given}
        return merged


# SCIENCE: the settings that the 2025 paper states (doi 10.3390/rs17243942).
PAPER: dict[str, dict[str, Any]] = {
    "search": {"min_clear": 0},
    "cube": {"composite": "least-cloudy"},
    "features": {"set": "paper-pc1"},
    "train": {
        "networks": ["unet", "deeplabv3plus", "hrnet"],
        "chip": 256,
        "epochs": 300,
        "patience": 300,
        "trials": 5,
        "random_split": ["unet", "deeplabv3plus", "hrnet"],
    },
    "predict": {"window": 256, "overlap": 0.5},
}


def years(start: date, end: date) -> str:
    """Return the years of the first and the last day as one name, e.g. ``2023-2024``."""
    return "-".join(str(year) for year in sorted({start.year, end.year}))


def load_config(path: Path) -> Config:
    """Read and check a study's YAML file.

    Raises
    ------
    InputError
        The file is missing, is not YAML, or has a wrong or unknown key; the message names the
        nearest valid key.
    """
    if not path.is_file():
        raise InputError(
            f"no file {str(path)!r}",
            expected="a YAML file that describes a basin",
            todo=f"rockglacier new {path.stem} --area YOUR_AREA.gpkg",
        )
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise InputError(
            f"{str(path)!r} is not YAML: {error}",
            expected="keys and values, in UTF-8",
            todo="mend the file, or begin anew with `rockglacier new`",
        ) from error
    return parse_config(values, source=str(path))


def parse_config(values: Any, *, source: str) -> Config:
    """Check values that came from YAML, JSON or a test; ``source`` names them in messages."""
    if not isinstance(values, dict):
        raise InputError(f"{source!r} holds {type(values).__name__}", expected="keys and values")
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        lines = [f"{len(error.errors())} setting(s) of {source!r} cannot be used:"]
        lines += [f"    {_explain(problem)}" for problem in error.errors()]
        raise InputError(
            "\n".join(lines), todo="mend the file; `rockglacier schema` prints every key"
        ) from error


def _explain(problem: Any) -> str:
    location = ".".join(str(part) for part in problem["loc"]) or "the file"
    if problem["type"] == "extra_forbidden":
        valid = _keys_of(problem["loc"][:-1])
        near = difflib.get_close_matches(str(problem["loc"][-1]), valid, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"valid: {', '.join(valid)}"
        return f"{location}: unknown key; {hint}"
    shown = repr(problem.get("input"))
    return (
        f"{location}: {problem['msg']} (found {shown if len(shown) < 80 else shown[:77] + '...'})"
    )


def _keys_of(location: tuple[Any, ...]) -> list[str]:
    model: type[BaseModel] = Config
    for part in location:
        field = model.model_fields.get(str(part))
        if field is None or not isinstance(field.annotation, type):
            break
        if issubclass(field.annotation, BaseModel):
            model = field.annotation
    return list(model.model_fields)


def parse_bytes(amount: str) -> int:
    """Return an amount of memory such as ``4GiB`` in bytes."""
    found = re.fullmatch(r"([0-9.]+) ?([kMGT]?)(i?)B", amount)
    if not found:
        raise InputError(f"an amount of memory {amount!r}", expected="for example 4GiB")
    number, prefix, binary = found.groups()
    step = 1024 if binary else 1000
    return int(float(number) * step ** " kMGT".index(prefix or " "))


def json_schema() -> str:
    """Return the JSON Schema of a study's file."""
    return json.dumps(Config.model_json_schema(), indent=2)


def fingerprint(values: Any) -> str:
    """Return a short stable hash of JSON-able values; what receipts and caches are keyed by."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), default=str, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
