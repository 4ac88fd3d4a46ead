"""The report: one page that loads nothing and keeps what was taught apart from what was found."""

import base64
import io
import re
import shutil
from html.parser import HTMLParser

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import zarr
from PIL import Image

from rockglacier.config import ReportConfig
from rockglacier.errors import NotFoundError
from rockglacier.inventory.match import SIZE_CLASSES
from rockglacier.inventory.reviews import review_counts
from rockglacier.report import (
    details,
    examples,
    finding,
    ground,
    judging,
    layers,
    maps,
    overview,
    periods,
    plates,
    scored,
    style,
    tables,
    trusting,
    webmap,
)
from rockglacier.report.figures import basin_picture
from rockglacier.report.page import render, write_report
from rockglacier.report.parts import Table, shown
from rockglacier.stages import Context, stage_named
from rockglacier.storage import read_json, write_json, write_text
from rockglacier.study import Study

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects what a page holds, and whether its tags are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.loaded, self.texts, self.titles = [], [], [], []
        self.is_title = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self.is_title = tag == "h2"
        values = dict(attrs)
        if tag in {"img", "script", "iframe", "source", "link", "object", "embed"}:
            self.loaded.append(values.get("src") or values.get("href") or values.get("data"))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag
        self.is_title = False

    def handle_data(self, data):
        self.texts.append(data)
        if self.is_title:
            self.titles.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def page_of(study):
    return Page(study.report_path.read_text(encoding="utf-8"))


def test_page_is_well_formed_and_loads_nothing(full_report):
    study, facts = full_report
    page = page_of(study)
    assert page.open == []
    assert facts["missing"] == [
        "What people decided", "Water equivalent", "Is the ground like that of training?",
    ]  # fmt: skip
    assert len(page.loaded) >= 25
    assert all(source is None or source.startswith("data:") for source in page.loaded)
    text = study.report_path.read_text(encoding="utf-8")
    assert "@import" not in text
    assert text.count("url(") == text.count("url(#hatch)") == 1
    assert 'src="http' not in text
    assert "default-src 'none'" in text


def test_page_is_small_and_its_figures_are_png(full_report):
    study, facts = full_report
    assert facts["size_mb"] < 20
    drawn = [one for one in page_of(study).loaded if one and one.startswith("data:image/png")]
    pictures = [Image.open(io.BytesIO(base64.b64decode(one.partition(",")[2]))) for one in drawn]
    assert {picture.format for picture in pictures} == {"PNG"}
    assert max(max(picture.size) for picture in pictures) <= 1600


def test_page_shows_words_of_any_script_and_escapes_markup(full_report):
    study, _ = full_report
    page = page_of(study)
    assert "Published by Université de ہنزہ." in page.text
    assert "Inventory <of> 洪扎 & others" in page.text
    assert "41 % cloud <in the scene>" in page.text


def test_sections_are_those_of_the_study(full_report):
    study, facts = full_report
    assert page_of(study).titles == [
        "Contents", "Map and rock glaciers", "The basin", "Scenes", "Data quality",
        "Rock glaciers in true and false colour", "Outlines over the composite", "Probability",
        "Reference and found", "Size classes", "Elevation", "Aspect", "Terrain that they take",
        "What people decided", "Water equivalent", "Split of the ground", "Features",
        "Training chips and masks", "Loss curves", "Is the ground like that of training?",
        "Scores of the networks",
        "Outputs of the networks", "The same ground by every network",
        "Landforms by network and size", "Calibration", "Edges, and how well the reference lies",
        "Errors by kind of ground", "The leak of the random split",
        "What the features are worth", "Area, corrected for errors", "What is thin",
        "Provenance", "Sources and licence",
    ]  # fmt: skip
    assert facts["sections"] == 32
    assert "of the 2025 paper" not in page_of(study).text.replace("feature set is one reading", "")


def test_numbers_of_the_paper_stand_only_where_its_protocol_is_followed(full_report):
    study, _ = full_report
    follows = study.config.model_copy(update={"protocol": "paper"})
    products = layers.Products(Study(config=follows, base=study.base))
    text = Page(render(products, [ground.scenes(products), judging.landforms(products)])).text
    assert "Scenes Table 1 of the 2025 paper" in text
    assert "Landforms by network and size Table 3 of the 2025 paper" in text


def test_the_leak_is_named(full_report):
    study, _ = full_report
    page = page_of(study)
    assert "random 9:1 split (leaks)" in page.text
    assert "The random 9:1 split leaks" in page.text
    assert "test (strip)" in page.text


def test_outlines_on_training_ground_are_not_counted_as_found(full_report):
    study, _ = full_report
    page = page_of(study)
    assert "1 of 2 outlines lie on ground that the network was trained on" in page.text
    assert "candidate outside training ground" in page.text
    sizes = pd.read_csv(study.report_path.parent / "sizes.csv")
    assert sizes["found, n"].sum() == 1
    assert sizes["on training ground, n"].sum() == 1
    assert sizes["reference, n"].sum() == 2


def test_numbers_and_figures_lie_beside_the_page(full_report):
    study, _ = full_report
    names = {path.name for path in study.report_path.parent.iterdir()}
    assert {"metrics.csv", "scenes.csv", "scenes-dropped.csv", "matches.csv", "leak.csv"} <= names
    assert {"sizes.csv", "elevation.csv", "aspect.csv", "landforms.csv", "joint.csv"} <= names
    for figure in ("composite", "probability", "split", "reference", "reliability", "areas"):
        assert {f"{figure}.png", f"{figure}.svg"} <= names
    metrics = pd.read_csv(study.report_path.parent / "metrics.csv")
    assert list(metrics["ground"]) == ["test (strip)"] * 3 + ["random 9:1 split (leaks)"]
    networks = read_json(study.evaluation_path)["networks"].values()
    assert list(metrics["IoU"][:3]) == [row["iou_rock_glacier"] for row in networks]


def test_every_rock_glacier_has_a_row_that_leads_to_its_outline(full_report):
    study, facts = full_report
    text = study.report_path.read_text(encoding="utf-8")
    inventory = gpd.read_parquet(study.inventory_path / "inventory.parquet")
    assert facts["candidates"] == len(inventory) == 2
    for name, ground_of_it in zip(inventory["candidate_id"], inventory["split"], strict=True):
        row = re.search(rf'<tr data-id="{name}"( class="seen")?>.*?data-box="([\d ]+)"', text)
        assert bool(row.group(1)) == (ground_of_it == "train")
        x, y, width, height = map(int, row.group(2).split())
        path = re.search(rf'<path d="([^"]+)" class="pick" data-id="{name}">', text).group(1)
        corners = np.array(re.findall(r"(\d+) (\d+)", path), int)
        assert (corners.min(axis=0) == (x, y)).all()
        assert (corners.max(axis=0) == (x + width, y + height)).all()


def test_the_map_is_in_metres_from_its_upper_left_corner(full_report):
    study, _ = full_report
    west, _, _, north = study.grid.bounds
    square = shapely.box(west + 100, north - 250, west + 200, north - 50)
    shapes = gpd.GeoSeries([square], crs=study.grid.epsg)
    frame = layers.frame_of(study.grid)
    assert webmap.boxes_of(shapes, frame) == [(100, 50, 100, 200)]
    assert sorted(webmap.paths_of(shapes, frame)[0][1:-1].split()) == sorted(
        ["200", "250", "200", "50", "100", "50", "100", "250"]
    )


def test_outlines_of_too_many_corners_are_simplified(full_report, monkeypatch):
    study, _ = full_report
    west, _, _, north = study.grid.bounds
    round_ones = [shapely.Point(west + x, north - 900).buffer(90, 64) for x in (300, 900)]
    shapes = gpd.GeoSeries(round_ones, crs=study.grid.epsg)
    frame = layers.frame_of(study.grid)
    fine = webmap.paths_of(shapes, frame)
    monkeypatch.setattr(webmap, "MOST_CORNERS", 60)
    coarse = webmap.paths_of(shapes, frame)
    assert [len(path.split()) > 250 for path in fine] == [True, True]
    assert sum(len(path.split()) // 2 + 1 for path in coarse) <= 60
    corners = np.array(re.findall(r"(\d+) (\d+)", coarse[0]), int)
    assert shapely.Polygon(corners).area == pytest.approx(np.pi * 90**2, rel=0.1)


def test_outlines_of_training_ground_are_not_only_in_the_inventory(full_report):
    study, _ = full_report
    products = layers.Products(study)
    products.links = products.links.assign(relation="only_in_a")
    only = {line.key: line for line in overview.web_map(products).lines}["only-a"]
    names = products.inventory.loc[products.inventory["ground"] != "train", "candidate_id"]
    assert [shape.title for shape in only.shapes] == [f"only in the inventory: {n}" for n in names]


def test_coarse_maps_show_the_ground_of_each_rock_glacier_in_its_own_pixels(
    full_report, monkeypatch
):
    study, _ = full_report
    products = layers.Products(study)
    table = overview.ordered(products)
    assert details.details_of(products, table) == {}
    monkeypatch.setattr(details, "step_for", lambda shape: 2)
    found = details.details_of(products, table)
    assert set(found) == {"true", "composite"}
    outlines = webmap.boxes_of(table.geometry, products.frame)
    for part, (x, y, width, height) in zip(reversed(found["true"]), outlines, strict=True):
        left, top, wide, high = part.box
        assert left <= x
        assert top <= y
        assert left + wide >= x + width
        assert top + high >= y + height
        picture = Image.open(io.BytesIO(base64.b64decode(part.href.partition(",")[2])))
        assert picture.size == (wide / 10, high / 10)
    monkeypatch.setattr(details, "MOST_LETTERS", 1)
    assert len(details.details_of(products, table)["true"]) == 1


def test_what_networks_disagree_on_is_a_layer_and_a_figure(full_report):
    study, _ = full_report
    keys = [one.key for one in overview.web_map(layers.Products(study)).overlays]
    assert keys == ["probability", "spread", "agreement"]
    assert (study.report_path.parent / "doubts.png").is_file()
    rows = pd.read_csv(study.report_path.parent / "rock-glaciers.csv")
    assert set(rows["agreement"]) == {1}
    assert "All networks of the ensemble agree on 1 of 1 outlines off training ground and on 1" in (
        page_of(study).text
    )


def test_scenes_that_were_skipped_are_told(full_report):
    study, _ = full_report
    text = page_of(study).text
    assert "1 scene skipped as unreadable." in text
    assert "cut off <early>" in text


def test_all_ground_stands_beside_unseen_ground_where_networks_mapped_it(
    full_report, make_products
):
    study, _ = full_report
    sizes = pd.read_csv(study.report_path.parent / "landforms-everywhere.csv")
    assert sizes["class, km²"].tolist() == [*SIZE_CLASSES, "all"]
    assert sizes.columns[-3:].tolist() == [
        "reference, n", "reference, km²", "reference, n found by all",
    ]  # fmt: skip
    assert sizes[["unet, n", "reference, n"]].iloc[-1].tolist() == [2, 2]
    assert pd.read_csv(study.report_path.parent / "landforms.csv")["reference, n"].iloc[-1] == 1
    by_ground = pd.read_csv(study.report_path.parent / "landform-scores-everywhere.csv")
    assert by_ground["ground"].value_counts().to_dict() == {
        "all, training ground included": 3, "test ground": 3,
    }  # fmt: skip
    assert by_ground["drawn by all"].tolist() == [2, 2, 2, 1, 1, 1]
    assert by_ground["count ratio"].tolist() == [1.0] * 6
    other = layers.Products(make_products())
    assert all("everywhere" not in table.name for table in judging.landforms(other).tables)


def test_outlines_that_all_networks_found_are_counted():
    found = pd.DataFrame(
        {"label_id": list("abcd"), "unet": [1, 1, 0, 0], "hrnet": [1, 1, 1, 0]}
    )  # fmt: skip
    table = scored.joint_table(found)
    assert list(table["found by"]) == ["unet and hrnet", "hrnet", "none"]
    assert list(table["outlines"]) == [2, 1, 1]
    assert list(table["of the reference, %"]) == [50, 25, 25]


def test_pooled_folds_are_told_with_their_spread():
    row = {
        "iou_rock_glacier": 0.6, "f1_rock_glacier": 0.75, "mean_of_folds": 0.5,
        "spread_of_folds": 0.1, "folds": {"0": 0.4, "1": 0.6, "2": None}, "pixels": 900,
    }  # fmt: skip
    table = scored.pooled_table({"pooled": {"hrnet": row}})
    assert table.to_dict("records") == [
        {"network": "hrnet", "folds": 3, "IoU": 0.6, "F1": 0.75, "IoU of the folds":
         "0.500 ± 0.100", "lowest fold": 0.4, "pixels": 900}
    ]  # fmt: skip


def test_a_model_far_from_its_ground_is_told(make_products):
    study = make_products(learned=False)
    write_json(
        study.prediction_path / "applicability.json",
        {
            "verdict": "unlike", "advice": "do not use these", "model": "a.zip", "beyond": 0.25,
            "trained_on": ["elsewhere"], "farthest": ["B11"], "own": None, "distance": 3.0,
            "channels": [{"name": "B11", "distance": 3.0}],
        },
    )  # fmt: skip
    section = trusting.trust(layers.Products(study))
    assert section.warning == "Be careful: do not use these."
    assert "25.0 % of the ground lies farther out" in section.notes[2]
    assert not section.missing
    # a map of the study's own networks, made since
    write_json(study.prediction_record_path, {"model_id": "hunza/unet/trial-0"})
    assert trusting.trust(layers.Products(study)).missing


def test_a_few_labelled_chips_are_in_the_report(make_products):
    study = make_products(learned=False)
    assert trusting.checked(layers.Products(study)) is None
    record = {"threshold": 0.5, "passes": 1, "members": []}
    write_json(study.prediction_record_path, record)
    facts = {
        "chips": 4, "pixels": 1600, "prevalence": 0.25, "mean_probability": 0.5, "ece": 0.25,
        "ece_after": 0.02, "temperature": 3.0, "threshold": 0.5, "iou": 0.4, "best_threshold": 0.7,
        "best_iou": 0.6, "prediction": record, "settings": {},
        "held_out": {"pixels": 1600, "ece": 0.25, "ece_after": 0.125, "iou": 0.4, "best_iou": 0.5},
    }  # fmt: skip
    write_json(study.prediction_path / "calibration.json", facts)
    section = trusting.checked(layers.Products(study))
    assert section.warning == ""
    table = section.tables[0].frame.set_index("")
    assert list(table.loc["calibration error with a temperature chosen on chips"]) == [0.02, 0.125]
    assert any("fewer than 10 chips" in note for note in section.notes)
    write_report(study)
    assert "Checked on a few chips" in study.report_path.read_text()
    write_json(study.prediction_record_path, {**record, "threshold": 0.6})
    assert "made anew" in trusting.checked(layers.Products(study)).warning


def test_verdicts_on_pixels():
    percent = np.array([[90, 90, 10, 10, 255, 90]], np.uint8)
    truth = np.array([[1, 0, 1, 0, 1, 255]], np.uint8)
    found = plates.verdicts(percent, truth, threshold=0.5)
    names = list(plates.VERDICTS)
    assert [names[number] for number in found[0]] == [
        "right", "false alarm", "missed", "background", "not judged", "not judged",
    ]  # fmt: skip


def test_areas_of_the_config_are_shown_as_given(full_report):
    study, _ = full_report
    west, south, east, north = study.area.bounds
    middle = (west + east) / 2
    given = study.config.model_copy(
        update={"report": ReportConfig(areas=((middle, south, east, north),))}
    )
    shown = examples.areas(layers.Products(Study(config=given, base=study.base)))
    assert [one.title for one in shown] == ["area 1"]
    window = shown[0].window
    assert window.x + window.width == study.grid.shape[1]
    with pytest.raises(ValueError, match="west, south, east, north"):
        ReportConfig(areas=((east, south, west, north),))


def test_a_report_without_a_reference_says_what_it_lacks(make_products):
    study = make_products(learned=False)
    facts = write_report(study)
    assert {
        "Split of the ground", "Reference and found", "Scores of the networks", "Loss curves",
        "The leak of the random split", "Calibration", "Landforms by network and size",
    } <= set(facts["missing"])  # fmt: skip
    page = page_of(study)
    assert "Nothing was trained here: all ground is unseen." in page.text
    assert "Without a reference nothing here says how right the outlines are." in page.text
    assert not (study.report_path.parent / "metrics.csv").exists()


def test_a_report_without_rasters_keeps_its_tables(make_products):
    study = make_products()
    shutil.rmtree(study.cube_path)
    shutil.rmtree(study.prediction_path)
    (study.inventory_path / "hypsometry.csv").unlink()
    old = study.report_path.parent / "aspect.png"
    old.parent.mkdir()
    old.touch()
    facts = write_report(study)
    assert "Probability" in facts["missing"]
    assert "Reference and found" not in facts["missing"]
    assert not old.exists()


def test_every_period_is_told_beside_the_one_that_the_page_is_of(make_products):
    study = make_products(years=("2023", "2024"))
    assert periods.periods(layers.Products(study)).missing == "There is no inventory of 2024."
    (study.inventory_path / "inventory.gpkg").unlink()  # else it counts as edited
    stage_named("inventory").work(study, Context())
    products = layers.Products(study)
    first, last = products.periods
    assert first is products
    section = periods.periods(products)
    table, by_period = (one.frame for one in section.tables)
    assert table["period"].tolist() == ["2023", "2024"]
    assert table["scenes"].tolist() == [0, 2]
    assert table[["found", "on training ground", "in every period"]].to_numpy().tolist() == [
        [1, 1, 2], [1, 1, 2],
    ]  # fmt: skip
    assert by_period["periods"].tolist() == [2, 2]
    np.testing.assert_allclose(by_period["2023, km²"], by_period["2024, km²"])
    lines = {line.key: line for line in overview.web_map(products).lines}
    assert (len(lines["period-1"].shapes), lines["period-1"].is_shown) == (2, False)
    assert (last.cube.n_clear == first.cube.n_clear + 1).all()
    assert (last.cube.composite != first.cube.composite).any()
    page = Page(render(products, [section])).text
    assert "Imagery from 2023-01-01 to 2023-12-31; other periods: 2024." in page


def test_tables_of_terrain_are_folded_and_charts_are_told_from_pictures_of_ground(full_report):
    study, _ = full_report
    products = layers.Products(study)
    section = finding.terrain(products)
    assert len(section.tables) >= 5
    text = render(products, [section])
    assert text.count('<details class="fold">') == len(section.tables)
    assert "<summary>Area by the aspect of each pixel</summary>" in text
    assert [one.is_chart for one in finding.sizes(products).pictures] == [True]
    assert [one.is_chart for one in finding.composite(products).pictures] == [False]
    assert [one.caption for one in ground.scenes(products).tables] == [
        "2 scenes used", "1 scene found and not used", "1 DEM tile",
    ]  # fmt: skip


def test_tables_between_the_elevations_of_training_stand_beside_those_of_all_ground(make_products):
    study = make_products()
    folder = study.inventory_path / "tables"
    for name in ("slope", "slope_filtered", "aspect_area_filtered"):
        write_text(folder / f"{name}.csv", "from_deg,found_km2,recall\n0,1.5,0.5\n")
    section = finding.terrain(layers.Products(study))
    limits = ", between the elevations of `train.elevation` alone"
    assert {one.caption for one in section.tables} == {
        "By slope", f"By slope{limits}", f"Area by the aspect of each pixel{limits}",
    }  # fmt: skip
    assert list(section.tables[0].frame) == ["from, °", "found, km²", "recall"]


def test_decisions_of_every_period_are_told(make_products):
    study = make_products(years=("2023", "2024"))
    products = layers.Products(study)
    assert finding.reviews(products).missing == "Nobody has looked yet; 2 outlines wait."
    first, last = study.each_period()
    shutil.copytree(first.inventory_path, last.inventory_path)
    outlines = {
        "origin": ["model", "model", "person"],
        "status": ["confirmed", "rejected", "added"],
        "split": ["test", "train", "test"],
    }
    for one, count in ((first, 1), (last, 3)):
        decided = gpd.GeoDataFrame(outlines, geometry=[shapely.Point(0, 0)] * 3).iloc[:count]
        counts = review_counts(decided, waiting=3 - count)
        write_json(one.inventory_path / "reviews.json", counts)
    section = finding.reviews(layers.Products(study))
    assert section.notes[0].startswith("2023: 1 outlines of the model were reviewed, 0 were added")
    assert section.notes[1].startswith("2024: 2 outlines of the model were reviewed, 1 were added")
    table = section.tables[0].frame
    assert table["period"].tolist() == ["2023", "2023", "2024", "2024", "2024"]
    assert table["ground"].tolist()[2:] == [
        "all, training ground included", "test ground", "training ground",
    ]  # fmt: skip
    assert table["precision"].tolist() == [1, 1, 0.5, 1, 0]
    (first.inventory_path / "reviews.json").unlink()
    assert "Nobody has looked at 2023 yet." in finding.reviews(layers.Products(study)).notes


def test_numbers_of_a_column_have_the_same_decimals():
    def cells(head, *values):
        table = Table(name="x", caption="x", frame=pd.DataFrame({head: values}))
        return [row[0][0] for row in table.cells]

    assert cells("area, km²", 1.5554, 1.55, np.nan) == ["1.555", "1.550", ""]
    assert cells("IoU", 0.8, 0.75) == ["0.80", "0.75"]
    assert cells("cloud, %", 12.34567, 3.0) == ["12.3", "3.0"]
    assert cells("front, m", 4208.0, 12345.0) == ["4208", "12,345"]
    assert cells("pixels", 561920, 3) == ["561,920", "3"]
    assert cells("known", True, False) == ["True", "False"]
    assert cells("area too large by, %", -1e-9, 2.0) == ["0", "2"]


def test_an_inventory_without_outlines_is_reported(make_products):
    study = make_products(learned=False)
    path = study.inventory_path / "inventory.parquet"
    gpd.read_parquet(path).iloc[:0].to_parquet(path)
    facts = write_report(study)
    assert facts["candidates"] == 0
    assert {"Size classes", "Elevation", "Aspect"} <= set(facts["missing"])


def test_a_report_before_the_inventory_says_which_stage_to_run(make_products):
    study = make_products()
    shutil.rmtree(study.inventory_path)
    with pytest.raises(NotFoundError, match=r"rockglacier inventory STUDY\.yaml"):
        write_report(study)


def test_writing_the_report_again_gives_the_same_bytes(full_report):
    study, _ = full_report
    before = study.report_path.read_bytes()
    write_report(study)
    assert study.report_path.read_bytes() == before


def test_basin_picture_is_a_small_png_of_its_size(full_report, tmp_path):
    study, _ = full_report
    path = basin_picture(study, tmp_path / "new" / "picture.png")
    with Image.open(path) as picture:
        assert picture.size == maps.README_PIXELS
    assert path.stat().st_size < 600_000


def test_svg_of_a_figure_shows_what_its_png_shows():
    figure = style.canvas(width=4, height=3)
    figure.set_layout_engine("none")
    figure.add_axes((0.5, 0.5, 0.25, 0.25), facecolor="red")
    png, svg = style.drawn(figure, name="x")
    width, height = Image.open(io.BytesIO(png)).size
    found = re.search(rb'width="(.+?)pt" height="(.+?)pt" viewBox="(.+?)"', svg)
    left, top, across, down = map(float, found[3].split())
    assert (across, down) == pytest.approx((width * 72 / style.DPI, height * 72 / style.DPI), 1e-4)
    assert (float(found[1]), float(found[2])) == (across, down)
    box = Image.open(io.BytesIO(png)).convert("RGB").load()
    red = [(x, y) for x in range(width) for y in range(height) if box[x, y] == (255, 0, 0)]
    middle = np.mean(red, axis=0) * 72 / style.DPI + (left, top)
    assert middle == pytest.approx((0.625 * 4 * 72, 0.375 * 3 * 72), abs=1)


def test_a_plate_of_one_column_has_room_for_its_legend():
    figure = plates.chips_figure([("0.1 km²", None, np.zeros((8, 8), np.uint8))])
    figure.canvas.draw()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width


def test_colours_of_thin_lines_survive_the_palette():
    figure = style.canvas(width=6, height=4)
    axes = figure.add_subplot()
    noise = np.random.default_rng(1).random((200, 300, 3))
    axes.imshow(noise, interpolation="nearest")
    axes.plot([0, 299], [100, 100], color=style.COLOURS["test"], linewidth=2)
    picture = np.asarray(Image.open(io.BytesIO(style.to_png(figure, colours=32))).convert("RGB"))
    wanted = [int(style.COLOURS["test"][at : at + 2], 16) for at in (1, 3, 5)]
    assert (picture == wanted).all(axis=-1).sum() > 100
    assert tuple(picture[0, 0]) == (255, 255, 255)


@pytest.mark.parametrize(("rows", "columns", "step"), [(7, 9, 2), (64, 100, 3), (130, 65, 7)])
def test_thinned_rasters_hold_the_middle_pixel_of_every_square(rows, columns, step):
    values = np.arange(2 * rows * columns).reshape(2, rows, columns)
    array = zarr.create_array({}, data=values, chunks=(2, 16, 16))
    found = layers.thinned(array, step=step, index=(1,))
    np.testing.assert_array_equal(found, values[1, step // 2 :: step, step // 2 :: step])


@pytest.mark.parametrize(("shape", "step"), [((1200, 10), 1), ((1201, 10), 2), ((5, 12001), 11)])
def test_step_keeps_figures_within_1200_pixels(shape, step):
    assert layers.step_for(shape) == step
    assert max(shape) / step <= 1200


def test_an_outline_that_reaches_onto_training_ground_counts_as_seen(make_products):
    study = make_products()
    path = study.inventory_path / "inventory.parquet"
    table = gpd.read_parquet(path)
    table["split"] = "test"
    table["train_share"] = [0.01, 0.0]
    table.to_parquet(path)
    assert list(layers.read_inventory(study)["ground"]) == ["train", "test"]


def test_hillshade_is_brighter_on_slopes_that_face_the_light():
    columns = np.arange(20.0) * 10
    facing, away = (np.tile(sign * columns, (20, 1)) for sign in (1, -1))
    flat = layers.hillshade(np.zeros((20, 20)), pixel_m=10)
    assert layers.hillshade(facing, pixel_m=10).mean() > flat.mean()
    assert layers.hillshade(away, pixel_m=10).mean() < flat.mean()


def outlines(**columns):
    count = len(next(iter(columns.values())))
    return gpd.GeoDataFrame(columns, geometry=gpd.GeoSeries([None] * count), crs=4326)


def test_area_by_elevation_is_that_of_the_landforms():
    found = outlines(
        candidate_id=["a", "b"], ground=["test", "train"], area_km2=[1.0, 2.0],
        elevation_median_m=[4110.0, 4390.0],
    )  # fmt: skip
    bands = pd.DataFrame(
        {
            "candidate_id": ["a", "a", "b"],
            "band_from_m": [4050, 4100, 4350],
            "band_to_m": [4100, 4150, 4400],
            "thousandths": [250, 750, 1000],
        }
    )
    table = tables.elevation_table(found, bands)
    assert list(table["from, m"]) == [4000, 4100, 4200, 4300]
    assert list(table["found, km²"]) == [0.25, 0.75, 0, 0]
    assert list(table["on training ground, km²"]) == [0, 0, 0, 2.0]
    assert list(table["found, n"]) == [0, 1, 0, 0]


def test_aspect_ratio_compares_with_terrain_of_the_same_heights():
    aspect = np.zeros((10, 20))
    aspect[:, 10:] = 180
    aspect[0, 0] = np.nan
    is_found = np.zeros((10, 20), bool)
    is_found[2:4, 5:8] = True
    elevation = np.full((10, 20), 4000.0)
    elevation[5:] = 3000
    found = outlines(
        candidate_id=["a"], ground=["test"], area_km2=[0.5], aspect_sector=[1]
    )  # fmt: skip
    table = tables.aspect_table(
        found, aspect=aspect, elevation=elevation, is_found=is_found, pixel_m=100
    )
    north = table.iloc[0]
    assert (north["found, n"], north["found, km²"]) == (1, 0.5)
    assert north["by pixel, km²"] == pytest.approx(0.06)
    assert north["eligible terrain, km²"] == pytest.approx(0.49)
    assert north["ratio"] == pytest.approx(1 / (49 / 99))
    assert table.iloc[4]["ratio"] == 0


def test_values_are_shown_as_a_reader_wants_them():
    assert [shown(value) for value in (None, float("nan"), pd.NaT)] == ["", "", ""]
    assert shown(0.68891) == "0.689"
    assert shown(5.0) == "5"
    assert shown(-1000) == "-1000"
    assert shown(pd.Timestamp("2024-08-04T05:40:00Z")) == "2024-08-04 05:40"
