"""The ground of one or more studies becomes batches of chips to train and to choose on."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
from torch.utils.data import ConcatDataset, DataLoader
from torchgeo.datasets import stack_samples

from rockglacier.chips.augment import Augment
from rockglacier.chips.dataset import CubeDataset, Sample
from rockglacier.chips.ground import largest_rectangles
from rockglacier.chips.sampler import (
    GroundChips,
    MultiBasinDataset,
    MultiBasinSampler,
    PositiveSampler,
)
from rockglacier.config import Config, TrainConfig
from rockglacier.errors import InputError, NotFoundError
from rockglacier.grid import Window
from rockglacier.labels.split import chip_lattice, random_split, windows_of
from rockglacier.model.trial import Batches, Chips
from rockglacier.storage import read_json
from rockglacier.study import Study

logger = logging.getLogger(__name__)

CACHE_BYTES = 4_000_000_000
"""Features and labels of all basins together are decoded into memory up to this size."""


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

    @property
    def stored_bytes(self) -> int:
        """Bytes of the decoded features and labels."""
        dataset = CubeDataset(self.features)
        return math.prod(dataset.shape) * (2 * len(dataset.channels) + 1)


def grounds_of(
    basins: Sequence[Study], config: Config, *, is_random: bool = False
) -> list[SplitGround]:
    """Return the training and validation ground of every basin.

    Parameters
    ----------
    basins
        Labelled and fused.
    config
        Settings that hold for all of them.
    is_random
        Take the random 9:1 split of overlapping chips, which leaks, instead of the basin's own.

    Raises
    ------
    NotFoundError
        A product of an earlier stage is missing.
    """
    fusion = _fusion_of(basins)
    return [_ground(study, config, fusion, is_random=is_random) for study in basins]


def _ground(
    study: Study, config: Config, fusion: dict[str, Any], *, is_random: bool
) -> SplitGround:
    features = study.require(study.features_path, stage="fuse")
    labels = study.require(study.labels_path, stage="label")
    if is_random:
        every = chip_lattice(CubeDataset(features).shape, chip=config.train.chip)
        train, validation = random_split(every, config.labels.seed)
    else:
        splits = gpd.read_parquet(study.require(study.splits_path, stage="label"))
        train = largest_rectangles(windows_of(splits, "train"))
        validation = windows_of(splits, "validation")
    return SplitGround(
        name=study.config.name,
        features=features,
        labels=labels,
        train=tuple(train),
        validation=tuple(validation),
        fusion=fusion,
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


def chips_of(grounds: Sequence[SplitGround], config: TrainConfig, *, seed: int) -> Chips:
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

    Raises
    ------
    InputError
        There is no ground, or no landform, to train or to choose on.

    Notes
    -----
    Epochs consist of whole batches, at least ``chips_per_epoch`` chips: a last batch of one chip
    would have no batch statistics. Chips are cut in this process, from memory where the basins
    fit.
    """
    cache = sum(ground.stored_bytes for ground in grounds) <= CACHE_BYTES
    datasets = [CubeDataset(ground.features, ground.labels, cache=cache) for ground in grounds]
    basins = MultiBasinDataset(datasets)
    steps = math.ceil(config.chips_per_epoch / config.batch)
    sampler = _sampler(grounds, datasets, config, length=steps * config.batch, seed=seed)
    fusion = grounds[0].fusion
    augment = Augment(
        fusion["channels"],
        mean=fusion["mean"],
        std=fusion["std"],
        bands=fusion["bands"],
        seed=seed,
    )
    train: Batches = DataLoader(
        basins,
        batch_size=config.batch,
        sampler=sampler,
        collate_fn=_Collate(augment),
    )
    return Chips(
        train=train, train_batches=len(train), validation=_validation(grounds, datasets, config)
    )


def _sampler(
    grounds: Sequence[SplitGround],
    datasets: Sequence[CubeDataset],
    config: TrainConfig,
    *,
    length: int,
    seed: int,
) -> MultiBasinSampler:
    """Return the stream of training chips: ``length`` in an epoch, in equal parts a basin."""
    number_of = [number for number, ground in enumerate(grounds) if ground.train]
    if not number_of:
        raise InputError(
            f"no ground to train on in {_names(grounds)}",
            expected="training cells in splits.parquet",
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
        )
    if not any(sampler.landform_pixels for sampler in samplers.values()):
        raise InputError(
            f"the training ground of {_names(grounds)} holds no rock glacier",
            expected="at least one that the reference outlines there",
            todo="choose another labels.seed or labels.split, or a more complete reference",
        )
    return MultiBasinSampler(samplers)


def _validation(
    grounds: Sequence[SplitGround], datasets: Sequence[CubeDataset], config: TrainConfig
) -> Batches:
    parts = [
        GroundChips(dataset, ground.validation, chip=config.chip)
        for ground, dataset in zip(grounds, datasets, strict=True)
    ]
    chips: ConcatDataset[Sample] = ConcatDataset(parts)
    if not len(chips):
        raise InputError(
            f"no labelled ground to choose on in {_names(grounds)}",
            expected="validation cells in splits.parquet that are not ignored throughout",
            todo="set labels.validation_share above 0 in at least one basin",
        )
    return DataLoader(chips, batch_size=config.batch, collate_fn=stack_samples)


def _seed_of(seed: int, basin: int) -> int:
    return seed * 1_000 + basin


def _names(grounds: Sequence[SplitGround]) -> str:
    return ", ".join(repr(ground.name) for ground in grounds)


class _Collate:
    """Stacks samples into a batch and augments it."""

    def __init__(self, augment: Augment) -> None:
        self.augment = augment

    def __call__(self, samples: list[Sample]) -> Sample:
        return self.augment(stack_samples(samples))
