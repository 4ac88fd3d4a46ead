"""Training steps on chips of the local copy: how much of their time the next batch is awaited."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from contenders import BATCH, CHIP, CONTENDERS, windows
from world import BANDS, World

from rockglacier.chips.dataset import as_features
from rockglacier.config import TrainConfig
from rockglacier.model.networks import make_network
from rockglacier.model.task import SegmentationTask
from rockglacier.model.trained import autocast_for, best_device
from rockglacier.model.trial import device_name
from rockglacier.model.waits import BatchClock

WARM_UP = 2


def main(world: World, steps: int, workers: int, network: str) -> dict[str, Any]:
    """Take the steps and return the share."""
    device = best_device()
    config = TrainConfig(batch=BATCH)
    made = make_network(network, size="small", channels=BANDS)
    task = SegmentationTask(made, config=config, total_steps=1000, steps_an_epoch=100)
    task = task.to(device).train()
    optimizer = task.configure_optimizers()["optimizer"]
    mask = torch.randint(0, 2, (BATCH, CHIP, CHIP), device=device)
    loader, tell = CONTENDERS["ours, cache: local"].loader(world, workers)
    tell(windows(world, BATCH * (WARM_UP + steps), is_aligned=False, seed=2))
    clock = BatchClock()
    for number, batch in enumerate(loader):
        stored = batch["image"].to(device)
        if number >= WARM_UP:
            clock.arrived()
        image = as_features({"image": stored})["image"]
        with autocast_for(device):
            loss = task.loss(task(image), mask)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if number >= WARM_UP:
            clock.worked()
        clock.expect()
    share = clock.end_epoch()
    waited, worked = clock.totals
    return {
        "network": f"{network}, small",
        "workers": workers,
        "steps": steps,
        "wait_share": share,
        "chips_per_s": BATCH * steps / (waited + worked),
        "device": device_name(device),
    }


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    world = World(folder=Path(given.pop("folder")), size=given.pop("size"))
    print(json.dumps(main(world, **given)), flush=True)
