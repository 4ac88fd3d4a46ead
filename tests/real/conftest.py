"""Real scenes that several tests read."""

import json
import shutil

import pytest
import shapely
import stac_geoparquet.arrow as stac_arrow

NEIGHBOURS = (
    "S2A_33TWL_20230815_0_L2A",
    "S2A_33TWL_20230818_0_L2A",
    "S2A_33TWM_20230818_0_L2A",
)


@pytest.fixture(scope="session", autouse=True)
def _may_be_led_to(request):
    """The tests' own catalogs lead to the folder of real data."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROCKGLACIER_ROOTS", str(request.getfixturevalue("shared_data")))
        yield


@pytest.fixture(scope="module")
def neighbours(shared_data, tmp_path_factory):
    """The catalog of two overlapping cloudy tiles and a clear date, beside their files.

    They have no DEM: an item of ``dem.tif`` is added, and the file is left to those that need it.
    """
    root = tmp_path_factory.mktemp("neighbours")
    items = []
    for name in NEIGHBOURS:
        source = shared_data / "s2" / "mapchete-eo_33TWL_33TWM" / name
        shutil.copytree(source, root / name)
        item = json.loads((source / f"{name}.json").read_text())
        there = {path.name for path in source.iterdir()}
        item["assets"] = {
            key: {**asset, "href": f"./{name}/{asset['href']}"}
            for key, asset in item["assets"].items()
            if asset["href"] in there
        }
        item["links"] = []
        items.append(item)
    dem = {
        **{key: items[0][key] for key in ("type", "stac_version", "geometry", "bbox")},
        "id": "dem",
        "collection": "cop-dem-glo-30",
        "stac_extensions": [],
        "geometry": shapely.box(15, 45, 17, 47).__geo_interface__,
        "bbox": [15, 45, 17, 47],
        "properties": {"datetime": "2021-04-22T00:00:00Z"},
        "assets": {"data": {"href": "./dem.tif"}},
        "links": [],
    }
    for name, content in {"scenes": items, "dem": [dem]}.items():
        table = stac_arrow.parse_stac_items_to_arrow(content)
        stac_arrow.to_parquet(table, root / f"{name}.parquet")
    return root
