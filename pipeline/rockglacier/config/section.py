"""What every part of a study's file is made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

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
