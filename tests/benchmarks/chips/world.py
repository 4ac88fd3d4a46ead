"""One made-up basin, stored in every way that a contender reads."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import rasterio
import zarr
from zarr.codecs import BloscCodec

BANDS = 9
RES = 10
WEST, NORTH = 500_000, 4_000_000
CRS = "EPSG:32643"
CHUNK, SHARD = 128, 2048
COG_BLOCK = 512


@dataclass(frozen=True, kw_only=True)
class World:
    """Where it is and how large it is."""

    folder: Path
    size: int
    """Edge, pixels."""

    @property
    def features(self) -> Path:
        """Our store."""
        return self.folder / "features.zarr"

    @property
    def npy(self) -> Path:
        """The memory-mapped array."""
        return self.folder / "features-plain.npy"

    @property
    def cogs(self) -> Path:
        """One Cloud Optimized GeoTIFF a band."""
        return self.folder / "cogs"

    @property
    def netcdf(self) -> Path:
        """What XarrayDataset opens."""
        return self.folder / "features.nc"

    @property
    def local(self) -> Path:
        """Our memory-mapped copy."""
        return self.folder / "local"


def make(world: World) -> None:
    """Write the basin; what is there already is kept."""
    done = world.folder / "made"
    if done.is_file():
        return
    world.folder.mkdir(parents=True, exist_ok=True)
    pixels = _pixels(world.size)
    np.save(world.npy, pixels)
    _write_zarr(world, pixels)
    _write_cogs(world, pixels)
    _write_netcdf(world, pixels)
    done.touch()


def _pixels(size: int) -> np.ndarray:
    """Smooth relief with noise: it compresses like standardised reflectance, not like nothing."""
    rng = np.random.default_rng(0)
    rows, cols = np.mgrid[:size, :size].astype(np.float32)
    layers = np.empty((BANDS, size, size), np.int16)
    for band in range(BANDS):
        smooth = 1500 * np.sin(rows / (37 + band)) * np.cos(cols / (53 + band))
        layers[band] = smooth + 150 * rng.standard_normal((size, size), dtype=np.float32)
    return layers


def _write_zarr(world: World, pixels: np.ndarray) -> None:
    group = zarr.create_group(
        world.features,
        overwrite=True,
        attributes={
            "channels": [f"b{band}" for band in range(BANDS)],
            "crs": CRS,
            "transform": [RES, 0, WEST, 0, -RES, NORTH],
        },
    )
    shard = min(SHARD, world.size)
    array = group.create_array(
        "features",
        shape=pixels.shape,
        dtype="int16",
        chunks=(BANDS, CHUNK, CHUNK),
        shards=(BANDS, shard, shard),
        compressors=BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"),
        fill_value=-32768,
    )
    array[:] = pixels


def _write_cogs(world: World, pixels: np.ndarray) -> None:
    world.cogs.mkdir(exist_ok=True)
    for band, values in enumerate(pixels):
        with rasterio.open(
            world.cogs / f"basin_b{band}.tif",
            "w",
            driver="COG",
            height=world.size,
            width=world.size,
            count=1,
            dtype="int16",
            crs=CRS,
            transform=rasterio.Affine(RES, 0, WEST, 0, -RES, NORTH),
            blocksize=COG_BLOCK,
            compress="DEFLATE",
            predictor=2,
            overviews="NONE",
        ) as file:
            file.write(values, 1)


def _write_netcdf(world: World, pixels: np.ndarray) -> None:
    if find_spec("rioxarray") is None:  # TorchGeo needs it to open the file
        return
    import pandas as pd
    import rioxarray  # noqa: F401 (gives Dataset.rio)
    import xarray as xr

    middles = (np.arange(world.size) + 0.5) * RES
    coords = {
        "time": pd.DatetimeIndex(["2024-07-01"]),
        "y": NORTH - middles,
        "x": WEST + middles,
    }
    data = {f"b{band}": (("time", "y", "x"), values[None]) for band, values in enumerate(pixels)}
    dataset = xr.Dataset(data, coords=coords).rio.write_crs(CRS)
    dataset.to_netcdf(world.netcdf, engine="scipy")
