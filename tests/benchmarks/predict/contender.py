"""One contender in a process of its own: it predicts the basin once and says how long it took."""

import json
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import torch
from world import CHANNELS, World

from rockglacier.model.memory import give_back_memory

TICK_S = 0.05


class Memory:
    """The most that this process held beyond what it began with, files in the cache left out."""

    def __init__(self) -> None:
        give_back_memory()
        self._begin = self._now()
        self._peak = self._begin
        self._is_done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @staticmethod
    def _now() -> int:
        try:
            lines = Path(f"/proc/{psutil.Process().pid}/status").read_text().splitlines()
        except OSError:  # no Linux
            return int(psutil.Process().memory_info().rss)
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))

    def _watch(self) -> None:
        while not self._is_done.wait(TICK_S):
            self._peak = max(self._peak, self._now())

    def end(self) -> int:
        """Return bytes."""
        self._is_done.set()
        self._thread.join()
        return self._peak - self._begin


def loaded(world: World):
    """Return the trained model."""
    from rockglacier.model.trained import load_model

    return load_model(world.study().models_path / world.network / "trial-0")


def bare(world: World):
    """Run the network on batches that lie ready in memory: the limit."""
    model = loaded(world)
    shape = (world.batch, CHANNELS, world.window, world.window)
    batches = [torch.randn(shape).contiguous(memory_format=torch.channels_last) for _ in range(4)]
    count = -(-world.windows // world.batch)
    model.probability(batches[0])

    def work():
        for number in range(count):
            model.probability(batches[number % 4])
        return world.windows

    return work


def ours(world: World):
    """Run the whole stage: store of features to store of the prediction and its rasters."""
    from rockglacier.prediction import members
    from rockglacier.prediction.infer import predict
    from rockglacier.storage import remove

    study = world.study()
    remove(study.prediction_path)
    remove(study.receipts_path)
    folder = study.models_path / world.network / "trial-0"
    model = loaded(world)
    members._model(folder, model.fingerprint)  # read before the clock starts, as by the others
    model.probability(torch.zeros(world.batch, CHANNELS, world.window, world.window))

    def work():
        predict(study)
        return world.windows

    return work


def loop(world: World):
    """Do it as a script would: read a window, predict it, add it up; all sums in memory."""
    import rasterio

    model, step, edge = loaded(world), world.window // 2, world.window
    count = -(-world.size // step)
    margin = (edge - step) // 2
    taper = 0.02 + 0.98 * 0.5 * (1 - np.cos(2 * np.pi * (np.arange(edge) + 0.5) / edge))
    weights = np.outer(taper, taper)
    model.probability(torch.zeros(world.batch, CHANNELS, edge, edge))

    def work():
        with rasterio.open(world.features_tif) as file:
            features, profile = file.read(), file.profile
        after = count * step + edge - margin - world.size
        padded = np.pad(features, ((0, 0), (margin, after), (margin, after)), "reflect")
        total, weight = (np.zeros(padded.shape[1:]) for _ in range(2))
        places = [(row * step, col * step) for row in range(count) for col in range(count)]
        for first in range(0, len(places), world.batch):
            group = places[first : first + world.batch]
            images = [padded[:, y : y + edge, x : x + edge] for y, x in group]
            batch = torch.from_numpy(np.stack(images).astype(np.float32) / 1000)
            for (y, x), part in zip(group, model.probability(batch).numpy(), strict=True):
                total[y : y + edge, x : x + edge] += weights * part
                weight[y : y + edge, x : x + edge] += weights
        inside = slice(margin, margin + world.size)
        percent = np.rint(100 * total[inside, inside] / weight[inside, inside]).astype(np.uint8)
        profile |= {"count": 1, "dtype": "uint8", "nodata": 255}
        with rasterio.open(world.base / "loop.tif", "w", **profile) as file:
            file.write(percent, 1)
        return len(places)

    return work


class Logits(torch.nn.Module):
    """What peers are given: images of thousandths to the probability, with the same arithmetic."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.model = loaded(world)
        self.seen = 0

    def forward(self, image, **unused):
        self.seen += len(image)
        return self.model.probability(image)[:, None]


def geoai(world: World):
    """Run geoai's tiled inference from GeoTIFF to GeoTIFF."""
    from geoai.inference import predict_geotiff

    network = Logits(world)

    def work():
        predict_geotiff(
            network, str(world.features_tif), str(world.base / "geoai.tif"),
            tile_size=world.window, overlap=world.window // 2, batch_size=world.batch,
            blend_mode="cosine", preprocess_fn=lambda tile: tile / 1000, device="cpu",
            verbose=False, compress="deflate",
        )  # fmt: skip
        return network.seen

    return work


def terratorch(world: World):
    """Run terratorch's tiled inference on the whole raster in memory, from and to GeoTIFF."""
    import rasterio
    from terratorch.tasks.tiled_inference import tiled_inference

    network = Logits(world)

    def work():
        with rasterio.open(world.features_tif) as file:
            image = torch.from_numpy(file.read().astype(np.float32) / 1000)[None]
            profile = file.profile
        with torch.inference_mode():
            found = tiled_inference(
                network, image, crop=world.window, stride=world.window // 2,
                batch_size=world.batch,
            )  # fmt: skip
        profile |= {"count": 1, "dtype": "float32", "nodata": None}
        with rasterio.open(world.base / "terratorch.tif", "w", **profile) as file:
            file.write(found.reshape(world.size, world.size).numpy(), 1)
        return network.seen

    return work


CONTENDERS = {f.__name__: f for f in (bare, ours, loop, geoai, terratorch)}


def measured(name: str, precision: str, threads: int, world: World) -> dict[str, float]:
    """Predict once; return seconds, of the clock and of all processors, windows and bytes."""
    from rockglacier.model import trained

    torch.set_num_threads(threads)
    trained.precision_for = lambda device: precision
    work = CONTENDERS[name](world)
    memory = Memory()
    begin, begin_cpu = time.perf_counter(), time.process_time()
    windows = work()
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - begin_cpu
    return {
        "seconds": seconds, "cpu_seconds": cpu_seconds, "windows": windows, "bytes": memory.end(),
    }  # fmt: skip


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    world = World(**{**given.pop("world"), "folder": Path(given.pop("folder"))})
    print(json.dumps(measured(world=world, **given)))
