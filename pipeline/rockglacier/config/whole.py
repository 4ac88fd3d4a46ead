"""The whole file of a study, and what `protocol: paper` means in it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from rockglacier.config.compute import ComputeConfig
from rockglacier.config.imagery import CubeConfig, SearchConfig
from rockglacier.config.learning import FeatureConfig, LabelConfig, PredictConfig, TrainConfig
from rockglacier.config.products import InventoryConfig, PublishConfig, ReportConfig
from rockglacier.config.section import Section


class Config(Section):
    """A study: one basin, from search to publication."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]*$",
        description="Names files and items: lower-case letters, digits, - and _, e.g. upper-hunza.",
    )
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
