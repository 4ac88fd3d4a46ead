"""One stage of one basin in a process of its own; prints what it took as JSON."""

import json
import pickle
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from world import World

from rockglacier.cluster import cluster_client
from rockglacier.study import Study

LANDFORM_PX, APART_PX = 20, 128
EMPTY_TASKS = 2000
LOOK_S = 1.0
"""Between looks at the scheduler's tasks: a look takes it and the client from their work."""


def main() -> None:
    """Do what the arguments say: folder, edge, factor, name, stage, the address of a scheduler."""
    folder, edge, factor, name, stage, *address = sys.argv[1:]
    study = World(folder=Path(folder), edge=int(edge)).study(int(factor), name)
    done = STAGES[stage](study, *address)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"peak_bytes": peak, **done}))


def timed(work: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """Return seconds, those of the processor in this process, and the result."""
    start, busy = time.perf_counter(), time.process_time()
    result = work()
    spent = {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - busy,
    }
    return spent, result


def cube(study: Study, address: str) -> dict[str, Any]:
    """Build the cube on the workers of a scheduler, which knows its tasks."""
    from rockglacier.cube.build import build_cube

    with cluster_client(address, study=study) as client:
        most, stop = [0], threading.Event()

        def watch() -> None:
            while not stop.wait(LOOK_S):
                held = client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))
                most[0] = max(most[0], held)

        sent, submit = [0], client.submit

        def weighed(work: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
            sent.append(len(pickle.dumps(arguments)))
            return submit(work, *arguments, **options)

        client.submit = weighed  # type: ignore[method-assign]
        watcher = threading.Thread(target=watch)
        watcher.start()
        spent, facts = timed(lambda: build_cube(study, client=client))
        stop.set()
        watcher.join()
    wanted = ("blocks", "reads", "read_bytes", "written_bytes", "looks")
    return {
        "seconds": spent["seconds"],
        "tasks_held": most[0],
        "task_bytes": max(sent),
        "groups": sum(1 for _ in study.grid.groups(4, 4)),
        **held_by(study.cube_path),
        **{name: facts[name] for name in wanted},
    }


def empty(study: Study, address: str) -> dict[str, Any]:
    """Let the scheduler hand out tasks that do nothing."""
    with cluster_client(address) as client:
        client.gather(client.map(_nothing, range(EMPTY_TASKS), pure=False))
    return {"tasks": EMPTY_TASKS}


def _nothing(number: int) -> int:
    return number


def fuse(study: Study) -> dict[str, Any]:
    """Make the features with the numbers of the smallest basin."""
    from rockglacier.features.fusion import fuse as run
    from rockglacier.model.bundle import read_bundle

    spent, _ = timed(lambda: run(study, fusion=read_bundle(model_of(study)).fusion))
    return {**spent, **held_by(study.features_path)}


def train(study: Study) -> dict[str, Any]:
    """Train a network for a moment and pack it: how it maps does not matter, only how fast."""
    import torch

    from rockglacier.features.fusion import fuse as run
    from rockglacier.labels.burn import label_basin
    from rockglacier.model.bundle import write_bundle
    from rockglacier.model.fit import train as learn

    torch.set_num_threads(1)
    label_basin(study)
    run(study)
    learn(study)
    write_bundle(study, model_of(study))
    return {}


def predict(study: Study) -> dict[str, Any]:
    """Map with that network, on one core."""
    import torch

    from rockglacier.model.bundle import read_bundle
    from rockglacier.prediction.infer import predict as run

    torch.set_num_threads(1)
    bundle = read_bundle(model_of(study))
    spent, _ = timed(lambda: run(study, bundle=bundle))
    return {**spent, **held_by(study.prediction_path)}


def inventory(study: Study) -> dict[str, Any]:
    """Draw landforms that lie as densely in every basin."""
    from rockglacier.inventory.tables import build_inventory
    from rockglacier.model.bundle import read_bundle
    from rockglacier.storage import open_group

    stored: Any = open_group(study.prediction_path / "prediction.zarr", "r+")["probability"]
    row = np.zeros((APART_PX, stored.shape[1]), np.uint8)
    columns = np.arange(stored.shape[1]) % APART_PX
    row[8 : 8 + LANDFORM_PX, (columns >= 8) & (columns < 8 + LANDFORM_PX)] = 90
    for y in range(0, stored.shape[0], APART_PX):
        stored[y : y + APART_PX] = row[: stored.shape[0] - y]
    bundle = read_bundle(model_of(study))
    spent, facts = timed(lambda: build_inventory(study, bundle=bundle))
    return {**spent, "outlines": facts["objects"], **held_by(study.inventory_path)}


def model_of(study: Study) -> Path:
    """Return where the packed network lies."""
    return study.base / "scale.rgbundle.zip"


def held_by(folder: Path) -> dict[str, int]:
    """Return the files below a folder, and their bytes."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return {"objects": len(sizes), "bytes": sum(sizes)}


STAGES: dict[str, Callable[..., dict[str, Any]]] = {
    "cube": cube,
    "empty": empty,
    "fuse": fuse,
    "train": train,
    "predict": predict,
    "inventory": inventory,
}

if __name__ == "__main__":
    main()
