"""Chips to draw on: which, where they lie, and what comes back to the map."""

import json

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import zarr

from made_products import make_products
from rockglacier.config import TrainConfig
from rockglacier.errors import InputError, NotFoundError
from rockglacier.labels.choose import choose_chips, stratified_order
from rockglacier.labels.draw import CHIPS, Wish, write_chips
from rockglacier.labels.drawn import read_drawn, together, write_drawn
from rockglacier.labels.reference import read_reference
from rockglacier.study import Study, read_area

PIXEL = 10


def with_small_chips(made):
    config = made.config.model_copy(update={"train": TrainConfig(chip=64)})
    return Study(config=config, base=made.base)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """For reading only."""
    return with_small_chips(make_products(tmp_path_factory.mktemp("products")))


@pytest.fixture
def folder(study, tmp_path):
    write_chips(study, tmp_path / "chips", Wish(n=12))
    return tmp_path / "chips"


def chips_in(folder):
    features = json.loads((folder / CHIPS).read_text())["features"]
    return [feature["properties"] for feature in features]


def save(folder, chip, *rings, label="rock_glacier", name=None, size=64):
    """Save a drawing as LabelMe 3.16.7 does."""
    shapes = [
        {"label": label, "points": [list(point) for point in ring], "shape_type": "polygon"}
        for ring in rings
    ]
    values = {
        "version": "3.16.7",
        "flags": {},
        "shapes": shapes,
        "imagePath": chip["image"],
        "imageData": None,
        "imageHeight": size,
        "imageWidth": size,
    }
    (folder / (name or f"{chip['chip']}.json")).write_text(json.dumps(values))


def square(x, y, edge):
    return [(x, y), (x + edge, y), (x + edge, y + edge), (x, y + edge)]


@pytest.mark.parametrize("picture", ["png", "jpeg"])
def test_a_chip_opens_in_its_place(study, tmp_path, picture):
    written = write_chips(study, tmp_path / "chips", Wish(n=3, picture=picture))
    assert len(written) == 3
    for path, chip in zip(written, chips_in(tmp_path / "chips"), strict=True):
        with rasterio.open(path) as file:
            assert file.crs.to_epsg() == chip["epsg"] == study.grid.epsg
            np.testing.assert_allclose(list(file.transform)[:6], chip["transform"], atol=1e-6)
            assert file.shape == (64, 64)
            assert file.count == 3
            assert file.read().std() > 5
        assert path.with_suffix(".wld").is_file()


def test_pixels_without_reflectance_are_black(study, tmp_path):
    (first,) = (
        path
        for path in write_chips(study, tmp_path / "chips", Wish(n=12))
        if path.stem.endswith("r00000-c00000")
    )
    with rasterio.open(first) as file:
        values = file.read()
    assert (values[:, :8, :8] == 0).all()
    assert (values[:, 8:, 8:] > 0).all()


def test_chips_are_chosen_once_and_do_not_overlap(study):
    windows = choose_chips(study, n=100, chip=64)
    assert len(windows) == 12
    assert len({(window.y, window.x) for window in windows}) == 12
    assert choose_chips(study, n=5, chip=64) == windows[:5]


def test_the_beginning_of_a_stratified_order_holds_every_stratum():
    values = np.random.default_rng(0).normal(size=(900, 2))
    order = stratified_order(values, seed=1)
    assert sorted(order) == list(range(900))
    ranks = np.argsort(np.argsort(values, axis=0), axis=0) // 300
    first = [tuple(ranks[index]) for index in order[:9]]
    assert len(set(first)) == 9


def test_the_most_uncertain_chip_comes_first(make_products):
    study = with_small_chips(make_products())
    percent = zarr.open_array(study.prediction_path / "prediction.zarr" / "probability", mode="r+")
    percent[:] = 1
    percent[64:128, 128:192] = 50
    percent[0:64, 64:128] = 30
    first, second, *_ = choose_chips(study, n=4, chip=64, choice="uncertain")
    assert (first.y, first.x) == (64, 128)
    assert (second.y, second.x) == (0, 64)


def test_ground_drawn_before_is_not_chosen_again(study, folder, tmp_path):
    (chip,) = [chip for chip in chips_in(folder) if (chip["row"], chip["col"]) == (64, 64)]
    save(folder, chip)
    _, complete = write_drawn(read_drawn(folder), folder)
    again = tmp_path / "again"
    write_chips(study, again, Wish(n=12, before=str(complete)))
    assert len(chips_in(again)) == 11
    assert (64, 64) not in {(chip["row"], chip["col"]) for chip in chips_in(again)}


def test_a_grid_smaller_than_a_chip_is_told(study):
    with pytest.raises(InputError, match=r"no chip of 512 px(.|\n)*train\.chip"):
        choose_chips(study, n=3, chip=512)


def test_bands_that_the_cube_lacks_are_told(study, tmp_path):
    with pytest.raises(InputError, match=r"B12(.|\n)*B02, B03, B04, B08, B11"):
        write_chips(study, tmp_path / "chips", Wish(bands=("B12", "B08", "B04")))


def test_a_folder_with_chips_is_left_alone(study, folder):
    with pytest.raises(InputError, match="holds chips already"):
        write_chips(study, folder, Wish(n=3))


def test_a_drawing_lies_where_it_was_drawn(study, folder):
    chip = chips_in(folder)[3]
    save(folder, chip, square(10, 20, 8), square(40, 40, 4))
    drawn = read_drawn(folder)
    west, north = chip["transform"][2], chip["transform"][5]
    expected = shapely.box(west + 100, north - 280, west + 180, north - 200)
    assert drawn.outlines.crs.to_epsg() == study.grid.epsg
    assert drawn.outlines.geometry[0].equals(expected)
    assert drawn.outlines["chip"].tolist() == [chip["chip"]] * 2
    assert drawn.unsaved == 11


def test_a_saved_chip_without_shapes_is_a_true_negative(study, folder):
    chips = chips_in(folder)
    save(folder, chips[0])
    save(folder, chips[1])
    drawn = read_drawn(folder)
    assert drawn.outlines.empty
    assert drawn.complete["outlines"].tolist() == [0, 0]
    assert drawn.complete.geometry.area.tolist() == [640.0**2] * 2
    outlines, complete = write_drawn(drawn, folder)
    table = read_reference(str(outlines), area=study.area, may_be_empty=True)
    assert table.empty
    assert read_area(str(complete)).area > 0


def test_what_cannot_be_used_is_listed_together_and_nothing_is_taken(folder):
    chips = chips_in(folder)
    save(folder, chips[0], square(1, 1, 5), label="moraine")
    save(folder, chips[1], square(1, 1, 5), label="moraine")
    save(folder, chips[2], square(1, 1, 5), size=256)
    save(folder, {**chips[3], "image": "other.png"}, square(1, 1, 5), name="other.json")
    (folder / f"{chips[4]['chip']}.json").write_text("{")
    with pytest.raises(InputError) as caught:
        read_drawn(folder)
    message = str(caught.value)
    assert f"label 'moraine' is unknown: {min(c['chip'] for c in chips[:2])}.json (1)" in message
    assert "256 x 256 pixels, and the chip has 64 x 64" in message
    assert "other.json: there is no such chip" in message
    assert "not JSON" in message
    assert "4 thing(s)" in message


def test_a_drawing_elsewhere_is_found_by_its_image(folder):
    chip = chips_in(folder)[0]
    (folder / "drawings").mkdir()
    moved = {**chip, "image": f"..\\{chip['image']}"}
    save(folder, moved, square(1, 1, 5), name="drawings/mine.json")
    assert read_drawn(folder).outlines["chip"].tolist() == [chip["chip"]]
    save(folder, chip)
    with pytest.raises(InputError, match=r"was drawn in mine\.json too|was drawn in"):
        read_drawn(folder)


def test_folders_without_chips_or_drawings_are_told(folder, tmp_path):
    with pytest.raises(NotFoundError, match=r"save every chip that was looked at"):
        read_drawn(folder)
    with pytest.raises(NotFoundError, match=r"no 'chips\.geojson'"):
        read_drawn(tmp_path)


def test_an_earlier_result_is_kept(folder):
    save(folder, chips_in(folder)[0])
    write_drawn(read_drawn(folder), folder)
    before = [(folder / f"{name}.gpkg").read_bytes() for name in ("outlines", "complete")]
    write_drawn(read_drawn(folder), folder)
    after = [(folder / f"{name}-1.gpkg").read_bytes() for name in ("outlines", "complete")]
    assert after == before


@pytest.fixture
def outlines(study, tmp_path):
    """Two outlines on the ground of several chips: with a hole, and of two parts."""
    west, _, _, north = study.grid.bounds
    first = shapely.box(west + 333, north - 1287, west + 1001, north - 404)
    first = first.difference(shapely.box(west + 700, north - 1011, west + 801, north - 707))
    second = shapely.MultiPolygon(
        [
            shapely.box(west + 1507, north - 303, west + 1733, north - 101),
            shapely.box(west + 1807, north - 303, west + 1901, north - 101),
        ]
    )
    path = tmp_path / "begin.gpkg"
    gpd.GeoDataFrame(geometry=[first, second], crs=study.grid.epsg).to_file(path)
    return path, shapely.union(first, second)


@pytest.mark.parametrize("form", ["current", "3.16.7"])
def test_outlines_return_within_half_a_pixel(study, tmp_path, outlines, form):
    path, expected = outlines
    folder = tmp_path / "chips"
    write_chips(study, folder, Wish(n=12, outlines=str(path)))
    for drawing in folder.glob("*.json"):
        resave(drawing, form)
    drawn = read_drawn(folder)
    back = shapely.union_all(drawn.outlines.geometry)
    assert shapely.hausdorff_distance(back.boundary, expected.boundary) < PIXEL / 2
    assert back.symmetric_difference(expected).area < 1e-4 * expected.area
    assert drawn.unsaved == 12 - len(drawn.complete)


def resave(path, form):
    """Write a file again as LabelMe does when it is saved: other layout, other version."""
    values = json.loads(path.read_text())
    if form == "3.16.7":
        values["version"] = form
        values["shapes"] = [
            {key: value for key, value in shape.items() if key not in ("group_id", "description")}
            for shape in values["shapes"]
        ]
    else:
        del values["lineColor"], values["fillColor"]
        for shape in values["shapes"]:
            del shape["line_color"], shape["fill_color"]
    path.write_text(json.dumps(values, indent=4))


def test_outlines_that_nobody_saved_were_not_looked_at(study, tmp_path, outlines):
    folder = tmp_path / "chips"
    write_chips(study, folder, Wish(n=12, outlines=str(outlines[0])))
    begun = [chip for chip in chips_in(folder) if chip["begun"]]
    assert len(begun) >= 3
    resave(folder / f"{begun[0]['chip']}.json", "current")
    drawn = read_drawn(folder)
    assert set(drawn.complete["chip"]) == {begun[0]["chip"]}
    assert set(drawn.untouched) == {chip["chip"] for chip in begun[1:]}


def test_slivers_that_an_edge_cuts_off_are_not_drawn(study, tmp_path):
    west, _, _, north = study.grid.bounds
    sliver = shapely.box(west + 100, north - 640.001, west + 400, north - 300)
    path = tmp_path / "begin.gpkg"
    gpd.GeoDataFrame(geometry=[sliver], crs=study.grid.epsg).to_file(path)
    folder = tmp_path / "chips"
    write_chips(study, folder, Wish(n=12, outlines=str(path)))
    (drawing,) = folder.glob("*.json")
    resave(drawing, "3.16.7")
    assert len(read_drawn(folder).outlines) == 1


def test_rounds_are_joined(study, folder, tmp_path):
    save(folder, chips_in(folder)[0], square(1, 1, 9))
    more = tmp_path / "more"
    write_chips(study, more, Wish(n=12, seed=1))
    save(more, chips_in(more)[5], square(1, 1, 9), square(20, 20, 9))
    save(more, chips_in(more)[6])
    drawn = together([read_drawn(folder), read_drawn(more)])
    assert (len(drawn.outlines), len(drawn.complete), drawn.unsaved) == (3, 3, 21)
    assert together([drawn]).outlines.equals(drawn.outlines)
    outlines, complete = write_drawn(drawn, tmp_path / "all")
    assert len(gpd.read_file(outlines)) == len(gpd.read_file(complete)) == 3


def test_a_chip_without_shapes_whose_flag_is_not_set_was_not_looked_at(folder):
    chips = chips_in(folder)
    for chip, flags in zip(chips[:3], ({"looked_at": False}, {"looked_at": True}, {}), strict=True):
        save(folder, chip)
        path = folder / f"{chip['chip']}.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "flags": flags}))
    drawn = read_drawn(folder)
    assert set(drawn.complete["chip"]) == {chip["chip"] for chip in chips[1:3]}
    assert drawn.untouched == (chips[0]["chip"],)


def test_pieces_that_meet_along_the_edge_of_chips_are_one_landform(folder):
    by_place = {(chip["row"], chip["col"]): chip for chip in chips_in(folder)}
    left, right = by_place[64, 64], by_place[64, 128]
    # a landform over the edge, one that ends at it, and two that meet in a corner
    save(folder, left, square(50, 10, 14), square(40, 40, 10), square(54, 54, 10))
    save(folder, right, square(0, 12, 14), square(0, 30, 8), square(0, 64 - 0.5, 0.5))
    pieces = read_drawn(folder)
    assert len(pieces.outlines) == 6
    whole = together([pieces]).outlines
    assert len(whole) == 5
    over = whole[whole["chip"].str.contains(";")]
    assert len(over) == 1
    assert over.area.iloc[0] == pytest.approx(2 * 140.0**2)
    assert len(shapely.get_parts(over.geometry.iloc[0])) == 1


def test_landforms_of_one_chip_or_of_other_labels_stay_apart(folder):
    by_place = {(chip["row"], chip["col"]): chip for chip in chips_in(folder)}
    save(folder, by_place[64, 64], square(10, 10, 10), square(20, 10, 10), square(50, 10, 14))
    save(folder, by_place[64, 128], square(0, 10, 14), label="ignore")
    assert len(together([read_drawn(folder)]).outlines) == 4
