"""Which chips are worth drawing on."""

from __future__ import annotations

from typing import Any, Final, Literal

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from rockglacier.cube.store import open_arrays
from rockglacier.errors import InputError
from rockglacier.grid import Window, projected
from rockglacier.labels.split import chip_lattice
from rockglacier.storage import open_array
from rockglacier.study import Study

Choice = Literal["stratified", "uncertain"]

LEAST_VALID: Final = 0.9
"""Share of a chip that has to have imagery."""

LEAST_INSIDE: Final = 0.5
"""Share of a chip that has to lie in the area, and that may at most have been drawn on before."""

PARTS: Final = 3
"""Elevation and slope are cut into so many equal parts each."""

PERCENT_NODATA: Final = 255


def choose_chips(
    study: Study,
    *,
    n: int,
    chip: int,
    choice: Choice = "stratified",
    seed: int = 0,
    before: BaseGeometry | None = None,
) -> list[Window]:
    """Choose chips of the grid, side by side and without overlap.

    Parameters
    ----------
    study
        With a cube, and, to choose by uncertainty, with a prediction.
    n
        How many; fewer come back where there are fewer.
    chip
        Edge of a chip, pixels.
    choice
        ``stratified``: equally many from each ninth of the ground by mean elevation and mean slope,
        drawn with the seed. ``uncertain``: those whose predicted probability is nearest to one half
        on average.
    seed
        Of the draw.
    before
        EPSG:4326; chips that lie mostly in it are not chosen again.

    Returns
    -------
    list of Window
        In the order of the choice: the first ones are a choice too.

    Raises
    ------
    InputError
        No chip lies in the area and has imagery.
    NotFoundError
        There is no cube, or no prediction.
    """
    windows = _candidates(study, chip, before)
    if choice == "uncertain":
        path = study.require(study.prediction_path / "prediction.zarr", stage="predict")
        percent = open_array(path / "probability")
        doubts = [_doubt(np.asarray(percent[window.slices])) for window in windows]
        order = sorted(range(len(windows)), key=lambda index: (-doubts[index], index))
    else:
        group: Any = open_arrays(study.cube_path)
        means = [
            [_mean(np.asarray(group[name][window.slices])) for name in ("elevation", "slope")]
            for window in windows
        ]
        order = stratified_order(np.asarray(means), seed=seed)
    return [windows[index] for index in order[:n]]


def stratified_order(values: NDArray[np.float64], *, seed: int) -> list[int]:
    """Return an order in which every stratum takes its turn.

    Parameters
    ----------
    values
        (n, 2): both columns are cut into three parts of equal size; a stratum is a part of the
        first and a part of the second.
    seed
        Of the order within the strata.

    Returns
    -------
    list of int
        Every row once; any beginning of the list holds equally many of each stratum, as far as it
        has them.
    """
    parts = [
        (pd.Series(column).rank(method="first").to_numpy() - 1) * PARTS // len(column)
        for column in values.T
    ]
    draw = np.random.default_rng(seed).permutation(len(values))
    turns: dict[tuple[float, ...], int] = {}
    keyed = []
    for place, index in enumerate(draw.tolist()):
        stratum = tuple(float(part[index]) for part in parts)
        turns[stratum] = turns.get(stratum, -1) + 1
        keyed.append((turns[stratum], place, index))
    return [index for _, _, index in sorted(keyed)]


def _candidates(study: Study, chip: int, before: BaseGeometry | None) -> list[Window]:
    group: Any = open_arrays(study.require(study.cube_path, stage="cube"))
    area = projected(study.area, epsg=study.grid.epsg)
    drawn = None if before is None else projected(before, epsg=study.grid.epsg)
    shapely.prepare(area)
    time = study.period.index
    found = [
        window
        for window in chip_lattice(study.grid.shape, chip=chip, stride=chip)
        if _share(study, window, area) >= LEAST_INSIDE
        and (drawn is None or _share(study, window, drawn) < LEAST_INSIDE)
        and (np.asarray(group["reflectance"][(time, 0, *window.slices)]) > 0).mean() >= LEAST_VALID
    ]
    if not found:
        raise InputError(
            f"no chip of {chip} px lies in the area of {study.config.name!r}, has imagery"
            + (" and was not drawn on before" if drawn is not None else ""),
            expected=f"a grid of more than {chip} px; it has {study.grid.shape[0]} rows and "
            f"{study.grid.shape[1]} columns",
            todo="set a smaller train.chip, or enlarge the area",
        )
    return found


def _share(study: Study, window: Window, ground: BaseGeometry) -> float:
    box = shapely.box(*study.grid.window_geobox(window).boundingbox.bbox)
    return float(box.intersection(ground).area / box.area)


def _mean(values: NDArray[np.float32]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean(dtype=np.float64)) if known.size else 0.0


def _doubt(percent: NDArray[np.uint8]) -> float:
    """Return the mean variance of the predicted class, 0 (sure) to 1 (one half everywhere)."""
    probability = percent[percent != PERCENT_NODATA].astype(np.float64) / 100
    return float((4 * probability * (1 - probability)).mean()) if probability.size else 0.0
