"""Which looks of a pixel are worth using: tiers of the scene classification, and extra masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rockglacier.errors import InputError
from rockglacier.scenes import cloud

CLEAR, SNOW, SHADOW, NEVER = 0, 1, 2, 3
"""Tiers, the best first."""

UNCLASSIFIED = 7

CLEAR_CLASSES = (cloud.VEGETATION, cloud.BARE, cloud.WATER, UNCLASSIFIED)
SNOW_CLASSES = (cloud.SNOW,)
SHADOW_CLASSES = (cloud.TOPOGRAPHIC_SHADOW,)


def tier_table(
    *,
    clear: Sequence[int] = CLEAR_CLASSES,
    snow: Sequence[int] = SNOW_CLASSES,
    shadow: Sequence[int] = SHADOW_CLASSES,
) -> NDArray[np.uint8]:
    """Return the tier of every possible byte of the scene classification, shape (256,).

    Parameters
    ----------
    clear
        Classes that are as good as can be.
    snow
        Classes that are used where no look is clear.
    shadow
        Classes that are used where there is nothing else.

    Raises
    ------
    InputError
        A class is named twice, is no byte, or is 0, which is no data.
    """
    table = np.full(256, NEVER, np.uint8)
    for tier, classes in ((CLEAR, clear), (SNOW, snow), (SHADOW, shadow)):
        for scl in classes:
            if not 1 <= scl <= 255:
                raise InputError(
                    f"class {scl} of the scene classification", expected="1 to 255; 0 is no data"
                )
            if table[scl] != NEVER:
                raise InputError(
                    f"class {scl} of the scene classification is named twice",
                    expected="every class in one of clear, snow and shadow, or in none",
                )
            table[scl] = tier
    return table
