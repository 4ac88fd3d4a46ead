"""The other folds of a study: each with a split, features and models of its own."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd

from rockglacier.branch import Branch, branch_of
from rockglacier.errors import ContractError, InputError
from rockglacier.scenes.record import read_table, write_table
from rockglacier.study import Study


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
    path = study.require(_table_path(study), stage="label")
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


def _fold(study: Study, number: int) -> Branch:
    labels = study.config.labels.model_copy(update={"fold": number})
    config = study.config.model_copy(update={"labels": labels})
    own = study.folder / "folds" / f"fold-{number}"
    return branch_of(study, own, config=config, has_split=True)


def has_folds(study: Study) -> bool:
    """Return whether a study, which is no fold of another, was labelled with every fold."""
    return study.config.labels.every_fold and _table_path(study).is_file()


def write_split(fold: Study, study: Study) -> None:
    """Write the split of one fold where its stages look for it."""
    table = read_table(_table_path(study))
    own = table[table["fold"] == fold.config.labels.fold].drop(columns="fold")
    write_table(own.reset_index(drop=True), fold.splits_path)


def tested_cells(study: Study) -> gpd.GeoDataFrame:
    """Return the cells that one fold or another tests, as :func:`make_splits` has them."""
    table = read_table(study.require(_table_path(study), stage="label"))
    cells = table[table["split"] == "test"].drop(columns="fold")
    return gpd.GeoDataFrame(cells.reset_index(drop=True))


def _table_path(study: Study) -> Path:
    return study.folder / "folds.parquet"
