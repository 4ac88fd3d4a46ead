"""Kernels over one strip of a row: every look and band of it, without a branch a pixel.

What a pixel may use is a bit mask a look, all ones or all zeros, so that every loop is a plain one
along x, which the compiler turns into vector instructions. All of them release the GIL and write
only what they are given.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rockglacier.cube.flat import STRIP

MEDIAN, MEAN, FIRST = 0, 1, 2
"""What becomes of the looks of a pixel."""


@njit(nogil=True, cache=True)
def compose(
    dn: NDArray[np.uint16],
    dn_steps: tuple[int, int, int, int],
    scl: NDArray[np.uint8],
    scl_steps: tuple[int, int, int],
    blocked: NDArray[np.bool_],
    blocked_steps: tuple[int, int, int],
    add: NDArray[np.int32],
    table: NDArray[np.uint8],
    method: int,
    out: NDArray[np.uint16],
    out_steps: tuple[int, int, int],
    n_clear: NDArray[np.uint8],
    n_snow: NDArray[np.uint8],
    n_shadow: NDArray[np.uint8],
    count_steps: tuple[tuple[int, int], tuple[int, int], tuple[int, int]],
    shape: tuple[int, int, int, int],
) -> None:
    """Fill ``out`` and the counts; arrays are flat, with the steps of their dimensions.

    ``shape`` is (look, band, y, x); an empty ``blocked`` blocks nothing.
    """
    looks, bands, height, width = shape
    tiers = np.empty((looks, STRIP), np.uint8)
    best = np.empty(STRIP, np.uint8)
    used = np.empty(STRIP, np.uint16)
    odd = np.empty(STRIP, np.uint16)
    keep = np.empty((looks, STRIP), np.uint16)
    fill = np.zeros((looks, STRIP), np.uint16)
    values = np.empty((looks, STRIP), np.uint16)
    total = np.empty(STRIP, np.uint32)
    active = np.empty(looks, np.int64)
    clear_steps, snow_steps, shadow_steps = count_steps
    for y in range(height):
        for x in range(0, width, STRIP):
            n = min(STRIP, width - x)
            best[:n], used[:n], odd[:n] = 3, 0, 0
            for t in range(looks):
                tier = tiers[t, :n]
                at = t * scl_steps[0] + y * scl_steps[1] + x
                _look_up(scl[at : at + n], table, tier)
                if blocked.size:
                    at = t * blocked_steps[0] + y * blocked_steps[1] + x
                    _drop_blocked(blocked[at : at + n], tier)
                for b in range(bands):
                    at = t * dn_steps[0] + b * dn_steps[1] + y * dn_steps[2] + x
                    _drop_nodata(dn[at : at + n], tier)
                _improve(tier, best[:n])
            count = 0
            for t in range(looks):
                if method == FIRST:
                    taken = _use_first(tiers[t, :n], best[:n], keep[count, :n], used[:n])
                else:
                    taken = _use(tiers[t, :n], best[:n], keep[count, :n], used[:n])
                if taken:
                    if method == MEDIAN:
                        _balance(keep[count, :n], fill[count, :n], odd[:n])
                    active[count] = t
                    count += 1
            at = y * clear_steps[0] + x
            _count(best[:n], used[:n], 0, 1, n_clear[at : at + n])
            at = y * snow_steps[0] + x
            _count(best[:n], used[:n], 1, 1, n_snow[at : at + n])
            at = y * shadow_steps[0] + x
            _count(best[:n], used[:n], 2, 2, n_shadow[at : at + n])
            for b in range(bands):
                for k in range(count):
                    at = active[k] * dn_steps[0] + b * dn_steps[1] + y * dn_steps[2] + x
                    raw = dn[at : at + n]
                    _harmonise(raw, add[active[k]], keep[k, :n], fill[k, :n], values[k, :n])
                at = b * out_steps[0] + y * out_steps[1] + x
                if method == MEDIAN:
                    _median(values, count, used[:n], out[at : at + n])
                elif method == MEAN:
                    _mean(values, count, used[:n], total[:n], out[at : at + n])
                else:
                    _join(values, count, out[at : at + n])


@njit(nogil=True, cache=True)
def _look_up(scl: NDArray[np.uint8], table: NDArray[np.uint8], tier: NDArray[np.uint8]) -> None:
    for x in range(tier.size):
        tier[x] = table[scl[x]]


@njit(nogil=True, cache=True)
def _drop_blocked(blocked: NDArray[np.bool_], tier: NDArray[np.uint8]) -> None:
    for x in range(tier.size):
        if blocked[x]:
            tier[x] = 3


@njit(nogil=True, cache=True)
def _drop_nodata(dn: NDArray[np.uint16], tier: NDArray[np.uint8]) -> None:
    for x in range(tier.size):
        if dn[x] == 0:
            tier[x] = 3


@njit(nogil=True, cache=True)
def _improve(tier: NDArray[np.uint8], best: NDArray[np.uint8]) -> None:
    for x in range(tier.size):
        best[x] = min(best[x], tier[x])


@njit(nogil=True, cache=True)
def _use(
    tier: NDArray[np.uint8],
    best: NDArray[np.uint8],
    keep: NDArray[np.uint16],
    used: NDArray[np.uint16],
) -> bool:
    """Keep a look where it is of the best tier; say whether it is so anywhere."""
    some = np.uint16(0)
    for x in range(tier.size):
        one = np.uint16(1) if (tier[x] == best[x]) & (tier[x] != 3) else np.uint16(0)
        keep[x] = np.uint16(0) - one
        used[x] += one
        some |= one
    return bool(some > 0)


@njit(nogil=True, cache=True)
def _use_first(
    tier: NDArray[np.uint8],
    best: NDArray[np.uint8],
    keep: NDArray[np.uint16],
    used: NDArray[np.uint16],
) -> bool:
    """Keep a look where it is the first of the best tier; say whether it is so anywhere."""
    some = np.uint16(0)
    for x in range(tier.size):
        is_first = (tier[x] == best[x]) & (tier[x] != 3) & (used[x] == 0)
        one = np.uint16(1) if is_first else np.uint16(0)
        keep[x] = np.uint16(0) - one
        used[x] += one
        some |= one
    return bool(some > 0)


@njit(nogil=True, cache=True)
def _balance(keep: NDArray[np.uint16], fill: NDArray[np.uint16], odd: NDArray[np.uint16]) -> None:
    """Fill looks that are not kept with the lowest and the highest number by turns.

    As many sort below the kept ones as above (one more below if they are odd in number), so that
    the median lies in the middle whatever is kept.
    """
    for x in range(keep.size):
        gap = ~keep[x]
        fill[x] = gap & odd[x]
        odd[x] ^= gap


@njit(nogil=True, cache=True)
def _count(
    best: NDArray[np.uint8],
    used: NDArray[np.uint16],
    low: int,
    high: int,
    out: NDArray[np.uint8],
) -> None:
    """Write how many looks are used where the best tier is ``low`` to ``high``; else 0."""
    first, last = np.uint8(low), np.uint8(high)
    for x in range(best.size):
        number = np.uint8(min(used[x], np.uint16(255)))
        out[x] = number if (best[x] >= first) & (best[x] <= last) else np.uint8(0)


@njit(nogil=True, cache=True)
def _harmonise(
    dn: NDArray[np.uint16],
    add: int,
    keep: NDArray[np.uint16],
    fill: NDArray[np.uint16],
    out: NDArray[np.uint16],
) -> None:
    """Add the offset within 1 to 65535 where a look is kept; elsewhere put ``fill``."""
    if add >= 0:
        step = np.uint16(min(add, 65535))
        top = np.uint16(65535 - step)
        for x in range(out.size):
            value = np.uint16(65535) if dn[x] > top else np.uint16(dn[x] + step)
            out[x] = (value & keep[x]) | fill[x]
    else:
        step = np.uint16(min(-add, 65535))
        for x in range(out.size):
            value = np.uint16(dn[x] - step) if dn[x] > step else np.uint16(1)
            out[x] = (value & keep[x]) | fill[x]


@njit(nogil=True, cache=True)
def _median(
    values: NDArray[np.uint16], count: int, used: NDArray[np.uint16], out: NDArray[np.uint16]
) -> None:
    """Write the median of what is kept; of an even number the mean of the middle two."""
    if count == 0:
        out[:] = 0
        return
    _sort(values, count, out.size)
    upper = values[count // 2]
    other = values[min(count // 2 + 1, count - 1)] if count % 2 else values[count // 2 - 1]
    for x in range(out.size):
        one = np.uint32(upper[x])
        two = one if used[x] & np.uint16(1) else np.uint32(other[x])
        middle = np.uint16((one + two + np.uint32(1)) >> np.uint32(1))
        out[x] = middle if used[x] > 0 else np.uint16(0)


@njit(nogil=True, cache=True)
def _sort(values: NDArray[np.uint16], count: int, n: int) -> None:
    """Sort the first ``count`` rows, each column by itself, by Batcher's merge exchange.

    References
    ----------
    Knuth, The Art of Computer Programming 3, 5.2.2, algorithm M: the same exchanges whatever the
    values are.
    """
    top = 1
    while top < count:
        top *= 2
    p = top // 2
    while p > 0:
        q, r, d = top // 2, 0, p
        while d > 0:
            for i in range(count - d):
                if i & p == r:
                    _exchange(values[i, :n], values[i + d, :n])
            d, q, r = q - p, q // 2, p
        p //= 2


@njit(nogil=True, cache=True)
def _exchange(low: NDArray[np.uint16], high: NDArray[np.uint16]) -> None:
    for x in range(low.size):
        one, two = low[x], high[x]
        low[x], high[x] = min(one, two), max(one, two)


@njit(nogil=True, cache=True)
def _mean(
    values: NDArray[np.uint16],
    count: int,
    used: NDArray[np.uint16],
    total: NDArray[np.uint32],
    out: NDArray[np.uint16],
) -> None:
    """Write the mean of what is kept, rounded half up: exact, as a double holds every sum."""
    total[:] = 0
    for k in range(count):
        for x in range(out.size):
            total[x] += values[k, x]
    for x in range(out.size):
        number = max(np.float64(used[x]), 1.0)
        out[x] = np.uint16(np.float64(total[x]) / number + 0.5)


@njit(nogil=True, cache=True)
def _join(values: NDArray[np.uint16], count: int, out: NDArray[np.uint16]) -> None:
    """Write the one look that is kept."""
    out[:] = 0
    for k in range(count):
        for x in range(out.size):
            out[x] |= values[k, x]
