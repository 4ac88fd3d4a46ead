"""From a cube to chips, from drawings to labels, by commands."""

import json

import geopandas as gpd
import pytest
import yaml
from typer.testing import CliRunner

from rockglacier.cli import app
from rockglacier.errors import InputError


def rockglacier(*arguments):
    answer = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if answer.exception is not None:
        raise answer.exception
    assert answer.exit_code == 0
    return answer.stdout


def draw(image, label):
    """Save a drawing of one triangle, or none."""
    ring = [[5, 5], [30, 5], [30, 40]]
    shapes = [{"label": label, "points": ring, "shape_type": "polygon"}] if label else []
    values = {"shapes": shapes, "imagePath": image.name, "imageData": None}
    image.with_suffix(".json").write_text(json.dumps(values))


def test_chips_are_exported_drawn_on_and_imported(make_products, tmp_path, monkeypatch):
    study = make_products()
    monkeypatch.chdir(tmp_path)
    settings = {**study.resolved(), "train": {"chip": 64}}
    (tmp_path / "here.yaml").write_text(yaml.safe_dump(settings))
    rockglacier("export", "here.yaml", "--to", "labelme", "--n", 4, "--folder", "chips")
    images = sorted((tmp_path / "chips").glob("*.png"))
    assert len(images) == 4
    for image, label in zip(images, ["rock_glacier", "ignore", None], strict=False):
        draw(image, label)
    told = rockglacier("import", "chips")
    assert "2 outline(s) on 3 chip(s), 1 of them without any; 1 chip(s)" in told
    assert "where: {label: [rock_glacier]}" in told
    assert len(gpd.read_file("chips/outlines.gpkg")) == 2
    assert len(gpd.read_file("chips/complete.gpkg")) == 3
    with pytest.raises(InputError, match="label 'rock_glacier' is unknown"):
        rockglacier("import", "chips", "--labels", "rg")
    with pytest.raises(InputError, match="stratified or uncertain"):
        rockglacier("export", "here.yaml", "--to", "labelme", "--choose", "best")
    with pytest.raises(InputError, match="nothing is exported to 'paint'"):
        rockglacier("export", "here.yaml", "--to", "paint")
