"""The other folds of a study: each with a split, features and models of its own."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import geopandas as gpd

from rockglacier.errors import ContractError, InputError
from rockglacier.scenes.record import read_table, write_table
from rockglacier.study import Study


@dataclass(frozen=True, kw_only=True)
class Fold(Study):
    """One fold of a study, for every stage from ``fuse`` to ``evaluate``.

    Split, features and models lie in ``folds/fold-N``; scenes, cube and labels are the study's.
    """

    whole: Study

    @cached_property
    def folder(self) -> Path:
        """Folder of what is the fold's own."""
        return self.whole.folder / "folds" / f"fold-{self.config.labels.fold}"

    @property
    def grid_path(self) -> Path:
        """The study's."""
        return self.whole.grid_path

    @property
    def scenes_path(self) -> Path:
        """The study's."""
        return self.whole.scenes_path

    @property
    def cube_path(self) -> Path:
        """The study's."""
        return self.whole.cube_path

    @property
    def cube_receipts_path(self) -> Path:
        """The study's."""
        return self.whole.cube_receipts_path

    @property
    def labels_path(self) -> Path:
        """The study's."""
        return self.whole.labels_path

    @property
    def label_table_path(self) -> Path:
        """The study's."""
        return self.whole.label_table_path


def folds_of(study: Study) -> list[Study]:
    """Return every fold of a study that is labelled, by number; the study is one of them.

    Raises
    ------
    InputError
        The study does not train every fold.
    NotFoundError
        It is not labelled.
    ContractError
        Its folds are of other settings.
    """
    labels = study.config.labels
    if not labels.every_fold:
        raise InputError(
            f"basin {study.config.name!r} trains one split, {labels.split}",
            expected="labels.split: folds (or sub-basins) and labels.every_fold: true",
            todo="set both, then rockglacier run STUDY.yaml",
        )
    path = study.require(study.folder / "folds.parquet", stage="label")
    table = read_table(path)
    numbers = sorted(int(number) for number in table["fold"].unique())
    if labels.fold not in numbers or (labels.split == "folds" and len(numbers) != labels.folds):
        raise ContractError(
            f"{len(numbers)} folds in {path.name!r}, and {labels.folds} in the settings",
            todo="rockglacier label STUDY.yaml",
        )
    return [study if number == labels.fold else _fold(study, number) for number in numbers]


def other_folds(study: Study) -> list[Study]:
    """Return the folds beside that of the study, none where it trains one split; see `folds_of`."""
    if not study.config.labels.every_fold:
        return []
    return [fold for fold in folds_of(study) if fold is not study]


def _fold(study: Study, number: int) -> Fold:
    labels = study.config.labels.model_copy(update={"fold": number})
    config = study.config.model_copy(update={"labels": labels})
    own = {field.name: getattr(study, field.name) for field in fields(Study)}
    return Fold(**{**own, "config": config}, whole=study)


def write_split(fold: Study, study: Study) -> None:
    """Write the split of one fold where its stages look for it."""
    table = read_table(study.folder / "folds.parquet")
    own = table[table["fold"] == fold.config.labels.fold].drop(columns="fold")
    write_table(own.reset_index(drop=True), fold.splits_path)


def tested_cells(study: Study) -> gpd.GeoDataFrame:
    """Return the cells that one fold or another tests, as :func:`make_splits` has them."""
    table = read_table(study.require(study.folder / "folds.parquet", stage="label"))
    cells = table[table["split"] == "test"].drop(columns="fold")
    return gpd.GeoDataFrame(cells.reset_index(drop=True))
