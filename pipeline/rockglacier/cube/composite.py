"""One value a pixel and band out of many looks, over raw uint16, without a masked or float stack.

A *look* is one acquisition on the grid. The scene classification (SCL) puts each pixel of a look
into a tier; only the best tier that a pixel has takes part:

1. clear and free of snow (vegetation, bare ground, water, unclassified);
2. covered by snow or ice, counted in ``n_snow``;
3. dark or in topographic shadow, counted in ``n_shadow``, so that steep north slopes are no holes.

Nodata, saturation, cloud, cirrus and the shadow of a cloud never take part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rockglacier.errors import ContractError
from rockglacier.scenes import cloud

CLEAR, SNOW, SHADOW, NEVER = 0, 1, 2, 3
"""Tiers, the best first."""

UNCLASSIFIED = 7

TIER_OF_SCL: dict[int, int] = {
    cloud.VEGETATION: CLEAR,
    cloud.BARE: CLEAR,
    cloud.WATER: CLEAR,
    UNCLASSIFIED: CLEAR,
    cloud.SNOW: SNOW,
    cloud.TOPOGRAPHIC_SHADOW: SHADOW,
}
"""Tier of each SCL class; every class that is not named is ``NEVER``."""


def tier_table() -> NDArray[np.uint8]:
    """Return the tier of every possible SCL byte, shape (256,)."""
    table = np.full(256, NEVER, np.uint8)
    for scl, tier in TIER_OF_SCL.items():
        table[scl] = tier
    return table


@dataclass(frozen=True, slots=True, kw_only=True)
class Composite:
    """What the looks of a window became."""

    reflectance: NDArray[np.uint16]
    """(band, y, x) digital numbers of baseline 04.00; 0 = no look."""
    n_clear: NDArray[np.uint8]
    """(y, x) looks used that are not in shadow, snow included; 255 means 255 or more."""
    n_snow: NDArray[np.uint8]
    """(y, x) of these, looks covered by snow: either all or none."""
    n_shadow: NDArray[np.uint8]
    """(y, x) looks in shadow, used because there was nothing else."""


def median_composite(
    dn: NDArray[np.uint16], scl: NDArray[np.uint8], add: NDArray[np.int32]
) -> Composite:
    """Return the median of the best looks of every pixel.

    A look takes part in a pixel only where all its bands hold data, so that the bands of a pixel
    come from the same looks. The median of an even count is the mean of the middle two, rounded
    half up. No global state: safe in many threads at once (the kernel releases the GIL).

    Parameters
    ----------
    dn
        (look, band, y, x) stored digital numbers, 0 = nodata.
    scl
        (look, y, x) scene classification.
    add
        (look,) what turns valid stored numbers into those of baseline 04.00.

    Raises
    ------
    ContractError
        Shapes that do not fit together.
    """
    result = _empty(dn, scl, add)
    _median(dn, scl, np.asarray(add, np.int32), tier_table(), *_arrays(result))
    return result


def first_composite(
    dn: NDArray[np.uint16], scl: NDArray[np.uint8], add: NDArray[np.int32]
) -> Composite:
    """Return the first look of the best tier of every pixel; parameters as `median_composite`.

    With looks ordered by the cloud over the basin this is the least-cloudy mosaic. The counts are
    those of the looks used: 0 or 1.
    """
    result = _empty(dn, scl, add)
    _first(dn, scl, np.asarray(add, np.int32), tier_table(), *_arrays(result))
    return result


def _empty(dn: NDArray[np.uint16], scl: NDArray[np.uint8], add: NDArray[np.int32]) -> Composite:
    if dn.ndim != 4 or scl.shape != (dn.shape[0], *dn.shape[2:]) or len(add) != dn.shape[0]:
        raise ContractError(
            f"looks of shape {dn.shape} with SCL {scl.shape} and {len(add)} offsets",
            expected="(look, band, y, x), (look, y, x) and (look,)",
        )
    _, bands, height, width = dn.shape
    return Composite(
        reflectance=np.zeros((bands, height, width), np.uint16),
        n_clear=np.zeros((height, width), np.uint8),
        n_snow=np.zeros((height, width), np.uint8),
        n_shadow=np.zeros((height, width), np.uint8),
    )


def _arrays(result: Composite) -> tuple[NDArray[Any], ...]:
    return result.reflectance, result.n_clear, result.n_snow, result.n_shadow


@njit(nogil=True, cache=True)
def _row_tiers(
    dn: NDArray[np.uint16],
    scl: NDArray[np.uint8],
    table: NDArray[np.uint8],
    y: int,
    tiers: NDArray[np.uint8],
    best: NDArray[np.uint8],
) -> None:
    """Fill ``tiers`` (look, x) and ``best`` (x) of row ``y``."""
    looks, bands, _, width = dn.shape
    best[:] = 3
    for t in range(looks):
        for x in range(width):
            tiers[t, x] = table[scl[t, y, x]]
        for b in range(bands):
            for x in range(width):
                if dn[t, b, y, x] == 0:
                    tiers[t, x] = 3
        for x in range(width):
            if tiers[t, x] < best[x]:
                best[x] = tiers[t, x]


@njit(nogil=True, cache=True)
def _harmonised(
    value: int,
    add: int,
) -> Any:
    return min(max(np.int32(value) + add, np.int32(1)), np.int32(65535))


@njit(nogil=True, cache=True)
def _count(
    tier: int,
    used: int,
    y: int,
    x: int,
    n_clear: NDArray[np.uint8],
    n_snow: NDArray[np.uint8],
    n_shadow: NDArray[np.uint8],
) -> None:
    used = min(used, 255)
    if tier == 2:
        n_shadow[y, x] = used
    else:
        n_clear[y, x] = used
        if tier == 1:
            n_snow[y, x] = used


@njit(nogil=True, cache=True)
def _median(
    dn: NDArray[np.uint16],
    scl: NDArray[np.uint8],
    add: NDArray[np.int32],
    table: NDArray[np.uint8],
    out: NDArray[np.uint16],
    n_clear: NDArray[np.uint8],
    n_snow: NDArray[np.uint8],
    n_shadow: NDArray[np.uint8],
) -> None:
    looks, bands, height, width = dn.shape
    tiers = np.empty((looks, width), np.uint8)
    best = np.empty(width, np.uint8)
    values = np.empty(looks + 1, np.int32)
    for y in range(height):
        _row_tiers(dn, scl, table, y, tiers, best)
        for b in range(bands):
            for x in range(width):
                if best[x] == 3:
                    continue
                used = 0
                for t in range(looks):
                    if tiers[t, x] != best[x]:
                        continue
                    value = _harmonised(dn[t, b, y, x], add[t])
                    place = used
                    while place > 0 and values[place - 1] > value:
                        values[place] = values[place - 1]
                        place -= 1
                    values[place] = value
                    used += 1
                middle = used >> 1
                if used & 1:
                    out[b, y, x] = values[middle]
                else:
                    out[b, y, x] = (values[middle - 1] + values[middle] + 1) >> 1
                if b == 0:
                    _count(best[x], used, y, x, n_clear, n_snow, n_shadow)


@njit(nogil=True, cache=True)
def _first(
    dn: NDArray[np.uint16],
    scl: NDArray[np.uint8],
    add: NDArray[np.int32],
    table: NDArray[np.uint8],
    out: NDArray[np.uint16],
    n_clear: NDArray[np.uint8],
    n_snow: NDArray[np.uint8],
    n_shadow: NDArray[np.uint8],
) -> None:
    looks, bands, height, width = dn.shape
    tiers = np.empty((looks, width), np.uint8)
    best = np.empty(width, np.uint8)
    for y in range(height):
        _row_tiers(dn, scl, table, y, tiers, best)
        for x in range(width):
            if best[x] == 3:
                continue
            for t in range(looks):
                if tiers[t, x] == best[x]:
                    for b in range(bands):
                        out[b, y, x] = _harmonised(dn[t, b, y, x], add[t])
                    break
            _count(best[x], 1, y, x, n_clear, n_snow, n_shadow)
