"""Items of the four products: valid by the vendored schemas, and saying what they must say."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from rockglacier_stac import extensions, item
from rockglacier_stac.errors import StacError
from rockglacier_stac.validate import validate_document

BBOX = (74.0, 36.0, 74.1, 36.1)
PLACE = item.Place(
    geometry={
        "type": "Polygon",
        "coordinates": [[[74.0, 36.0], [74.1, 36.0], [74.1, 36.1], [74.0, 36.1], [74.0, 36.0]]],
    },
    bbox=BBOX,
)
PERIOD = item.Period(start=datetime(2024, 7, 1, tzinfo=UTC), end=datetime(2024, 9, 9, tzinfo=UTC))
PROVENANCE = item.Provenance(
    level="L4",
    lineage="made in a test",
    software={"rockglacier": "0.1.0", "GDAL": "3.12.2"},
    version="0.1.0",
    license="CC-BY-4.0",
    attribution=("Contains modified Copernicus Sentinel data 2024",),
)
PROJECTION = extensions.projection(
    epsg=32643,
    shape=(100, 120),
    transform=(10, 0, 500000, 0, -10, 4000000),
    bbox=(500000, 3999000, 501200, 4000000),
)
SOURCES = [item.Source(href="https://example.org/items/S2A_43SDA", title="S2A_43SDA")]
COMMON = {"place": PLACE, "period": PERIOD, "provenance": PROVENANCE, "sources": SOURCES}


def cube():
    return item.cube_item(
        "hunza-2024-cube",
        title="Cube",
        assets={"cube": item.Asset(href="../../cube.zarr", type=item.ZARR, title="Cube")},
        projection=PROJECTION,
        dimensions=extensions.cube_dimensions(
            epsg=32643,
            bbox=(500000, 3999000, 501200, 4000000),
            resolution=10,
            bands=["B02", "B03"],
            times=["2024-07-01T00:00:00Z"],
            interval=("2024-07-01T00:00:00Z", "2024-10-31T23:59:59Z"),
        ),
        variables={
            "reflectance": extensions.cube_variable(["time", "band", "y", "x"], unit="1"),
            "elevation": extensions.cube_variable(["y", "x"], unit="m"),
        },
        **COMMON,
    )


def prediction():
    core, raster = extensions.raster_band(
        "probability",
        data_type="uint8",
        nodata=255,
        resolution=10,
        scale=0.01,
        statistics={"minimum": 0, "maximum": 99, "mean": 3.5, "stddev": 9.0, "valid_percent": 98},
    )
    classes, classes_raster = extensions.raster_band(
        "classes", data_type="uint8", nodata=255, resolution=10
    )
    return item.prediction_item(
        "hunza-2024-prediction",
        title="Prediction",
        assets={
            "probability": item.Asset(
                href="../../probability.tif",
                type=item.COG,
                title="Probability",
                fields={
                    "bands": [core],
                    "raster:bands": [raster],
                    **extensions.file_info(size=12, sha256="0" * 64),
                },
            ),
            "classes": item.Asset(
                href="../../classes.tif",
                type=item.COG,
                title="Classes",
                fields={
                    "bands": [classes],
                    "raster:bands": [classes_raster],
                    "classification:classes": extensions.landform_classes({0: 90, 1: 10}),
                },
            ),
        },
        projection=PROJECTION,
        **COMMON,
    )


def inventory():
    return item.inventory_item(
        "hunza-2024-inventory",
        title="Inventory",
        assets={
            "inventory": item.Asset(
                href="../../inventory.parquet", type=item.GEOPARQUET, title="Inventory"
            )
        },
        table=extensions.table(
            columns=[("candidate_id", "string", "Id"), ("geometry", "binary", "")],
            geometry="geometry",
            rows=0,
        ),
        **COMMON,
    )


def model(**changed):
    facts = {
        "network": "hrnet",
        "size": "small",
        "channels": ("B02", "slope"),
        "mean": (0.1, 20.0),
        "std": (0.05, 9.0),
        "chip": 128,
        "parameters": 1000,
        "framework_version": "2.15.0+cpu",
        "batch": 8,
        "hyperparameters": {"seed": 3, "threshold": 0.4},
    }
    return item.model_item(
        "hunza-2024-hrnet",
        title="HRNet",
        assets={
            "model": item.Asset(
                href="../../model.ckpt",
                type=item.CHECKPOINT,
                title="Weights",
                roles=("mlm:model", "mlm:weights"),
                fields={"mlm:artifact_type": "torch.save"},
            )
        },
        facts=item.ModelFacts(**{**facts, **changed}),
        **COMMON,
    )


def placed(document):
    link = {"rel": "collection", "href": "./collection.json", "type": "application/json"}
    return {**document, "collection": "c", "links": [*document["links"], link]}


@pytest.mark.parametrize("build", [cube, prediction, inventory, model])
def test_items_are_valid_by_core_and_extension_schemas(build):
    document = placed(build())
    assert len(document["stac_extensions"]) >= 3
    assert validate_document(document) == []


@pytest.mark.parametrize("build", [cube, prediction, inventory, model])
def test_items_name_exactly_the_extensions_whose_fields_they_use(build):
    document = build()
    for address in document["stac_extensions"]:
        assert address in extensions.vendored()
    assert document["stac_extensions"] == extensions.used_extensions(document)


@pytest.mark.parametrize("build", [cube, prediction, inventory, model])
def test_items_cite_the_method_as_a_publication_and_never_as_their_own_doi(build):
    properties = build()["properties"]
    assert properties["sci:publications"][0]["doi"] == "10.3390/rs17243942"
    assert "sci:doi" not in properties
    assert "sci:citation" not in properties


def test_items_link_to_their_sources():
    links = [link for link in cube()["links"] if link["rel"] == "derived_from"]
    assert [(link["href"], link["title"]) for link in links] == [
        ("https://example.org/items/S2A_43SDA", "S2A_43SDA")
    ]


def test_free_values_do_not_count_as_extension_fields():
    document = model(hyperparameters={"file.size": 1, "seed": 2})
    assert extensions.EXTENSIONS["file"] not in document["stac_extensions"]


def test_cube_extent_is_that_of_pixel_centres():
    dimensions = cube()["properties"]["cube:dimensions"]
    assert dimensions["x"]["extent"] == [500005, 501195]
    assert dimensions["y"]["extent"] == [3999005, 3999995]
    assert dimensions["y"]["step"] == -10


def test_model_describes_one_statistic_a_channel():
    properties = model()["properties"]
    scaling = properties["mlm:input"][0]["value_scaling"]
    assert scaling[1] == {"type": "z-score", "mean": 20.0, "stddev": 9.0}
    assert properties["mlm:input"][0]["bands"] == [
        band["name"] for band in model()["assets"]["model"]["raster:bands"]
    ]
    assert properties["mlm:input"][0]["input"]["shape"] == [-1, 2, 128, 128]


def test_model_with_fewer_statistics_than_channels_is_refused():
    with pytest.raises(StacError, match="2 channels with 1 means and 2 deviations"):
        model(mean=(0.1,))


def test_moments_are_written_in_utc():
    east = timezone(timedelta(hours=5))
    assert item.timestamp(datetime(2024, 7, 1, 4, tzinfo=east)) == "2024-06-30T23:00:00Z"


def test_a_moment_without_time_zone_is_refused():
    with pytest.raises(StacError, match="has no time zone"):
        item.timestamp(datetime(2024, 7, 1))


def test_checksum_is_a_sha256_multihash():
    assert extensions.multihash("ab" * 32) == "1220" + "ab" * 32
    with pytest.raises(StacError, match="64 hexadecimal digits"):
        extensions.multihash("ab")


def test_classes_carry_counts_where_known():
    counted = {entry["name"]: entry["count"] for entry in extensions.landform_classes({1: 7})}
    assert counted == {"background": 0, "rock_glacier": 7, "nodata": 0}
