"""Where the sun stands, for scenes that do not say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from rockglacier.errors import InputError
from rockglacier.scenes.record import Scene

J2000 = datetime(2000, 1, 1, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sun:
    """A direction to the sun."""

    azimuth: float
    """Degrees clockwise from true north."""
    elevation: float
    """Degrees above the horizon, without refraction."""


def sun_of(scene: Scene) -> Sun:
    """Return the sun of a scene: as its item says, else computed for the middle of its footprint.

    Items give the mean over their tile. Some providers' items have the time at which the satellite
    began its pass instead of that of the tile, which lies up to 20 minutes (5 degrees) later.
    """
    if scene.sun_azimuth is not None and scene.sun_elevation is not None:
        return Sun(azimuth=scene.sun_azimuth, elevation=scene.sun_elevation)
    middle = scene.geometry.centroid
    return sun_at(middle.y, middle.x, scene.datetime)


def sun_at(latitude: float, longitude: float, time: datetime) -> Sun:
    """Return the direction to the sun.

    Parameters
    ----------
    latitude, longitude
        Degrees north and east.
    time
        With its time zone.

    Raises
    ------
    InputError
        The time has no time zone.

    Notes
    -----
    The low-precision formulas of the Astronomical Almanac: 0.01 degrees from 1950 to 2050.

    References
    ----------
    J. J. Michalsky, Solar Energy 40 (1988), 227-235.
    """
    if time.tzinfo is None:
        raise InputError(f"the time {time.isoformat()} has no time zone", expected="e.g. UTC")
    days = (time - J2000).total_seconds() / 86400
    anomaly = math.radians(357.528 + 0.9856003 * days)
    along = 280.460 + 0.9856474 * days
    ecliptic = math.radians(along + 1.915 * math.sin(anomaly) + 0.020 * math.sin(2 * anomaly))
    tilt = math.radians(23.439 - 0.0000004 * days)
    ascension = math.atan2(math.cos(tilt) * math.sin(ecliptic), math.cos(ecliptic))
    declination = math.asin(math.sin(tilt) * math.sin(ecliptic))
    # sidereal time at Greenwich, degrees
    sidereal = 280.46062 + 360.98564737 * days
    hour = math.radians(sidereal + longitude) - ascension
    north = math.radians(latitude)
    up = math.sin(declination) * math.sin(north)
    up += math.cos(declination) * math.cos(north) * math.cos(hour)
    toward_east = -math.cos(declination) * math.sin(hour)
    toward_north = math.sin(declination) * math.cos(north)
    toward_north -= math.cos(declination) * math.sin(north) * math.cos(hour)
    return Sun(
        azimuth=math.degrees(math.atan2(toward_east, toward_north)) % 360,
        elevation=math.degrees(math.atan2(up, math.hypot(toward_east, toward_north))),
    )
