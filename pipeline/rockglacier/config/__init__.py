"""One YAML file a basin: parsed once, here, into frozen models; unknown keys are refused."""

from rockglacier.config.compute import ComputeConfig, parse_bytes
from rockglacier.config.imagery import CubeConfig, ExtraConfig, SearchConfig, years
from rockglacier.config.learning import FeatureConfig, LabelConfig, PredictConfig, TrainConfig
from rockglacier.config.products import (
    HydrologyConfig,
    InventoryConfig,
    PublishConfig,
    ReportConfig,
)
from rockglacier.config.read import fingerprint, json_schema, load_config, parse_config
from rockglacier.config.section import Band, FeatureSet, NetworkName, Section
from rockglacier.config.whole import Config

__all__ = [
    "Band",
    "ComputeConfig",
    "Config",
    "CubeConfig",
    "ExtraConfig",
    "FeatureConfig",
    "FeatureSet",
    "HydrologyConfig",
    "InventoryConfig",
    "LabelConfig",
    "NetworkName",
    "PredictConfig",
    "PublishConfig",
    "ReportConfig",
    "SearchConfig",
    "Section",
    "TrainConfig",
    "fingerprint",
    "json_schema",
    "load_config",
    "parse_bytes",
    "parse_config",
    "years",
]
