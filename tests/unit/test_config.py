"""A study's file: what is refused, and with which words."""

import json
from datetime import date
from pathlib import Path

import pytest
import yaml

from rockglacier.config import fingerprint, json_schema, load_config, parse_config
from rockglacier.errors import InputError
from rockglacier.template import commented_yaml

BASINS = Path(__file__).parents[2] / "pipeline" / "basins"
MINIMAL = {"name": "here", "area": [74.0, 36.0, 74.1, 36.1]}


def parse(**values):
    return parse_config({**MINIMAL, **values}, source="here.yaml")


def test_unknown_key_names_the_nearest_valid_one():
    with pytest.raises(InputError) as caught:
        parse(search={"scene_cloud_mx": 3})
    assert "search.scene_cloud_mx: unknown key; did you mean 'scene_cloud_max'?" in str(
        caught.value
    )
    assert "rockglacier schema" in str(caught.value)


def test_wrong_value_is_shown():
    with pytest.raises(InputError, match=r"cube.resolution.*found -10"):
        parse(cube={"resolution": -10})


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"name": "My Valley"}, "lower-case letters, digits, - and _"),
        ({"cube": {"bands": "B02"}}, "cube.bands: should be a list, in square brackets"),
        ({"labels": "a.gpkg"}, "labels: is a section: its keys are indented below it"),
        ({"compute": {"memory": "4 gigs"}}, "Memory of a worker, e.g. 4GiB"),
        ({"search": {"assets": {"B99": "a"}}}, "search.assets.B99: Input should be 'B01'"),
    ],
)
def test_wrong_value_is_explained_without_patterns_and_types(values, line):
    with pytest.raises(InputError) as caught:
        parse(**values)
    said = str(caught.value)
    assert said.startswith("1 setting(s) of 'here.yaml' cannot be used")
    assert line in said
    assert not any(jargon in said for jargon in ("^[", "tuple", "[key]", "instance of"))


def test_network_that_is_not_known_is_one_problem_with_both_ways_out():
    with pytest.raises(InputError) as caught:
        parse(train={"networks": ["unett"]})
    said = str(caught.value)
    assert said.startswith("1 setting(s)")
    assert "train.networks.0: Input should be 'unet', 'deeplabv3plus' or 'hrnet'; or" in said
    assert "package.module:build" in said


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf"])
def test_a_number_has_to_be_one(value):
    text = f"name: a\narea: [74, 36, 75, 37]\ncube: {{resolution: {value}}}\n"
    with pytest.raises(InputError, match=r"cube\.resolution"):
        parse_config(yaml.safe_load(text), source="test")
    assert fingerprint({"a": 1.5})
    with pytest.raises(ValueError, match="not JSON compliant"):
        fingerprint({"a": float("nan")})


def test_end_before_start_is_refused():
    with pytest.raises(InputError, match="lies before start"):
        parse(search={"start": "2024-05-01", "end": "2024-04-01"})


def test_season_outside_the_year_is_refused():
    with pytest.raises(InputError, match="two months from 1 to 12"):
        parse(search={"season": [7, 13]})


def test_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(InputError, match="rockglacier new lost"):
        load_config(tmp_path / "lost.yaml")
    with pytest.raises(InputError, match=r"no file matches '.*\*\.yaml'"):
        load_config(tmp_path / "basins" / "*.yaml")


def test_file_that_is_not_yaml_is_refused(tmp_path):
    (tmp_path / "bad.yaml").write_text("name: [")
    with pytest.raises(InputError, match="is not YAML"):
        load_config(tmp_path / "bad.yaml")


def test_tab_is_named(tmp_path):
    (tmp_path / "bad.yaml").write_text("name: a\nsearch:\n\tstart: 2024-01-01\n")
    with pytest.raises(InputError, match="YAML takes no tabs"):
        load_config(tmp_path / "bad.yaml")


def test_date_that_does_not_exist_is_told_with_its_key(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("name: a\narea: a.gpkg\nsearch: {start: 2024-02-30}\n")
    with pytest.raises(InputError, match=r"search\.start: .* \(found '2024-02-30'\)"):
        load_config(path)
    path.write_text(
        "name: a\narea: a.gpkg\nsearch: {start: 2023-07-01}\n"
        "cube: {periods: [[2023-07-01, 2023-07-31], [2024-07-01, 2024-07-31]]}\n"
    )
    config = load_config(path)
    assert config.search.start == date(2023, 7, 1)
    assert config.cube.periods[1] == (date(2024, 7, 1), date(2024, 7, 31))


def test_yaml_cannot_make_objects(tmp_path):
    (tmp_path / "bad.yaml").write_text("name: !!python/object/apply:os.getcwd []")
    with pytest.raises(InputError, match="is not YAML"):
        load_config(tmp_path / "bad.yaml")


def test_paper_protocol_brings_its_settings():
    config = parse(protocol="paper")
    assert config.train.trials == 5
    assert config.train.epochs == 300
    assert config.cube.composite == "least-cloudy"
    assert config.features.set == "paper-pc1"


def test_paper_protocol_leaves_what_the_file_says():
    assert parse(protocol="paper", train={"trials": 2}).train.trials == 2


@pytest.mark.parametrize("name", ["hunza", "oetztal", "demo"])
def test_shipped_basins_are_valid(name):
    assert load_config(BASINS / f"{name}.yaml").name == name


def test_hunza_is_the_study_of_the_paper():
    config = load_config(BASINS / "hunza.yaml")
    assert config.area == (74.03, 35.90, 75.80, 37.09)
    assert config.protocol == "paper"
    assert config.search.collection == "sentinel-2-c1-l2a"


def test_schema_is_json_with_every_section():
    schema = json.loads(json_schema())
    assert {"search", "cube", "labels", "train"} <= set(schema["properties"])


def test_new_study_file_is_valid_and_holds_the_defaults():
    text = commented_yaml("hunza", area="hunza.gpkg", reference="outlines.gpkg")
    config = parse_config(yaml.safe_load(text), source="hunza.yaml")
    plain = parse_config(
        {"name": "hunza", "area": "hunza.gpkg", "labels": {"reference": "outlines.gpkg"}},
        source="plain",
    )
    assert config == plain


def test_new_study_file_explains_its_keys():
    text = commented_yaml("hunza", area="hunza.gpkg", reference=None)
    assert "# Cloud over the basin from SCL, percent." in text
    assert "basin_cloud_max: 5" in text


def test_fingerprint_ignores_the_order_of_keys():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
