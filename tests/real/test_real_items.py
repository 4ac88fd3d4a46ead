"""Real items of every provider become scenes; real pixels settle what real items claim."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from rockglacier.config import Band
from rockglacier.scenes.radiometry import Decision, check_pixels, decide
from rockglacier.scenes.record import dem_from_item, scene_from_item
from rockglacier_stac.search import tidied

pytestmark = pytest.mark.real

SHARED = Path(__file__).parents[3] / "shared" / "data"
FILES = [path for path in sorted(SHARED.glob("stac/*/*.json")) if "collection" not in path.name]
BANDS = Band.__args__
CLEAR = (4, 5, 6)


def items_of(path):
    content = json.loads(path.read_text())
    items = content["features"] if content.get("type") == "FeatureCollection" else [content]
    return [tidied(item, base=str(path)) for item in items if item.get("type") == "Feature"]


@pytest.mark.parametrize("path", FILES or [None], ids=lambda path: path.stem if path else "none")
def test_every_item_becomes_a_scene_or_a_dem_tile(path, shared_data):
    for item in items_of(path):
        if "cop-dem" in item["collection"]:
            assert dem_from_item(item).geometry.area > 0
            continue
        scene = scene_from_item(item, BANDS)
        assert set(scene.assets) == {*BANDS, "SCL"}
        assert 32601 <= scene.epsg <= 32760
        assert scene.epsg % 100 == int(scene.tile[:2])
        assert scene.datetime.tzinfo is not None
        assert scene.baseline
        assert scene.geometry.is_valid
        assert "?" not in "".join([*scene.assets.values(), scene.self_href])


def test_same_scenes_in_both_collections_get_the_same_numbers(shared_data):
    """Six scenes that Earth Search holds twice: with the offset, and with it taken off."""
    folder = shared_data / "stac" / "earth-search-v1"
    decisions = {
        name: [decide(item).add for item in items_of(folder / f"{name}_2025_6items.json")]
        for name in ("sentinel-2-c1-l2a", "sentinel-2-l2a")
    }
    assert decisions == {"sentinel-2-c1-l2a": [0] * 6, "sentinel-2-l2a": [1000] * 6}


@pytest.mark.parametrize(
    "name", ["S2A_33TWL_20230815_0_L2A", "S2A_33TWL_20230818_0_L2A", "S2A_33TWM_20230818_0_L2A"]
)
def test_pixels_agree_with_the_flag_of_items_that_claim_both(name, shared_data):
    """The items say that the offset was taken off, and that it is still -0.1."""
    folder = shared_data / "s2" / "mapchete-eo_33TWL_33TWM" / name
    item = items_of(folder / f"{name}.json")[0]
    with rasterio.open(folder / "B02.tif") as blue, rasterio.open(folder / "SCL.tif") as scl:
        dn = blue.read(1)[np.isin(scl.read(1), CLEAR)]
    assert decide(item).add == 1000
    assert check_pixels(Decision(add=0, reason="if one believed the asset"), dn).add == 1000
