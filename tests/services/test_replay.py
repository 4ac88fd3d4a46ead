"""Our search against items that real providers wrote, from a server with their manners."""

import importlib.util
import json
import time
from pathlib import Path

import pytest
import stamina

from rockglacier_stac.api import ApiCatalog
from rockglacier_stac.errors import CatalogError, ServiceError
from rockglacier_stac.search import Query

spec = importlib.util.spec_from_file_location("replay", Path(__file__).with_name("replay.py"))
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)

RECORDED = {
    "earth-search": (
        "earth-search-v1/sentinel-2-l2a_alps_32TNT_32TMT_2020_16items.json",
        (module.QUERY,),
    ),
    "earth-search-c1": ("earth-search-v1/sentinel-2-c1-l2a_13TDE_10items.json", (module.QUERY,)),
    "planetary-computer": (
        "planetary-computer/sentinel-2-l2a_datetime_search_20items.json",
        (module.QUERY, module.FILTER),
    ),
    "cdse": ("cdse-v1/sentinel-2-l2a_alps_32TNT_32TMT_2020_4items.json", (module.FILTER,)),
}


@pytest.fixture(autouse=True)
def _quick():
    stamina.set_testing(True, attempts=5, cap=True)
    yield
    stamina.set_testing(False)


def made_items():
    box = {"type": "Polygon", "coordinates": [[[74, 36], [75, 36], [75, 37], [74, 37], [74, 36]]]}
    return [
        {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": f"scene-{number:02d}",
            "collection": "s2",
            "geometry": box,
            "bbox": [74, 36, 75, 37],
            "properties": {
                "datetime": f"2024-08-{number + 1:02d}T05:50:00Z",
                "eo:cloud_cover": 4.0 * number,
                "note": "x" * 4000,
            },
            "assets": {"blue": {"href": f"https://data.example/{number}.tif"}},
            "links": [],
        }
        for number in range(25)
    ]


@pytest.fixture(params=["made", *RECORDED])
def provider(request):
    """A running server and the collection that it has."""
    conformance = (module.QUERY,)
    if request.param == "made":
        items = made_items()
    else:
        name, conformance = RECORDED[request.param]
        path = request.getfixturevalue("shared_data") / "stac" / name
        items = json.loads(path.read_text())["features"]
    with module.replay(items, conformance=conformance) as server:
        yield server


def search(server, *, page=100, **conditions):
    catalog = ApiCatalog(name="replay", url=server.url, page=page)
    return [
        item["id"] for item in catalog.search(Query(server.items[0]["collection"], **conditions))
    ]


def ids_of(server, limit=101.0):
    return sorted(
        {item["id"] for item in server.items if item["properties"]["eo:cloud_cover"] < limit}
    )


@pytest.mark.parametrize("page", [100, 10])
def test_every_page_is_read_though_nobody_says_how_many(provider, page):
    assert sorted(search(provider, page=page)) == ids_of(provider)
    assert len(provider.asked) == max(1, -(-len(provider.items) // page))


def test_cloud_is_asked_as_a_number_in_the_servers_own_way(provider):
    for limit in (5, 50.0):
        assert sorted(search(provider, cloud_max=limit)) == ids_of(provider, limit)
    asked = provider.asked[-1]
    assert ("query" in asked) == (module.QUERY in provider.conformance)


def test_a_server_that_ignores_conditions_changes_nothing(provider):
    provider.ignores_filters = True
    assert sorted(search(provider, cloud_max=20)) == ids_of(provider, 20)


def test_items_that_come_on_two_pages_count_once(provider):
    provider.repeats = True
    found = search(provider, page=10)
    assert sorted(found) == ids_of(provider)


@pytest.mark.parametrize(
    "faults",
    [
        [502],
        [503, 504],
        [500, 502, 503],
        ["cut"],
        ["cut", "cut"],
        ["text"],
        ["moved"],
    ],
    ids=str,
)
def test_faults_that_pass_are_overcome(provider, faults):
    provider.faults = list(faults)
    assert sorted(search(provider)) == ids_of(provider)
    assert not provider.faults


def test_a_pause_that_is_asked_for_is_given(provider):
    provider.faults = [(429, {"Retry_After": "1"})]
    began = time.monotonic()
    assert sorted(search(provider)) == ids_of(provider)
    assert time.monotonic() - began >= 1


def test_pages_that_are_too_large_are_halved():
    with module.replay(made_items()) as server:
        server.limits_bytes = True
        assert sorted(search(server, page=100)) == ids_of(server)
        sizes = [body["limit"] for body in server.asked]
        assert sizes[:4] == [100, 50, 25, 12]
        assert set(sizes[3:]) == {12}


def test_a_server_that_stays_away_is_told():
    with module.replay(made_items()) as server:
        server.faults = [502] * 200
        with pytest.raises(ServiceError, match="failed 5 times, at last with 502"):
            search(server)
        assert len(server.asked) == 5


def test_a_page_for_people_is_told(provider):
    provider.faults = ["page"] * 50
    with pytest.raises(CatalogError, match="leads to a page instead of JSON"):
        search(provider)
    assert len(provider.asked) == 1


@pytest.mark.parametrize("constant", module.CONSTANTS)
def test_what_is_no_number_of_json_is_told(provider, constant):
    provider.faults = [constant] * 50
    with pytest.raises(CatalogError, match=f"leads to {constant}, which is not JSON"):
        search(provider)
    assert len(provider.asked) == 1


def test_an_answer_that_is_cut_short_every_time_is_told(provider):
    provider.faults = ["cut"] * 50
    with pytest.raises(CatalogError, match="is not JSON"):
        search(provider)
    assert len(provider.asked) == 5


def test_a_redirect_to_the_metadata_service_is_refused(provider):
    provider.faults = ["away"] * 50
    with pytest.raises(CatalogError, match="a link-local address"):
        search(provider)
    assert len(provider.asked) == 1


@pytest.mark.parametrize("faults", [["slow"], ["slow", "slow", 502]], ids=str)
def test_a_first_byte_that_does_not_come_is_asked_for_again(provider, monkeypatch, faults):
    monkeypatch.setattr("rockglacier_stac.api.TIMEOUT_S", module.SLOW_S / 3)
    provider.faults = list(faults)
    assert sorted(search(provider)) == ids_of(provider)


def test_pages_without_end_are_given_up():
    with module.replay(made_items()) as server:
        server.endless = True
        with pytest.raises(CatalogError, match="pages without end"):
            search(server, page=5)
        assert len(server.asked) < 20
