"""LabelMe's files, old and new: what is read, what is refused, and holes and parts."""

import base64
import io

import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import given
from hypothesis import strategies as st

from rockglacier.labels.labelme import Outline, drawing_of, read_drawing

SIZE = (64, 64)


def new_shape(label, points, *, kind="polygon", group=None, **more):
    return {
        "label": label,
        "points": [list(point) for point in points],
        "group_id": group,
        "description": "",
        "shape_type": kind,
        "flags": {},
        "mask": None,
        **more,
    }


def new_form(*shapes, size=SIZE):
    return {
        "version": "5.8.1",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": "chip.png",
        "imageData": None,
        "imageHeight": size[0],
        "imageWidth": size[1],
    }


def old_form(*rings, label="rock_glacier", size=SIZE):
    """As LabelMe 3.16.7 writes it: no groups, colours a shape."""
    shapes = [
        {
            "label": label,
            "line_color": None,
            "fill_color": None,
            "points": [list(point) for point in ring],
            "shape_type": "polygon",
            "flags": {},
        }
        for ring in rings
    ]
    return {
        "version": "3.16.7",
        "flags": {},
        "shapes": shapes,
        "lineColor": [0, 255, 0, 128],
        "fillColor": [255, 0, 0, 128],
        "imagePath": "chip.png",
        "imageData": "iVBORw0KGgo=",
        "imageHeight": size[0],
        "imageWidth": size[1],
    }


def ring(x0, y0, x1, y1):
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def only(drawing):
    assert not drawing.problems
    assert not drawing.unknown
    (outline,) = drawing.outlines
    return outline


def test_both_forms_read_the_same():
    one = only(read_drawing(new_form(new_shape("rock_glacier", ring(1, 2, 11, 22))), size=SIZE))
    other = only(read_drawing(old_form(ring(1, 2, 11, 22)), size=SIZE))
    assert one.polygon.equals(other.polygon)
    assert one.polygon.equals(shapely.box(1, 2, 11, 22))


def test_the_oldest_files_name_neither_size_nor_kind():
    values = old_form(ring(1, 2, 11, 22))
    del values["imageHeight"], values["imageWidth"], values["shapes"][0]["shape_type"]
    assert only(read_drawing(values, size=SIZE)).polygon.area == 200


def test_a_hole_is_cut_out_and_an_island_in_it_stays():
    drawing = read_drawing(
        new_form(
            new_shape("rock_glacier", ring(0, 0, 40, 40)),
            new_shape("hole", ring(10, 10, 30, 30)),
            new_shape("rock_glacier", ring(18, 18, 22, 22)),
            new_shape("rock_glacier", ring(50, 50, 60, 60)),
        ),
        size=SIZE,
    )
    areas = sorted(outline.polygon.area for outline in drawing.outlines)
    assert areas == [16, 100, 1200]


def test_parts_and_holes_of_a_group_are_one_landform():
    drawing = read_drawing(
        new_form(
            new_shape("rock_glacier", ring(0, 0, 20, 20), group=3),
            new_shape("rock_glacier", ring(30, 0, 40, 20), group=3),
            new_shape("hole", ring(5, 5, 10, 10), group=3),
            new_shape("rock_glacier", ring(0, 40, 20, 60), group=4),
        ),
        size=SIZE,
    )
    areas = sorted(outline.polygon.area for outline in drawing.outlines)
    assert areas == [400, 575]


def test_ground_to_ignore_keeps_its_label():
    assert only(read_drawing(new_form(new_shape("ignore", ring(0, 0, 9, 9))), size=SIZE)).label == (
        "ignore"
    )


def test_labels_do_not_depend_on_case_or_blanks():
    drawing = read_drawing(new_form(new_shape("Rock glacier", ring(0, 0, 9, 9))), size=SIZE)
    assert only(drawing).label == "rock_glacier"


def test_labels_of_landforms_can_be_named():
    shapes = [new_shape("RG", ring(0, 0, 9, 9)), new_shape("moraine", ring(20, 0, 29, 9))]
    drawing = read_drawing(new_form(*shapes), size=SIZE, landforms=["RG"])
    assert [outline.label for outline in drawing.outlines] == ["RG"]
    assert drawing.unknown == ("moraine",)


def test_rectangles_circles_and_masks_are_areas():
    square = np.zeros((5, 8), np.uint8)
    square[1:4, 2:7] = 255
    drawing = read_drawing(
        new_form(
            new_shape("rock_glacier", [(9, 9), (1, 2)], kind="rectangle"),
            new_shape("rock_glacier", [(30, 30), (34, 33)], kind="circle"),
            new_shape("rock_glacier", [(40, 50), (47, 54)], kind="mask", mask=png(square)),
        ),
        size=SIZE,
    )
    rectangle, circle, mask = (outline.polygon for outline in drawing.outlines)
    assert rectangle.equals(shapely.box(1, 2, 9, 9))
    assert circle.area == pytest.approx(np.pi * 25, rel=2e-3)
    assert mask.equals(shapely.box(42, 51, 47, 54))


def png(values):
    with rasterio.MemoryFile() as memory:
        profile = {"driver": "PNG", "height": values.shape[0], "width": values.shape[1]}
        with memory.open(
            count=1, dtype="uint8", transform=rasterio.Affine(1, 0, 1, 0, 1, 1), **profile
        ) as file:
            file.write(values, 1)
        return base64.b64encode(io.BytesIO(memory.read()).read()).decode()


def test_what_is_no_area_is_told_by_number_and_label():
    drawing = read_drawing(
        new_form(
            new_shape("rock_glacier", [(1, 1), (2, 2)], kind="line"),
            new_shape("rock_glacier", [(1, 1), (2, 2)]),
            new_shape("rock_glacier", [(1, 1), (2, 2)], kind="mask", mask="nonsense"),
            new_shape("rock_glacier", ring(100, 100, 120, 120)),
            new_shape("rock_glacier", [(1, "a"), (2, 2), (3, 3)]),
        ),
        size=SIZE,
    )
    assert not drawing.outlines
    assert [problem.split(" (")[0] for problem in drawing.problems] == [
        f"shape {number}" for number in (1, 2, 3, 4, 5)
    ]
    assert "a line is no area" in drawing.problems[0]
    assert "covers no ground" in drawing.problems[3]


@pytest.mark.parametrize("kind", ["polygon", "rectangle", "circle"])
@pytest.mark.parametrize("far", [1e308, -1e200, float("nan")])
def test_points_that_no_image_holds_are_told(kind, far):
    points = [(far, 0), (0, far), (far, far)]
    shape = new_shape("rock_glacier", points[:2] if kind != "polygon" else points, kind=kind)
    drawing = read_drawing(new_form(shape), size=SIZE)
    assert drawing.outlines == ()
    assert drawing.problems == ("shape 1 (rock_glacier): its points are no pixels",)


def test_an_image_of_another_size_is_told():
    drawing = read_drawing(old_form(ring(0, 0, 9, 9), size=(128, 128)), size=SIZE)
    assert drawing.problems == ("drawn on an image of 128 x 128 pixels, and the chip has 64 x 64",)


def test_a_ring_that_crosses_itself_keeps_both_lobes():
    drawing = read_drawing(old_form([(0, 0), (10, 10), (10, 0), (0, 10)]), size=SIZE)
    assert only(drawing).polygon.area == pytest.approx(50)
    assert drawing.repaired == 1


def test_what_reaches_beyond_the_image_is_cut():
    drawing = read_drawing(old_form(ring(-5, -5, 10, 10)), size=SIZE)
    assert only(drawing).polygon.equals(shapely.box(0, 0, 10, 10))


def test_what_is_written_has_the_keys_that_the_old_version_wants():
    values = drawing_of(
        [Outline(label="rock_glacier", polygon=shapely.box(1, 1, 5, 5))], image="a.png", size=SIZE
    )
    assert {"lineColor", "fillColor", "imageData", "imagePath", "shapes"} <= set(values)
    assert {"line_color", "fill_color", "points", "label"} <= set(values["shapes"][0])
    assert values["shapes"][0]["group_id"] is None


CORNERS = st.tuples(
    st.integers(2, 25), st.integers(2, 25), st.integers(34, 60), st.integers(34, 60)
)


@given(CORNERS, st.integers(0, 3))
def test_outlines_with_holes_and_parts_come_back(corners, holes):
    x0, y0, x1, y1 = corners
    shell = shapely.box(x0 + 0.25, y0 + 0.125, x1 + 0.5, y1)
    for hole in range(holes):
        shell = shell.difference(shapely.box(26 + 2 * hole, 28, 27 + 2 * hole, 32))
    whole = shapely.MultiPolygon([shell, shapely.box(0, 0, 1.5, 1.5)])
    values = drawing_of([Outline(label="rock_glacier", polygon=whole)], image="chip.png", size=SIZE)
    back = only(read_drawing(values, size=SIZE)).polygon
    assert back.symmetric_difference(whole).area < 1e-2
    assert len(shapely.get_parts(back)) == 2


def test_what_is_written_crosses_nothing_when_it_is_read_again():
    """Rounded one by one, these points would make a ring that touches itself."""
    thin = shapely.Polygon([(1, 1), (30, 1.0004), (60, 1), (60, 40), (30, 1.00041), (1, 40)])
    assert thin.is_valid
    values = drawing_of([Outline(label="rock_glacier", polygon=thin)], image="a.png", size=SIZE)
    drawing = read_drawing(values, size=SIZE)
    assert drawing.repaired == 0
    ground = shapely.union_all([outline.polygon for outline in drawing.outlines])
    assert ground.symmetric_difference(thin).area < 0.1


def test_a_hole_in_nothing_is_told():
    shapes = [
        new_shape("rock_glacier", ring(0, 0, 20, 20), group=1),
        new_shape("hole", ring(40, 40, 50, 50)),
        new_shape("hole", ring(5, 5, 10, 10), group=7),
    ]
    drawing = read_drawing(new_form(*shapes), size=SIZE)
    assert drawing.problems == ("shape 2 (hole): it lies in no landform",)
    assert drawing.outlines[0].polygon.area == 375  # its group is nobody's: by where it lies


@pytest.mark.parametrize("values", [[], {"shapes": None}, {"shapes": ["x"]}, {}])
def test_what_is_no_drawing_is_told(values):
    assert read_drawing(values, size=SIZE).problems == ("no list of shapes",)
