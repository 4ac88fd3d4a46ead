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
from rockglacier.chips.dataset import CubeDataset, Query, as_features
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
    """How batches are read, and what makes them floats."""

    dataset: Callable[[World], Any]
    query: Callable[[Any, Window], Any] = lambda _, window: window
    """From the dataset and a window to what the dataset is asked."""
    collate: Callable[[Any], Any] = default_collate
    image: Callable[[Any], Tensor] = lambda batch: batch
    """From a batch to float32 (B, C, H, W)."""
    chips: float = 1.0
    """Share of the chips that it is given: some take seconds a chip."""

    def loader(self, world: World, workers: int) -> tuple[Any, Callable[[list[Window]], None]]:
        """Return the loader, and what tells it the chips of its next pass."""
        dataset = self.dataset(world)
        queries: list[Any] = []
        loader = DataLoader(
            dataset,
            batch_size=BATCH,
            sampler=queries,
            collate_fn=self.collate,
            num_workers=workers,
            multiprocessing_context="spawn" if workers else None,
            persistent_workers=workers > 0,
            timeout=900 if workers else 0,
        )

        def tell(chips: list[Window]) -> None:
            queries[:] = [self.query(dataset, window) for window in chips]

        return loader, tell


def _ours(cache: str) -> Callable[[World], InBatches]:
    def make(world: World) -> InBatches:
        kept = {"local": world.local, "memory": True, "none": False}[cache]
        return InBatches(MultiBasinDataset([CubeDataset(world.features, cache=kept)]))

    return make


def _our_query(dataset: InBatches, window: Window) -> tuple[int, Query]:
    return 0, dataset.source.datasets[0].query_of(window)


def _query(_: Any, window: Window) -> tuple[slice, slice]:
    west, north = WEST + RES * window.x, NORTH - RES * window.y
    return slice(west, west + RES * CHIP), slice(north - RES * CHIP, north)


def _xarray(world: World) -> XarrayDataset:
    dataset = XarrayDataset(world.netcdf, data_vars=[f"b{band}" for band in range(BANDS)])
    # an entry of one moment is never found: TorchGeo looks for it in an interval open on the left
    (moment,) = dataset.index.index
    dataset.index.index = pd.IntervalIndex.from_tuples(
        [(moment.left, moment.left + pd.Timedelta(days=1))], closed="both", name="datetime"
    )
    return dataset


def _features(batch: Any) -> Tensor:
    image: Tensor = as_features(batch)["image"]
    return image


def _scaled(batch: Any) -> Tensor:
    image: Tensor = batch["image"].float()
    return image.reshape(len(image), BANDS, CHIP, CHIP) / SCALE


OURS = {"query": _our_query, "collate": whole, "image": _features}
TORCHGEO = {"query": _query, "collate": stack_samples, "image": _scaled}
CONTENDERS: dict[str, Contender] = {
    "memory map, batches in place": Contender(
        dataset=MappedInPlace, collate=whole, image=_features
    ),
    "memory map, default collate": Contender(dataset=Mapped),
    "ours, cache: memory": Contender(dataset=_ours("memory"), **OURS),
    "ours, cache: local": Contender(dataset=_ours("local"), **OURS),
    "ours, from the store": Contender(dataset=_ours("none"), chips=0.5, **OURS),
    "zarr-python": Contender(dataset=PlainZarr, chips=0.25),
    "TorchGeo RasterDataset, COGs": Contender(
        dataset=lambda world: Cogs(world.cogs), chips=0.25, **TORCHGEO
    ),
    "TorchGeo XarrayDataset": Contender(dataset=_xarray, chips=0.0, **TORCHGEO),
}
LEAST_CHIPS = 2
