"""Answers of a server that basins share: the same items, asked once a cell."""

import json
import os
import time
from datetime import date

import pytest
import shapely

from rockglacier_stac.globe import cut
from rockglacier_stac.kept import KeptCatalog, cells_of
from rockglacier_stac.search import Query, satisfies


class Server:
    """A catalog that counts its questions."""

    name, is_remote = "a server", True

    def __init__(self, items):
        self.items, self.asked = items, []

    def collections(self):
        return ["s2"]

    def search(self, query):
        self.asked.append(query.area.bounds)
        return [item for item in self.items if satisfies(item, query)]


def item(name, box, *, day=1, cloud=1.0, href="https://example.org/a.tif"):
    return {
        "id": name,
        "collection": "s2",
        "geometry": shapely.geometry.mapping(cut(box)),
        "properties": {"datetime": f"2024-08-{day:02d}T05:00:00Z", "eo:cloud_cover": cloud},
        "assets": {"B02": {"href": href}},
    }


@pytest.fixture
def server():
    return Server(
        [
            item("late", shapely.box(74.5, 36.5, 75.5, 37.5), day=9),
            item("early", shapely.box(74.2, 36.2, 75.4, 36.8), day=2),
            item("cloudy", shapely.box(74.2, 36.2, 75.4, 36.8), day=3, cloud=80.0),
            item("beside", shapely.box(74.0, 36.0, 74.1, 36.1)),
            item("across", shapely.box(179.5, -17.0, 180.5, -16.2), day=4),
        ]
    )


def ids(catalog, area, **conditions):
    return [found["id"] for found in catalog.search(Query("s2", area=area, **conditions))]


def test_answer_is_that_of_the_server(server, tmp_path):
    area = shapely.box(74.8, 36.3, 75.2, 36.7)
    kept = KeptCatalog(server, tmp_path)
    for conditions in ({}, {"cloud_max": 5.0}, {"cloud_min": 5.0}, {"end": date(2024, 8, 2)}):
        plain = ids(server, area, **conditions)
        assert sorted(plain) == sorted(ids(kept, area, **conditions))
    assert ids(kept, area) == ["early", "cloudy", "late"]  # in order of time


def test_neighbours_and_the_next_run_ask_nothing_again(server, tmp_path):
    ids(KeptCatalog(server, tmp_path), shapely.box(74.3, 36.3, 74.6, 36.6))
    asked = len(server.asked)
    again = KeptCatalog(server, tmp_path)
    assert ids(again, shapely.box(74.7, 36.7, 74.9, 36.9)) == ["early", "cloudy", "late"]
    assert len(server.asked) == asked == 1


def test_other_conditions_are_other_questions(server, tmp_path):
    kept, area = KeptCatalog(server, tmp_path), shapely.box(74.3, 36.3, 74.6, 36.6)
    assert ids(kept, area, cloud_max=5.0) == ["early", "late"]
    assert ids(kept, area, cloud_max=90.0) == ["early", "cloudy", "late"]


def test_area_across_the_antimeridian_is_asked_on_both_sides(server, tmp_path):
    kept = KeptCatalog(server, tmp_path)
    assert ids(kept, shapely.box(179.8, -16.8, 180.2, -16.4)) == ["across"]
    assert sorted(server.asked) == [(-180.0, -17.0, -179.0, -16.0), (179.0, -17.0, 180.0, -16.0)]


def test_cells_reach_the_pole_and_no_further():
    assert list(cells_of(shapely.box(10.2, 89.5, 10.8, 90.0))) == [(10.0, 89.0, 11.0, 90.0)]


def test_old_and_damaged_answers_are_asked_for_again(server, tmp_path):
    kept, area = KeptCatalog(server, tmp_path, max_age_s=100), shapely.box(74.3, 36.3, 74.6, 36.6)
    ids(kept, area)
    (path,) = tmp_path.glob("*.json")
    os.utime(path, (time.time() - 200,) * 2)
    ids(kept, area)
    path.write_text("[{")
    assert ids(kept, area) == ["early", "cloudy", "late"]
    assert len(server.asked) == 3


def test_tokens_are_not_written(tmp_path):
    href = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/a.tif"
    signed = Server([item("a", shapely.box(74, 36, 75, 37), href=f"{href}?sig=SECRET")])
    ids(KeptCatalog(signed, tmp_path), shapely.box(74.3, 36.3, 74.6, 36.6))
    (path,) = tmp_path.glob("*.json")
    assert "SECRET" not in path.read_text()
    assert json.loads(path.read_text())[0]["assets"]["B02"]["href"] == href


def test_an_answer_with_signed_addresses_is_asked_for_again_and_on_no_disk(tmp_path):
    box = shapely.box(74.2, 36.2, 74.4, 36.4)
    href = "https://example.org/a.tif?X-Amz-Expires=3600&X-Amz-Signature=unspeakable"
    server = Server([item("signed", box, href=href)])
    catalog = KeptCatalog(server, tmp_path / "answers")
    for times in (1, 2):
        (found,) = catalog.search(Query("s2", area=box))
        assert found["assets"]["B02"]["href"] == href
        assert len(server.asked) == times
    assert not list(tmp_path.rglob("*.json"))
