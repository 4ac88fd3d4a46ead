"""What a fleet of workers makes of an area: requests, bytes, hours, money, what is in its way.

A plain model: basins one after another in each of several commands, groups of blocks with measured
service times, workers that fail now and then, and the limits of the store, of the provider and of
the scheduler. Unit costs are measured by ``make bench-scale`` and kept in ``costs.json``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from rockglacier.engine.cluster import IN_FLIGHT
from rockglacier.scenes.record import Scene, read_scenes, scene_table
from rockglacier.study import Study
from rockglacier_stac.providers import provider_of

PUTS_PER_S, GETS_PER_S = 3_500, 5_500
"""Requests a second that S3 takes under one prefix, at least: docs.aws.amazon.com/AmazonS3/latest/
userguide/optimizing-performance.html."""

STORED_SHARE: Final = 0.75
"""Bytes of a Sentinel-2 band as it is stored, of those decoded: measured on bands of 10 m and 20 m
(deflate) that are not made up."""

FILE_BLOCK: Final = 1024
"""Edge of a block of Sentinel-2's files, pixels."""

CLASS_PIXELS: Final = 0.25
"""Pixels of the scene classification, of 20 m and one byte, for one of the grid."""

PIXELS_OF_BAND: Final = {
    **dict.fromkeys(("B02", "B03", "B04", "B08"), 1.0),
    **dict.fromkeys(("B01", "B09"), 1 / 36),
}
"""Of one of the grid of 10 m; a quarter for the other bands."""

GROUP: Final = 4
"""Blocks along the edge of a read group."""

LINE_BYTES_S: Final = 100e6
"""What a worker reads in a second from the provider's own region: taken, not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """What is to be mapped."""

    megapixels: float
    """Of the grids."""
    looks: float
    """Scenes over a place."""
    blocks: int
    groups: int
    """Read groups of the cube; the engine halves them where workers would have none."""
    basins: int
    band_pixels: float = 4.5
    """Pixels of bands that are read for one of the grid: four bands of 10 m, two of 20 m."""
    views: float = 4.0
    """Windows of the prediction over a place."""
    source: str = ""
    """Who holds the scenes, where, and what one user may read at once; empty: not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Who does the work."""

    workers: int
    """Of one core each."""
    price: float | None = None
    """Of a worker for an hour, in any currency."""
    losses_per_hour: float = 0.02
    """Of a worker: interruptions of machines that are bought cheaply. Taken, not measured."""
    commands: int = 1
    """That run basins side by side, or basins ``--at-once`` of one: each takes one basin after
    another, with its share of workers. Each basin is a folder, hence a prefix of the store."""


WORK, ALONE = "computing and reading", "one process a basin (inventory)"
"""Limits that are stages, one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """Something that bounds how fast the work goes."""

    name: str
    hours: float
    """Wall time if it were the only one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What an area takes of a fleet."""

    area: Area
    fleet: Fleet
    groups: int
    """Tasks of the cube."""
    reads: int
    """Requests for blocks of files."""
    read_bytes: int
    objects: int
    written_bytes: int
    worker_hours: Mapping[str, float]
    """By stage; with what is done twice because a worker was lost."""
    scheduler_bytes: int
    limits: tuple[Limit, ...]
    """The slowest first."""

    @property
    def hours(self) -> float:
        """Wall time: stages follow each other, and what bounds a rate may be slower than both."""
        stages = sum(limit.hours for limit in self.limits if limit.name in (WORK, ALONE))
        return max(stages, self.limits[0].hours)

    @property
    def cost(self) -> float | None:
        """Of the workers; requests, storage and traffic beyond the region come on top."""
        total = sum(self.worker_hours.values())
        return None if self.fleet.price is None else self.fleet.price * total


def unit_costs() -> dict[str, Any]:
    """Return the unit costs that ``make bench-scale`` measured."""
    found: dict[str, Any] = json.loads(
        files("rockglacier").joinpath("costs.json").read_text(encoding="utf-8")
    )
    return found


def area_of(
    km2: float, *, looks: float, basins: int = 1, resolution: float = 10.0, block: int = 2048
) -> Area:
    """Return an area that is known by its size alone.

    Parameters
    ----------
    km2
        Ground.
    looks
        Scenes over a place.
    basins
        That it is cut into; each is the rectangle around it, taken to be twice its ground.
    resolution
        Metres of a pixel.
    block
        Edge of a block, pixels.
    """
    pixels = 2 * km2 * 1e6 / resolution**2
    edge = math.sqrt(pixels / basins)
    blocks, groups = (math.ceil(edge / size) ** 2 * basins for size in (block, 4 * block))
    return Area(megapixels=pixels / 1e6, looks=looks, blocks=blocks, groups=groups, basins=basins)


def area_of_study(study: Study) -> Area:
    """Return the area of a study whose scenes are chosen."""
    config, grid = study.config, study.grid
    chosen = read_scenes(study.require(study.scenes_path, stage="search"))
    scenes = scene_table(chosen)
    height, width = grid.shape
    return Area(
        megapixels=height * width / 1e6,
        looks=max(1.0, float((scenes["basin_cover"] / 100).sum())),
        blocks=sum(1 for _ in grid.blocks()),
        groups=sum(1 for _ in grid.groups(GROUP, GROUP)),
        basins=1,
        band_pixels=sum(PIXELS_OF_BAND.get(band, 1 / 4) for band in config.cube.bands),
        views=(config.predict.window / config.predict.stride) ** 2 * config.predict.views,
        source=_source(chosen),
    )


def _source(scenes: Sequence[Scene]) -> str:
    """Return who holds the scenes, and where; nothing for files and unknown servers."""
    hrefs = [href for scene in scenes[:1] for href in list(scene.assets.values())[:1]]
    provider = provider_of(hrefs[0]) if hrefs else None
    if provider is None:
        return ""
    return (
        f"{provider.name} in {provider.region}: run workers there; {provider.access}; a process "
        f"reads {provider.reads} assets at once"
    )


def estimate(area: Area, fleet: Fleet, costs: Mapping[str, Any] | None = None) -> Estimate:
    """Return what an area takes.

    Parameters
    ----------
    area, fleet
        What, and who.
    costs
        Default: :func:`unit_costs`.

    Notes
    -----
    A group that a worker takes down with it is done again from its start: on average half of its
    time is lost. The last groups of a basin leave workers idle: groups go in whole rounds.
    What several small groups read twice along their edges is added, and computed twice too.
    Inventory, report and publication of a basin are done by the command's own process, while its
    workers wait. Bytes of a look are those of its bands and classification as they are stored.
    """
    costs = unit_costs() if costs is None else costs
    cube, fuse, predict, inventory, scheduler = (
        costs[name] for name in ("cube", "fuse", "predict", "inventory", "scheduler")
    )
    commands = min(fleet.commands, area.basins, fleet.workers)
    in_turn = math.ceil(area.basins / commands)
    workers = fleet.workers / commands
    groups = _groups(area, workers)
    looked = area.megapixels * area.looks * _twice(area, groups)
    decoded = 1e6 * looked * (2 * area.band_pixels + CLASS_PIXELS)
    read_bytes = STORED_SHARE * decoded
    reads = looked * 1e6 / FILE_BLOCK**2 * (area.band_pixels + CLASS_PIXELS)
    seconds = {
        "cube": looked * cube["seconds_per_look_megapixel"],
        "fuse": area.megapixels * fuse["seconds_per_megapixel"],
        "predict": area.megapixels * area.views * predict["seconds_per_window_megapixel"],
        "inventory": area.megapixels * inventory["seconds_per_megapixel"],
    }
    line = read_bytes / LINE_BYTES_S
    busy = max(seconds["cube"], line)  # reading and computing go on side by side
    group_s = busy / groups
    again = 1 + _lost(group_s / 3600, fleet.losses_per_hour)
    stored = (cube, fuse, predict)
    # each with a receipt
    objects = round(area.blocks * sum(stage["objects_per_block"] + 1 for stage in stored))
    tasks = groups + 2 * area.blocks
    rounds = math.ceil(groups / area.basins / workers)
    at_work = min(workers, area.blocks / area.basins)
    mapping_s = (seconds["fuse"] + seconds["predict"]) / area.basins / at_work
    limits = [
        Limit(name=WORK, hours=in_turn * (rounds * group_s * again + mapping_s) / 3600),
        Limit(name=ALONE, hours=in_turn * seconds["inventory"] / area.basins / 3600),
        Limit(name="requests for scenes", hours=reads / GETS_PER_S / 3600),
        Limit(name="objects written", hours=objects / (PUTS_PER_S * commands) / 3600),
        Limit(name="the scheduler's tasks", hours=tasks / scheduler["tasks_per_second"] / 3600),
    ]
    return Estimate(
        area=area,
        fleet=fleet,
        groups=groups,
        reads=int(reads),
        read_bytes=int(read_bytes),
        objects=objects,
        written_bytes=int(
            area.megapixels * sum(stage["written_bytes_per_megapixel"] for stage in stored)
        ),
        worker_hours={
            **{name: spent / 3600 for name, spent in seconds.items()},
            "cube": busy * again / 3600,
        },
        scheduler_bytes=int(
            scheduler["bytes"] + IN_FLIGHT * fleet.workers * scheduler["bytes_per_task_in_flight"]
        ),
        limits=tuple(sorted(limits, key=lambda limit: -limit.hours)),
    )


def _groups(area: Area, workers: float) -> int:
    """Return into how many groups the engine cuts an area for the workers of each command."""
    groups, blocks = area.groups / area.basins, area.blocks / area.basins
    while groups < min(IN_FLIGHT * workers, blocks):
        groups = min(2 * groups, blocks)
    return round(groups * area.basins)


def _twice(area: Area, groups: int) -> float:
    """Return how much is read for one that is needed: blocks of files lie across groups' edges."""
    edge = math.sqrt(area.megapixels * 1e6 / groups)
    return (1 + FILE_BLOCK / edge) ** 2


def _lost(hours: float, rate: float) -> float:
    """Return the expected share of a group's time that is done again, workers lost at a rate."""
    failed = 1 - math.exp(-hours * rate)
    return 0.5 * failed / (1 - failed)


def scale_lines(found: Estimate) -> list[str]:
    """Return an estimate as lines for people."""
    fleet = found.fleet
    total = sum(found.worker_hours.values())
    stages = ", ".join(f"{name} {hours:,.1f}" for name, hours in found.worker_hours.items())
    price = "" if found.cost is None else f", {found.cost:,.2f} at {fleet.price:g} an hour"
    slowest, second = found.limits[:2]
    next_one = f"{second.name}, {_hours(second.hours)}"
    tasks = (
        f"{found.groups + 2 * found.area.blocks:,} tasks, at most "
        f"{IN_FLIGHT * fleet.workers} in flight"
    )
    measured = unit_costs()["measured"]
    taken = f"{LINE_BYTES_S / 1e6:.0f} MB/s a worker, {fleet.losses_per_hour:.0%} lost an hour"
    lines = [
        f"workers    {fleet.workers} of one core: {total:,.1f} h of them ({stages}){price}",
        f"reads      {found.reads:,} requests, {_size(found.read_bytes)} as stored",
        f"writes     {found.objects:,} objects, {_size(found.written_bytes)}",
        f"wall       about {_hours(found.hours)}, by {slowest.name}; next {next_one}",
        f"scheduler  {tasks}, {_size(found.scheduler_bytes)}",
        f"assumed    {taken}; costs of {measured['date']} on {measured['machine']}",
    ]
    if found.area.source:
        lines.append(f"source     {found.area.source}")
    if slowest.name != WORK:
        lines.append(f"warning    more workers make it no faster: {slowest.name} is in the way")
    elif found.groups < fleet.workers:
        lines.append(
            f"warning    {found.groups} block(s) for {fleet.workers} workers: the others "
            "have nothing to do in the cube"
        )
    return lines


def table_lines(rows: Sequence[tuple[str, Estimate]]) -> list[str]:
    """Return estimates as a Markdown table."""
    head = ("area", "basins", "groups", "workers", "commands", "requests", "read", "objects",
            "written", "worker hours", "wall", "bound by")  # fmt: skip
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, found in rows:
        area = found.area
        cells = (
            name, f"{area.basins:,}", f"{found.groups:,}", f"{found.fleet.workers:,}",
            f"{found.fleet.commands:,}", f"{found.reads / 1e6:,.2f} M", _size(found.read_bytes),
            f"{found.objects:,}", _size(found.written_bytes),
            f"{sum(found.worker_hours.values()):,.0f}", _hours(found.hours), found.limits[0].name,
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _size(count: float) -> str:
    for unit, size in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count / 1e6:,.0f} MB"


def _hours(hours: float) -> str:
    if hours >= 48:
        return f"{hours / 24:,.1f} days"
    return f"{hours:,.1f} h" if hours >= 1 else f"{max(1, round(60 * hours))} min"
