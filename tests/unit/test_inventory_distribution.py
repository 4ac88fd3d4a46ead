"""Where landforms sit, beside the terrain's own elevations, aspects and slopes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rockglacier.inventory.distribution import (
    LIGHTS,
    Ground,
    between,
    counts_of,
    summed,
    tables_of,
)


def ground(**given):
    shape = (10, 10)
    none = np.zeros(shape, dtype=bool)
    plain = {
        "elevation": np.repeat(4050.0 + 100 * np.arange(10)[:, None], 10, axis=1),
        "slope": np.full(shape, 22.0),
        "aspect": np.repeat(45.0 * (np.arange(10) % 8)[None, :], 10, axis=0),
        "is_area": ~none,
        "is_glacier": none,
        "is_found": none,
        "is_unseen": none,
        "is_reference": none,
        "illumination": np.full(shape, 0.5),
        "is_cast_shadow": none,
    }
    return Ground(**(plain | given))


def landforms(**given):
    columns = ["elevation_median_m", "slope_mean_deg", "aspect_sector", "area_km2"]
    return pd.DataFrame(given, columns=columns, dtype=float)


def tables(counts, inventory, **told):
    lights = np.zeros((len(inventory), len(LIGHTS)), dtype=np.int64)
    return tables_of(counts, inventory, **({"lights": lights} | told))


def mask(rows, columns):
    found = np.zeros((10, 10), dtype=bool)
    found[rows, columns] = True
    return found


TOP = mask(slice(2, 4), slice(0, 5))


def test_areas_by_elevation_stand_beside_those_of_terrain():
    counts = counts_of(ground(is_found=TOP, is_glacier=mask(slice(3, 4), slice(5, 10))))
    one = landforms(
        elevation_median_m=[4300], slope_mean_deg=[22], aspect_sector=[1], area_km2=[0.001]
    )
    table = tables(counts, one, pixel_km2=1e-4)["elevation"].set_index("from_m")
    assert table.index.tolist() == list(range(4000, 5000, 100))
    assert table.loc[4200, "found_km2"] == pytest.approx(5e-4)
    assert table.loc[4200, "found_percent"] == pytest.approx(50)
    assert table.loc[4200, "found_of_eligible_percent"] == pytest.approx(50)
    # half of this band is glacier
    assert table.loc[4300, "found_of_eligible_percent"] == pytest.approx(100)
    assert table["eligible_km2"].sum() == pytest.approx(95e-4)
    assert table.loc[4300, "n"] == 1
    assert table["n"].sum() == 1
    assert table.loc[4200, "ratio"] == pytest.approx(50 / (100 * 10 / 95))


def test_aspects_and_slopes_are_weighed_against_terrain_of_the_same_elevation():
    counts = counts_of(ground(is_found=TOP))
    found = tables(counts, landforms(), pixel_km2=1.0)
    aspects = found["aspect_area"].set_index("sector")
    assert aspects["eligible_km2"].sum() == 20
    assert aspects.loc["N", "eligible_km2"] == 4
    assert aspects.loc["N", "found_km2"] == 2
    assert aspects.loc["N", "ratio"] == pytest.approx((2 / 10) / (4 / 20))
    assert aspects.loc["NW", "ratio"] == 0
    assert list(aspects.index) == [
        "N", "NE", "E", "SE", "S", "SW", "W", "NW", "flat or unknown",
    ]  # fmt: skip
    slopes = found["slope"]
    assert slopes.loc[slopes["found_km2"] > 0, "from_deg"].tolist() == [20]


def test_landforms_by_mean_aspect_are_a_table_of_their_own():
    three = landforms(aspect_sector=[1, 1, 9], area_km2=[0.2, 0.4, 0.2])
    table = tables(counts_of(ground()), three, pixel_km2=1)["aspect_landforms"]
    table = table.set_index("sector")
    assert table["n"].tolist() == [2, 0, 0, 0, 0, 0, 0, 0, 1]
    assert table.loc["N", "area_percent"] == pytest.approx(75)
    assert table.loc["N", "n_percent"] == pytest.approx(200 / 3)


def test_recall_is_by_class_and_only_where_there_is_a_reference():
    known = mask(slice(2, 4), slice(0, 10))
    counts = counts_of(ground(is_found=TOP, is_reference=known))
    table = tables(counts, landforms(), pixel_km2=1, has_reference=True)["aspect_area"]
    table = table.set_index("sector")
    # columns 0 and 8 look north, 5 looks south-west; columns 0 to 4 were found
    assert table.loc["N", "recall"] == 0.5
    assert table.loc["SW", "recall"] == 0
    assert np.isnan(table.loc["flat or unknown", "recall"])
    assert "recall" not in tables(counts, landforms(), pixel_km2=1)["aspect_area"]


def test_recall_is_by_light_too():
    known = mask(slice(2, 4), slice(0, 10))
    light = np.full((10, 10), 0.9)
    light[2, 5:] = -0.1
    light[3, 9] = np.nan
    shaded = mask(3, slice(4, 7))
    counts = counts_of(
        ground(is_found=TOP, is_reference=known, illumination=light, is_cast_shadow=shaded)
    )
    table = tables(counts, landforms(), pixel_km2=1, has_reference=True)["illumination"]
    table = table.set_index("light")
    assert table["reference_km2"].to_dict() == {
        "cast shadow": 3, "turned away": 5, "0.0-0.2": 0, "0.2-0.4": 0, "0.4-0.6": 0, "0.6-0.8": 0,
        "0.8-1.0": 11, "unknown": 1,
    }  # fmt: skip
    assert table.loc["cast shadow", "recall"] == pytest.approx(1 / 3)
    assert table.loc["turned away", "recall"] == 0
    assert table.loc["0.8-1.0", "recall"] == pytest.approx(9 / 11)
    # eligible terrain is that of the same elevations
    assert table["eligible_km2"].sum() == 20


def test_landforms_count_by_the_light_of_most_of_their_pixels():
    lights = np.zeros((3, len(LIGHTS)), dtype=np.int64)
    lights[0, [0, 6]], lights[1, [0, 6]], lights[2, 6] = (4, 5), (5, 4), 9
    three = landforms(aspect_sector=[1, 1, 1], area_km2=[1, 1, 1])
    found = tables(counts_of(ground()), three, lights=lights, pixel_km2=1)["illumination"]
    assert found.set_index("light")["n"].loc[["cast shadow", "0.8-1.0"]].tolist() == [1, 2]


def test_ground_of_unknown_light_is_said_to_be():
    counts = counts_of(ground(is_found=TOP, illumination=None, is_cast_shadow=None))
    table = tables(counts, landforms(), pixel_km2=1)["illumination"].set_index("light")
    assert table["found_km2"].sum() == table.loc["unknown", "found_km2"] == 10


def test_a_filter_of_elevation_leaves_the_bands_that_it_reaches_into():
    counts = counts_of(ground(is_found=mask(slice(0, 10), 0)))
    inside = tables(between(counts, (4150, 4400)), landforms(), pixel_km2=1)
    assert inside["elevation"]["from_m"].tolist() == [4100, 4200, 4300]
    assert inside["elevation"]["found_km2"].tolist() == [1, 1, 1]
    assert inside["aspect_area"]["eligible_km2"].sum() == 30


def test_counts_of_parts_are_those_of_the_whole():
    whole = ground(is_found=TOP, is_unseen=TOP, is_reference=mask(3, slice(0, 9)))
    parts = [
        Ground(**{name: getattr(whole, name)[rows] for name in Ground.__slots__})
        for rows in (slice(0, 3), slice(3, 10))
    ]
    together = summed([counts_of(part) for part in parts])
    for kind, counts in counts_of(whole).items():
        assert (together[kind] == counts).all()
        assert kind == "eligible" or counts.sum() > 0


def test_unknown_ground_is_left_out_or_named():
    elevation = np.full((10, 10), 4000.0)
    elevation[0] = np.nan
    slope = np.full((10, 10), np.nan)
    counts = counts_of(ground(elevation=elevation, slope=slope, is_found=mask(slice(0, 2), 0)))
    found = tables(counts, landforms(), pixel_km2=1)
    assert found["elevation"]["found_km2"].tolist() == [1]
    assert found["slope"].iloc[-1][["found_km2", "eligible_km2"]].tolist() == [1, 90]


def test_nothing_found_gives_terrain_alone():
    found = tables(counts_of(ground()), landforms(), pixel_km2=1)
    assert found["elevation"]["eligible_km2"].sum() == 100
    assert found["elevation"]["found_percent"].isna().all()
    assert found["aspect_area"]["ratio"].isna().all()
    assert found["aspect_landforms"]["n"].sum() == 0
