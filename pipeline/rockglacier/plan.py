"""What a run will take: scenes, chips, bytes, tasks and hours, before anything is paid."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import geopandas as gpd
import pandas as pd

from rockglacier.grid import geodesic_area_km2
from rockglacier.study import Study

# Rough figures for two cores: a plan needs their order of magnitude only.
CUBE_SECONDS_PER_LOOK_MPX = 0.6
PREDICT_SECONDS_PER_WINDOW_MPX = {"unet": 1.1, "deeplabv3plus": 0.4, "hrnet": 1.5}
TRAIN_FACTOR = 3.5  # a training step against a forward pass
PAPER_CHIPS = 8013  # chips that the 2025 paper kept of its 12,600


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The plan of one study."""

    name: str
    area_km2: float
    epsg: int
    shape: tuple[int, int]
    blocks: int
    scenes: int
    scenes_by_tile: dict[str, int]
    dropped: dict[str, int]
    """Scenes that were found and are not used, by rule."""
    basin_cloud: tuple[float, float] | None
    """Lowest and highest cloud over the basin of the scenes used, percent."""
    dem_tiles: int
    chips: int
    """Chips of the training size at half overlap that touch the basin."""
    read_bytes: int
    """Pixels to read, decoded."""
    disk_bytes: int
    disk_free_bytes: int
    hours: float
    warnings: list[str] = field(default_factory=list)


def make_plan(study: Study) -> Plan:
    """Count what a study needs; reads only what the search wrote.

    Returns
    -------
    Plan
        Hours are a rough figure for two cores.
    """
    scenes = gpd.read_parquet(study.require(study.scenes_path, stage="search"))
    dropped = pd.read_parquet(study.dropped_path, columns=["rule"])["rule"].value_counts()
    dem_tiles = len(pd.read_parquet(study.dem_path, columns=["id"]))
    grid, config = study.grid, study.config
    height, width = grid.shape
    megapixels = height * width / 1e6
    looks = max(1.0, float((scenes["basin_cover"] / 100).sum()))
    bands = len(config.cube.bands) + 1
    features = 16  # channels of the largest set, two bytes each
    disk = int(height * width * (2 * len(config.cube.bands) + 20 + 2 * features + 3))
    free = shutil.disk_usage(_existing(study.folder)).free
    stride = config.train.chip // 2
    chips = math.ceil(height / stride) * math.ceil(width / stride)
    plan = Plan(
        name=config.name,
        area_km2=geodesic_area_km2(study.area),
        epsg=grid.epsg,
        shape=grid.shape,
        blocks=sum(1 for _ in grid.blocks()),
        scenes=len(scenes),
        scenes_by_tile={str(k): int(v) for k, v in scenes["tile"].value_counts().items()},
        dropped={str(k): int(v) for k, v in dropped.items()},
        basin_cloud=(float(scenes["basin_cloud"].min()), float(scenes["basin_cloud"].max())),
        dem_tiles=dem_tiles,
        chips=chips,
        read_bytes=int(height * width * looks * bands * 2),
        disk_bytes=disk,
        disk_free_bytes=free,
        hours=_hours(study, megapixels, looks),
    )
    plan.warnings.extend(_warnings(plan, looks))
    return plan


def _hours(study: Study, megapixels: float, looks: float) -> float:
    config = study.config
    overlap = (config.predict.window / config.predict.stride) ** 2
    forward = PREDICT_SECONDS_PER_WINDOW_MPX
    chip_mpx = config.train.chip**2 / 1e6
    trained = (*config.train.networks, *config.train.random_split)
    per_trial = config.train.epochs * config.train.chips_per_epoch * chip_mpx * TRAIN_FACTOR
    training = 0.0
    if config.labels.reference:
        for network in trained:
            seconds = per_trial * forward[network]
            if config.train.max_minutes:
                seconds = min(seconds, 60 * config.train.max_minutes)
            training += seconds * config.train.trials
    network = config.predict.network or config.train.networks[0]
    seconds = (
        megapixels * looks * CUBE_SECONDS_PER_LOOK_MPX
        + training
        + megapixels * overlap * forward[network]
    )
    return seconds / 3600


def _warnings(plan: Plan, looks: float) -> list[str]:
    found = []
    if plan.disk_bytes > 0.9 * plan.disk_free_bytes:
        found.append(
            f"the products need {plan.disk_bytes / 1e9:.1f} GB and "
            f"{plan.disk_free_bytes / 1e9:.1f} GB are free"
        )
    if looks < 2:
        found.append("fewer than two looks at most pixels: a median cannot reject what is odd")
    if plan.hours > 12:
        found.append(f"about {plan.hours:.0f} h on two cores: use more, or a GPU for the training")
    return found


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{max(count, 1e6) / 1e6:.0f} MB"


def _duration(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{max(1, round(60 * hours))} min"


def plan_lines(plan: Plan) -> list[str]:
    """Return the plan as lines for people."""
    tiles = ", ".join(f"{tile} x{n}" for tile, n in sorted(plan.scenes_by_tile.items()))
    dropped = ", ".join(f"{n} {rule}" for rule, n in sorted(plan.dropped.items())) or "none"
    low, high = plan.basin_cloud or (0.0, 0.0)
    lines = [
        f"basin      {plan.name}: {plan.area_km2:,.0f} km², EPSG:{plan.epsg}",
        f"grid       {plan.shape[1]} x {plan.shape[0]} px in {plan.blocks} blocks",
        f"scenes     {plan.scenes} used ({tiles}); cloud over the basin {low:.1f} to {high:.1f} %",
        f"dropped    {dropped}",
        f"DEM        {plan.dem_tiles} tiles",
        f"chips      {plan.chips:,} at half overlap (the 2025 paper kept {PAPER_CHIPS:,})",
        f"to read    {_size(plan.read_bytes)} decoded",
        f"on disk    {_size(plan.disk_bytes)} of {_size(plan.disk_free_bytes)} free",
        f"time       roughly {_duration(plan.hours)} on two cores",
    ]
    return lines + [f"warning    {warning}" for warning in plan.warnings]
