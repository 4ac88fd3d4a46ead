"""What a run will take: scenes, chips, bytes, tasks and hours, before anything is paid."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from rockglacier.config import Config
from rockglacier.features.sets import FEATURE_SETS
from rockglacier.grid import geodesic_area_km2
from rockglacier.labels.burn import planned_labels
from rockglacier.scenes.cover import MEDIAN_LOOKS
from rockglacier.scenes.record import read_scenes, read_table, scene_table
from rockglacier.storage import is_local, read_json
from rockglacier.study import Study
from rockglacier_stac.access import reads_at_once
from rockglacier_stac.providers import DEFAULT_READS

# Rough figures for two cores: a plan needs their order of magnitude only.
CUBE_SECONDS_PER_LOOK_MPX = 0.6
PREDICT_SECONDS_PER_WINDOW_MPX = {"unet": 1.1, "deeplabv3plus": 0.4, "hrnet": 1.5}
TRAIN_FACTOR = 3.5  # a training step against a forward pass
ZONE_PPM = 1000  # what UTM has at the edge of a zone, at most
LISTED = 3  # dropped scenes that are named, of every rule
MUCH_LABELLED = 0.5  # of the basin: rock glaciers are seldom more than a few percent of one
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
    dropped: dict[str, list[str]]
    """Scenes that were found and are not used: their ids in order of time, by rule."""
    cloud_alone: int | None
    """Passes over a tile that only the item's own cloud cover kept out; None: not known."""
    basin_cloud: tuple[float, float]
    """Lowest and highest over the basin, of the scenes used, percent of what each shows of it."""
    basin_snow: tuple[float, float]
    basin_shadow: tuple[float, float]
    """Topographic shadow, likewise."""
    min_clear: int
    """Looks free of cloud and snow that every place should have; 0: as many as there are."""
    fewer_percent: float
    """Share of the basin that has fewer."""
    thin_percent: float
    """Share of the basin with too few for a median that rejects what is odd."""
    never_percent: float
    """Share of the basin that no scene shows free of cloud and snow."""
    scale_error_ppm: tuple[float, float]
    """How much too short and too long lengths are on the grid within the basin."""
    warped: dict[str, int]
    """EPSG code of other zones to scenes used."""
    noted: int
    """Scenes whose item and files disagree."""
    reads_at_once: int
    """Assets that the provider lets one user read at once."""
    dem_tiles: int
    reference: dict[str, int]
    """Polygons of the reference by what will be done with them; empty without a reference."""
    reference_km2: float
    """Ground of those that teach."""
    split_percent: dict[str, float]
    """Shares of the ground to train, choose, test and guard."""
    chips: int
    """Chips of the training size at half overlap that touch the basin."""
    read_bytes: int
    """Pixels to read, decoded."""
    disk_bytes: int
    disk_free_bytes: int | None
    """None in an object store."""
    hours: float
    training: list[dict[str, Any]] = field(default_factory=list)
    """A row a network whose steps were timed: ``network, trials, steps, seconds_per_step, hours,
    device``."""
    warnings: list[str] = field(default_factory=list)


def make_plan(study: Study, *, steps: int = 0) -> Plan:
    """Count what a study needs; reads only what the search wrote.

    Parameters
    ----------
    study
        Searched.
    steps
        Training steps of every network to time on this machine; 0: none, and the hours of the
        training are a rough figure for two cores. None are timed where Torch is not installed.

    Returns
    -------
    Plan
        Hours are those of two cores, as far as they were not timed.

    Raises
    ------
    InputError
        The reference, or the split of the ground, cannot be used.
    """
    labels = _labels(study)
    training = _timed(study, steps) if steps and study.config.labels.reference else []
    scenes = scene_table(read_scenes(study.require(study.scenes_path, stage="search")))
    facts = read_json(study.require(study.search_path, stage="search"))
    grid, config = study.grid, study.config
    height, width = grid.shape
    megapixels = height * width / 1e6
    looks = max(1.0, float((scenes["basin_cover"] / 100).sum()))
    bands = len(config.cube.bands) + 1
    features = 16  # channels of the largest set, two bytes each
    each_period = 2 * len(config.cube.bands) + 2 * features + 6
    disk = height * width * (len(study.periods) * each_period + 17)
    free = _free_bytes(study.folder)
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
        dropped=_dropped(study),
        cloud_alone=facts["cloud_alone"],
        basin_cloud=_range(scenes["basin_cloud"]),
        basin_snow=_range(scenes["basin_snow"]),
        basin_shadow=_range(scenes["basin_shadow"]),
        min_clear=facts["min_clear"],
        fewer_percent=facts["fewer_percent"],
        thin_percent=facts["thin_percent"],
        never_percent=facts["never_percent"],
        scale_error_ppm=(facts["scale_error_ppm"][0], facts["scale_error_ppm"][1]),
        warped={zone: n for zone, n in facts["zones"].items() if int(zone) != grid.epsg},
        noted=facts["noted"],
        reads_at_once=reads_at_once(json.loads(scenes["assets"].iloc[0])["SCL"]),
        dem_tiles=facts["dem_tiles"],
        **labels,
        chips=chips,
        read_bytes=int(height * width * looks * bands * 2),
        disk_bytes=disk,
        disk_free_bytes=free,
        hours=_hours(study, megapixels, looks, training),
        training=training,
    )
    plan.warnings.extend(_warnings(plan))
    return plan


def _labels(study: Study) -> dict[str, Any]:
    if not study.config.labels.reference:
        return {"reference": {}, "reference_km2": 0.0, "split_percent": {}}
    table, splits = planned_labels(study)
    pixels = (splits["height"] * splits["width"]).groupby(splits["split"]).sum()
    return {
        "reference": {str(action): int(n) for action, n in table["action"].value_counts().items()},
        "reference_km2": float(table.loc[table["used"], "area_km2"].sum()),
        "split_percent": (100 * pixels / pixels.sum()).to_dict(),
    }


def _hours(
    study: Study, megapixels: float, looks: float, timed: Sequence[Mapping[str, Any]]
) -> float:
    config = study.config
    overlap = (config.predict.window / config.predict.stride) ** 2
    chip_mpx = config.train.chip**2 / 1e6
    per_trial = config.train.epochs * config.train.chips_per_epoch * chip_mpx * TRAIN_FACTOR
    training = sum(3600 * row["hours"] for row in timed)
    if config.labels.reference and not timed:
        for network, trials in _trainings(study):
            seconds = per_trial * _forward_seconds(network)
            if config.train.max_minutes:
                seconds = min(seconds, 60 * config.train.max_minutes)
            training += seconds * trials
    seconds = (
        megapixels * looks * CUBE_SECONDS_PER_LOOK_MPX
        + training * (config.labels.folds if config.labels.every_fold else 1)
        + megapixels * overlap * _pass_seconds(config)
    )
    return seconds / 3600


def _pass_seconds(config: Config) -> float:
    """Return what a megapixel takes to pass all networks of the ensemble in all views."""
    networks, trials = config.train.networks, config.train.trials
    one = [config.predict.network or networks[0]]
    passes = {"none": one, "trials": one * trials, "networks": networks, "all": networks * trials}
    return config.predict.views * sum(map(_forward_seconds, passes[config.predict.ensemble]))


def _forward_seconds(network: str) -> float:
    """Return what a megapixel takes; a network of somebody else's is taken for a large one."""
    known = PREDICT_SECONDS_PER_WINDOW_MPX
    return known.get(network, max(known.values()))


def _trainings(study: Study) -> list[tuple[str, int]]:
    """Return every network with its trials; the random split has one of each."""
    config = study.config.train
    leaking = [(name, 1) for name in config.random_split]
    return [*((name, config.trials) for name in config.networks), *leaking]


def channel_count(config: Config) -> int:
    """Return how many channels the configured feature set will have."""
    chosen = FEATURE_SETS[config.features.set]
    if chosen.kind == "component":
        return len(chosen.composites)
    if chosen.kind == "stretch":
        return sum(map(len, chosen.composites.values()))
    return len(chosen.inputs(config.cube.bands))


def _timed(study: Study, steps: int) -> list[dict[str, Any]]:
    """Time every network, or none where Torch is not installed."""
    try:
        from rockglacier.model.pace import time_steps, trial_seconds
    except ImportError:
        return []
    config = study.config.train
    height, width = study.grid.shape
    validation = study.config.labels.validation_share * height * width / config.chip**2
    paces = {}
    rows = []
    for network, trials in _trainings(study):
        if network not in paces:
            encoder = next((e for name, e in config.encoders.items() if name == network), None)
            paces[network] = time_steps(
                network,
                config,
                channels=channel_count(study.config),
                encoder=encoder,
                steps=steps,
            )
        pace = paces[network]
        seconds = trials * trial_seconds(pace, config, validation_chips=validation)
        rows.append(
            {
                "network": network,
                "trials": trials,
                "steps": pace.steps,
                "seconds_per_step": round(pace.seconds, 5),
                "hours": seconds / 3600,
                "device": pace.device,
            }
        )
    return rows


def _warnings(plan: Plan) -> list[str]:
    found = []
    if plan.disk_free_bytes is not None and plan.disk_bytes > 0.9 * plan.disk_free_bytes:
        found.append(
            f"the products need {plan.disk_bytes / 1e9:.1f} GB and "
            f"{plan.disk_free_bytes / 1e9:.1f} GB are free"
        )
    if plan.reference_km2 > MUCH_LABELLED * plan.area_km2:
        found.append(
            f"the reference covers {plan.reference_km2 / plan.area_km2:.0%} of the basin: is it "
            "the inventory, and the right layer of its file (labels.layer)?"
        )
    if plan.thin_percent > 5:
        found.append(
            f"{plan.thin_percent:.1f} % of the basin has fewer than {MEDIAN_LOOKS} looks free of "
            "cloud and snow, and a median of fewer cannot reject what is odd: widen search.start, "
            "search.end or search.season, or raise the limits of cloud"
        )
    if plan.never_percent > 1:
        found.append(
            f"{plan.never_percent:.1f} % of the basin is never free of cloud and snow: snow, or "
            "the least bad look, is used there"
        )
    if max(map(abs, plan.scale_error_ppm)) > ZONE_PPM:
        found.append(
            f"the basin reaches beyond its UTM zone: lengths are up to {plan.scale_error_ppm[1]} "
            "parts per million too long at its edge, areas twice that; areas of the inventory are "
            "measured on the ellipsoid"
        )
    if plan.reads_at_once < DEFAULT_READS:
        found.append(
            f"the provider allows {plan.reads_at_once} reads at once for one user: run one worker"
        )
    if plan.hours > 12:
        found.append(f"about {plan.hours:.0f} h on two cores: use more, or a GPU for the training")
    return found


def _dropped(study: Study) -> dict[str, list[str]]:
    table = read_table(study.dropped_path, ["id", "rule"])
    return {str(rule): list(ids) for rule, ids in table.groupby("rule")["id"]}


def _free_bytes(folder: Path) -> int | None:
    if not is_local(folder):
        return None
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _range(values: pd.Series) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _percent(values: tuple[float, float]) -> str:
    low, high = values
    return f"{low:.1f} to {high:.1f} %"


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{max(count, 1e6) / 1e6:.0f} MB"


def _duration(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{max(1, round(60 * hours))} min"


def plan_lines(plan: Plan) -> list[str]:
    """Return the plan as lines for people."""
    tiles = ", ".join(f"{tile} x{n}" for tile, n in sorted(plan.scenes_by_tile.items()))
    low, high = plan.scale_error_ppm
    free = "" if plan.disk_free_bytes is None else f" of {_size(plan.disk_free_bytes)} free"
    lines = [
        f"basin      {plan.name}: {plan.area_km2:,.0f} km², EPSG:{plan.epsg}",
        f"grid       {plan.shape[1]} x {plan.shape[0]} px in {plan.blocks} blocks",
        f"lengths    {low:+d} to {high:+d} parts per million on this grid",
        f"scenes     {plan.scenes} used ({tiles})",
        f"over it    cloud {_percent(plan.basin_cloud)}, snow {_percent(plan.basin_snow)}",
        f"           topographic shadow {_percent(plan.basin_shadow)}",
        f"looks      {_looks_line(plan)}",
        *_dropped_lines(plan),
        f"DEM        {plan.dem_tiles} tiles",
        *_label_lines(plan),
        f"chips      {plan.chips:,} at half overlap (the 2025 paper kept {PAPER_CHIPS:,})",
        f"to read    {_size(plan.read_bytes)} decoded",
        f"on disk    {_size(plan.disk_bytes)}{free}",
        *_training_lines(plan),
        f"time       roughly {_duration(plan.hours)} {_where(plan)}",
    ]
    if plan.warped:
        zones = ", ".join(f"{n} of EPSG:{zone}" for zone, n in plan.warped.items())
        lines.append(f"warped     scenes of other zones: {zones}")
    if plan.noted:
        lines.append(
            f"noted      {plan.noted} scene(s) whose item and files disagree: the column notes of "
            "scenes.parquet says what was used"
        )
    return lines + [f"warning    {warning}" for warning in plan.warnings]


def _label_lines(plan: Plan) -> list[str]:
    if not plan.split_percent:
        return []
    actions = ", ".join(f"{n} {action}" for action, n in plan.reference.items()) or "none"
    polygons = f"{sum(plan.reference.values())} polygons ({actions})"
    split = ", ".join(f"{ground} {share:.0f} %" for ground, share in plan.split_percent.items())
    return [
        f"reference  {polygons}; {plan.reference_km2:.2f} km² teach",
        f"ground     {split}",
    ]


def _training_lines(plan: Plan) -> list[str]:
    lines: list[str] = []
    for row in plan.training:
        trials = "1 trial" if row["trials"] == 1 else f"{row['trials']} trials"
        head = "training   " if not lines else "           "
        lines.append(
            f"{head}{row['network']}: {trials}, at most {_duration(row['hours'])} "
            f"({row['seconds_per_step']:.2g} s a step, of {row['steps']} timed)"
        )
    return lines


def _where(plan: Plan) -> str:
    if not plan.training:
        return "on two cores"
    return f"here ({plan.training[0]['device']}), the cube on two cores"


def _looks_line(plan: Plan) -> str:
    never = f"{plan.never_percent:.1f} % of the basin is never free of cloud and snow"
    if not plan.min_clear:
        return f"all there are; {never}"
    enough = f"{100 - plan.fewer_percent:.1f} % of the basin has {plan.min_clear} or more"
    return f"{enough}; {never}"


def _dropped_lines(plan: Plan) -> list[str]:
    total = sum(map(len, plan.dropped.values()))
    lines = [f"dropped    {total or 'none'}"]
    for rule, ids in sorted(plan.dropped.items()):
        more = f" and {len(ids) - LISTED} more" if len(ids) > LISTED else ""
        lines.append(f"           {len(ids)} {rule}: {', '.join(ids[:LISTED])}{more}")
    if plan.cloud_alone is None:
        lines.append("           the catalog did not say how many scene_cloud_max keeps out")
    elif plan.cloud_alone:
        lines.append(
            f"           scene_cloud_max alone keeps out {plan.cloud_alone} pass(es) over a tile"
        )
    return lines
