"""How much water the ice of rock glaciers may hold: a range, an upper bound, and what moves it.

Nothing here is measured. Thickness comes from area by a power law of other mountains, the share of
ice from a few boreholes, and a landform without ice (relict) counts as if it had some until a
person says what it is. The law is convex, so that two halves hold less than the whole: outlines
drawn one way or the other move the sum.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

THICKNESS_M: Final = 50.0
"""Mean thickness of a rock glacier of 1 km², metres (Brenning 2005)."""

EXPONENT: Final = 0.2
"""Of area in km² (Brenning 2005)."""

WATER_KG_M3: Final = 1000.0

RELICT: Final = ("relict", "relict_uncertain")

TWO_HALVES: Final = 2**-EXPONENT - 1
"""Change of the water where one outline is drawn as two of half its area: -13 %."""


def thickness_m(area_km2: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean thickness of landforms from their areas (km²), metres."""
    return THICKNESS_M * np.asarray(area_km2, dtype=np.float64) ** EXPONENT


def water_m3(
    area_km2: NDArray[np.float64], *, ice_fraction: float, ice_density: float
) -> NDArray[np.float64]:
    """Return the water equivalent of each landform, m³.

    Parameters
    ----------
    area_km2
        Of each landform; never of several together.
    ice_fraction
        Share of the volume that is ice, 0 to 1.
    ice_density
        kg m⁻³.
    """
    volume = np.asarray(area_km2, dtype=np.float64) * 1e6 * thickness_m(area_km2)
    return volume * ice_fraction * ice_density / WATER_KG_M3


def water_table(
    inventory: pd.DataFrame, *, ice_fraction: tuple[float, float], ice_density: float
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the water equivalent of every landform that is not relict, and of all together.

    Parameters
    ----------
    inventory
        With ``candidate_id, area_km2, ActiCl``.
    ice_fraction
        Lowest and highest share of the volume that is ice, 0 to 1.
    ice_density
        kg m⁻³.

    Returns
    -------
    table, summary
        ``candidate_id, area_km2, thickness_m, volume_m3, water_low_m3, water_high_m3``; the sums,
        how many have no known activity, the assumptions, and the sensitivity, JSON-able.
    """
    relict = inventory["ActiCl"].isin(RELICT).to_numpy(bool, na_value=False)
    counted = inventory[~relict]
    area = counted["area_km2"].to_numpy(np.float64)
    low, high = (
        water_m3(area, ice_fraction=share, ice_density=ice_density) for share in ice_fraction
    )
    table = pd.DataFrame(
        {
            "candidate_id": counted["candidate_id"].to_numpy(),
            "area_km2": area,
            "thickness_m": thickness_m(area),
            "volume_m3": area * 1e6 * thickness_m(area),
            "water_low_m3": low,
            "water_high_m3": high,
        }
    )
    unknown = counted["ActiCl"].fillna("uncertain") == "uncertain"
    summary = {
        "water_low_km3": float(low.sum()) / 1e9,
        "water_high_km3": float(high.sum()) / 1e9,
        "landforms": len(counted),
        "left_out_relict": int(relict.sum()),
        "activity_unknown": int(unknown.sum()),
        "is_upper_bound": bool(unknown.any()),
        "ice_fraction": list(ice_fraction),
        "ice_density_kg_m3": ice_density,
        "assumptions": [
            "mean thickness is 50 m times the 0.2th power of the area in km² (Brenning 2005)",
            f"{ice_fraction[0]:.0%} to {ice_fraction[1]:.0%} of the volume is ice",
            "landforms of unknown activity count as if they held ice: the sum is an upper bound",
        ],
        "change_if_every_outline_were_two_percent": round(100 * TWO_HALVES, 1),
    }
    return table, summary
