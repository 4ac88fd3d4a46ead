"""Chips: the right pixels, from the right ground, and augmentation that obeys the terrain."""

import numpy as np
import pytest
import rasterio
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader
from torchgeo.datasets import RasterDataset, stack_samples
from torchgeo.datasets.splits import random_grid_cell_assignment
from torchgeo.samplers import (
    GriddedPatchSampler,
    RandomPatchSampler,
    RandomTimestampSampler,
    SequentialTimestampSampler,
)

from made_study import write_raster
from rockglacier.chips.augment import Augment, moved
from rockglacier.chips.basins import MultiBasinDataset, MultiBasinSampler
from rockglacier.chips.dataset import CubeDataset
from rockglacier.chips.ground import largest_rectangles
from rockglacier.chips.sampler import PositiveSampler
from rockglacier.chips.tiles import GroundChips
from rockglacier.cube.terrain import slope_aspect
from rockglacier.errors import ContractError, InputError, NotFoundError
from rockglacier.grid import Window

pytestmark = pytest.mark.usefixtures("one_thread")
HEIGHT, WIDTH = 200, 312
ORIGIN = (483_217.0, 4_012_343.0)
CHANNELS = ["B02", "aspect_sin", "aspect_cos"]


def write_basin(folder, *, crs="EPSG:32643", origin=ORIGIN, res=10, channels=CHANNELS, seed=0):
    """Features that encode their position, labels with two landforms, a corner without data."""
    rng = np.random.default_rng(seed)
    features = rng.integers(-4000, 4000, (len(channels), HEIGHT, WIDTH), dtype=np.int16)
    features[:, :5, :7] = -32768
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[20:50, 30:60] = 1
    labels[150:180, 250:290] = 1
    labels[100:110, 100:120] = 255
    group = zarr.create_group(
        folder / "features.zarr",
        attributes={
            "channels": channels,
            "crs": crs,
            "transform": [res, 0, origin[0], 0, -res, origin[1]],
        },
    )
    array = group.create_array(
        "features",
        shape=features.shape,
        dtype="int16",
        chunks=(len(channels), 32, 32),
        shards=(len(channels), 128, 128),
    )
    array[:] = features
    group = zarr.create_group(folder / "labels.zarr")
    group.create_array("labels", data=labels, chunks=(64, 64))
    return features, labels


@pytest.fixture(scope="module")
def basin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("basin")
    features, labels = write_basin(folder)
    return folder, features, labels


def open_basin(folder, **options):
    return CubeDataset(folder / "features.zarr", folder / "labels.zarr", **options)


def padded(features, labels, window):
    """The same window by plain padding of the whole arrays."""
    image = np.pad(features, ((0, 0), (400, 400), (400, 400)), constant_values=-32768)
    mask = np.pad(labels, 400, constant_values=255)
    part = np.s_[
        window.y + 400 : window.y + 400 + window.height,
        window.x + 400 : window.x + 400 + window.width,
    ]
    image, mask = image[(..., *part)], mask[part].copy()
    is_missing = image[0] == -32768
    mask[is_missing] = 255
    return np.where(is_missing, 0, image / np.float32(1000)).astype(np.float32), mask


@pytest.mark.parametrize("cache", [False, True])
def test_any_window_has_the_right_pixels(basin, cache):
    folder, features, labels = basin
    dataset = open_basin(folder, cache=cache)
    rng = np.random.default_rng(1)
    for _ in range(200):
        y, x = int(rng.integers(-40, HEIGHT - 1)), int(rng.integers(-40, WIDTH - 1))
        window = Window(y=y, x=x, height=int(rng.integers(41, 90)), width=64)
        query = dataset.query_of(window)
        assert dataset.window_of(query) == window
        sample = dataset[query]
        image, mask = padded(features, labels, window)
        np.testing.assert_array_equal(sample["image"].numpy(), image)
        np.testing.assert_array_equal(sample["mask"].numpy(), mask)
    assert (sample["image"].dtype, sample["mask"].dtype) == (torch.float32, torch.int64)


def test_query_off_the_grid_takes_the_nearest_pixels_and_says_so(basin):
    dataset = open_basin(basin[0])
    window = Window(y=30, x=40, height=64, width=64)
    x, y = dataset.query_of(window)
    off = (slice(x.start + 4, x.stop + 4), slice(y.start - 4, y.stop - 4))
    assert dataset.window_of(off) == window
    sample = dataset[off]
    west, north = ORIGIN[0] + 400, ORIGIN[1] - 300
    assert sample["bounds"][:6].tolist() == [west, west + 640, 10, north - 640, north, 10]
    assert sample["transform"].tolist()[:6] == [10, 0, west, 0, -10, north]


def test_window_outside_raises_as_torchgeo_expects(basin):
    dataset = open_basin(basin[0])
    with pytest.raises(IndexError, match="outside the grid"):
        dataset[dataset.query_of(Window(y=HEIGHT, x=0, height=64, width=64))]


def test_without_labels_there_is_no_mask(basin):
    dataset = CubeDataset(basin[0] / "features.zarr")
    assert set(dataset[dataset.bounds[:2]]) == {"image", "bounds", "transform"}
    with pytest.raises(ContractError, match="without labels"):
        dataset.labels(Window(y=0, x=0, height=1, width=1))


def test_torchgeo_samplers_and_collate_work(basin):
    folder, features, labels = basin
    dataset = open_basin(folder)
    random = RandomPatchSampler(dataset, size=64, length=6, generator=0)
    batch = next(iter(DataLoader(dataset, 6, sampler=random, collate_fn=stack_samples)))
    assert batch["image"].shape == (6, 3, 64, 64)
    covered = np.zeros((HEIGHT, WIDTH), bool)
    grid = GriddedPatchSampler(dataset, size=64)
    queries = list(grid @ SequentialTimestampSampler(dataset))
    assert [query[:2] for query in queries] == [query[:2] for query in grid]
    for query in queries:
        window = dataset.window_of(query)
        image, mask = padded(features, labels, window)
        sample = dataset[query]
        np.testing.assert_array_equal(sample["image"].numpy(), image)
        np.testing.assert_array_equal(sample["mask"].numpy(), mask)
        covered[window.clipped(dataset.shape).slices] = True
    assert covered.all()


class Dated(RasterDataset):
    filename_glob = "elevation_*.tif"
    filename_regex = r"elevation_(?P<date>\d{8})"


@pytest.mark.parametrize("is_first", [True, False])
def test_dated_rasters_of_others_join_the_basin(basin, tmp_path, is_first):
    folder, features, _ = basin
    heights = np.arange(HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)
    transform = rasterio.Affine(10, 0, ORIGIN[0], 0, -10, ORIGIN[1])
    write_raster(tmp_path / "elevation_20230801.tif", heights, transform=transform)
    dataset, others = open_basin(folder), Dated(tmp_path)
    both = dataset & others if is_first else others & dataset
    own, its = (np.s_[:3], 3) if is_first else (np.s_[1:], 0)
    sampler = RandomPatchSampler(both, size=64, length=4, generator=0) @ RandomTimestampSampler(
        both
    )
    for query in sampler:
        window = dataset.window_of(query)
        image = both[query]["image"].numpy()
        np.testing.assert_array_equal(
            image[own], padded(features, np.zeros((HEIGHT, WIDTH)), window)[0]
        )
        np.testing.assert_array_equal(image[its], heights[window.slices])


def test_parts_that_torchgeo_splits_off_can_be_read(basin):
    dataset = open_basin(basin[0])
    parts = random_grid_cell_assignment(dataset, [0.5, 0.5], grid_size=3)
    areas = [part.index.union_all() for part in parts]
    assert areas[0].intersection(areas[1]).area == 0
    for part in parts:
        (query,) = RandomPatchSampler(part, size=32, length=1, generator=0)
        assert part[query]["image"].shape == (3, 32, 32)


def test_a_year_can_be_drawn_of_all_time(basin):
    from torchgeo.samplers import RandomPeriodSampler

    dataset = open_basin(basin[0])
    years = RandomPeriodSampler(dataset, freq="Y", length=1, generator=0)
    (query,) = RandomPatchSampler(dataset, size=64, length=1, generator=0) @ years
    assert query[2].stop - query[2].start > np.timedelta64(364, "D")
    assert dataset[query]["image"].shape == (3, 64, 64)


def test_union_across_crs_and_resolution_raises(basin, tmp_path):
    write_basin(tmp_path, crs="EPSG:32644")
    with pytest.raises(ContractError, match="zone 43N") as caught:
        open_basin(tmp_path) | open_basin(basin[0])
    assert "never resampled" in caught.value.expected
    assert "MultiBasinDataset" in caught.value.todo
    (tmp_path / "coarse").mkdir()
    write_basin(tmp_path / "coarse", res=20)
    with pytest.raises(ContractError, match=r"asked\s+for \(20"):
        open_basin(tmp_path / "coarse") & open_basin(basin[0])


def test_missing_or_broken_products_say_what_to_do(basin, tmp_path):
    with pytest.raises(NotFoundError, match="rockglacier run"):
        CubeDataset(tmp_path / "features.zarr")
    group = zarr.create_group(tmp_path / "labels.zarr")
    group.create_array("labels", shape=(3, 4), dtype="uint8")
    with pytest.raises(ContractError, match=r"\(3, 4\) rows and columns") as caught:
        CubeDataset(basin[0] / "features.zarr", tmp_path / "labels.zarr")
    assert "(200, 312)" in caught.value.expected


@settings(max_examples=30, deadline=None)
@given(
    chip=st.sampled_from([32, 48, 64]),
    share=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 2**31),
    corners=st.lists(
        st.tuples(
            st.integers(0, HEIGHT - 70),
            st.integers(0, WIDTH - 70),
            st.integers(10, 70),
            st.integers(64, 70),
        ),
        max_size=4,
    ),
)
def test_chips_never_touch_other_ground(basin, chip, share, seed, corners):
    windows = [Window(y=y, x=x, height=h, width=w) for y, x, h, w in corners]
    windows.append(Window(y=10, x=20, height=64, width=64))
    dataset = open_basin(basin[0])
    sampler = PositiveSampler(
        dataset, windows, chip=chip, length=20, positive_share=share, seed=seed
    )
    drawn = [dataset.window_of(query) for query in sampler]
    assert len(drawn) == len(sampler) == 20
    for window in drawn:
        assert (window.height, window.width) == (chip, chip)
        assert any(
            ground.y <= window.y
            and window.y + chip <= ground.y + ground.height
            and ground.x <= window.x
            and window.x + chip <= ground.x + ground.width
            for ground in windows
        )
    on_landform = [(basin[2][window.slices] == 1).any() for window in drawn]
    assert sum(on_landform) >= share * 20


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(*[st.integers(0, 20)] * 2, *[st.integers(1, 12)] * 2), min_size=1, max_size=8
    ),
    st.integers(1, 10),
)
def test_largest_rectangles_hold_every_chip_of_the_ground_and_no_other(cells, chip):
    windows = [Window(y=y, x=x, height=h, width=w) for y, x, h, w in cells]
    ground = np.zeros((40, 40), bool)
    for window in windows:
        ground[window.slices] = True
    held = np.zeros((40, 40), bool)
    for window in largest_rectangles(windows):
        assert ground[window.slices].all()
        if min(window.height, window.width) >= chip:
            held[
                window.y : window.y + window.height - chip + 1,
                window.x : window.x + window.width - chip + 1,
            ] = True
    inside = np.lib.stride_tricks.sliding_window_view(ground, (chip, chip)).all(axis=(2, 3))
    np.testing.assert_array_equal(held[: 41 - chip, : 41 - chip], inside)


def test_no_ground_has_no_rectangles():
    assert largest_rectangles([]) == []


WHOLE = Window(y=0, x=0, height=HEIGHT, width=WIDTH)


def sampler_of(dataset, seed=0, windows=(WHOLE,), **given):
    chips = {"chip": 32, "length": 10, "positive_share": 0.5, **given}
    return PositiveSampler(dataset, windows, seed=seed, **chips)


def test_epochs_differ_and_repeat(basin):
    dataset = open_basin(basin[0])
    one, two = sampler_of(dataset), sampler_of(dataset)
    first, second = list(one), list(one)
    assert first != second
    assert list(two) == first
    two.set_epoch(1)
    assert list(two) == second
    assert list(sampler_of(dataset, seed=1)) != first


def test_chips_lie_all_over_the_landforms(basin):
    sampler = sampler_of(open_basin(basin[0]), length=400, positive_share=1.0)
    drawn = list(sampler.draw(0))
    middles = np.array([(window.y + 16, window.x + 16) for window in drawn])
    assert (middles[:, 1] < 155).mean() == pytest.approx(900 / 2100, abs=0.08)
    assert len({tuple(middle) for middle in middles.tolist()}) > 300


def test_ground_smaller_than_a_chip_is_refused_with_its_size(basin):
    windows = [Window(y=0, x=0, height=40, width=90), Window(y=50, x=0, height=20, width=20)]
    with pytest.raises(InputError, match="chip of 64 px; the largest: 40 x 90, 20 x 20") as caught:
        sampler_of(open_basin(basin[0]), windows=windows, chip=64)
    assert "64 x 64" in caught.value.expected
    assert "train.chip" in caught.value.todo


def test_ground_without_landforms_gives_uniform_chips_and_a_warning(basin, caplog):
    ground = Window(y=0, x=100, height=64, width=64)
    sampler = sampler_of(open_basin(basin[0]), windows=[ground])
    assert sampler.landform_pixels == 0
    assert len(list(sampler)) == 10
    assert "holds none" in caplog.text


@pytest.mark.parametrize("chip", [32, 64, 256])
def test_validation_chips_count_each_pixel_once(basin, chip):
    folder, features, labels = basin
    dataset = open_basin(folder)
    grounds = [
        Window(y=0, x=0, height=100, width=130),
        Window(y=140, x=200, height=60, width=40),
        Window(y=171, x=300, height=29, width=12),
    ]
    counted = np.zeros((HEIGHT, WIDTH), int)
    for sample in GroundChips(dataset, grounds, chip=chip):
        window = dataset.window_of(bounds_of(sample))
        assert sample["image"].shape == (3, chip, chip)
        ys, xs = np.nonzero(sample["mask"].numpy() != 255)
        np.add.at(counted, (ys + window.y, xs + window.x), 1)
        truth = labels[ys + window.y, xs + window.x]
        np.testing.assert_array_equal(sample["mask"].numpy()[ys, xs], truth)
    expected = np.zeros((HEIGHT, WIDTH), int)
    for ground in grounds:
        expected[ground.slices] = 1
    expected[(labels == 255) | (features[0] == -32768)] = 0
    np.testing.assert_array_equal(counted, expected)


def bounds_of(sample):
    west, east, _, south, north = sample["bounds"].tolist()[:5]
    return slice(west, east), slice(south, north)


def test_chips_without_a_counted_pixel_are_left_out(basin):
    ground = Window(y=100, x=100, height=10, width=20)
    assert len(GroundChips(open_basin(basin[0]), [ground], chip=32)) == 0


def test_basins_of_two_zones_form_one_stream(basin, tmp_path):
    features, _ = write_basin(tmp_path, crs="EPSG:32644", origin=(700_000, 5_000_000), seed=5)
    datasets = [open_basin(basin[0]), open_basin(tmp_path)]
    both = MultiBasinDataset(datasets)
    sampler = MultiBasinSampler(
        {0: sampler_of(datasets[0], length=5), 1: sampler_of(datasets[1], length=4)}
    )
    indices = list(sampler)
    assert [number for number, _ in indices] == [0, 1, 0, 1, 0, 1, 0, 1, 0]
    assert len(sampler) == 9
    number, query = indices[1]
    window = datasets[1].window_of(query)
    np.testing.assert_array_equal(
        both[number, query]["image"].numpy(),
        padded(features, np.zeros((HEIGHT, WIDTH), np.uint8), window)[0],
    )
    sampler.set_epoch(0)
    batches = list(DataLoader(both, batch_size=3, sampler=sampler, collate_fn=stack_samples))
    assert [len(batch["image"]) for batch in batches] == [3, 3, 3]


def test_basins_with_other_channels_are_refused(basin, tmp_path):
    write_basin(tmp_path, channels=["B02", "slope"])
    with pytest.raises(ContractError, match="has channels B02, slope at 10 m") as caught:
        MultiBasinDataset([open_basin(basin[0]), open_basin(tmp_path)])
    assert "B02, aspect_sin, aspect_cos at 10 m" in caught.value.expected


MEAN, STD = [0.2, 0.1, -0.3], [0.1, 0.6, 0.8]


def augment(seed=0, **options):
    return Augment(CHANNELS, mean=MEAN, std=STD, bands=["B02"], seed=seed, **options)


def features_of(dem):
    """Standardised sine and cosine of aspect, and elevation in place of a band."""
    _, aspect = slope_aspect(dem, 10.0, 0.0)
    radians = np.radians(aspect.astype(np.float64))
    layers = np.stack([dem / 1e4, np.sin(radians), np.cos(radians)])
    mean, std = (np.array(values)[:, None, None] for values in (MEAN, STD))
    return torch.from_numpy(((layers - mean) / std)[:, 1:-1, 1:-1].astype(np.float32))


@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize("quarter_turns", range(4))
def test_features_of_turned_ground_are_turned_features(quarter_turns, is_mirrored):
    noise = np.random.default_rng(3).normal(size=(40, 40))
    dem = (3000 + 20 * noise.cumsum(0).cumsum(1)).astype(np.float32)
    move = {"quarter_turns": quarter_turns, "is_mirrored": is_mirrored}
    turned_ground = moved(torch.from_numpy(dem), **move).numpy()
    found = augment().turned(features_of(dem), **move)
    torch.testing.assert_close(found, features_of(turned_ground), atol=2e-5, rtol=0)


@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize("quarter_turns", range(4))
def test_moved_mirrors_first_and_then_turns(quarter_turns, is_mirrored):
    values = torch.arange(18).reshape(2, 3, 3)
    expected = torch.rot90(values.flip(-1) if is_mirrored else values, quarter_turns, (-2, -1))
    found = moved(values, quarter_turns=quarter_turns, is_mirrored=is_mirrored)
    assert torch.equal(found, expected)
    assert found.data_ptr() != values.data_ptr()


def test_batch_and_mask_move_together():
    torch.manual_seed(0)
    image = torch.randn(16, 3, 8, 8)
    mask = (image[:, 0] > 0).long()
    batch = {"image": image, "mask": mask, "bounds": torch.zeros(16, 9)}
    before = image.clone()
    found = augment(brightness=0.0)(batch)
    assert torch.equal(found["mask"], (found["image"][:, 0] > 0).long())
    assert torch.equal(image, before)
    assert found["bounds"] is batch["bounds"]
    moved_chips = [not torch.equal(a, b) for a, b in zip(found["mask"], mask, strict=True)]
    assert sum(moved_chips) > 8
    again = augment(brightness=0.0)(batch)
    assert torch.equal(again["image"], found["image"])


def test_light_scales_reflectance_of_bands_only():
    image = torch.randn(3, 8, 8)
    found = augment().lit(image, 1.1)
    reflectance, lit = (values[0] * STD[0] + MEAN[0] for values in (image, found))
    torch.testing.assert_close(lit, 1.1 * reflectance)
    assert torch.equal(found[1:], image[1:])


def test_pixels_without_features_stay_zero():
    image = torch.randn(4, 3, 8, 8)
    image[:, :, 2:4] = 0
    found = augment()({"image": image, "mask": torch.zeros(4, 8, 8).long()})
    assert (found["image"] == 0).all(dim=1).sum().item() == 4 * 16


@pytest.mark.parametrize("channels", [["B02", "aspect"], ["aspect_sin", "slope"]])
def test_channels_that_cannot_be_turned_are_refused(channels):
    with pytest.raises(ContractError, match="cannot be turned"):
        Augment(channels, mean=[0, 0], std=[1, 1])
