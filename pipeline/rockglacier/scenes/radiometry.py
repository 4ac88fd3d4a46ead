"""The one owner of Sentinel-2's radiometric offset: what is in the pixels, and how it is known.

Everything after this module holds *baseline-04.00 numbers*: reflectance = DN * 1e-4 - 0.1, 0 is
nodata. Products of baseline 04.00 and later are written like that. Some catalogs have taken the
1000 off again, and older baselines never had it; both get it added.

The evidence is ranked, and never includes the date, because old scenes have been processed again:

1. the provider's flag ``boa_offset_applied``: True means that the pixels were changed;
2. a baseline below 04.00: no 1000 was ever there;
3. the asset's own offset (``raster:offset``): -0.1 means that the pixels carry the 1000;
   where the bands of one item contradict each other, they say nothing;
4. a baseline of 04.00 or later, and nobody who says that the pixels were changed;
5. the pixels, one-sided: clear ground with numbers from 1 to 900 cannot carry the 1000. Their
   absence proves nothing, because snow and bright rock have no dark pixels.

References
----------
Element84/earth-search#66 and #71: flags and offsets that contradict each other and the pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from rockglacier.errors import ContractError, InputError
from rockglacier_stac import dialects

OFFSET = 1000
"""Digital numbers that baselines since 04.00 carry on top."""
SCALE, ADD_OFFSET = 1e-4, -0.1
"""Reflectance = DN * SCALE + ADD_OFFSET."""
FIRST_WITH_OFFSET = (4, 0)

DARK_DN = 900
"""Clear ground this dark is below a reflectance of -0.01 if the offset were in the pixels."""
PROOF_COUNT, PROOF_SHARE = 50, 0.02
"""Dark pixels that make a proof: fewer may be noise, or shade that was corrected too far."""


Evidence = Literal["flag", "asset", "baseline", "pixels", ""]
"""What decided: the provider's flag, the asset's offset, the processing baseline, the pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to add to the stored numbers of valid pixels, and why."""

    add: int
    """0, or 1000 where the pixels do not carry the offset."""
    reason: str
    evidence: Evidence = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Darkness:
    """How dark clear ground is in a visible band."""

    pixels: int
    """Valid ones that were looked at."""
    dark: int
    """Of those, how many hold 1 to 900."""

    @property
    def dark_percent(self) -> float:
        """Share of dark pixels, percent; 0 if there are none at all."""
        return 100.0 * self.dark / self.pixels if self.pixels else 0.0

    @property
    def is_proof(self) -> bool:
        """Whether so many dark pixels cannot carry the offset."""
        return self.dark >= PROOF_COUNT and self.dark >= PROOF_SHARE * self.pixels


def decide(
    item: dict[str, Any],
    bands: Sequence[str] = ("B02",),
    keys: Mapping[str, str] | None = None,
) -> Decision:
    """Decide from an item's metadata whether its pixels carry the offset.

    Parameters
    ----------
    item
        A STAC item of any provider.
    bands
        Bands whose assets are asked for their offset.
    keys
        Band to asset key, of a catalog that is not known.

    Raises
    ------
    InputError
        The item says nothing that would decide it, or its numbers are of another kind.
    """
    flag = dialects.offset_flag(item)
    baseline = dialects.baseline_of(item)
    version = _version(baseline)
    offset = _asset_offset(item, bands, keys)
    if flag:
        said = "" if not offset else f", although the asset says {offset:g}"
        reason = f"the provider took the offset off the pixels{said}"
        return Decision(add=OFFSET, reason=reason, evidence="flag")
    if version is not None and version < FIRST_WITH_OFFSET:
        reason = f"baseline {baseline} never had the offset"
        return Decision(add=OFFSET, reason=reason, evidence="baseline")
    if flag is False and version is not None:
        reason = f"baseline {baseline}, and the provider says the offset is still there"
        return Decision(add=0, reason=reason, evidence="flag")
    if offset is not None:
        if offset < 0:
            reason = f"the asset says that its offset is {offset:g}"
            return Decision(add=0, reason=reason, evidence="asset")
        reason = "the asset says that its pixels need no offset"
        return Decision(add=OFFSET, reason=reason, evidence="asset")
    if version is not None:
        reason = f"baseline {baseline} carries the offset"
        return Decision(add=0, reason=reason, evidence="baseline")
    raise InputError(
        f"item {item['id']!r} does not say whether its pixels carry the radiometric offset",
        expected="a processing baseline, a raster offset or boa_offset_applied",
        todo="take another collection, or add the baseline to the item",
    )


def _asset_offset(
    item: dict[str, Any], bands: Sequence[str], keys: Mapping[str, str] | None
) -> float | None:
    """Return the offset on which the assets agree, or None."""
    found = [dialects.band_asset(item, band, keys) for band in bands]
    assets = [pair[1] for pair in found if pair is not None]
    for asset in assets:
        scale = dialects.raster_scale(asset)
        if scale is not None and not np.isclose(scale, SCALE):
            raise InputError(
                f"item {item['id']!r} says that its pixels have the scale {scale:g}",
                expected=f"Sentinel-2 L2A as ESA writes it: uint16 with the scale {SCALE:g}",
                todo="take another collection",
            )
    offsets = {dialects.raster_offset(asset) for asset in assets} - {None}
    return offsets.pop() if len(offsets) == 1 else None


def _version(baseline: str) -> tuple[int, ...] | None:
    parts = baseline.split(".")
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else None


def darkness(dn: np.ndarray) -> Darkness:
    """Count dark pixels.

    Parameters
    ----------
    dn
        Stored numbers of a visible band over clear ground (vegetation, bare, water), any shape;
        0 is nodata and does not count.
    """
    valid = dn[dn > 0]
    return Darkness(pixels=int(valid.size), dark=int(np.count_nonzero(valid <= DARK_DN)))


def check_pixels(decision: Decision, dn: np.ndarray) -> Decision:
    """Overrule a decision that the pixels disprove.

    Parameters
    ----------
    decision
        From the metadata.
    dn
        As for :func:`darkness`.

    Returns
    -------
    Decision
        The same one, unless it says that the offset is in the pixels and they are too dark for it.
    """
    found = darkness(dn)
    if decision.add or not found.is_proof:
        return decision
    return Decision(
        add=OFFSET,
        reason=f"{found.dark_percent:.0f} % of the clear pixels lie below {DARK_DN}: the offset "
        f"was taken off, against the metadata ({decision.reason})",
        evidence="pixels",
    )


def harmonise[Pixels: (np.ndarray, xr.DataArray)](dn: Pixels, add: int) -> Pixels:
    """Return stored numbers as baseline-04.00 numbers.

    Parameters
    ----------
    dn
        uint16, any shape; 0 is nodata and stays 0.
    add
        From the scene's ``offset_in_pixels``.

    Returns
    -------
    numpy.ndarray or xarray.DataArray
        uint16, valid pixels clipped to 1..65535; a DataArray is marked ``harmonised``.

    Raises
    ------
    ContractError
        The array is not uint16, or was harmonised before. A bare array cannot carry the mark.
    """
    if dn.dtype != np.uint16:
        raise ContractError(f"stored numbers are of type {dn.dtype}", expected="uint16")
    if isinstance(dn, xr.DataArray):
        if dn.attrs.get("harmonised"):
            raise ContractError(
                "these pixels were harmonised before",
                expected="numbers as they are stored in the asset",
                todo="harmonise once, right after reading",
            )
        shifted = _shifted(dn, add) if add else dn.copy()
        return shifted.assign_attrs({**dn.attrs, "harmonised": True})
    return _shifted(dn, add) if add else dn


def _shifted(dn: Any, add: int) -> Any:
    moved = (dn.astype(np.int32) + add).clip(1, 65535)
    if isinstance(dn, xr.DataArray):
        return moved.where(dn != 0, 0).astype(np.uint16)
    return np.where(dn != 0, moved, 0).astype(np.uint16)
