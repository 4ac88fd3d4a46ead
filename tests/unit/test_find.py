"""The search stage against a STAC API on this machine that may ignore what it is asked."""

from dataclasses import replace

import geopandas as gpd
import numpy as np
import pytest
import shapely
import stamina

from made_server import answering, serving
from rockglacier.errors import InputError, RemoteError
from rockglacier.scenes.record import read_scenes
from rockglacier.scenes.select import search_scenes

CONFORMANCE = ["core", "item-search", "item-search#query", "item-search#fields", "collections"]


class Api:
    """A STAC API with the items of a basin; ``obeys`` says whether it filters at all."""

    def __init__(self):
        self.items, self.asked = [], []
        self.obeys, self.conformance, self.fails = True, CONFORMANCE, lambda body: False

    def answer(self, path, body):
        if path.startswith("/collections"):
            names = sorted({item["collection"] for item in self.items})
            return {"collections": [{"id": name} for name in names], "links": []}
        if path.startswith("/search"):
            self.asked.append(body)
            if self.fails(body):
                return None
            found = [item for item in self.items if not self.obeys or self._meets(item, body)]
            if self.obeys and "fields" in body:
                found = [
                    {k: v for k, v in item.items() if k not in ("assets", "links")}
                    for item in found
                ]
            return {"type": "FeatureCollection", "features": found, "links": []}
        search = {"rel": "search", "href": f"{self.url}/search", "method": "POST"}
        return {
            "type": "Catalog",
            "stac_version": "1.0.0",
            "id": "api",
            "description": "a",
            "links": [
                {"rel": "self", "href": self.url},
                {**search, "type": "application/geo+json"},
                {"rel": "data", "href": f"{self.url}/collections"},
            ],
            "conformsTo": [f"https://api.stacspec.org/v1.0.0/{name}" for name in self.conformance],
        }

    def _meets(self, item, body):
        if item["collection"] not in body["collections"]:
            return False
        area = shapely.geometry.shape(body["intersects"])
        if not shapely.geometry.shape(item["geometry"]).intersects(area):
            return False
        cloud = item["properties"].get("eo:cloud_cover")
        limits = body.get("query", {}).get("eo:cloud_cover", {})
        when = item["properties"]["datetime"]
        first, _, last = body.get("datetime", "/").partition("/")
        return (
            cloud is None or (cloud < limits.get("lt", 101) and cloud >= limits.get("gte", 0))
        ) and (not first or first <= when <= last)


@pytest.fixture
def api():
    fake = Api()

    with serving(answering(fake.answer)) as fake.url, stamina.set_testing(True, attempts=2):
        yield fake


@pytest.fixture
def served(basin, api):
    """A basin of which the API tells: one scene to use, and one for every rule."""
    basin.scene("used")
    basin.scene("winter", when="2024-01-15T05:50:00Z")
    basin.scene("before", when="2023-08-01T05:50:00Z")
    basin.scene("cloudy", when="2024-08-06T05:50:00Z", cloud=5.0)
    basin.scene("cloudy-again", when="2024-08-06T05:50:00Z", cloud=6.0, baseline="05.00")
    basin.scene("cloudier", when="2024-08-11T05:50:00Z", cloud=60.0)
    basin.scene("used-cloudier", baseline="05.00", cloud=7.0)
    basin.scene("elsewhere", footprint=shapely.box(80, 40, 81, 41))
    basin.dem()
    for item in basin.items:
        for asset in item["assets"].values():
            asset["href"] = str(basin.folder / asset["href"])
    api.items = basin.items
    return basin


def search(served, api, **settings):
    study = served.study(catalog=api.url, **settings)
    facts = search_scenes(study)
    dropped = gpd.read_parquet(study.dropped_path).set_index("id")["rule"].to_dict()
    return facts, [scene.id for scene in read_scenes(study.scenes_path)], dropped


@pytest.mark.parametrize("obeys", [True, False])
def test_server_that_ignores_every_condition_changes_nothing(served, api, obeys):
    api.obeys = obeys
    facts, used, dropped = search(served, api)
    assert used == ["used"]
    assert dropped == {
        "winter": "out of season",
        "cloudy": "too cloudy",
        "cloudy-again": "too cloudy",
        "cloudier": "too cloudy",
        "used-cloudier": "too cloudy",
    }
    assert facts["found"] == 6


def test_server_is_asked_for_what_is_wanted_and_counts_the_rest_without_assets(served, api):
    search(served, api)
    first, second = [body for body in api.asked if body["collections"] == ["sentinel-2-c1-l2a"]]
    assert first["query"] == {"eo:cloud_cover": {"lt": 5.0}}
    assert first["datetime"] == "2024-01-01T00:00:00Z/2024-12-31T23:59:59Z"
    assert "fields" not in first
    assert second["query"] == {"eo:cloud_cover": {"gte": 5.0}}
    assert second["fields"]["exclude"] == ["assets", "links"]
    assert "id" in second["fields"]["include"]


def test_basins_that_share_answers_find_the_same_without_asking_again(served, api, tmp_path):
    plain = search(served, api)
    shared = [
        replace(served.study(catalog=api.url, start="2024-01-01"), answers=tmp_path / "answers")
        for _ in range(2)
    ]
    facts = [search_scenes(shared[0])]
    asked = len(api.asked)
    facts.append(search_scenes(shared[1]))
    assert facts == [plain[0]] * 2
    assert len(api.asked) == asked


def test_passes_lost_to_the_items_cloud_alone_are_counted_once(served, api):
    """Two processings of one pass are one, and a pass that is used is not lost."""
    facts, _, _ = search(served, api)
    assert facts["cloud_alone"] == 2
    api.obeys = False
    assert search(served, api)[0]["cloud_alone"] == 2


def test_search_goes_on_where_the_cloudy_scenes_cannot_be_counted(served, api):
    api.fails = lambda body: "gte" in str(body)
    facts, used, _ = search(served, api)
    assert (facts["cloud_alone"], used) == (None, ["used"])


def test_server_that_fails_ends_the_search(served, api):
    api.fails = lambda body: True
    with pytest.raises(RemoteError, match="at last with 502"):
        search(served, api)


def test_asset_names_of_an_unknown_catalog_come_from_the_config(basin):
    scene = basin.scene("a", dn=np.full((240, 240), 1400))
    keys = {"blue": "b2", "red": "b4", "scl": "classes"}
    scene["assets"] = {keys[key]: asset for key, asset in scene["assets"].items()}
    dem = basin.dem()
    dem["assets"] = {"height": dem["assets"]["data"]}
    with pytest.raises(InputError, match="item 'a' has no asset for B02") as caught:
        search_scenes(basin.study())
    assert "it has b2, b4, classes" in caught.value.expected
    assert "search.assets" in caught.value.todo
    names = {"B02": "b2", "B04": "b4", "SCL": "classes", "DEM": "height"}
    study = basin.study(assets=names)
    assert search_scenes(study)["used"] == 1
    assert read_scenes(study.scenes_path)[0].assets["B04"].endswith("a/B04.tif")


def test_asset_named_in_the_config_is_the_only_one_that_counts(basin):
    basin.scene("a")
    basin.dem()
    with pytest.raises(InputError, match="item 'a' has no asset for B02") as caught:
        search_scenes(basin.study(assets={"B02": "blau"}))
    assert "an asset blau; it has blue" in caught.value.expected


def test_catalogs_known_by_name_bring_their_collections(basin):
    basin.scene("a")
    search = basin.study(catalog="cdse").config.search
    assert (search.collection, search.dem_collection) == (
        "sentinel-2-l2a",
        "cop-dem-glo-30-dged-cog",
    )
    search = basin.study(catalog="planetary-computer", dem_catalog="cdse").config.search
    assert search.dem_collection == "cop-dem-glo-30-dged-cog"
    search = basin.study(catalog="earth-search", collection="sentinel-2-l2a").config.search
    assert (search.collection, search.dem_collection) == ("sentinel-2-l2a", "cop-dem-glo-30")


def test_missing_keys_are_told_before_anything_is_read(basin, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    scene = basin.scene("a")
    for asset in scene["assets"].values():
        asset["href"] = f"s3://eodata/{asset['href']}"
    basin.dem()
    with pytest.raises(InputError, match="the assets of 'cdse' need S3 keys") as caught:
        search_scenes(basin.study())
    assert "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in caught.value.expected
