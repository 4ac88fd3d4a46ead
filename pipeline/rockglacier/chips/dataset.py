"""Features and labels of one basin as a TorchGeo dataset that reads whole pixels of one grid."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
import torch
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from torchgeo.datasets import GeoDataset
from torchgeo.datasets.utils import GeoSlice

from rockglacier.chips.local import local_copy
from rockglacier.errors import ContractError, NotFoundError
from rockglacier.grid import Window
from rockglacier.storage import in_one_pass, open_array, open_place, read_json

FEATURE_NODATA = -32768
FEATURE_SCALE = 1000
"""Stored features are this many times the standardised ones."""
IGNORE = 255
"""Label of a pixel that counts neither way."""

ALWAYS = (pd.Timestamp("1900-01-01"), pd.Timestamp("2199-12-31 23:59:59.999999"))
"""All time, with whole years around it: the first and last moments that pandas knows have none."""

Sample = dict[str, Any]
Query = tuple[slice, slice]
"""x and y as slices in CRS metres; TorchGeo's samplers may add time."""


class CubeDataset(GeoDataset):
    """Chips of a basin's features and labels, by TorchGeo queries or by windows.

    Parameters
    ----------
    features_path
        Zarr group with the array ``features`` (channel, y, x) int16, nodata -32768, and the
        attributes ``channels``, ``crs`` and ``transform``.
    labels_path
        Zarr group with the array ``labels`` (y, x) uint8: 0, 1, or 255 for ignored ground. Without
        it samples have no mask.
    transforms
        Applied to every sample.
    cache
        True decodes both arrays into memory when they are first read; a folder, into memory-mapped
        files in it, which other processes and later runs share. The folder must be another one
        where the pixels are others.

    Raises
    ------
    NotFoundError
        There is no such group.
    ContractError
        Features are not int16, or the labels lie on another grid.

    Notes
    -----
    A query's corner is rounded to the nearest pixel and its size is kept; pixels are never
    resampled, so another CRS or resolution is refused. The arrays are opened at the first read in
    each process, and a dataset is pickled without them: workers should be spawned, as forked ones
    hang once the parent has used Zarr. The index holds one entry for all time, as the features of
    a study are those of one period.
    """

    def __init__(
        self,
        features_path: str | Path,
        labels_path: str | Path | None = None,
        *,
        transforms: Callable[[Sample], Sample] | None = None,
        cache: bool | Path = False,
    ) -> None:
        self.features_path = open_place(features_path)
        self.labels_path = None if labels_path is None else open_place(labels_path)
        self.labels_name = "labels"
        self.transforms, self.cache = transforms, cache
        self._features: Any = None
        self._labels: Any = None
        attributes = _metadata(self.features_path)["attributes"]
        stored = _metadata(self.features_path / "features")
        if stored["data_type"] != "int16":
            raise ContractError(
                f"features in {str(self.features_path)!r} are {stored['data_type']}",
                expected="int16, a thousand times the standardised feature",
                todo="rockglacier fuse STUDY.yaml",
            )
        self.channels = tuple(attributes["channels"])
        self.affine = Affine(*attributes["transform"][:6])
        self._corner = float(self.affine.c), float(self.affine.f)
        self.shape: tuple[int, int] = (int(stored["shape"][-2]), int(stored["shape"][-1]))
        self._check_labels()
        self._res = (float(self.affine.a), float(-self.affine.e))
        self.index = self._make_index(CRS.from_user_input(attributes["crs"]))

    def _check_labels(self) -> None:
        if self.labels_path is None:
            return
        found = tuple(_metadata(self.labels_path / "labels")["shape"])
        if found != self.shape:
            raise ContractError(
                f"labels in {str(self.labels_path)!r} have {found} rows and columns",
                expected=f"{self.shape}, as the features have",
                todo="rockglacier run STUDY.yaml",
            )

    def _make_index(self, crs: CRS) -> gpd.GeoDataFrame:
        height, width = self.shape
        west, north = self.affine @ (0, 0)
        east, south = self.affine @ (width, height)
        # closed on both sides, or a query for exactly its first moment would find nothing
        always = pd.IntervalIndex.from_tuples([ALWAYS], closed="both", name="datetime")
        return gpd.GeoDataFrame(
            {"filepath": [str(self.features_path)]},
            index=always,
            geometry=[shapely.box(west, south, east, north)],
            crs=crs,
        )

    def with_labels(self, name: str) -> CubeDataset:
        """Return the same features with another array of the labels' store as their labels.

        Parameters
        ----------
        name
            E.g. ``taught``: what a loss is told. Features that are decoded in memory are shared.
        """
        features = self._open_features()
        other = copy(self)
        other._features, other.labels_name = features, name
        return other

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_features": None, "_labels": None}

    @property
    def crs(self) -> CRS:
        """CRS of the grid; setting another one raises :class:`ContractError`."""
        return self.index.crs

    @crs.setter
    def crs(self, new_crs: CRS) -> None:
        if new_crs != self.crs:
            raise ContractError(
                f"the basin {str(self.features_path)!r} is in {self.crs.name!r} and is asked for "
                f"in {new_crs.name!r}",
                expected="its own grid: its pixels are never resampled",
                todo="combine basins with MultiBasinDataset, not with UnionDataset",
            )

    @property
    def res(self) -> tuple[float, float]:
        """Edges of a pixel, x and y, metres; setting others raises :class:`ContractError`."""
        return self._res

    @res.setter
    def res(self, new_res: float | tuple[float, float]) -> None:
        pair = new_res if isinstance(new_res, tuple) else (new_res, new_res)
        if pair != self._res:
            raise ContractError(
                f"the basin {str(self.features_path)!r} has pixels of {self._res} m and is asked "
                f"for {pair} m",
                expected="its own grid: its pixels are never resampled",
                todo="build the cube with cube.resolution of the other basin",
            )

    def window_of(self, query: GeoSlice) -> Window:
        """Return the window nearest to a query; it may reach beyond the grid.

        Raises
        ------
        ContractError
            The query asks for pixels of another size.
        """
        x, y = self._sides(query)
        for axis, res in ((x, self._res[0]), (y, self._res[1])):
            if axis.step is not None and axis.step != res:
                raise ContractError(
                    f"a query asks for pixels of {axis.step} m",
                    expected=f"{res} m, those of the grid",
                    todo="leave the step of the slices out",
                )
        west, north = self._corner
        return Window(
            y=round((north - y.stop) / self._res[1]),
            x=round((x.start - west) / self._res[0]),
            height=round((y.stop - y.start) / self._res[1]),
            width=round((x.stop - x.start) / self._res[0]),
        )

    def _sides(self, query: GeoSlice) -> Query:
        sides = query[:2] if isinstance(query, tuple) else ()
        if len(sides) == 2 and all(_is_bounded(side) for side in sides):
            return sides[0], sides[1]  # filling in what is there costs a search of the index
        x, y, _ = self._disambiguate_slice(query)
        return x, y

    def query_of(self, window: Window) -> Query:
        """Return the query, x and y in CRS metres, that gives a window."""
        (west, north), (width, height) = self._corner, self._res
        return (
            slice(west + window.x * width, west + (window.x + window.width) * width),
            slice(north - (window.y + window.height) * height, north - window.y * height),
        )

    def __getitem__(self, index: GeoSlice) -> Sample:
        """Return the sample of a query; see :meth:`sample`."""
        return self.sample(self.window_of(index))

    def sample(self, window: Window) -> Sample:
        """Return the pixels of a window.

        Parameters
        ----------
        window
            May reach beyond the grid, but must touch it.

        Returns
        -------
        dict
            ``image`` float32 (C, H, W), 0 (the mean) where there is no feature; ``mask`` int64
            (H, W): 0, 1, or 255 where the label or a feature is missing; ``bounds`` and
            ``transform`` of the window as in TorchGeo.

        Raises
        ------
        IndexError
            The window lies outside the grid.
        """
        self._inside(window)
        stored = self._read(self._open_features(), window, FEATURE_NODATA)
        # a pixel lacks all features or none; NumPy would divide int16 in float64
        is_missing = stored[0] == FEATURE_NODATA
        image = np.divide(stored, np.float32(FEATURE_SCALE), dtype=np.float32)
        if is_missing.any():
            image[:, is_missing] = 0
        query = self.query_of(window)
        sample: Sample = {
            "image": torch.from_numpy(image),
            "bounds": self._slice_to_tensor(query),
            "transform": torch.tensor(list(self.affine @ Affine.translation(window.x, window.y))),
        }
        if self.labels_path is not None:
            mask = self._read(self._open_labels(), window, IGNORE).astype(np.int64)
            mask[is_missing] = IGNORE
            sample["mask"] = torch.from_numpy(mask)
        return sample if self.transforms is None else self.transforms(sample)

    def _inside(self, window: Window) -> Window:
        """Return the part of a window that the grid has: a window inside it as it is."""
        height, width = self.shape
        bottom, right = window.y + window.height, window.x + window.width
        if 0 <= window.y < bottom <= height and 0 <= window.x < right <= width:
            return window
        inside = window.clipped(self.shape)
        if not (inside.height and inside.width):
            raise IndexError(f"{window} lies outside the grid of {self.shape} rows and columns")
        return inside

    def read_into(
        self, window: Window, image: NDArray[np.int16], mask: NDArray[np.uint8] | None = None
    ) -> None:
        """Write the stored pixels of a window into a part of a batch.

        Parameters
        ----------
        window
            May reach beyond the grid, but must touch it.
        image
            (C, H, W) int16; gets the features, -32768 where there are none.
        mask
            (H, W) uint8; gets the labels, 255 where there are no features.

        Raises
        ------
        IndexError
            The window lies outside the grid.
        """
        inside = self._inside(window)
        _fill(image, self._open_features(), window, inside, FEATURE_NODATA)
        if mask is not None:
            _fill(mask, self._open_labels(), window, inside, IGNORE)
            is_missing = image[0] == FEATURE_NODATA  # a pixel lacks all features or none
            if is_missing.any():
                mask[is_missing] = IGNORE

    def bounds_of(self, window: Window) -> tuple[float, ...]:
        """Return west, east, res, south, north, res of a window, as TorchGeo orders them."""
        x, y = self.query_of(window)
        return x.start, x.stop, self._res[0], y.start, y.stop, self._res[1]

    def labels(self, window: Window) -> NDArray[np.uint8]:
        """Return the labels of a window, (y, x) uint8; 255 where there are no features."""
        labels = self._read(self._open_labels(), window, IGNORE)
        is_missing = self._read(self._open_features(), window, FEATURE_NODATA, channel=0)
        return np.where(is_missing == FEATURE_NODATA, np.uint8(IGNORE), labels)

    def _read(self, array: Any, window: Window, fill: int, *, channel: Any = ...) -> NDArray[Any]:
        inside = window.clipped(self.shape)
        found = np.asarray(array[(channel, *inside.slices)])
        if inside == window:
            return found
        padded = np.full((*found.shape[:-2], window.height, window.width), fill, found.dtype)
        padded[(..., *inside.within(window))] = found
        return padded

    def _open_features(self) -> Any:
        if self._features is None:
            self._features = self._opened(self.features_path / "features")
        return self._features

    def _open_labels(self) -> Any:
        if self.labels_path is None:
            raise ContractError(
                f"the dataset of {str(self.features_path)!r} was made without labels",
                expected="labels_path",
            )
        if self._labels is None:
            self._labels = self._opened(self.labels_path / self.labels_name)
        return self._labels

    def _opened(self, path: Path) -> Any:
        if isinstance(self.cache, Path):
            copy = self.cache / f"{path.name}.npy"
            mapped = np.load(copy, mmap_mode="r") if copy.is_file() else None
            # a plain array over the same memory is cut into chips faster
            return np.asarray(local_copy(_array(path), copy) if mapped is None else mapped)
        array = _array(path)
        return np.asarray(array[:]) if self.cache else array


def _fill(part: NDArray[Any], array: Any, window: Window, inside: Window, fill: int) -> None:
    if inside is window:
        part[...] = array[(..., *window.slices)]
        return
    part[...] = fill
    part[(..., *inside.within(window))] = array[(..., *inside.slices)]


def _array(path: Path) -> Any:
    """Open an array; its codecs run in one pass where this Zarr can."""
    return in_one_pass(open_array(path))


def as_features(batch: Sample) -> Sample:
    """Return a batch of stored pixels as a network takes it, on the device where it is.

    Parameters
    ----------
    batch
        ``image`` int16 (B, C, H, W), stored features; ``mask`` uint8 (B, H, W), if there is one.
        An image of another type is returned as it is.

    Returns
    -------
    dict
        ``image`` float32, standardised, 0 where there is no feature; ``mask`` int64.
    """
    stored = batch["image"]
    if stored.dtype != torch.int16:
        return batch
    is_missing = stored[:, :1] == FEATURE_NODATA
    image = stored.float().div_(FEATURE_SCALE).masked_fill_(is_missing, 0)
    changed = {**batch, "image": image}
    if "mask" in batch:
        changed["mask"] = batch["mask"].long()
    return changed


def _is_bounded(side: Any) -> bool:
    return isinstance(side, slice) and side.start is not None and side.stop is not None


def _metadata(path: Path) -> dict[str, Any]:
    """Read a node's metadata as JSON: Zarr itself stays untouched until the first pixel."""
    document = path / "zarr.json"
    if not document.is_file():
        raise NotFoundError(
            f"no Zarr in {str(path)!r}",
            expected="features and labels of a basin, Zarr v3",
            todo="rockglacier run STUDY.yaml",
        )
    found: dict[str, Any] = read_json(document)
    return found
