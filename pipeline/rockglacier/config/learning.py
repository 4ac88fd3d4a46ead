"""Settings of labels, features, training and prediction."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from rockglacier.config.section import (
    FeatureSet,
    NetworkBuilder,
    NetworkName,
    Section,
    Share,
)


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
    devices: int = Field(
        1,
        ge=1,
        description="GPUs of this machine that train one network together, each on its part of "
        "every batch; without a GPU, processes.",
    )
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
        if self.batch % self.devices:
            raise ValueError(f"batch {self.batch} cannot be parted among {self.devices} devices")
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
