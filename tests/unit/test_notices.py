"""Products say where their pixels come from, and claim no source that they have not."""

import pandas as pd
import pytest

from made_study import study_in
from rockglacier.scenes.notices import MADE_UP_NOTICE, makers, notices


def make_study(folder, platforms=(), **values):
    study = study_in(folder, **values)
    study.folder.mkdir()
    if platforms:
        pd.DataFrame({"platform": platforms}).to_parquet(study.scenes_path)
    return study


def test_notices_follow_the_sources(tmp_path):
    own_dem = {"search": {"dem_collection": "ours"}, "publish": {"attribution": "Us, CC BY"}}
    study = make_study(tmp_path, ["sentinel-2a"], **own_dem)
    assert notices(study) == ["Contains modified Copernicus Sentinel data 2024", "Us, CC BY"]
    assert [maker["roles"] for maker in makers(study)] == [["producer"], ["licensor"]]


def test_copernicus_dem_is_named(tmp_path):
    study = make_study(tmp_path, ["sentinel-2b"])
    assert "© DLR e.V. 2010-2014" in notices(study)[1]
    assert [maker["name"] for maker in makers(study)] == [
        "European Space Agency (ESA)",
        "Copernicus Programme of the European Union",
        "DLR e.V.",
        "Airbus Defence and Space GmbH",
    ]


def test_made_up_scenes_claim_no_copernicus_data(tmp_path):
    study = make_study(tmp_path, ["made-up-a", "made-up-b"])
    assert notices(study) == [MADE_UP_NOTICE]
    assert makers(study) == []


@pytest.mark.parametrize("platforms", [["made-up-a", "sentinel-2a"], [""]])
def test_one_real_or_unknown_scene_is_enough_for_the_notice(tmp_path, platforms):
    assert notices(make_study(tmp_path, platforms))[0].startswith("Contains modified Copernicus")
