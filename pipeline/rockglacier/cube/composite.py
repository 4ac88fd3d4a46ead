"""One value a pixel and band out of many looks, over raw uint16, without a masked or float stack.

A *look* is one acquisition on the grid. The scene classification (SCL) puts each pixel of a look
into a tier; only the best tier that a pixel has takes part:

1. clear and free of snow (by default vegetation, bare ground, water, unclassified);
2. covered by snow or ice, counted in ``n_snow``;
3. dark or in topographic shadow, counted in ``n_shadow``, so that steep north slopes are no holes.

Nodata, saturation, cloud, cirrus and the shadow of a cloud never take part, nor does what the
caller blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rockglacier.cube import stack
from rockglacier.cube.flat import flat
from rockglacier.cube.tiers import tier_table
from rockglacier.errors import ContractError

Method = Literal["median", "mean", "first-clear", "least-cloudy"]

MAX_LOOKS = 65_535
"""Looks are counted in 16 bits."""

KERNELS: dict[str, int] = {
    "median": stack.MEDIAN,
    "mean": stack.MEAN,
    "first-clear": stack.FIRST,
    "least-cloudy": stack.FIRST,
}
"""``first-clear`` and ``least-cloudy`` differ only in the order in which looks are handed in: by
time, and by cloud."""


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

    @classmethod
    def empty(cls, bands: int, height: int, width: int) -> Composite:
        """Return arrays for `composite` to fill."""
        return cls(
            reflectance=np.empty((bands, height, width), np.uint16),
            n_clear=np.empty((height, width), np.uint8),
            n_snow=np.empty((height, width), np.uint8),
            n_shadow=np.empty((height, width), np.uint8),
        )

    def part(self, rows: slice, cols: slice = slice(None)) -> Composite:
        """Return views of some rows and columns, so that several threads fill one composite."""
        return Composite(
            reflectance=self.reflectance[:, rows, cols],
            n_clear=self.n_clear[rows, cols],
            n_snow=self.n_snow[rows, cols],
            n_shadow=self.n_shadow[rows, cols],
        )


def composite(
    dn: NDArray[np.uint16],
    scl: NDArray[np.uint8],
    add: NDArray[np.int32],
    *,
    method: Method,
    tiers: NDArray[np.uint8] | None = None,
    blocked: NDArray[np.bool_] | None = None,
    out: Composite | None = None,
) -> Composite:
    """Return one value a pixel and band out of the best looks of every pixel.

    A look takes part in a pixel only where all its bands hold data, so that the bands of a pixel
    come from the same looks. The median of an even count is the mean of the middle two; medians and
    means are rounded half up. No global state: many threads may fill parts of one ``out``, as the
    kernel releases the GIL. Arrays may be slices in all but their last dimension.

    Parameters
    ----------
    dn
        (look, band, y, x) stored digital numbers, 0 = nodata.
    scl
        (look, y, x) scene classification.
    add
        (look,) what turns valid stored numbers into those of baseline 04.00.
    method
        ``median`` or ``mean`` of the best looks, or the first of them in the order given: with
        looks in order of time that is ``first-clear``, in order of cloud ``least-cloudy``. The
        counts of these two are those of the looks used: 0 or 1.
    tiers
        (256,) tier of every class; default: `tier_table`.
    blocked
        (look, y, x) where a look is never used, whatever its class: near a cloud, for instance.
    out
        Where to write, every pixel of it; default: new arrays.

    Returns
    -------
    Composite
        ``out``, or the new arrays.

    Raises
    ------
    ContractError
        Shapes or types that do not fit together.
    """
    _require(dn, scl, add, blocked)
    looks, bands, height, width = dn.shape
    result = Composite.empty(bands, height, width) if out is None else out
    if result.reflectance.shape != dn.shape[1:] or result.n_clear.shape != dn.shape[2:]:
        raise ContractError(
            f"an output of shape {result.reflectance.shape} for looks of {dn.shape}",
            expected="the same bands, rows and columns",
        )
    flat_dn, dn_steps = flat(dn)
    flat_scl, scl_steps = flat(scl)
    masked = np.zeros((0, 0, 0), np.bool_) if blocked is None else blocked
    flat_blocked, blocked_steps = flat(masked)
    flat_out, out_steps = flat(result.reflectance, is_output=True)
    counts = [
        flat(layer, is_output=True) for layer in (result.n_clear, result.n_snow, result.n_shadow)
    ]
    kernel: Any = stack.compose
    kernel(
        flat_dn,
        dn_steps,
        flat_scl,
        scl_steps,
        flat_blocked,
        blocked_steps,
        np.ascontiguousarray(add, np.int32),
        tier_table() if tiers is None else np.ascontiguousarray(tiers, np.uint8),
        KERNELS[method],
        flat_out,
        out_steps,
        *(layer for layer, _ in counts),
        tuple(steps for _, steps in counts),
        (looks, bands, height, width),
    )
    return result


def _require(
    dn: NDArray[np.uint16],
    scl: NDArray[np.uint8],
    add: NDArray[np.int32],
    blocked: NDArray[np.bool_] | None,
) -> None:
    fits = dn.ndim == 4 and scl.shape == (dn.shape[0], *dn.shape[2:]) and len(add) == dn.shape[0]
    if not fits or (blocked is not None and blocked.shape != scl.shape):
        also = "" if blocked is None else f", blocked {blocked.shape}"
        raise ContractError(
            f"looks of shape {dn.shape} with SCL {scl.shape} and {len(add)} offsets{also}",
            expected="(look, band, y, x), (look, y, x) and (look,); blocked like SCL",
        )
    if len(add) > MAX_LOOKS:
        raise ContractError(f"{len(add)} looks", expected=f"at most {MAX_LOOKS}")
    for values, dtype in ((dn, np.uint16), (scl, np.uint8), (blocked, np.bool_)):
        if values is not None and values.dtype != dtype:
            raise ContractError(f"looks of {values.dtype}", expected=f"{np.dtype(dtype).name}")
