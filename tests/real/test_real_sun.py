"""The sun that real items state, against the one computed for their tile."""

import json
from datetime import datetime

import numpy as np
import pytest
from pyproj import Transformer

from rockglacier.cube.sun import sun_at
from rockglacier_stac import dialects

pytestmark = pytest.mark.real


def middle_of_tile(item, band):
    asset = item["assets"][band]
    a, _, west, _, e, north = asset["proj:transform"][:6]
    height, width = asset["proj:shape"]
    to_degrees = Transformer.from_crs(dialects.epsg_of(item), 4326, always_xy=True)
    return to_degrees.transform(west + a * width / 2, north + e * height / 2)


@pytest.mark.parametrize(
    "name",
    [
        "sentinel-2-c1-l2a_13TDE_10items",
        "sentinel-2-c1-l2a_2025_6items",
        "sentinel-2-l2a_alps_32TNT_32TMT_2020_16items",
    ],
)
def test_computed_sun_is_the_stated_one(shared_data, name):
    """Earth Search's items have the time of their tile, and the mean angles over it."""
    path = shared_data / "stac" / "earth-search-v1" / f"{name}.json"
    items = json.loads(path.read_text())["features"]
    assert len(items) >= 6
    for item in items:
        stated = dialects.sun_of(item)
        longitude, latitude = middle_of_tile(item, "red")
        time = datetime.fromisoformat(item["properties"]["datetime"])
        sun = sun_at(latitude, longitude, time)
        turned = (sun.azimuth - stated[0] + 180) % 360 - 180
        away = np.hypot(turned * np.cos(np.radians(stated[1])), sun.elevation - stated[1])
        assert away < 0.3, item["id"]
