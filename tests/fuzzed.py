"""Readers of what people write, and how their input is spoilt: ``READERS``.

As a program it is driven by coverage (https://github.com/google/atheris):
``python tests/fuzzed.py item -max_total_time=600``.
"""

import copy
import datetime as dt
import io
import json
import logging
import sys
import tempfile
from inspect import isclass, isfunction
from pathlib import Path

import geopandas as gpd
import shapely
import yaml
from hypothesis import strategies as st

from rockglacier.config import Config, load_config, parse_config
from rockglacier.errors import RockGlacierError
from rockglacier.inventory.polygons import read_outlines
from rockglacier.labels.draw import CHIPS
from rockglacier.labels.drawn import read_drawn
from rockglacier.labels.reference import read_reference
from rockglacier.scenes.record import dem_from_item, scene_from_item
from rockglacier.study import read_area
from rockglacier_stac.catalogs import open_catalog
from rockglacier_stac.errors import StacError
from rockglacier_stac.globe import box_of
from rockglacier_stac.search import Query

OURS = ("rockglacier", "rockglacier_stac")
NAMED = (RockGlacierError, StacError)
"""What a reader may end in, whatever it is given."""

WORDS = st.one_of(
    st.text(max_size=8), st.sampled_from(["", "..", "/", "\x00", "NaN", "é", "1e999"])
)
NUMBERS = st.one_of(
    st.sampled_from([0, -1, 1e308, -1e308, float("nan"), float("inf"), 10**400, True, False]),
    st.integers(),
    st.floats(),
)
LEAVES = st.one_of(st.none(), WORDS, NUMBERS)
JUNK = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
JSON = JUNK.map(lambda value: json.loads(json.dumps(value, default=str)))


@st.composite
def spoilt(draw, values, junk=JSON):
    """Return a copy in which a few parts are replaced, doubled, added or gone."""
    whole = {"": copy.deepcopy(values)}
    for _ in range(draw(st.integers(1, 3))):
        holder, key = draw(st.sampled_from(list(_places(whole))))
        action = draw(st.sampled_from(["junk", "junk", "junk", "gone", "more"]))
        if action == "junk":
            holder[key] = draw(junk)
        elif action == "gone" and holder is not whole:
            del holder[key]
        elif isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        else:
            holder[draw(WORDS) if holder is not whole else ""] = draw(junk)
    return whole[""]


def _places(value):
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


@st.composite
def broken(draw, data):
    """Return bytes of which some are changed, gone or doubled."""
    for _ in range(draw(st.integers(1, 4))):
        if not data:
            break
        start = draw(st.integers(0, len(data) - 1))
        end = min(len(data), start + draw(st.integers(1, 64)))
        part = draw(st.sampled_from([b"", data[start:end] * 2]) | st.binary(max_size=16))
        data = data[:start] + part + data[end:]
    return data


# the config

CONFIG = {
    **Config.model_validate({"name": "hunza", "area": [74.0, 36.0, 75.0, 37.0]}).model_dump(
        mode="json", exclude={"area", "output"}
    ),
    "area": [74.0, 36.0, 75.0, 37.0],
}
DATES = st.just(dt.date(2024, 1, 1)) | st.just(dt.datetime(2024, 1, 1))


def read_config(values):
    parse_config(values, source="fuzzed")


def read_config_file(data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.yaml"
        path.write_bytes(data)
        load_config(path)


# items

SQUARE = [[[74.0, 36.0], [75.0, 36.0], [75.0, 37.0], [74.0, 37.0], [74.0, 36.0]]]
RASTER = {"proj:shape": [10, 10], "proj:transform": [10.0, 0.0, 5e5, 0.0, -10.0, 4e6]}
ITEM = {
    "type": "Feature",
    "stac_version": "1.1.0",
    "id": "S2A_43SDA_20240801_0_L2A",
    "collection": "s2",
    "geometry": {"type": "Polygon", "coordinates": SQUARE},
    "bbox": [74.0, 36.0, 75.0, 37.0],
    "properties": {
        "datetime": "2024-08-01T05:50:00Z",
        "platform": "sentinel-2a",
        "eo:cloud_cover": 1.5,
        "proj:code": "EPSG:32643",
        "grid:code": "MGRS-43SDA",
        "s2:processing_baseline": "05.11",
        "s2:sequence": "0",
        "s2:datatake_id": "GS2A_20240801T055641_047590_N05.11",
        "s2:nodata_pixel_percentage": 0.5,
        "view:sun_azimuth": 140.0,
        "view:sun_elevation": 60.0,
    },
    "links": [{"rel": "self", "href": "https://stac.example/items/1"}],
    "assets": {
        "blue": {"href": "./B02.tif", **RASTER, "raster:bands": [{"scale": 1e-4, "offset": -0.1}]},
        "scl": {"href": "./SCL.tif", "proj:shape": [5, 5]},
        "data": {"href": "./dem.tif", "eo:bands": [{"name": "x", "common_name": "red"}]},
    },
}
CATALOG = {"type": "Catalog", "id": "c", "links": [{"rel": "item", "href": "./item.json"}]}


def read_items(documents):
    with tempfile.TemporaryDirectory() as folder:
        for name, document in zip(("catalog.json", "item.json"), documents, strict=True):
            text = document if isinstance(document, bytes) else json.dumps(document).encode()
            (Path(folder) / name).write_bytes(text)
        catalog = open_catalog(f"{folder}/catalog.json")
        found = catalog.search(
            Query(
                "s2",
                area=box_of((74.1, 36.1, 74.9, 36.9)),
                start=dt.date(2024, 1, 1),
                end=dt.date(2024, 12, 31),
            )
        )
    for item in found:
        for read in (lambda item: scene_from_item(item, ["B02"]), dem_from_item):
            try:
                read(item)
            except NAMED:
                continue


# drawings

SHAPES = [
    {"label": "rock_glacier", "shape_type": "polygon", "group_id": 1,
     "points": [[2.0, 2.0], [40.0, 3.0], [30.0, 50.0]]},
    {"label": "hole", "shape_type": "polygon", "group_id": 1,
     "points": [[10.0, 10.0], [20.0, 10.0], [15.0, 20.0]]},
    {"label": "ignore", "shape_type": "rectangle", "points": [[50.0, 50.0], [60.0, 60.0]]},
    {"label": "rock glacier", "shape_type": "circle", "points": [[30.0, 30.0], [35.0, 30.0]]},
    {"label": "rock_glacier", "shape_type": "mask", "points": [[1.0, 1.0]],
     "mask": "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4"},
]  # fmt: skip
DRAWING = {
    "version": "5.5.0",
    "flags": {"looked_at": True},
    "imagePath": "a.png",
    "imageHeight": 64,
    "imageWidth": 64,
    "shapes": SHAPES,
}
CHIP = {
    "chip": "a",
    "height": 64,
    "width": 64,
    "epsg": 32643,
    "transform": [10.0, 0.0, 500_000.0, 0.0, -10.0, 4_000_000.0],
    "begun": None,
}
LIST_OF_CHIPS = {
    "type": "FeatureCollection",
    "features": [{"type": "Feature", "geometry": None, "properties": CHIP}],
}


def read_drawings(documents):
    with tempfile.TemporaryDirectory() as folder:
        for name, document in zip((CHIPS, "a.json"), documents, strict=True):
            text = document if isinstance(document, bytes) else json.dumps(document).encode()
            (Path(folder) / name).write_bytes(text)
        read_drawn(Path(folder))


# inventories

INVENTORY = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "properties": {"PrimaryID": "RGU361234N0741234E", "status": "certain", "area": 0.25},
            "geometry": {"type": kind, "coordinates": coordinates},
        }
        for kind, coordinates in (("Polygon", SQUARE), ("MultiPolygon", [SQUARE, SQUARE]))
    ],
}
HERE = shapely.box(74, 36, 75, 37)


def parquet():
    content = io.BytesIO()
    table = gpd.GeoDataFrame({"status": ["certain"]}, geometry=[HERE], crs=4326)
    table.to_parquet(content, schema_version="1.1.0", write_covering_bbox=True)
    return content.getvalue()


def read_inventory(given):
    suffix, document = given
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"inventory{suffix}"
        path.write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode())
        for read in (
            lambda: read_reference(str(path), area=HERE, where={"status": ("certain",)}),
            lambda: read_area(str(path)),
            lambda: read_outlines(str(path), name="a"),
        ):
            try:
                read()
            except NAMED:
                continue


def either(first, second):
    """One of two documents is spoilt, in its values or in its bytes."""
    texts = [json.dumps(document).encode() for document in (first, second)]
    return st.one_of(
        st.tuples(st.just(first), spoilt(second)),
        st.tuples(st.just(first), spoilt(second)),
        st.tuples(spoilt(first), st.just(second)),
        st.tuples(st.just(first), broken(texts[1])),
        st.tuples(broken(texts[0]), st.just(second)),
    )


READERS = {
    "config": (spoilt(CONFIG, junk=JUNK | DATES), read_config),
    "config-file": (
        broken(yaml.safe_dump(CONFIG, sort_keys=False).encode()), read_config_file,
    ),
    "item": (either(CATALOG, ITEM), read_items),
    "labelme": (either(LIST_OF_CHIPS, DRAWING), read_drawings),
    "inventory": (
        st.one_of(
            st.tuples(st.just(".geojson"), spoilt(INVENTORY)),
            st.tuples(st.just(".geojson"), broken(json.dumps(INVENTORY).encode())),
            st.tuples(st.just(".parquet"), broken(parquet())),
        ),
        read_inventory,
    ),
}  # fmt: skip
"""Name: spoilt input, and what reads it; any error but a named one is a fault."""


def check(name, value):
    try:
        READERS[name][1](value)
    except NAMED:
        return


def own_functions():
    """Return the functions and methods of our loaded modules, those of decorators too."""
    found = {}
    for module in [module for name, module in sys.modules.items() if name.startswith(OURS)]:
        holders = [vars(module), *(vars(held) for held in vars(module).values() if isclass(held))]
        for held in [value for holder in holders for value in list(holder.values())]:
            function = getattr(held, "wrapped", held)  # pydantic's
            function = getattr(function, "fget", None) or getattr(function, "__func__", function)
            if isfunction(function) and str(function.__module__).startswith(OURS):
                found[id(function)] = function
    return list(found.values())


def main():
    import atheris
    from hypothesis import given, settings

    name = sys.argv.pop(1)
    logging.disable(logging.CRITICAL)

    @settings(deadline=None, database=None)
    @given(READERS[name][0])
    def fuzz(value):
        check(name, value)

    for function in own_functions():
        atheris.instrument_func(function)
    atheris.Setup(sys.argv, fuzz.hypothesis.fuzz_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
