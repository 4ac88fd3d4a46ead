"""What a fleet makes of an area: sums that can be done by hand, and what stands in its way."""

from dataclasses import replace

import pytest

from rockglacier.scale import (
    LINE_BYTES_S,
    Area,
    Fleet,
    area_of,
    area_of_study,
    estimate,
    scale_lines,
    table_lines,
    unit_costs,
)
from rockglacier.scenes.record import read_scenes, write_scenes

COSTS = {
    "cube": {
        "seconds_per_look_megapixel": 2.0,
        "objects_per_block": 8.0,
        "written_bytes_per_megapixel": 10_000_000,
    },
    "fuse": {
        "seconds_per_megapixel": 0.4,
        "objects_per_block": 2.0,
        "written_bytes_per_megapixel": 500_000,
    },
    "predict": {
        "seconds_per_window_megapixel": 0.5,
        "objects_per_block": 3.0,
        "written_bytes_per_megapixel": 1_000_000,
    },
    "inventory": {"seconds_per_megapixel": 0.01},
    "scheduler": {
        "tasks_per_second": 100.0,
        "bytes": 100_000_000,
        "bytes_per_task_in_flight": 10_000,
    },
}
AREA = Area(megapixels=1000.0, looks=10.0, blocks=240, groups=20, basins=1)
TWICE = (1 + 1024 / (1000e6 / 20) ** 0.5) ** 2
"""What 20 groups read, of what is needed: a block of a file more along two edges of each."""


def made(area=AREA, **fleet):
    return estimate(area, Fleet(**{"workers": 5, "losses_per_hour": 0.0, **fleet}), COSTS)


def test_worker_hours_bytes_and_objects_are_units_times_costs():
    found = made(price=0.5)
    assert found.worker_hours["cube"] == pytest.approx(TWICE * 1000 * 10 * 2 / 3600)
    assert found.worker_hours["predict"] == pytest.approx(1000 * 4 * 0.5 / 3600)
    assert found.worker_hours["fuse"] == pytest.approx(1000 * 0.4 / 3600)
    assert found.written_bytes == 1000 * 11_500_000
    assert found.objects == 240 * (8 + 1 + 2 + 1 + 3 + 1)  # each with a receipt
    # four bands of 10 m and two of 20 m of two bytes, and the classes of 20 m
    assert found.read_bytes == pytest.approx(0.75 * 1e6 * 1000 * 10 * 9.25 * TWICE)
    assert found.cost == pytest.approx(0.5 * sum(found.worker_hours.values()))


def test_groups_go_in_whole_rounds():
    hours = [made(workers=workers).limits[0].hours for workers in (5, 9, 10)]
    mapped = [(2000 + 400) / workers / 3600 for workers in (5, 9, 10)]
    cube = [h - m for h, m in zip(hours, mapped, strict=True)]
    assert cube == pytest.approx([1000 * TWICE * rounds / 3600 for rounds in (4, 3, 2)])


@pytest.mark.parametrize(
    ("workers", "groups"), [(1, 20), (10, 20), (11, 40), (40, 80), (100, 240), (1000, 240)]
)
def test_groups_are_halved_until_workers_have_two_or_a_group_is_a_block(workers, groups):
    found = made(workers=workers)
    assert found.groups == groups
    # smaller groups read more along their edges
    twice = (1 + 1024 / (1000e6 / groups) ** 0.5) ** 2
    assert found.worker_hours["cube"] == pytest.approx(twice * 1000 * 10 * 2 / 3600)


def test_slow_line_is_what_a_cheap_look_waits_for():
    costs = {**COSTS, "cube": {**COSTS["cube"], "seconds_per_look_megapixel": 0.01}}
    found = estimate(AREA, Fleet(workers=5, losses_per_hour=0.0), costs)
    assert found.worker_hours["cube"] == pytest.approx(found.read_bytes / LINE_BYTES_S / 3600)


def test_lost_workers_cost_the_half_of_a_group_each():
    calm, stormy = made(), made(losses_per_hour=1.0)
    group_h = TWICE * 1000 / 3600
    lost = 1 - 2.718281828 ** (-group_h)
    assert stormy.worker_hours["cube"] / calm.worker_hours["cube"] == pytest.approx(
        1 + 0.5 * lost / (1 - lost)
    )


def test_more_workers_than_groups_and_other_walls_are_told():
    lines = "\n".join(scale_lines(made(workers=300)))
    assert "240 block(s) for 300 workers" in lines
    slow = {**COSTS, "scheduler": {**COSTS["scheduler"], "tasks_per_second": 0.001}}
    found = estimate(AREA, Fleet(workers=10), slow)
    assert found.limits[0].name == "the scheduler's tasks"
    assert found.hours == pytest.approx(500 / 0.001 / 3600)
    assert "more workers make it no faster: the scheduler's tasks" in "\n".join(scale_lines(found))


def test_basins_wait_for_each_other_in_a_command_and_for_their_inventories():
    belt = Area(megapixels=1000.0, looks=10.0, blocks=20, groups=20, basins=10)
    one, five = made(belt, workers=10), made(belt, workers=10, commands=5)
    # a basin has two groups of 1000 s and more: eight of ten workers wait, or none
    cube_s, mapping_s = 1000 * TWICE, (2000 + 400) / 10 / 2
    assert one.limits[0].hours == pytest.approx(10 * (cube_s + mapping_s) / 3600)
    assert five.limits[0].hours == pytest.approx(2 * (cube_s + mapping_s) / 3600)
    assert one.hours == pytest.approx((10 * (cube_s + mapping_s) + 1000 * 0.01) / 3600)
    assert one.worker_hours == five.worker_hours


def test_area_of_a_mountain_belt_is_cut_into_basins():
    hunza = area_of(13_733, looks=10)
    belt = area_of(4_000_000, looks=10, basins=300)
    assert hunza.megapixels == pytest.approx(274.66)
    assert (belt.megapixels, belt.basins) == (80_000, 300)
    assert belt.groups >= 300
    assert belt.blocks == pytest.approx(80_000e6 / 2048**2, rel=0.15)
    (row,) = table_lines([("belt", made(belt))])[2:]
    assert row.startswith("| belt | 300 |")


def test_area_of_a_study_counts_its_grid_and_its_scenes(make_basin):
    study = make_basin()
    found = area_of_study(study)
    assert found.megapixels == pytest.approx(300 * 340 / 1e6)
    assert (found.blocks, found.groups) == (4, 1)
    assert found.band_pixels == 1.25  # B04 and B11


def test_costs_that_come_with_the_package_are_measured_ones():
    costs = unit_costs()
    assert "cores" in costs["measured"]["machine"]
    found = estimate(AREA, Fleet(workers=200, price=0.05))
    assert found.hours > 0
    assert found.cost > 0
    lines = scale_lines(found)
    assert lines[0].startswith("workers    200 of one core")
    assert costs["measured"]["machine"] in "".join(lines)


def test_where_scenes_lie_is_told(make_basin):
    study = make_basin()
    assert area_of_study(study).source == ""
    scenes = read_scenes(study.scenes_path)
    assets = dict.fromkeys(scenes[0].assets, "https://sentinel-cogs.s3.us-west-2.amazonaws.com/a")
    write_scenes([replace(scenes[0], assets=assets), *scenes[1:]], study.scenes_path)
    source = area_of_study(study).source
    assert source.startswith("earth-search in us-west-2 of AWS")
    assert "16 assets at once" in source
