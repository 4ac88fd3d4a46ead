"""Real Sentinel-2 + DEM chips in five UTM zones: one training run over four, then ground unseen.

The class is land cover, a stand-in: no chip holds a rock glacier. Two of the four chips that train
do not have it, and are background. What is shown is that real pixels of five zones and two
hemispheres pass every stage; the accuracy is printed beside that of saying the same everywhere, and
not asserted.
"""

import importlib.util
from pathlib import Path

import geopandas as gpd
import pytest
import rasterio
from rasterio.features import rasterize

from rockglacier.config import parse_config
from rockglacier.mapping import pack_model, study_for_bundle
from rockglacier.run import run_stages
from rockglacier.stages import Context, stage_named, stages_of
from rockglacier.study import Study

pytestmark = pytest.mark.real

MAKE = Path(__file__).parents[1] / "data" / "real_chips" / "make.py"
TRAINED_ON = ("433D_629L_3_1", "637U_59R_1_3", "282D_485L_3_3", "609U_541L_3_0")
EPOCHS = 6
UNSEEN = "38D_378R_2_3"
SEARCH = {
    "catalog": "items.parquet",
    "collection": "sentinel-2-l2a",
    "start": "2020-01-01",
    "end": "2020-12-31",
    "season": [1, 12],
}


def load_make():
    spec = importlib.util.spec_from_file_location("make_real_chips", MAKE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def study_of(folder, name):
    config = parse_config(
        {
            "name": name.lower(),
            "area": "area.gpkg",
            "search": SEARCH,
            "cube": {"block": 128},
            "labels": {
                "reference": "reference.gpkg",
                "complete_within": "area.gpkg",  # a chip may hold none
                "split": "blocks",
                "split_block": 64,
                "guard": 0,
                "test_share": 0,
                "validation_share": 0.25,
            },
            "train": {
                "networks": ["unet"],
                "size": "small",
                "chip": 64,
                "batch": 8,
                "epochs": EPOCHS,
                "patience": EPOCHS,
                "chips_per_epoch": 64,
            },
            "predict": {"window": 64},
        },
        source="test",
    )
    return Study(config=config, base=folder)


@pytest.fixture(scope="module")
def basins(shared_data, tmp_path_factory):
    source = shared_data / "s2_dem_pairs" / "terramind"
    return load_make().make_basins(source, tmp_path_factory.mktemp("chips"))


@pytest.fixture(scope="module")
def bundle_path(basins, tmp_path_factory):
    """Train one network on four basins in four zones and two hemispheres."""
    from rockglacier.features.fusion import Fusion, fuse
    from rockglacier.model.fit import train_networks
    from rockglacier.storage import read_json

    studies = [study_of(basins[name], name) for name in TRAINED_ON]
    for study in studies:
        run_stages(study, [stage_named(name) for name in ("search", "cube", "label")], Context())
    first, *others = studies
    run_stages(first, [stage_named("fuse")], Context())
    for other in others:
        fuse(other, fusion=Fusion.from_dict(read_json(first.fusion_path)))
    zones = {study.grid.epsg for study in studies}
    assert len(zones) == len(TRAINED_ON)
    assert {zone // 100 for zone in zones} == {326, 327}
    train_networks(studies, into=first)
    return pack_model(first, tmp_path_factory.mktemp("bundle") / "model.rgbundle.zip")


@pytest.fixture(scope="module")
def mapped(basins, bundle_path):
    from rockglacier.model.bundle import read_bundle

    folder = basins[UNSEEN]
    bundle = read_bundle(bundle_path)
    study = study_for_bundle(
        str(folder / "area.gpkg"),
        bundle,
        name="unseen",
        search={**SEARCH, "catalog": str(folder / "items.parquet")},
        cube={"block": 128},
        output=str(folder / "unseen"),
    )
    run_stages(study, stages_of(study, mapping=True), Context(bundle=bundle))
    return study


def test_unseen_real_chip_is_mapped_to_a_valid_catalog(mapped):
    from rockglacier_stac.validate import validate_catalog

    assert validate_catalog(mapped.stac_path / "catalog.json") == []
    assert (mapped.inventory_path / "inventory.parquet").is_file()


def test_prediction_covers_the_chip_and_leaves_its_frame_empty(mapped, basins, capsys):
    with rasterio.open(mapped.prediction_path / "classes.tif") as file:
        classes, transform, shape, crs = file.read(1), file.transform, file.shape, file.crs
    reference = gpd.read_file(basins[UNSEEN] / "reference.gpkg").to_crs(crs)
    truth = rasterize(reference.geometry, out_shape=shape, transform=transform)
    is_valid = classes != 255
    assert is_valid.mean() > 0.8
    both = ((classes == 1) & (truth == 1) & is_valid).sum()
    either = (((classes == 1) | (truth == 1)) & is_valid).sum()
    accuracy = ((classes == 1) == (truth == 1))[is_valid].mean()
    with capsys.disabled():
        print(
            f"\nreal chip {UNSEEN}, never seen, stand-in class (land cover): "
            f"IoU {both / either:.3f}, accuracy {accuracy:.3f}; "
            f"the class everywhere: {(truth == 1)[is_valid].mean():.3f}, "
            f"nowhere: {(truth == 0)[is_valid].mean():.3f}"
        )
