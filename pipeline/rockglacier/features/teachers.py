"""Other basins whose ground trains too: their features, made with the numbers of the study."""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import shapely

from rockglacier.branch import branch_of
from rockglacier.engine import Progress, silent
from rockglacier.errors import InputError
from rockglacier.features.fusion import Fusion, fuse
from rockglacier.labels.every_fold import has_folds, tested_cells
from rockglacier.storage import read_json, readable
from rockglacier.study import Study, open_study

HARMLESS_M2 = 1.0
"""Ground that splits of two grids may share by rounding."""


def teachers_of(study: Study) -> list[Study]:
    """Return the basins that ``train.basins`` names, as they teach the study.

    The features of each lie in ``teachers/NAME`` of the study; cube, labels and split are its own.

    Raises
    ------
    InputError
        One is the study itself, is named twice, has other pixels, or would train on ground that
        the study tests.
    NotFoundError
        One is not labelled yet.
    """
    found: list[Study] = []
    taken = {study.config.name}
    for uri in study.config.train.basins:
        other = open_study(study.resolve(uri))
        name = other.config.name
        if name in taken:
            raise InputError(
                f"train.basins names basin {name!r}, which trains already",
                expected="other basins, each once",
                todo="take it out of train.basins",
            )
        taken.add(name)
        for path, stage in ((other.cube_path, "cube"), (other.splits_path, "label")):
            other.require(path, stage=stage)
        if other.grid.resolution != study.grid.resolution:
            raise InputError(
                f"basin {name!r} of train.basins has pixels of {other.grid.resolution:g} m",
                expected=f"{study.grid.resolution:g} m, as {study.config.name!r} has",
                todo="build its cube with that cube.resolution",
            )
        _require_apart(study, other)
        features = other.config.features.model_copy(update={"set": study.config.features.set})
        config = other.config.model_copy(update={"features": features})
        found.append(branch_of(other, study.folder / "teachers" / name, config=config))
    return found


def fuse_teachers(
    study: Study, *, progress: Progress = silent, client: Any | None = None
) -> list[Study]:
    """Make the features of every teacher with the numbers of the study; finished blocks are kept.

    Returns
    -------
    list of Study
        The teachers.
    """
    teachers = teachers_of(study)
    if teachers:
        fusion = Fusion.from_dict(read_json(study.require(study.fusion_path, stage="fuse")))
        for teacher in teachers:
            fuse(teacher, fusion=fusion, progress=progress, client=client)
    return teachers


def _require_apart(study: Study, other: Study) -> None:
    """Refuse a basin that trains or chooses on ground that the study, or a fold of it, tests."""
    if not study.splits_path.is_file():
        return
    cells = tested_cells(study) if has_folds(study) else _cells(study, ["test"])
    tested, used = (
        shapely.union_all(one.to_crs(study.grid.epsg).geometry.to_numpy())
        for one in (cells, _cells(other, ["train", "validation"]))
    )
    shared = shapely.intersection(tested, used).area
    if shared > HARMLESS_M2:
        raise InputError(
            f"basin {other.config.name!r} of train.basins trains or chooses on "
            f"{shared / 1e6:.2f} km² that {study.config.name!r} tests",
            expected="ground of its own: scores would be of ground that was learnt",
            todo="take it out of train.basins, or cut its area to ground beside this basin",
        )


def _cells(study: Study, splits: list[str]) -> gpd.GeoDataFrame:
    table = gpd.read_parquet(readable(study.splits_path))
    return table[table["split"].isin(splits)]
