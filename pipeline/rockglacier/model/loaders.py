"""The ground of one or more studies becomes batches of chips to train and to choose on."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import torch
from torch.utils.data import DataLoader

from rockglacier.chips.augment import Augment
from rockglacier.chips.basins import MultiBasinDataset, MultiBasinSampler
from rockglacier.chips.batches import InBatches, whole
from rockglacier.chips.dataset import CubeDataset
from rockglacier.chips.footprints import chip_footprints
from rockglacier.chips.ground import largest_rectangles
from rockglacier.chips.ranks import ALONE, Rank, SharedSampler
from rockglacier.chips.sampler import PositiveSampler
from rockglacier.chips.tiles import GroundChips, PooledChips
from rockglacier.config import Config, TrainConfig
from rockglacier.errors import InputError, NotFoundError
from rockglacier.grid import Window
from rockglacier.labels.burn import TAUGHT
from rockglacier.labels.split import chip_lattice, labelled_chips, random_split, windows_of
from rockglacier.model.trial import Batches, Chips
from rockglacier.storage import is_local, open_array, read_json, readable, scratch
from rockglacier.study import Study

CACHE_BYTES = 4_000_000_000
"""Features and labels of all basins together are decoded into memory up to this size."""
WORKER_TIMEOUT_S = 900
"""A worker that gives no batch for so long is taken for dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitGround:
    """Where one basin's features and labels lie, and which of its ground is used for what."""

    name: str
    features: Path
    labels: Path
    train: tuple[Window, ...]
    """Rectangles in which chips are drawn; they may overlap."""
    validation: tuple[Window, ...]
    """Rectangles that are scored after every epoch."""
    fusion: dict[str, Any]
    """Channels, bands, mean and std of the features."""
    cube: Path | None = None
    """Where elevation is, if there is a cube."""
    content: str = ""
    """Hash of the pixels of features and labels; names the local copy of them."""

    @property
    def stored_bytes(self) -> int:
        """Bytes of the decoded features and labels."""
        dataset = CubeDataset(self.features)
        return math.prod(dataset.shape) * (2 * len(dataset.channels) + 1)


def grounds_of(
    basins: Sequence[Study],
    config: Config,
    *,
    is_random: bool = False,
    content: Sequence[dict[str, str]] | None = None,
) -> list[SplitGround]:
    """Return the training and validation ground of every basin.

    Parameters
    ----------
    basins
        Labelled and fused.
    config
        Settings that hold for all of them.
    is_random
        Take the random 9:1 split of overlapping chips that hold a landform, which leaks, instead
        of the basin's own.
    content
        Hashes of the ``features`` and ``labels`` of every basin; without them there is no local
        copy.

    Raises
    ------
    NotFoundError
        A product of an earlier stage is missing.
    """
    fusion = _fusion_of(basins)
    hashes = [f"{known['features']}-{known['labels']}" for known in content or ()]
    return [
        _ground(study, config, fusion, is_random=is_random, content=known)
        for study, known in zip(basins, hashes or [""] * len(basins), strict=True)
    ]


def _ground(
    study: Study, config: Config, fusion: dict[str, Any], *, is_random: bool, content: str
) -> SplitGround:
    features = study.require(study.features_path, stage="fuse")
    labels = study.require(study.labels_path, stage="label")
    if is_random:
        every = chip_lattice(CubeDataset(features).shape, chip=config.train.chip)
        drawn = labelled_chips(open_array(labels / "labels"), every)
        # a basin of several may hold none
        train, validation = random_split(drawn, config.labels.seed) if drawn else ([], [])
    else:
        splits = gpd.read_parquet(readable(study.require(study.splits_path, stage="label")))
        train = largest_rectangles(windows_of(splits, "train"))
        validation = windows_of(splits, "validation")
    return SplitGround(
        name=study.config.name,
        features=features,
        labels=labels,
        train=tuple(train),
        validation=tuple(validation),
        fusion=fusion,
        cube=study.cube_path if study.cube_path.exists() else None,
        content=content,
    )


def _fusion_of(basins: Sequence[Study]) -> dict[str, Any]:
    """Return the fusion that all basins share, from the first that holds it."""
    for study in basins:
        if study.fusion_path.is_file():
            found: dict[str, Any] = read_json(study.fusion_path)
            return found
    raise NotFoundError(
        "none of the basins to train on holds a fusion.json",
        expected="the product of the stage `fuse`",
        todo="rockglacier fuse STUDY.yaml, for the first basin",
    )


def chips_of(
    grounds: Sequence[SplitGround], config: TrainConfig, *, seed: int, rank: Rank = ALONE
) -> Chips:
    """Return the batches of one trial.

    Parameters
    ----------
    grounds
        One a basin. Basins with training ground give equally many chips to an epoch; validation
        ground is pooled.
    config
        Size and number of chips, batch, share on landforms.
    seed
        Of chips and augmentation.
    rank
        Which part of every training batch is wanted; validation is always whole.

    Raises
    ------
    InputError
        There is no ground, or no landform, to train or to choose on.

    Notes
    -----
    Epochs consist of whole batches, at least ``chips_per_epoch`` chips: a last batch of one chip
    would have no batch statistics. Batches are filled with stored integers, in this process or in
    ``workers`` that are spawned, and become features where they are trained on. The chips of an
    epoch depend on the seed and its number alone.
    """
    datasets = _datasets(grounds, config)
    basins = MultiBasinDataset([_as_taught(dataset) for dataset in datasets])
    steps = math.ceil(config.chips_per_epoch / config.batch)
    sampler = _sampler(grounds, datasets, config, length=steps * config.batch, seed=seed)
    pooled = _validation(grounds, datasets, config)
    fusion = grounds[0].fusion
    augment = Augment(
        fusion["channels"],
        mean=fusion["mean"],
        std=fusion["std"],
        bands=fusion["bands"],
        seed=seed,
    )
    train = _loader(
        basins, config, sampler=SharedSampler(sampler, rank), batch=config.batch // rank.count
    )
    return Chips(
        train=train,
        train_batches=len(train),
        validation=_loader(pooled, config, workers=0),
        augment=augment,
        facts={"positives": _positives(sampler)},
        footprints=_footprints(grounds, datasets, sampler, pooled),
    )


def _datasets(grounds: Sequence[SplitGround], config: TrainConfig) -> list[CubeDataset]:
    total = sum(ground.stored_bytes for ground in grounds)
    # processes that each decode a basin of their own would multiply its memory
    is_small = total <= CACHE_BYTES and not config.workers and config.devices == 1
    wanted = config.cache
    if wanted == "auto":
        wanted = "memory" if is_small else "local"
    return [
        CubeDataset(ground.features, ground.labels, cache=_cache_of(ground, wanted))
        for ground in grounds
    ]


def _as_taught(dataset: CubeDataset) -> CubeDataset:
    """Return the chips as the loss sees them; validation and every score keep the labels."""
    path = dataset.labels_path
    is_told = path is not None and (path / TAUGHT / "zarr.json").is_file()
    return dataset.with_labels(TAUGHT) if is_told else dataset


def _cache_of(ground: SplitGround, wanted: str) -> bool | Path:
    if wanted != "local" or not ground.content:
        return wanted in ("memory", "local")
    near = ground.features if is_local(ground.features) else scratch() / ground.features.name
    copies = near.with_suffix(".local")
    folder = copies / ground.content
    if copies.is_dir():
        for other in copies.iterdir():
            if other != folder:
                shutil.rmtree(other, ignore_errors=True)  # of features that are no more
    return folder


def _loader(
    dataset: MultiBasinDataset | PooledChips,
    config: TrainConfig,
    *,
    sampler: Any = None,
    workers: int | None = None,
    batch: int | None = None,
) -> Batches:
    count = config.workers if workers is None else workers
    return DataLoader(
        InBatches(dataset),
        batch_size=batch or config.batch,
        sampler=sampler,
        collate_fn=whole,
        num_workers=count,
        # forked workers hang for ever once this process has used Zarr
        multiprocessing_context="spawn" if count else None,
        persistent_workers=count > 0,
        timeout=WORKER_TIMEOUT_S if count else 0,
        pin_memory=torch.cuda.is_available(),
    )


def _sampler(
    grounds: Sequence[SplitGround],
    datasets: Sequence[CubeDataset],
    config: TrainConfig,
    *,
    length: int,
    seed: int,
) -> MultiBasinSampler:
    """Return the stream of training chips: ``length`` in an epoch, in equal parts a basin.

    Raises
    ------
    InputError
        No basin has ground to train on.
    """
    number_of = [number for number, ground in enumerate(grounds) if ground.train]
    if not number_of:
        raise InputError(
            f"no ground to train on in {_names(grounds)}",
            expected="training cells in splits.parquet; for the random split, chips with landforms",
            todo="lower labels.test_share, labels.validation_share or labels.guard",
        )
    samplers = {}
    for turn, number in enumerate(number_of):
        samplers[number] = PositiveSampler(
            datasets[number],
            grounds[number].train,
            chip=config.chip,
            length=len(range(turn, length, len(number_of))),
            positive_share=config.positive_share,
            seed=_seed_of(seed, number),
            min_valid_share=config.min_valid_share,
            elevation=config.elevation,
            heights=_heights(grounds[number]) if config.elevation else None,
        )
    if not any(sampler.landform_pixels for sampler in samplers.values()):
        raise InputError(
            f"the training ground of {_names(grounds)} holds no rock glacier",
            expected="at least one that the reference outlines there",
            todo="choose another labels.seed or labels.split, or a more complete reference",
        )
    return MultiBasinSampler(samplers)


def _heights(ground: SplitGround) -> Any:
    if ground.cube is None:
        raise NotFoundError(
            f"train.elevation needs the elevation of basin {ground.name!r}, which has no cube",
            expected="cube.zarr with the array elevation",
            todo="rockglacier cube STUDY.yaml, or leave train.elevation out",
        )
    return open_array(ground.cube / "elevation")


def _validation(
    grounds: Sequence[SplitGround], datasets: Sequence[CubeDataset], config: TrainConfig
) -> PooledChips:
    chips = PooledChips(
        [
            GroundChips(dataset, ground.validation, chip=config.chip)
            for ground, dataset in zip(grounds, datasets, strict=True)
        ]
    )
    if not len(chips):
        raise InputError(
            f"no labelled ground to choose on in {_names(grounds)}",
            expected="validation cells in splits.parquet that are not ignored throughout",
            todo="set labels.validation_share above 0 in at least one basin",
        )
    return chips


def _positives(sampler: MultiBasinSampler) -> dict[str, Any]:
    """Return how much more often chips touch a landform than the ground would have it."""
    touching = natural = 0.0
    for part in sampler.samplers.values():
        share = part.natural_share()
        natural += share * len(part) / len(sampler)
        touching += (part.positives + share * (len(part) - part.positives)) / len(sampler)
    return {
        "share_of_ground": round(natural, 4),
        "share_of_chips": round(touching, 4),
        "oversampled_by": round(touching / natural, 3) if natural else None,
    }


def _footprints(
    grounds: Sequence[SplitGround],
    datasets: Sequence[CubeDataset],
    sampler: MultiBasinSampler,
    pooled: PooledChips,
) -> gpd.GeoDataFrame:
    """Return the training chips of the first epoch and all validation chips."""
    tables = []
    for number, (ground, dataset) in enumerate(zip(grounds, datasets, strict=True)):
        drawn = sampler.samplers.get(number)
        chosen = [part.chips[row][0] for part, row in pooled.chips if part.dataset is dataset]
        for split, windows in (("train", drawn.draw(0) if drawn else ()), ("validation", chosen)):
            tables.append(chip_footprints(dataset, windows, basin=ground.name, split=split))
    return gpd.GeoDataFrame(pd.concat([table for table in tables if len(table)], ignore_index=True))


def _seed_of(seed: int, basin: int) -> int:
    return seed * 1_000 + basin


def _names(grounds: Sequence[SplitGround]) -> str:
    return ", ".join(repr(ground.name) for ground in grounds)
