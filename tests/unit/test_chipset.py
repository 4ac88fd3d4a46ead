"""Chips for others: what is in them, who can read them, and that nothing is mixed."""

import json
import subprocess
import sys

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import torch
from torch.utils.data import DataLoader, Dataset
from torchgeo.datasets import RasterDataset, stack_samples
from torchgeo.samplers import GriddedPatchSampler

from made_ground import make_taught
from rockglacier.chipset import write_chipset
from rockglacier.errors import InputError
from rockglacier.features.fusion import fuse
from rockglacier.grid import Window
from rockglacier.labels.split import windows_of
from rockglacier.storage import open_array, read_json

CHIP = 32


class Masks(RasterDataset):
    is_image = False


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    study = make_taught(tmp_path_factory.mktemp("chipset"), chip=CHIP)
    fuse(study)
    return study


@pytest.fixture(scope="module")
def folder(study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "chips"
    write_chipset(study, folder)
    return folder


@pytest.fixture(scope="module")
def table(folder):
    return gpd.read_parquet(folder / "chips.parquet")


def read(folder, path):
    with rasterio.open(folder / path) as file:
        return file.read(), file.transform


def labels_of(study):
    return open_array(study.labels_path / "labels")[:]


def window_of(row):
    return Window(y=int(row["row"]), x=int(row["col"]), height=CHIP, width=CHIP)


def test_every_labelled_pixel_with_features_counts_once_and_in_its_split(study, folder, table):
    labels = labels_of(study)
    features = open_array(study.features_path / "features")[:]
    splits = gpd.read_parquet(study.splits_path)
    times = np.zeros(labels.shape, int)
    for _, row in table.iterrows():
        (mask,), _ = read(folder, row["mask"])
        where = window_of(row).slices
        counted = mask != 255
        times[where] += counted
        assert (mask[counted] == labels[where][counted]).all()
        assert (row["pixels_counted"], row["pixels_landform"]) == (counted.sum(), (mask == 1).sum())
    expected = np.zeros(labels.shape, bool)
    for split in ("train", "validation", "test"):
        for window in windows_of(splits, split):
            expected[window.slices] = True
    expected &= (labels != 255) & (features[0] != -32768)
    assert (times == expected).all()


def test_no_image_shows_ground_of_another_split(study, folder, table):
    about = read_json(folder / "dataset.json")
    means = np.array([c["mean"] for c in about["channels"]], np.float32)
    splits = gpd.read_parquet(study.splits_path)
    for _, row in table.iterrows():
        image, _ = read(folder, row["image"])
        assert np.isfinite(image).all()
        own = np.zeros(study.grid.shape, bool)
        for window in windows_of(splits, row["split"]):
            own[window.slices] = True
        others = ~own[window_of(row).slices]
        assert (image[:, others] == means[:, None]).all()
    assert (table["col"] % CHIP != 0).any()  # chips moved back inside their ground


def test_images_are_the_features_in_their_own_units_and_in_place(study, folder, table):
    about = read_json(folder / "dataset.json")
    features = open_array(study.features_path / "features")
    mean, std = (np.array([c[key] for c in about["channels"]]) for key in ("mean", "std"))
    assert [c["name"] for c in about["channels"]][:3] == ["B04", "B11", "slope"]
    for _, row in table.iloc[::7].iterrows():
        image, transform = read(folder, row["image"])
        (mask,), _ = read(folder, row["mask"])
        window = window_of(row)
        west, north = study.grid.transform * (window.x, window.y)
        assert (transform.c, transform.f) == (west, north)
        known = mask != 255
        stored = features[(slice(None), *window.slices)][:, known] / 1000
        normal = (image[:, known] - mean[:, None]) / std[:, None]
        assert np.abs(np.clip(normal, -32, 32) - stored).max() < 1e-3
        box = gpd.GeoSeries([row.geometry], crs=4326).to_crs(study.grid.epsg).total_bounds
        assert box == pytest.approx([west, north - 10 * CHIP, west + 10 * CHIP, north], abs=0.01)


def test_plain_torchgeo_reads_images_and_masks_together(study, folder):
    chips = RasterDataset(folder / "images" / "train") & Masks(folder / "masks" / "train")
    sampler = GriddedPatchSampler(chips, size=CHIP, stride=CHIP)
    loader = DataLoader(chips, sampler=sampler, batch_size=4, collate_fn=stack_samples)
    batches = list(loader)
    assert batches[0]["image"].shape == (4, 7, CHIP, CHIP)
    masks = torch.cat([batch["mask"] for batch in batches])
    assert masks.unique().tolist() == [0, 1, 255]
    ground = slice(None), slice(112, 240)
    whole = masks[masks != 255]
    labels = labels_of(study)[ground]
    features = open_array(study.features_path / "features")[0][ground]
    assert int((whole == 1).sum()) == int(((labels == 1) & (features != -32768)).sum())


def test_plain_torch_learns_from_table_and_normalisation(folder, table):
    about = read_json(folder / "dataset.json")

    class Chips(Dataset):
        rows = table[table["split"] == "train"].reset_index()
        mean, std = (
            torch.tensor([c[key] for c in about["channels"]])[:, None, None]
            for key in ("mean", "std")
        )

        def __len__(self):
            return len(self.rows)

        def __getitem__(self, index):
            image, _ = read(folder, self.rows["image"][index])
            mask, _ = read(folder, self.rows["mask"][index])
            return (torch.from_numpy(image) - self.mean) / self.std, torch.from_numpy(
                mask[0]
            ).long()

    image, mask = next(iter(DataLoader(Chips(), batch_size=len(Chips()))))
    network = torch.nn.Conv2d(7, 2, 3, padding=1)
    loss = torch.nn.functional.cross_entropy(network(image), mask, ignore_index=255)
    assert torch.isfinite(loss)
    assert abs(float(image.mean())) < 0.5


STRANGER = """
import glob, json, os, sys
for name in ("rockglacier", "geopandas", "pyarrow", "torch"):
    sys.modules[name] = None  # what a stranger does not have
import numpy as np
import rasterio

about = json.load(open("dataset.json"))
mean, std = (np.array([c[key] for c in about["channels"]])[:, None] for key in ("mean", "std"))
found = {}
for split in about["splits"]:
    images, masks = [], []
    for path in sorted(glob.glob(f"images/{split}/*.tif")):
        with rasterio.open(path) as image, rasterio.open("masks" + path[len("images") :]) as mask:
            assert (image.transform, image.crs) == (mask.transform, mask.crs)
            assert image.descriptions == tuple(c["name"] for c in about["channels"])
            is_counted = mask.read(1) != mask.nodata
            images.append((image.read()[:, is_counted] - mean) / std)
            masks.append(mask.read(1)[is_counted])
    pixels, labels = np.concatenate(images, axis=1), np.concatenate(masks)
    found[split] = {
        "chips": len(images), "pixels_counted": labels.size,
        "pixels_landform": int((labels == 1).sum()),
        "mean": pixels.mean(axis=1).tolist(), "std": pixels.std(axis=1).tolist(),
    }
print(json.dumps(found))
"""


def test_a_stranger_needs_numpy_and_rasterio_only(folder):
    done = subprocess.run(
        [sys.executable, "-c", STRANGER], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    numbers = {split: (part.pop("mean"), part.pop("std")) for split, part in found.items()}
    assert found == read_json(folder / "dataset.json")["splits"]
    mean, std = numbers["train"]
    assert mean == pytest.approx([0] * len(mean), abs=0.5)  # it is of some of these pixels
    assert std == pytest.approx([1] * len(std), abs=0.5)


def test_a_second_run_writes_only_what_is_missing(study, folder, table):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.tif")}
    gone = folder / table["mask"][3]  # as if it had been killed between image and mask
    gone.unlink()
    content = (folder / "chips.parquet").read_bytes()
    write_chipset(study, folder)
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*.tif")}
    assert set(after) == set(before)
    changed = {path for path in after if after[path] != before[path]}
    assert changed == {gone, folder / table["image"][3]}
    assert (folder / "chips.parquet").read_bytes() == content


def test_other_content_is_refused(study, folder, tmp_path):
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "beach.jpg").write_bytes(b"")
    with pytest.raises(InputError, match="no chips of this software"):
        write_chipset(study, tmp_path / "holiday")
    other = make_taught(tmp_path, chip=64)
    fuse(other)
    with pytest.raises(InputError, match="other data or settings"):
        write_chipset(other, folder)
    assert read_json(folder / "dataset.json")["chip_px"] == CHIP


def test_it_says_what_it_is_and_under_which_terms(folder, table):
    about = read_json(folder / "dataset.json")
    assert about["is_complete"]
    assert about["classes"] == {"0": "background", "1": "rock glacier", "255": "not counted"}
    assert set(about["splits"]) == {"train", "validation", "test"}
    assert sum(split["chips"] for split in about["splits"].values()) == len(table)
    assert "No licence was chosen" in (folder / "LICENSE").read_text()
    assert "Copernicus Sentinel" in (folder / "ATTRIBUTION.md").read_text()
    assert "| `slope` | degrees |" in (folder / "README.md").read_text().replace("| 3 ", "")
    with rasterio.open(folder / table["image"][0]) as file:
        assert file.descriptions[2] == "slope"
        assert file.units[2] == "degrees"
