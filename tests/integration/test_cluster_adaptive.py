"""Workers that come and go with the work (`compute.adaptive`)."""

import os
import time

import dask
import distributed  # noqa: F401 - its defaults come first: they would go when a setting does

from rockglacier.cluster import cluster_client
from rockglacier.config import ComputeConfig
from rockglacier.engine import Receipts, Task, run_tasks

QUICK = {"distributed.adaptive.interval": "100 ms", "distributed.adaptive.target-duration": "1 s"}
"""So that a test need not work for minutes until a second worker is worth its start."""


def make_work():
    # by value: workers cannot import the module of a test
    def work(task):
        time.sleep(0.7)
        return {"pid": os.getpid()}

    return work


def test_a_second_worker_comes_for_the_work_and_takes_part(tmp_path):
    compute = ComputeConfig.model_validate(
        {"adaptive": [1, 2], "workers": 1, "memory": "1GB", "threads": 1}
    )
    receipts = Receipts(tmp_path / "receipts")
    tasks = [Task(name=f"r{number:04}c0000", inputs={"n": number}) for number in range(24)]
    with dask.config.set(QUICK), cluster_client("local", compute=compute) as client:
        assert len(client.nthreads()) == 1
        outcome = run_tasks(
            tasks, make_work(), receipts=receipts, what="work", workers=1, client=client
        )
        assert 1 <= len(client.nthreads()) <= 2
    assert outcome.built == 24
    told = dict(receipts.all())
    assert len(told) == 24
    assert len({receipt["pid"] for receipt in told.values()}) >= 2
