"""What a network costs where it runs: images and ground per second, operations, memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import psutil
import torch
from torch.utils.flop_counter import FlopCounterMode

from rockglacier.model.memory import give_back_memory
from rockglacier.model.networks import parameter_count
from rockglacier.model.trained import TrainedModel, precision_for
from rockglacier.model.trial import device_name

BATCH = 8
ROUNDS = 5
TICK_S = 0.001
"""Between two looks at the memory of the process."""


def measure_costs(model: TrainedModel) -> dict[str, Any]:
    """Measure a network bare: chips are in memory, and nothing is blended.

    Returns
    -------
    dict
        ``images_per_s`` at a fixed batch and the trained chip size, after a warm-up, the median of
        five rounds; ``batch``, ``chip``, ``device``, ``precision``; ``parameters``; ``gflops`` of
        one chip, a multiplication and an addition counted as two; ``peak_memory_mb`` of a batch
        with the weights.

    Notes
    -----
    On a GPU the memory is what Torch held at most. On a processor it is by how much the process
    grew during a batch, to the nearest millisecond, plus the weights.
    """
    image = torch.zeros(BATCH, len(model.channels), model.chip, model.chip)
    model.probability(image).cpu()
    spent = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        model.probability(image).cpu()
        spent.append(time.perf_counter() - start)
    return {
        "images_per_s": round(BATCH / float(np.median(spent)), 2),
        "batch": BATCH,
        "chip": model.chip,
        "device": device_name(model.device),
        "precision": precision_for(model.device),
        "parameters": int(model.settings.get("parameters") or parameter_count(model.network)),
        "gflops": round(flops_of(model, image[:1]) / 1e9, 3),
        "peak_memory_mb": round(peak_bytes(model, image) / 1e6, 1),
    }


def flops_of(model: TrainedModel, image: torch.Tensor) -> int:
    """Return the floating-point operations of a forward pass of an image (B, C, H, W)."""
    counter = FlopCounterMode(display=False)
    with counter:
        model.probability(image, exact=True)
    return int(counter.get_total_flops())


def peak_bytes(model: TrainedModel, image: torch.Tensor) -> int:
    """Return the most bytes that a batch (B, C, H, W) takes, weights included."""
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(model.device)
        model.probability(image).cpu()
        return int(torch.cuda.max_memory_allocated(model.device))
    weights = sum(values.nbytes for values in model.network.state_dict().values())
    give_back_memory()  # what earlier batches left would be taken again unseen
    with _watching(lambda: int(psutil.Process().memory_info().rss)) as seen:
        model.probability(image)
    return weights + max(seen) - seen[0]


@contextmanager
def _watching(look: Callable[[], int]) -> Iterator[list[int]]:
    """Look again and again in a thread of its own; the list holds what was seen."""
    seen = [look()]
    is_done = threading.Event()

    def watch() -> None:
        while not is_done.wait(TICK_S):
            seen.append(look())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        is_done.set()
        thread.join()
