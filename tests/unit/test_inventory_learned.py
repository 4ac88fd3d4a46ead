"""What people decide on an inventory is what the next training sees."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import torch
import zarr
from rasterio.features import rasterize, shapes

from made_ground import make_taught
from rockglacier.config import parse_config
from rockglacier.grid import Window, projected
from rockglacier.inventory.corrected import write_corrected
from rockglacier.inventory.edited import import_edited
from rockglacier.inventory.export import export_qgis
from rockglacier.inventory.tables import build_inventory
from rockglacier.model.loaders import chips_of, grounds_of
from rockglacier.run import run_stages
from rockglacier.stages import Context, stage_named
from rockglacier.storage import read_json, write_json
from rockglacier.study import Study


@pytest.fixture
def study(tmp_path):
    """A study whose model drew what the reference says, ready to learn."""
    made = make_taught(tmp_path, epochs=1, chips_per_epoch=8)
    labels = zarr.open_array(made.labels_path / "labels", mode="r")[:]
    drawn = [
        shapely.geometry.shape(shape)
        for shape, value in shapes(labels, mask=labels == 1, transform=made.grid.transform)
    ]
    gpd.GeoDataFrame(geometry=drawn, crs=made.grid.epsg).to_file(tmp_path / "reference.gpkg")
    group = zarr.open_group(made.prediction_path / "prediction.zarr", mode="w")
    group.create_array("probability", data=np.where(labels == 1, 90, 5).astype(np.uint8))
    write_json(made.selection_path, {"network": "hrnet", "trial": 0, "threshold": 0.5})
    area = projected(shapely.box(*made.grid.bounds), epsg=4326, source_epsg=made.grid.epsg)
    return changed(made, area=list(area.bounds))


def changed(study, **sections):
    return Study(config=parse_config({**study.resolved(), **sections}, source="t"), base=study.base)


def learned(study):
    """Return the labels and the training masks of a study, and the weights that came of them."""
    (study.folder / "study.yaml").write_text(f"name: {study.config.name}")
    run_stages(study, [stage_named(name) for name in ("label", "fuse", "train")], Context())
    labels = zarr.open_array(study.labels_path / "labels", mode="r")[:]
    chips = chips_of(grounds_of([study], study.config), study.config.train, seed=0)
    masks = torch.cat([batch["mask"].ravel() for batch in chips.train])
    model = read_json(study.models_path / "hrnet" / "trial-0" / "model.json")
    return labels, masks, model["weights"]


def free_window(study, labels):
    """Return a square of background on training ground."""
    cells = gpd.read_parquet(study.splits_path)
    train = np.zeros(labels.shape, bool)
    for cell in cells[cells["split"] == "train"].itertuples():
        train[cell.row0 : cell.row0 + cell.height, cell.col0 : cell.col0 + cell.width] = True
    free = np.lib.stride_tricks.sliding_window_view((labels == 0) & train, (12, 12))
    y, x = np.argwhere(free.all(axis=(2, 3)))[0]
    return Window(y=int(y), x=int(x), height=12, width=12)


def burnt(study, outline):
    ground = gpd.GeoSeries([outline], crs=4326).to_crs(study.grid.epsg)
    return rasterize(ground, out_shape=study.grid.shape, transform=study.grid.transform) == 1


def test_training_sees_what_was_rejected_and_what_was_drawn(study):
    before, masks, weights = learned(study)
    build_inventory(study)
    table = gpd.read_parquet(study.inventory_path / "inventory.parquet")
    wrong, right = table.loc[table["split"] == "train", "candidate_id"].iloc[:2]
    outlines = table.set_index("candidate_id").geometry
    box = study.grid.window_geobox(free_window(study, before)).boundingbox.bbox
    missed = projected(shapely.box(*box), epsg=4326, source_epsg=study.grid.epsg)

    package, *_ = export_qgis(study, study.folder / "qgis")
    edited = gpd.read_file(package, layer="outlines")
    edited.loc[edited["candidate_id"] == wrong, ["status", "reviewer"]] = "rejected", "A"
    edited.loc[edited["candidate_id"] == right, ["status", "reviewer"]] = "confirmed", "A"
    drawn = gpd.GeoDataFrame({"reviewer": ["A"]}, geometry=[missed], crs=4326)
    pd.concat([edited, drawn], ignore_index=True).to_file(package, layer="outlines")
    import_edited(study, package)
    reference, complete = write_corrected(study)

    given = {"reference": str(reference), "complete_within": str(complete)}
    corrected = changed(study, labels={**study.resolved()["labels"], **given})
    after, masks_after, weights_after = learned(corrected)
    assert (before[burnt(study, outlines[wrong])] == 1).mean() > 0.9
    assert (after[burnt(study, outlines[wrong])] == 0).mean() > 0.9
    assert (before[burnt(study, missed)] == 0).all()
    assert (after[burnt(study, missed)] == 1).mean() > 0.9
    elsewhere = ~burnt(study, outlines[wrong].buffer(3e-4)) & ~burnt(study, missed.buffer(3e-4))
    np.testing.assert_array_equal(after[elsewhere], before[elsewhere])
    assert int((masks_after == 1).sum()) != int((masks == 1).sum())
    assert weights_after != weights
