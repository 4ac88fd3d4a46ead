"""A made-up basin that is ready to predict: features as a store and as a GeoTIFF, one network."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import torch
import zarr
from scipy import ndimage
from zarr.codecs import BloscCodec

from rockglacier.config import parse_config
from rockglacier.model.networks import make_network
from rockglacier.storage import write_json
from rockglacier.study import Study

CHANNELS = 8
CRS, TRANSFORM = "EPSG:32643", [10.0, 0.0, 400_000.0, 0.0, -10.0, 4_100_000.0]
BLOCK = 512
EDGE = 128
"""Of the chips that a network learns from, pixels."""
TEMPERATURE = 0.1
"""Weights are random and logits small: divided by so much, probabilities fill 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class World:
    """Where it lies, and what is predicted how."""

    folder: Path
    size: int
    network: str
    scale: str
    """Of the network: small or standard."""
    window: int
    batch: int
    steps: int = 0
    """Of training; 0: random weights."""

    @property
    def features_tif(self) -> Path:
        """The features as a GeoTIFF, a band a channel, thousandths."""
        return self.base / "features.tif"

    @property
    def base(self) -> Path:
        """Folder of this size and network."""
        name = f"{self.network}-{self.scale}-{self.size}-{self.window}-{self.steps}"
        return self.folder / name

    @property
    def windows(self) -> int:
        """Windows of the lattice."""
        return math.ceil(self.size / (self.window // 2)) ** 2

    def study(self, **settings: object) -> Study:
        """Return the study; its block is the store's."""
        config = {
            "name": "basin",
            "area": [74.0, 36.0, 74.1, 36.1],
            "cube": {"block": BLOCK},
            "train": {"networks": [self.network], "size": self.scale},
            "predict": {"window": self.window, "batch": self.batch, **settings},
        }
        return Study(config=parse_config(config, source="benchmark"), base=self.base)


def make(world: World) -> None:
    """Write it, unless it is there."""
    if (world.base / "done").is_file():
        return
    study = world.study()
    size = world.size
    write_grid(study, size)
    names = [f"c{k}" for k in range(CHANNELS)]
    write_json(study.fusion_path, {"channels": names, "hash": "f"})
    random = np.random.default_rng(3)
    group = zarr.open_group(study.features_path, mode="w", attributes={"fusion": "f"})
    store = group.create_array(
        "features", shape=(CHANNELS, size, size), dtype="int16", fill_value=-32768,
        chunks=(CHANNELS, 128, 128), shards=(CHANNELS, BLOCK, BLOCK),
        compressors=BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"),
    )  # fmt: skip
    with rasterio.open(
        world.features_tif, "w", driver="GTiff", width=size, height=size, count=CHANNELS,
        dtype="int16", crs=CRS, transform=study.grid.transform, tiled=True, blockxsize=256,
        blockysize=256, compress="deflate", interleave="band",
    ) as file:  # fmt: skip
        for number in range(CHANNELS):
            coarse = random.normal(size=(size // 16 + 2, size // 16 + 2))
            smooth = ndimage.zoom(coarse, 16, order=1)[:size, :size]
            values = 700 * smooth + 400 * random.normal(size=(size, size))
            layer = np.clip(values, -32000, 32000).astype(np.int16)
            store[number] = layer
            file.write(layer, number + 1)
    _write_model(world, study, names)
    (world.base / "done").write_text("")


def write_grid(study: Study, size: int) -> None:
    """Write a square grid."""
    grid = {"crs": CRS, "transform": TRANSFORM, "shape": [size, size], "block": BLOCK}
    write_json(study.grid_path, grid)


def _write_model(world: World, study: Study, names: list[str]) -> None:
    torch.manual_seed(0)
    network = make_network(world.network, size=world.scale, channels=CHANNELS)
    if world.steps:
        _train(network, world)
    else:
        _settle(network, world)
    place = study.models_path / world.network / "trial-0"
    settings = {
        "network": world.network, "size": world.scale, "channels": names, "fusion": "f",
        "threshold": 0.5, "temperature": 1.0 if world.steps else TEMPERATURE, "trial": 0,
    }  # fmt: skip
    write_json(place / "model.json", settings)
    torch.save(network.state_dict(), place / "model.ckpt")
    path = f"{world.network}/trial-0"
    write_json(study.selection_path, {"network": world.network, "trial": 0, "path": path})


def _train(network: torch.nn.Module, world: World) -> None:
    """Let it find where the mean of two channels around a pixel is above zero."""
    with rasterio.open(world.features_tif) as file:
        features = file.read().astype(np.float32) / 1000
    truth = ndimage.gaussian_filter(features[0] + features[1], 6) > 0
    random = np.random.default_rng(7)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    edge = min(EDGE, world.size // 32 * 32)
    for _ in range(world.steps):
        corners = random.integers(0, world.size - edge + 1, (world.batch, 2))
        cuts = [(slice(y, y + edge), slice(x, x + edge)) for y, x in corners]
        image = torch.from_numpy(np.stack([features[:, rows, cols] for rows, cols in cuts]))
        wanted = torch.from_numpy(np.stack([truth[cut] for cut in cuts]).astype(np.int64))
        loss = torch.nn.functional.cross_entropy(network(image), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _settle(network: torch.nn.Module, world: World) -> None:
    """Let batch statistics be those of the features, and half of the pixels rock glacier."""
    with rasterio.open(world.features_tif) as file:
        edge = min(world.window, world.size) // 32 * 32
        held = file.read(window=((0, edge), (0, edge)))
    image = torch.from_numpy(held.astype(np.float32) / 1000)[None].repeat(2, 1, 1, 1)
    with torch.no_grad():
        for _ in range(50):
            network(image)
        logits = network.eval()(image)
        shift = float((logits[:, 1] - logits[:, 0]).median())
    last = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)][-1]
    last.bias.data[1] -= shift
