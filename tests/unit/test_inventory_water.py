"""Water equivalent of the ice: a range with its assumptions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rockglacier.config import parse_config
from rockglacier.errors import InputError
from rockglacier.inventory.water import TWO_HALVES, thickness_m, water_m3, water_table

AREAS = np.array([0.01, 0.1, 1.0, 3.0])


def test_thickness_and_water_are_those_of_the_published_law():
    assert thickness_m(AREAS) == pytest.approx([19.905, 31.548, 50, 62.287], abs=1e-3)
    found = water_m3(AREAS, ice_fraction=0.5, ice_density=900)
    assert found == pytest.approx([8.957e4, 1.4197e6, 2.25e7, 8.408e7], rel=1e-3)


def test_one_outline_drawn_as_two_holds_less():
    whole, half = water_m3(np.array([1.0, 0.5]), ice_fraction=0.5, ice_density=900)
    assert 2 * half / whole - 1 == pytest.approx(TWO_HALVES)
    assert pytest.approx(-0.1294, abs=1e-4) == TWO_HALVES


def inventory(*activities):
    return pd.DataFrame(
        {
            "candidate_id": [f"RGC{k}" for k in range(len(activities))],
            "area_km2": np.ones(len(activities)),
            "ActiCl": pd.Series(activities, dtype="string"),
        }
    )


def test_range_is_summed_over_landforms_and_relict_ones_are_left_out():
    table, summary = water_table(
        inventory("uncertain", "active", "relict", None), ice_fraction=(0.4, 0.6), ice_density=900
    )
    assert table["candidate_id"].tolist() == ["RGC0", "RGC1", "RGC3"]
    assert summary["water_low_km3"] == pytest.approx(3 * 50e6 * 0.4 * 0.9 / 1e9)
    assert summary["water_high_km3"] == pytest.approx(3 * 50e6 * 0.6 * 0.9 / 1e9)
    assert (summary["left_out_relict"], summary["activity_unknown"]) == (1, 2)
    assert summary["is_upper_bound"]
    assert summary["change_if_every_outline_were_two_percent"] == -12.9
    known = water_table(inventory("active"), ice_fraction=(0.4, 0.6), ice_density=900)[1]
    assert not known["is_upper_bound"]


def test_empty_inventory_holds_no_water():
    table, summary = water_table(inventory(), ice_fraction=(0.4, 0.6), ice_density=900)
    assert table.empty
    assert summary["water_high_km3"] == 0


def test_range_the_wrong_way_round_is_refused():
    values = {"name": "x", "area": [74, 36, 75, 37]}
    values["inventory"] = {"hydrology": {"ice_fraction": [0.6, 0.4]}}
    with pytest.raises(InputError, match="not lowest, highest"):
        parse_config(values, source="test")
