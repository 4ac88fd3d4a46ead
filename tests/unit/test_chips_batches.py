"""Chips read into batches: the right pixels at any origin, from any cache, by any process."""

import shutil
import tracemalloc

import numpy as np
import pytest
import torch
import zarr
from torch.utils.data import DataLoader

from made_ground import make_ground
from rockglacier.chips.basins import MultiBasinDataset
from rockglacier.chips.batches import InBatches, batch_of, whole
from rockglacier.chips.dataset import CubeDataset, as_features
from rockglacier.chips.footprints import chip_footprints
from rockglacier.chips.local import local_copy
from rockglacier.chips.sampler import PositiveSampler
from rockglacier.chips.tiles import GroundChips, PooledChips
from rockglacier.errors import InputError
from rockglacier.grid import Window
from rockglacier.model.loaders import chips_of, grounds_of

pytestmark = pytest.mark.usefixtures("one_thread")
HEIGHT, WIDTH, CHIP = 193, 261, 64
ORIGIN = (483_217.0, 4_012_343.0)
NODATA, IGNORE = -32768, 255
WORKERS_S = 900
"""Workers of a test that give nothing for so long hang."""


@pytest.fixture(scope="module")
def basin(tmp_path_factory):
    """Pixels that encode their row, column and channel; a corner without data, two landforms."""
    folder = tmp_path_factory.mktemp("basin")
    rows, cols = np.mgrid[:HEIGHT, :WIDTH]
    features = np.stack([rows * 100 + cols % 100, cols, rows - cols]).astype(np.int16)
    features[:, :9, :13] = NODATA
    labels = ((rows // 31 + cols // 17) % 5 == 0).astype(np.uint8)
    labels[100:110, 100:120] = IGNORE
    group = zarr.create_group(
        folder / "features.zarr",
        attributes={
            "channels": ["a", "b", "c"],
            "crs": "EPSG:32643",
            "transform": [10, 0, ORIGIN[0], 0, -10, ORIGIN[1]],
        },
    )
    array = group.create_array(
        "features", shape=features.shape, dtype="int16", chunks=(3, 32, 32), shards=(3, 64, 64)
    )
    array[:] = features
    zarr.create_group(folder / "labels.zarr").create_array("labels", data=labels, chunks=(50, 50))
    return folder, features, labels


def opened(folder, cache=False):
    return CubeDataset(folder / "features.zarr", folder / "labels.zarr", cache=cache)


def expected_of(basin, window):
    """The window by plain padding of the whole arrays."""
    _, features, labels = basin
    far = 2 * CHIP
    image = np.pad(features, ((0, 0), (far, far), (far, far)), constant_values=NODATA)
    mask = np.pad(labels, far, constant_values=IGNORE)
    part = np.s_[
        window.y + far : window.y + far + window.height,
        window.x + far : window.x + far + window.width,
    ]
    image, mask = image[(..., *part)], mask[part].copy()
    mask[image[0] == NODATA] = IGNORE
    return image, mask


def awkward(count, seed=0):
    """Windows of one size at origins that fit no chunk, some of them over the edge of the grid."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(-CHIP + 1, HEIGHT, count)
    cols = rng.integers(-CHIP + 1, WIDTH, count)
    return [
        Window(y=int(y), x=int(x), height=CHIP, width=CHIP) for y, x in zip(rows, cols, strict=True)
    ]


@pytest.mark.parametrize("cache", [False, True, "local"])
def test_a_thousand_windows_have_the_asked_shape_and_the_right_pixels(basin, tmp_path, cache):
    dataset = opened(basin[0], tmp_path / "copy" if cache == "local" else cache)
    windows = awkward(1000)
    for first in range(0, 1000, 50):
        part = windows[first : first + 50]
        batch = batch_of([(dataset, window) for window in part])
        assert batch["image"].shape == (50, 3, CHIP, CHIP)
        assert (batch["image"].dtype, batch["mask"].dtype) == (torch.int16, torch.uint8)
        for window, image, mask, bounds in zip(
            part, batch["image"].numpy(), batch["mask"].numpy(), batch["bounds"], strict=True
        ):
            pixels, labels = expected_of(basin, window)
            np.testing.assert_array_equal(image, pixels)
            np.testing.assert_array_equal(mask, labels)
            west, north = ORIGIN[0] + 10 * window.x, ORIGIN[1] - 10 * window.y
            assert bounds.tolist() == [west, west + 640, 10, north - 640, north, 10]


def test_a_batch_becomes_the_samples_that_the_dataset_gives(basin):
    dataset = opened(basin[0])
    windows = [*awkward(20, seed=3), Window(y=0, x=0, height=CHIP, width=CHIP)]
    batch = as_features(batch_of([(dataset, window) for window in windows]))
    for number, window in enumerate(windows):
        sample = dataset.sample(window)
        assert torch.equal(batch["image"][number], sample["image"])
        assert torch.equal(batch["mask"][number], sample["mask"])
    with pytest.raises(IndexError, match="outside the grid"):
        batch_of([(dataset, Window(y=HEIGHT, x=0, height=CHIP, width=CHIP))])


def test_pooled_validation_counts_what_its_parts_count(basin):
    dataset = opened(basin[0])
    parts = [
        GroundChips(dataset, [Window(y=3, x=5, height=100, width=150)], chip=CHIP),
        GroundChips(dataset, [Window(y=120, x=170, height=60, width=80)], chip=CHIP),
    ]
    pooled = PooledChips(parts)
    batch = pooled.batch(range(len(pooled)))
    masks = [part[number]["mask"] for part in parts for number in range(len(part))]
    assert torch.equal(batch["mask"].long(), torch.stack(masks))


def test_a_local_copy_is_made_once_and_never_half(basin, tmp_path, monkeypatch):
    array = zarr.open_array(basin[0] / "features.zarr" / "features", mode="r")
    path = tmp_path / "features.npy"

    class Fails:
        shape, dtype = array.shape, array.dtype

        def __getitem__(self, _):
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="gone"):
        local_copy(Fails(), path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr("rockglacier.chips.local.ROWS", 50)
    np.testing.assert_array_equal(local_copy(array, path), basin[1])
    again = local_copy(Fails(), path)  # is not read
    np.testing.assert_array_equal(again, basin[1])
    assert not again.flags.writeable


def test_workers_give_the_same_batches_and_do_not_hang(basin, tmp_path):
    """One worker, one dataset a cache: each is sent as it is after its first read."""
    datasets = [opened(basin[0], cache) for cache in (False, True, tmp_path / "copy")]
    for dataset in datasets:
        dataset.sample(Window(y=0, x=0, height=1, width=1))  # the parent has used Zarr
    chips = [
        (number, window) for number in range(len(datasets)) for window in awkward(8, seed=number)
    ]
    loader = DataLoader(
        InBatches(MultiBasinDataset(datasets)),
        batch_size=4,
        sampler=[(number, datasets[number].query_of(window)) for number, window in chips],
        collate_fn=whole,
        num_workers=1,
        multiprocessing_context="spawn",
        timeout=WORKERS_S,
    )
    batches = list(loader)
    assert [len(batch["image"]) for batch in batches] == [4] * 6
    expected = batch_of([(datasets[number], window) for number, window in chips])
    for key, values in expected.items():
        assert torch.equal(torch.cat([batch[key] for batch in batches]), values)


def test_training_with_workers_sees_the_chips_of_training_without(tmp_path):
    study = make_ground(tmp_path, chips_per_epoch=8)
    grounds = grounds_of([study], study.config, content=[{"features": "f", "labels": "l"}])
    train = study.config.train
    plain = chips_of(grounds, train, seed=3).train
    loader = chips_of(grounds, train.model_copy(update={"workers": 1}), seed=3).train
    assert (study.features_path.with_suffix(".local") / "f-l" / "features.npy").is_file()
    for one, other in zip(plain, loader, strict=True):
        assert torch.equal(one["image"], other["image"])
        assert torch.equal(one["mask"], other["mask"])


def test_copies_of_features_that_are_no_more_are_removed(tmp_path):
    study = make_ground(tmp_path, chips_per_epoch=8, cache="local")
    for content in ("old", "new"):
        grounds = grounds_of([study], study.config, content=[{"features": content, "labels": "l"}])
        list(chips_of(grounds, study.config.train, seed=0).train)
    copies = study.features_path.with_suffix(".local")
    assert [path.name for path in copies.iterdir()] == ["new-l"]


WHOLE = [Window(y=0, x=0, height=HEIGHT, width=WIDTH)]


def sampler_of(dataset, **given):
    settings = {"chip": 32, "length": 40, "positive_share": 0.5, "seed": 1, **given}
    return PositiveSampler(dataset, WHOLE, **settings)


def test_every_chip_has_the_least_valid_share(basin):
    dataset = opened(basin[0], cache=True)

    def shares(**given):
        drawn = list(sampler_of(dataset, length=200, **given).draw(0))
        return [(expected_of(basin, window)[1] != IGNORE).mean() for window in drawn]

    assert min(shares()) < 0.95
    assert min(shares(min_valid_share=0.95)) >= 0.95
    assert len(shares(min_valid_share=0.95)) == 200


def test_no_chip_is_drawn_or_counted_where_there_are_no_features(basin, tmp_path):
    _, features, labels = basin
    shutil.copytree(basin[0], tmp_path, dirs_exist_ok=True)
    array = zarr.open_array(tmp_path / "features.zarr" / "features", mode="r+")
    array[:, :, 60:] = NODATA  # nine tenths of the ground, labelled throughout
    dataset = opened(tmp_path, cache=True)
    sampler = sampler_of(dataset, length=200)
    assert sampler.landform_pixels == int(((labels == 1) & (features[0] != NODATA))[:, :60].sum())
    held = [(dataset.labels(window) != IGNORE).any() for window in sampler.draw(0)]
    assert np.mean(held) > 0.7  # of uniform chips a third would be
    assert all(window.x < 60 for window, _ in GroundChips(dataset, WHOLE, chip=32).chips)


def test_every_training_chip_lies_within_the_elevations(basin):
    dataset = opened(basin[0], cache=True)
    heights = np.repeat(np.linspace(3000, 5000, HEIGHT, dtype=np.float32)[:, None], WIDTH, axis=1)
    heights[:, 40:50] = np.nan
    sampler = sampler_of(dataset, elevation=(3500.0, 4000.0), heights=heights)
    means = [np.nanmean(heights[window.slices]) for window in sampler.draw(0)]
    assert len(means) == 40
    assert min(means) >= 3500
    assert max(means) <= 4000
    nowhere = sampler_of(dataset, elevation=(7000.0, 8000.0), heights=heights)
    with pytest.raises(InputError, match="none of 1000 training chips passes") as caught:
        list(nowhere.draw(0))
    assert "widen train.elevation" in caught.value.todo


def test_filters_that_are_off_change_no_chip(basin):
    dataset = opened(basin[0], cache=True)
    plain = list(sampler_of(dataset).draw(2))
    heights = np.zeros((HEIGHT, WIDTH), np.float32)
    assert list(sampler_of(dataset, min_valid_share=0.0, heights=heights).draw(2)) == plain


@pytest.mark.parametrize("chip", [8, 9])
def test_chips_are_oversampled_by_the_stated_factor(basin, chip):
    dataset = opened(basin[0], cache=True)
    _, features, labels = basin
    labels = np.where(features[0] == NODATA, IGNORE, labels)
    every = np.lib.stride_tricks.sliding_window_view(labels, (chip, chip))
    touched, counted = (
        (every == 1).any(axis=(2, 3)).sum(), (every != IGNORE).any(axis=(2, 3)).sum(),
    )  # fmt: skip
    sampler = sampler_of(dataset, chip=chip, length=3000, positive_share=0.3)
    assert sampler.natural_share() == pytest.approx(touched / counted)
    assert sampler.positives == 900
    stated = 0.3 + 0.7 * touched / counted
    drawn = [(dataset.labels(window) == 1).any() for window in sampler.draw(0)]
    assert np.mean(drawn) == pytest.approx(stated, abs=0.03)
    filtered = sampler_of(dataset, chip=chip, min_valid_share=0.01)
    assert filtered.natural_share() == pytest.approx(touched / counted, abs=0.06)


def test_footprints_tell_the_pixels_of_their_chips(basin):
    dataset = opened(basin[0])
    windows = [
        Window(y=0, x=0, height=64, width=64), Window(y=90, x=90, height=32, width=48),
    ]  # fmt: skip
    found = chip_footprints(dataset, windows, basin="hunza", split="train")
    assert (found.crs.to_epsg(), list(found["basin"])) == (4326, ["hunza", "hunza"])
    local = found.to_crs(32643).geometry.bounds.round(3).to_numpy().tolist()
    west, north = ORIGIN
    assert local[1] == [west + 900, north - 1220, west + 1380, north - 900]
    for window, row in zip(windows, found.itertuples(), strict=True):
        assert (row.row, row.col, row.height, row.width) == (
            window.y, window.x, window.height, window.width,
        )  # fmt: skip
        _, labels = expected_of(basin, window)
        assert row.valid_share == pytest.approx((labels != IGNORE).mean())
        assert row.positive_share == pytest.approx((labels == 1).sum() / (labels <= 1).sum())


def test_a_batch_is_filled_in_place(basin):
    dataset = opened(basin[0], cache=True)
    chips = [(dataset, Window(y=y, x=5, height=64, width=64)) for y in range(100)]
    batch_of(chips[:1])
    tracemalloc.start()
    batch = batch_of(chips)
    allocated = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # the batch is torch's and not traced; a copy of its chips would be
    assert allocated < 0.05 * batch["image"].nbytes
