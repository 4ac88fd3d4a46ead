"""From a cube to chips, from drawings to labels, by commands."""

import json
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import yaml


def rockglacier(*arguments, cwd):
    command = [str(Path(sys.executable).with_name("rockglacier")), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_chips_are_exported_drawn_on_and_imported(make_products, tmp_path):
    study = make_products()
    settings = {**study.resolved(), "train": {"chip": 64}}
    (tmp_path / "here.yaml").write_text(yaml.safe_dump(settings))
    answer = rockglacier(
        "export", "here.yaml", "--to", "labelme", "--n", 4, "--folder", "chips", cwd=tmp_path
    )
    assert answer.returncode == 0, answer.stderr
    images = sorted((tmp_path / "chips").glob("*.png"))
    assert len(images) == 4
    for image, label in zip(images, ["rock_glacier", "ignore", None], strict=False):
        ring = [[5, 5], [30, 5], [30, 40]]
        shapes = [{"label": label, "points": ring, "shape_type": "polygon"}] if label else []
        image.with_suffix(".json").write_text(
            json.dumps({"shapes": shapes, "imagePath": image.name, "imageData": None})
        )
    answer = rockglacier("import", "chips", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "2 outline(s) on 3 chip(s), 1 of them without any; 1 chip(s)" in answer.stdout
    assert "where: {label: [rock_glacier]}" in answer.stdout
    assert len(gpd.read_file(tmp_path / "chips" / "outlines.gpkg")) == 2
    assert len(gpd.read_file(tmp_path / "chips" / "complete.gpkg")) == 3
    answer = rockglacier("import", "chips", "--labels", "rg", cwd=tmp_path)
    assert answer.returncode == 1
    assert "label 'rock_glacier' is unknown" in answer.stderr


def test_choices_that_are_none_are_told(make_products, tmp_path):
    study = make_products()
    (tmp_path / "here.yaml").write_text(yaml.safe_dump(study.resolved()))
    answer = rockglacier("export", "here.yaml", "--to", "labelme", "--choose", "best", cwd=tmp_path)
    assert answer.returncode == 1
    assert "stratified or uncertain" in answer.stderr
