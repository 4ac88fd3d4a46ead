"""Real items of every provider become scenes as one table expects; real pixels settle claims."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
import shapely
import stac_geoparquet.arrow as stac_arrow

from rockglacier.config import Band
from rockglacier.scenes.choose import without_duplicates
from rockglacier.scenes.radiometry import Decision, check_pixels, decide
from rockglacier.scenes.record import dem_from_item, read_scenes, scene_from_item, write_scenes
from rockglacier_stac.catalogs import open_catalog
from rockglacier_stac.providers import PROVIDERS, provider_of
from rockglacier_stac.search import Query, tidied

pytestmark = pytest.mark.real

SHARED = Path(__file__).parents[3] / "shared" / "data"
FILES = [path for path in sorted(SHARED.glob("stac/*/*.json")) if "collection" not in path.name]
BANDS = Band.__args__
CLEAR = (4, 5, 6)

E84, PC = "earth-search-v1", "planetary-computer"
TAKEN_OFF = "the provider took the offset off the pixels, although the asset says -0.1"
STILL_THERE = "the asset says that its offset is -0.1"

# file -> (scenes, key of B02, tiles, EPSG codes, baselines, least and most cloud, {(add, reason)})
EXPECTED = {
    f"{E84}/sentinel-2-c1-l2a_13TDE_10items": (
        10, "blue", {"13TDE"}, {32613}, {"05.10"}, (0.044906, 95.406204),
        {(0, STILL_THERE)},
    ),
    f"{E84}/sentinel-2-c1-l2a_2025_6items": (
        6, "blue", {"20EPT", "24MUA", "24MUV", "24MVV", "24MWV", "24MXV"}, {32720, 32724},
        {"05.11"}, (24.684544, 56.813848), {(0, STILL_THERE)},
    ),
    f"{E84}/sentinel-2-l2a_2025_6items": (
        6, "blue", {"20EPT", "24MUA", "24MUV", "24MVV", "24MWV", "24MXV"}, {32720, 32724},
        {"05.11"}, (24.684544, 56.813848), {(1000, TAKEN_OFF)},
    ),
    f"{E84}/sentinel-2-l2a_13TDE_20231008_1item": (
        1, "blue", {"13TDE"}, {32613}, {"05.09"}, (0.000299, 0.000299), {(1000, TAKEN_OFF)},
    ),
    f"{E84}/sentinel-2-l2a_31UDQ_3items": (
        3, "blue", {"31UDQ"}, {32631}, {"05.09"}, (0.017663, 39.944384), {(1000, TAKEN_OFF)},
    ),
    f"{E84}/sentinel-2-l2a_alps_32TNT_32TMT_2020_16items": (
        16, "blue", {"32TMT", "32TNT", "32UMU", "32UNU"}, {32632}, {"02.14", "05.00"},
        (87.926066, 99.999988),
        {(1000, TAKEN_OFF), (1000, "baseline 02.14 never had the offset")},
    ),
    "earth-search-v0/sentinel-s2-l2a-cogs_S2A_17SPR_20221106_0_L2A": (
        1, "B02", {"17SPR"}, {32617}, {"04.00"}, (28.12, 28.12),
        {(1000, "the provider took the offset off the pixels")},
    ),
    "earth-search-v0/sentinel-s2-l2a-cogs_S2B_42TUM_20220107_0_L2A": (
        1, "B02", {"42TUM"}, {32642}, {"03.01"}, (82.48, 82.48),
        {(1000, "baseline 03.01 never had the offset")},
    ),
    f"{PC}/S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531": (
        1, "B02", {"06VVN"}, {32606}, {"02.12"}, (0.314306, 0.314306),
        {(1000, "baseline 02.12 never had the offset")},
    ),
    f"{PC}/sentinel-2-l2a_4items": (
        4, "B02", {"46XER", "46XES", "47XMJ", "47XML"}, {32646, 32647}, {"05.10"},
        (0.126773, 0.843375), {(0, "baseline 05.10 carries the offset")},
    ),
    f"{PC}/sentinel-2-l2a_two-items_rustac": (
        2, "B02", {"13TDE"}, {32613}, {"05.11"}, (48.747352, 66.843867),
        {(0, "baseline 05.11 carries the offset")},
    ),
    f"{PC}/sentinel-2-l2a_africa_9items": (
        9, "B02", {"35LND", "35LNE", "35LNF", "35LNG", "35LNH", "35LNJ", "35LNK", "35LNL", "35MNM"},
        {32735}, {"02.12"}, (0.081327, 16.400486),
        {(1000, "baseline 02.12 never had the offset")},
    ),
    f"{PC}/sentinel-2-l2a_datetime_search_20items": (
        20, "B02",
        {"59UNA", "59UNB", "59UNV", "59VLC", "59VLD", "59VLE", "59VLF", "59VMC", "59VMD", "59VME",
         "59VMF", "59VNC", "59VND", "59VNE", "59VNF", "59VPC", "59VPD", "59VPE", "60VUJ", "60VUK"},
        {32659, 32660}, {"02.12"}, (36.231313, 77.817121),
        {(1000, "baseline 02.12 never had the offset")},
    ),
    "cdse-v1/sentinel-2-l2a_36NYH_1item_projcode": (
        1, "B02_10m", {"36NYH"}, {32636}, {"05.00"}, (87.94, 87.94), {(0, STILL_THERE)},
    ),
    "cdse-v1/sentinel-2-l2a_alps_32TNT_32TMT_2020_4items": (
        4, "B02_10m", {"32TMT", "32TNT"}, {32632}, {"05.00"}, (11.32, 99.73), {(0, STILL_THERE)},
    ),
}  # fmt: skip
DEM_TILES = {
    f"{E84}/cop-dem-glo-30_10items": 10,
    f"{PC}/cop-dem-glo-30_4items": 4,
    "stactools/Copernicus_DSM_COG_10_N53_00_W115_00_DEM": 1,
}
HOLDERS = {"earth-search-v0": "earth-search", E84: "earth-search", PC: PC, "cdse-v1": "cdse"}


def items_of(path):
    content = json.loads(path.read_text())
    items = content["features"] if content.get("type") == "FeatureCollection" else [content]
    return [tidied(item, base=str(path)) for item in items if item.get("type") == "Feature"]


def name_of(path):
    return f"{path.parent.name}/{path.stem}"


def test_every_file_is_expected(shared_data):
    assert {name_of(path) for path in FILES} == {*EXPECTED, *DEM_TILES}


@pytest.mark.parametrize("name", EXPECTED)
def test_every_item_becomes_the_scene_that_is_expected(name, shared_data):
    count, key, tiles, zones, baselines, cloud, decisions = EXPECTED[name]
    items = items_of(shared_data / "stac" / f"{name}.json")
    scenes = [scene_from_item(item, BANDS) for item in items]
    assert len(scenes) == count
    assert {scene.tile for scene in scenes} == tiles
    assert {scene.epsg for scene in scenes} == zones
    assert {scene.baseline for scene in scenes} == baselines
    assert (
        min(scene.cloud_cover for scene in scenes),
        max(scene.cloud_cover for scene in scenes),
    ) == cloud
    assert {(scene.offset_in_pixels, scene.offset_reason) for scene in scenes} == decisions
    for item, scene in zip(items, scenes, strict=True):
        assert list(scene.assets) == [*BANDS, "SCL"]
        assert scene.assets["B02"] == item["assets"][key]["href"].partition("?")[0]
        assert provider_of(scene.assets["B02"]).name == HOLDERS[name.partition("/")[0]]
        assert scene.epsg % 100 == int(scene.tile[:2])
        assert scene.transform[0] == 10
        assert scene.shape == (10980, 10980)
        assert scene.datetime.tzinfo is not None
        assert scene.geometry.is_valid
        assert scene.notes == ()
        assert "?" not in "".join([*scene.assets.values(), scene.self_href])


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.filterwarnings("ignore:Could not parse bucket:UserWarning")  # of pystac's migration
def test_items_that_pystac_migrated_become_the_same_scenes(name, shared_data):
    for item in items_of(shared_data / "stac" / f"{name}.json"):
        moved = pystac.Item.from_dict(item, migrate=True)
        written = moved.to_dict(include_self_link=False, transform_hrefs=False)
        assert written["stac_version"] == "1.1.0"
        before = asdict(scene_from_item(item, BANDS))
        after = asdict(scene_from_item(tidied(written, base=""), BANDS))
        before.pop("self_href")
        after.pop("self_href")
        assert after == before


@pytest.mark.parametrize("name", EXPECTED)
def test_items_from_a_stac_geoparquet_file_become_the_same_scenes(name, shared_data, tmp_path):
    items = items_of(shared_data / "stac" / f"{name}.json")
    table = stac_arrow.parse_stac_items_to_arrow(items)
    stac_arrow.to_parquet(table, tmp_path / "items.parquet")
    found = open_catalog(str(tmp_path / "items.parquet")).search(Query(items[0]["collection"]))
    before = {item["id"]: scene_from_item(item, BANDS) for item in items}
    assert {item["id"]: scene_from_item(item, BANDS) for item in found} == before


@pytest.mark.parametrize("name", DEM_TILES)
def test_every_dem_item_becomes_a_tile(name, shared_data):
    tiles = [dem_from_item(item) for item in items_of(shared_data / "stac" / f"{name}.json")]
    assert len(tiles) == DEM_TILES[name]
    for tile in tiles:
        assert tile.geometry.area == pytest.approx(1, abs=0.01)
        assert tile.collection == "cop-dem-glo-30"


def test_scenes_of_every_provider_fit_into_one_table(shared_data, tmp_path):
    scenes = [
        scene_from_item(item, BANDS)
        for name in EXPECTED
        for item in items_of(shared_data / "stac" / f"{name}.json")
    ]
    write_scenes(scenes, tmp_path / "scenes.parquet")
    assert read_scenes(tmp_path / "scenes.parquet") == scenes


def test_table_of_providers_names_the_assets_of_their_items(shared_data):
    for folder, holder in HOLDERS.items():
        if folder == "earth-search-v0":  # another API, with Sentinel-2's own names
            continue
        name = next(name for name in EXPECTED if name.startswith(f"{folder}/"))
        item = items_of(shared_data / "stac" / f"{name}.json")[0]
        for keys in PROVIDERS[holder].assets.values():
            assert set(keys) & set(item["assets"])


def test_reprocessed_twins_are_recognised(shared_data):
    """Sixteen items are eight passes over a tile, each in two processings; halves stay."""
    name = f"{E84}/sentinel-2-l2a_alps_32TNT_32TMT_2020_16items"
    scenes = [
        scene_from_item(item, BANDS) for item in items_of(shared_data / "stac" / f"{name}.json")
    ]
    kept, dropped = without_duplicates(scenes, shapely.box(7, 46, 11, 49))
    assert {scene.baseline for scene in kept} == {"05.00"}
    assert (len(kept), len(dropped)) == (8, 8)
    assert {drop.rule for drop in dropped} == {"reprocessed since"}
    assert all("instead of 02.14 sequence 0" in drop.reason for drop in dropped)


def test_same_scenes_in_both_collections_get_the_same_numbers(shared_data):
    """Six scenes that Earth Search holds twice: with the offset, and with it taken off."""
    folder = shared_data / "stac" / E84
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
