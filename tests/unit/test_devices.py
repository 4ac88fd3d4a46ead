"""One network on several devices: the same training, shared out."""

import csv
import importlib

import pytest
import torch

from rockglacier.chips.ranks import Rank, SharedSampler
from rockglacier.config import TrainConfig
from rockglacier.errors import InputError, RemoteError
from rockglacier.model.devices import in_step
from rockglacier.model.fit import load_model, train
from rockglacier.model.loaders import chips_of, grounds_of
from rockglacier.model.networks import folder_name, make_network

NETWORK = """
from torch import nn

def build(*, channels, classes):
    return nn.Sequential(nn.Conv2d(channels, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, classes, 1))
"""


@pytest.fixture
def network(tmp_path, monkeypatch):
    """A network without statistics of a batch: gradients of its parts are those of the whole."""
    (tmp_path / "shared_network.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    return "shared_network:build"


def test_two_processes_train_as_one(network, make_ground):
    settings = {"networks": [network], "epochs": 2, "loss": "ce", "precision": "float32"}
    weights, histories = [], []
    for devices in (1, 2):
        study = make_ground(f"by-{devices}", devices=devices, **settings)
        train(study)
        folder = study.models_path / folder_name(network) / "trial-0"
        model = load_model(folder, device=torch.device("cpu"))
        assert model.settings["devices"] == devices
        weights.append(model.network.state_dict())
        histories.append(list(csv.DictReader((folder / "history.csv").read_text().splitlines())))
    alone, together = histories
    assert len(alone) == len(together) == 2
    assert [row["step"] for row in alone] == [row["step"] for row in together]
    for name, values in weights[0].items():
        torch.testing.assert_close(weights[1][name], values, rtol=0.02, atol=2e-3)
    for one, other in zip(alone, together, strict=True):
        assert float(one["validation_loss"]) == pytest.approx(float(other["validation_loss"]), 0.01)


@pytest.mark.parametrize("name", ["unet", "deeplabv3plus", "hrnet"])
@pytest.mark.parametrize("size", ["small", "standard"])
def test_every_weight_takes_part(name, size):
    """A weight without a gradient would make processes wait for it, and be counted for nothing."""
    network = make_network(name, size=size, channels=3).train()
    network(torch.rand(2, 3, 64, 64)).sum().backward()
    assert [key for key, weights in network.named_parameters() if weights.grad is None] == []


def test_the_parts_of_a_batch_are_the_batch(make_ground):
    study = make_ground()
    grounds = grounds_of([study], study.config)
    whole, *parts = (
        list(chips_of(grounds, study.config.train, seed=5, rank=rank).train)
        for rank in (Rank(), Rank(0, 2), Rank(1, 2))
    )
    assert len(whole) == len(parts[0]) == len(parts[1])
    for batch, first, second in zip(whole, *parts, strict=True):
        assert len(first["image"]) == len(second["image"]) == len(batch["image"]) // 2
        assert torch.equal(batch["image"][0::2], first["image"])
        assert torch.equal(batch["image"][1::2], second["image"])


def test_a_sampler_is_shared_without_rest():
    shared = [SharedSampler(range(12), Rank(number, 3)) for number in range(3)]
    assert sorted(index for part in shared for index in part) == list(range(12))
    assert [len(part) for part in shared] == [4, 4, 4]


def test_a_process_that_ends_early_is_named(tmp_path, monkeypatch):
    (tmp_path / "giving_up.py").write_text("def follow(rank, code):\n    raise SystemExit(code)\n")
    monkeypatch.syspath_prepend(tmp_path)
    follow = importlib.import_module("giving_up").follow
    with (
        pytest.raises(RemoteError, match=r"1 of the 1 other processes .* \(exit 3\)"),
        in_step(2, follow, (3,)),
    ):
        _wait_for_the_other()


def _wait_for_the_other():
    import multiprocessing

    for process in multiprocessing.active_children():
        process.join()
    raise ConnectionError("closed by peer")


def test_batches_have_equal_parts():
    with pytest.raises(ValueError, match="batch 8 cannot be parted among 3 devices"):
        TrainConfig(batch=8, devices=3)


def test_more_gpus_than_there_are_is_refused(make_ground, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match=r"train.devices is 2, .* shows 1 GPU"):
        train(make_ground(devices=2))
