"""Training on features in an object store: faults on the way change nothing of what it sees."""

from datetime import timedelta

import pytest
import torch

from rockglacier.model.fit import train
from rockglacier.storage import read_json, remote, upload
from rockglacier.study import Study


@pytest.fixture
def steady(monkeypatch):
    """Little waiting before a request is tried again, and one thread: sums have one order."""
    monkeypatch.setitem(remote.BACKOFF, "init_backoff", timedelta(milliseconds=20))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_weights_are_those_of_a_training_on_this_disk(s3, fault_proxy, steady, make_ground, cache):
    near = make_ground(networks=["unet"], epochs=2, chip=32, cache=cache)
    upload(near.folder, s3 / "far")
    config = near.config.model_copy(update={"output": str(s3 / "far")})
    far = Study(config=config, base=near.base)
    train(near)
    fault_proxy.set(busy=0.08, reset=0.06, truncated=0.06, lost=0.02)
    train(far)
    assert sum(fault_proxy.faults.values()) > 10
    fault_proxy.set()
    here, there = (
        read_json(study.models_path / "unet/trial-0/model.json") for study in (near, far)
    )
    assert here["data"] == there["data"]
    assert here["weights"] == there["weights"]
