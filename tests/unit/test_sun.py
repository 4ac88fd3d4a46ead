"""Where the sun stands: against published positions, and what follows from the sky itself."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
import shapely

from rockglacier.cube.sun import sun_at, sun_of
from rockglacier.errors import InputError
from rockglacier.scenes.record import read_scenes


def test_the_worked_example_of_the_solar_position_algorithm():
    """Reda and Andreas, Solar Energy 76 (2004), 577-589: without refraction 39.8720 degrees."""
    denver = timezone(timedelta(hours=-7))
    sun = sun_at(39.742476, -105.1786, datetime(2003, 10, 17, 12, 30, 30, tzinfo=denver))
    assert sun.azimuth == pytest.approx(194.3402, abs=0.02)
    assert sun.elevation == pytest.approx(39.8720, abs=0.02)


def test_the_sun_of_a_solstice_stands_over_the_tropic_at_noon():
    """Noon is where the equation of time (-1.8 minutes) says."""
    north = sun_at(23.4365, 0.45, datetime(2024, 6, 20, 12, 0, tzinfo=UTC))
    assert north.elevation > 89.9
    south = sun_at(23.4365 - 47, 0.45, datetime(2024, 6, 20, 12, 0, tzinfo=UTC))
    assert south.elevation == pytest.approx(43, abs=0.05)
    assert min(south.azimuth, 360 - south.azimuth) < 0.2


def test_half_a_day_later_it_stands_as_far_below():
    equator = datetime(2024, 3, 20, 7, 0, tzinfo=UTC)
    day = sun_at(0, 20, equator)
    night = sun_at(0, 20, equator + timedelta(hours=12))
    assert night.elevation == pytest.approx(-day.elevation, abs=0.3)
    assert night.azimuth == pytest.approx(360 - day.azimuth, abs=0.5)


def test_east_of_here_it_stands_as_it_will_here():
    now = datetime(2025, 9, 1, 5, 40, tzinfo=UTC)
    later = sun_at(36, 75, now + timedelta(hours=1))
    east = sun_at(36, 90, now)
    assert later.azimuth == pytest.approx(east.azimuth, abs=0.05)
    assert later.elevation == pytest.approx(east.elevation, abs=0.05)


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(InputError, match="no time zone"):
        sun_at(0, 0, datetime(2024, 1, 1))


def test_a_scene_tells_its_sun_or_it_is_computed(make_basin):
    import dataclasses

    scene = read_scenes(make_basin().scenes_path)[0]
    assert sun_of(scene).elevation == scene.sun_elevation
    silent = dataclasses.replace(
        scene,
        sun_elevation=None,
        geometry=shapely.box(74.4, 36.0, 74.6, 36.2),
        datetime=datetime(2024, 8, 1, 5, 46, tzinfo=UTC),
    )
    sun = sun_of(silent)
    assert 60 < sun.elevation < 72
    assert 120 < sun.azimuth < 150
