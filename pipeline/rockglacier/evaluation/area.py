"""How much ground rock glaciers really cover, given what a map gets wrong on test ground."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rockglacier.errors import ContractError
from rockglacier.evaluation.paired import DRAWS, ENOUGH_BLOCKS, LEVEL, weights_of

Z: Final = 1.959964
"""Of a two-sided interval of 95 %."""


def adjusted_shares(
    matrix: NDArray[Any], mapped: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the share of each class, corrected for the map's errors, and its standard error.

    Parameters
    ----------
    matrix
        Sample counts (classes, classes): truth in rows, map in columns.
    mapped
        Area that the map gives each class, any unit.

    Returns
    -------
    shares, errors
        Of the whole area, a number a class; NaN where a class of the map has no sample.

    References
    ----------
    Olofsson et al. 2014, Good practices for estimating area and assessing accuracy of land change,
    Remote Sens. Environ. 148, 42-57, equations 9 and 10: stratified by the classes of the map.
    """
    counts = np.asarray(matrix, dtype=np.float64).T  # the paper's rows are the map
    areas = np.asarray(mapped, dtype=np.float64)
    if counts.shape != (len(areas), len(areas)) or areas.sum() <= 0:
        raise ContractError(
            f"a confusion of shape {counts.shape} for {len(areas)} mapped areas of {areas.sum():g}",
            expected="a class for each area, and some area",
        )
    weight = areas / areas.sum()
    sampled = counts.sum(axis=1)
    is_there = weight > 0
    if (sampled[is_there] == 0).any():
        unknown = np.full(len(areas), np.nan)
        return unknown, unknown
    found, strata = counts[is_there] / sampled[is_there, None], weight[is_there, None]
    part = strata * found
    freedom = np.maximum(sampled[is_there, None] - 1, 1)
    return part.sum(axis=0), np.sqrt(((strata * part - part**2) / freedom).sum(axis=0))


def adjusted_area(
    blocks: NDArray[np.int64], mapped_km2: Sequence[float], *, seed: int = 0, draws: int = DRAWS
) -> dict[str, Any]:
    """Return the error-adjusted area of rock glaciers with its interval.

    Parameters
    ----------
    blocks
        Confusions of the blocks of test ground, (block, 2, 2), truth in rows.
    mapped_km2
        What the map gives background and rock glaciers on the whole ground that is asked about.
    seed, draws
        Of the bootstrap.

    Returns
    -------
    dict
        ``mapped_km2``, ``adjusted_km2``, ``low_km2``, ``high_km2`` (95 %, blocks drawn anew),
        ``pixel_low_km2``, ``pixel_high_km2`` (as if pixels were independent: too narrow),
        ``blocks`` and ``few_blocks``; None where the test ground lacks a class of the map.

    Notes
    -----
    The formula is that of Olofsson et al. for a sample stratified by the map's classes. Their
    standard error takes sample units for independent, which pixels of a block are not: the interval
    to use is that of the blocks. The estimate holds for the whole area as far as the map errs there
    as it does on the test ground; on training ground it errs less.
    """
    total = float(sum(mapped_km2))
    shares, errors = adjusted_shares(blocks.sum(axis=0), mapped_km2)
    drawn = np.tensordot(weights_of(len(blocks), seed=seed, draws=draws), blocks, axes=1)
    areas = total * np.array([adjusted_shares(counts, mapped_km2)[0][1] for counts in drawn])
    known = areas[np.isfinite(areas)]
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(known, [tail, 100 - tail]) if known.size else (np.nan, np.nan)
    reach = Z * errors[1]
    values = {
        "mapped_km2": float(mapped_km2[1]),
        "adjusted_km2": total * shares[1],
        "low_km2": low,
        "high_km2": high,
        "pixel_low_km2": total * max(shares[1] - reach, 0),
        "pixel_high_km2": total * (shares[1] + reach),
    }
    return {
        **{name: round(float(v), 6) if np.isfinite(v) else None for name, v in values.items()},
        "blocks": len(blocks),
        "few_blocks": len(blocks) < ENOUGH_BLOCKS,
    }
