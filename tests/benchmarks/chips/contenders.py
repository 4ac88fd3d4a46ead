"""Loaders of the same chips: the limit, ours, and the peers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate
from torchgeo.datasets import RasterDataset, XarrayDataset, stack_samples
from world import BANDS, NORTH, RES, WEST, World

from rockglacier.chips.basins import MultiBasinDataset
from rockglacier.chips.batches import InBatches, empty_batch, whole
from rockglacier.chips.dataset import CubeDataset, as_features
from rockglacier.grid import Window

BATCH = 16
CHIP = 256
SCALE = 1000


def windows(world: World, count: int, *, is_aligned: bool, seed: int) -> list[Window]:
    """Return random chips, at multiples of a chip or anywhere."""
    rng = np.random.default_rng(seed)
    step = CHIP if is_aligned else 1
    corners = rng.integers(0, (world.size - CHIP) // step + 1, (count, 2)) * step
    return [Window(y=int(y), x=int(x), height=CHIP, width=CHIP) for y, x in corners]


class Mapped(Dataset[Tensor]):
    """A memory-mapped array as people use it: a float tensor a chip."""

    def __init__(self, world: World) -> None:
        self.path = world.npy
        self._array: Any = None

    @property
    def array(self) -> Any:
        """Opened in the process that reads."""
        if self._array is None:
            self._array = np.load(self.path, mmap_mode="r")
        return self._array

    def __getitem__(self, window: Window) -> Tensor:
        part = self.array[(..., *window.slices)]
        return torch.from_numpy(np.divide(part, np.float32(SCALE), dtype=np.float32))


class MappedInPlace(Mapped):
    """The same with batches of integers filled in place: the limit of our own loader."""

    def __getitems__(self, batch: Sequence[Window]) -> dict[str, Tensor]:
        image = empty_batch((len(batch), BANDS, CHIP, CHIP), torch.int16)
        for target, window in zip(image.numpy(), batch, strict=True):
            target[...] = self.array[(..., *window.slices)]
        return {"image": image}


class PlainZarr(Mapped):
    """zarr-python as its documentation has it."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.path = world.features / "features"

    @property
    def array(self) -> Any:
        if self._array is None:
            import zarr

            self._array = zarr.open_array(self.path, mode="r")
        return self._array


class Cogs(RasterDataset):
    """TorchGeo over one COG a band."""

    filename_glob = "basin_b*.tif"
    filename_regex = r"basin_(?P<band>b\d)\.tif"
    all_bands = tuple(f"b{band}" for band in range(BANDS))
    separate_files = True


@dataclass(frozen=True, kw_only=True)
class Contender:
    """How a loader is made, and what makes its batches floats."""

    loader: Callable[[World, list[Window], int], Any]
    image: Callable[[Any], Tensor]
    """From a batch to float32 (B, C, H, W)."""
    chips: float = 1.0
    """Share of the chips that it is given: some take seconds a chip."""


def _loader(dataset: Any, sampler: list[Any], workers: int, collate: Any) -> Any:
    return DataLoader(
        dataset,
        batch_size=BATCH,
        sampler=sampler,
        collate_fn=collate,
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,
        persistent_workers=workers > 0,
        timeout=300 if workers else 0,
    )


def _plain(kind: type[Mapped], collate: Any) -> Callable[[World, list[Window], int], Any]:
    return lambda world, chips, workers: _loader(kind(world), chips, workers, collate)


def _ours(cache: str) -> Callable[[World, list[Window], int], Any]:
    def make(world: World, chips: list[Window], workers: int) -> Any:
        kept = {"local": world.local, "memory": True, "none": False}[cache]
        dataset = CubeDataset(world.features, cache=kept)
        queries = [(0, dataset.query_of(window)) for window in chips]
        return _loader(InBatches(MultiBasinDataset([dataset])), queries, workers, whole)

    return make


def _query(window: Window) -> tuple[slice, slice]:
    west, north = WEST + RES * window.x, NORTH - RES * window.y
    return slice(west, west + RES * CHIP), slice(north - RES * CHIP, north)


def _raster(world: World, chips: list[Window], workers: int) -> Any:
    dataset = Cogs(world.cogs)
    return _loader(dataset, [_query(window) for window in chips], workers, stack_samples)


def _xarray(world: World, chips: list[Window], workers: int) -> Any:
    dataset = XarrayDataset(world.netcdf, data_vars=[f"b{band}" for band in range(BANDS)])
    # an entry of one moment is never found: TorchGeo looks for it in an interval open on the left
    (moment,) = dataset.index.index
    dataset.index.index = pd.IntervalIndex.from_tuples(
        [(moment.left, moment.left + pd.Timedelta(days=1))], closed="both", name="datetime"
    )
    return _loader(dataset, [_query(window) for window in chips], workers, stack_samples)


def _features(batch: Any) -> Tensor:
    image: Tensor = as_features(batch)["image"]
    return image


def _scaled(batch: Any) -> Tensor:
    image: Tensor = batch["image"].float()
    return image.reshape(len(image), BANDS, CHIP, CHIP) / SCALE


CONTENDERS: dict[str, Contender] = {
    "memory map, batches in place": Contender(loader=_plain(MappedInPlace, whole), image=_features),
    "memory map, default collate": Contender(
        loader=_plain(Mapped, default_collate), image=lambda batch: batch
    ),
    "ours, cache: memory": Contender(loader=_ours("memory"), image=_features),
    "ours, cache: local": Contender(loader=_ours("local"), image=_features),
    "ours, from the store": Contender(loader=_ours("none"), image=_features, chips=0.5),
    "zarr-python": Contender(
        loader=_plain(PlainZarr, default_collate), image=lambda batch: batch, chips=0.5
    ),
    "TorchGeo RasterDataset, COGs": Contender(loader=_raster, image=_scaled, chips=0.25),
    "TorchGeo XarrayDataset": Contender(loader=_xarray, image=_scaled, chips=0.0),
}
LEAST_CHIPS = 2
