"""Several basins, each on a grid of its own, as one dataset and one stream of chips."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest

from torch.utils.data import Dataset, Sampler

from rockglacier.chips.batches import batch_of
from rockglacier.chips.dataset import CubeDataset, Query, Sample
from rockglacier.chips.sampler import PositiveSampler
from rockglacier.errors import ContractError


class MultiBasinDataset(Dataset[Sample]):
    """Several basins, each on a grid of its own; an index is (number of the basin, query).

    TorchGeo's ``UnionDataset`` would rewrite the CRS of all but the first basin.

    Parameters
    ----------
    datasets
        Basins with the same channels and size of pixels.

    Raises
    ------
    ContractError
        They differ in channels or resolution.
    """

    def __init__(self, datasets: Sequence[CubeDataset]) -> None:
        self.datasets = list(datasets)
        first = self.datasets[0]
        for other in self.datasets[1:]:
            if (other.channels, other.res) != (first.channels, first.res):
                raise ContractError(
                    f"the basin {str(other.features_path)!r} has channels "
                    f"{', '.join(other.channels)} at {other.res[0]:g} m",
                    expected=f"{', '.join(first.channels)} at {first.res[0]:g} m, as "
                    f"{str(first.features_path)!r} has",
                    todo="build and fuse the basins with the same settings",
                )

    def __len__(self) -> int:
        """Return the number of basins."""
        return len(self.datasets)

    def __getitem__(self, index: tuple[int, Query]) -> Sample:
        """Return the sample of a query to one of the basins."""
        basin, query = index
        return self.datasets[basin][query]

    def batch(self, indices: Sequence[tuple[int, Query]]) -> Sample:
        """Return a batch of stored pixels; see :func:`~rockglacier.chips.batches.batch_of`."""
        pairs = [(self.datasets[basin], query) for basin, query in indices]
        return batch_of([(dataset, dataset.window_of(query)) for dataset, query in pairs])


class MultiBasinSampler(Sampler[tuple[int, Query]]):
    """The queries of several basins in turn, as indices of :class:`MultiBasinDataset`.

    Parameters
    ----------
    samplers
        By number of the basin in the dataset; basins without one give no chips.
    """

    def __init__(self, samplers: Mapping[int, PositiveSampler]) -> None:
        self.samplers = dict(samplers)

    def __len__(self) -> int:
        """Return the number of chips in an epoch."""
        return sum(len(sampler) for sampler in self.samplers.values())

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration draws."""
        for sampler in self.samplers.values():
            sampler.set_epoch(epoch)

    def __iter__(self) -> Iterator[tuple[int, Query]]:
        """Yield the next epoch, basins in turn until each has given all its chips."""
        for turn in zip_longest(*self.samplers.values()):
            for basin, query in zip(self.samplers, turn, strict=True):
                if query is not None:
                    yield basin, query
