"""One trial of training: it learns texture, keeps its limits, and can be loaded again."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from rockglacier.config import TrainConfig
from rockglacier.engine import silent
from rockglacier.errors import ContractError, InputError, NotFoundError
from rockglacier.model.keeper import Keeper, steps_that_fit
from rockglacier.model.trained import load_model
from rockglacier.model.trial import Chips, Trial, run_trial

pytestmark = pytest.mark.usefixtures("one_thread")
CHANNELS = ("elevation", "slope")
ABOUT = {"channels": list(CHANNELS), "fusion": "f00d", "chip": 64, "batch": 4}


def texture_batch(seed, *, size=4, edge=64):
    """Noise everywhere; where the mask is 1 it is ridges of the same mean and variance."""
    rng = np.random.default_rng(seed)
    ridges = np.sqrt(2) * np.sin(2 * np.pi * np.arange(edge) / 6)[:, None]
    mask = np.zeros((size, edge, edge), np.uint8)
    for chip in mask:
        y, x = rng.integers(0, edge // 2, 2)
        chip[y : y + edge // 2, x : x + edge // 2] = 1
    image = rng.normal(size=(size, len(CHANNELS), edge, edge))
    image[:, 0] = np.where(mask == 1, ridges + rng.normal(size=mask.shape) / 4, image[:, 0])
    mask[:, 0, 0] = 255
    return {"image": torch.from_numpy(image.astype(np.float32)), "mask": torch.from_numpy(mask)}


def settings(**given):
    return TrainConfig(size="small", learning_rate=3e-3, **given)


def trial_in(folder, network="unet"):
    return Trial(network=network, number=0, seed=1, split="strip", folder=folder, inputs="abc")


def run(folder, config, *, network="unet", batches=4, progress=silent):
    chips = Chips(
        train=DataLoader([texture_batch(seed) for seed in range(batches)], batch_size=None),
        train_batches=batches,
        validation=DataLoader([texture_batch(100)], batch_size=None),
    )
    return run_trial(
        trial_in(folder, network), lambda rank: chips, config=config, about=ABOUT, progress=progress
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "unet" / "trial-0"
    told = []
    found = run(folder, settings(epochs=8), progress=lambda *step: told.append(step))
    return folder, found, told


def test_a_small_unet_learns_texture(trained):
    _, found, _ = trained
    assert found["validation"]["iou_rock_glacier"] > 0.7


def test_progress_counts_steps_to_the_end(trained):
    _, found, told = trained
    assert told[0] == ("train unet, trial 0", 1, 32)
    assert told[-1][1:] == (32, 32)
    assert found["steps"] == 32


def test_progress_counts_the_steps_that_the_time_allows(monkeypatch):
    now, told = [0.0], []
    monkeypatch.setattr("rockglacier.model.keeper.time.perf_counter", lambda: now[0])
    keeper = Keeper("unet", limit_minutes=1, progress=lambda *step: told.append(step[1:]))
    trainer = SimpleNamespace(strategy=SimpleNamespace(broadcast=bool), should_stop=False)
    module = SimpleNamespace(total_steps=1000)
    keeper.on_train_start(trainer, module)
    for now[0], trainer.global_step in ((6.0, 3), (30.0, 20), (61.0, 42)):
        keeper.on_train_batch_start(trainer, module, None, 0)
        keeper.on_train_batch_end(trainer, module, None, None, 0)
        assert trainer.should_stop is (now[0] > 60)
    assert told == [(3, 30), (20, 40), (42, 42)]


def test_history_has_a_row_an_epoch(trained):
    folder, found, _ = trained
    rows = list(csv.DictReader((folder / "history.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == list(range(8))
    scores = [float(row["score"]) for row in rows]
    assert int(np.argmax(scores)) == found["best_epoch"]


def test_loaded_model_gives_calibrated_probabilities(trained):
    folder, found, _ = trained
    model = load_model(folder, device=torch.device("cpu"))
    batch = texture_batch(100)
    probability = model.probability(batch["image"], exact=True).numpy()
    assert probability.dtype == np.float32
    counted = batch["mask"].numpy() != 255
    truth = (batch["mask"].numpy() == 1)[counted]
    called = (probability >= model.threshold)[counted]
    assert (called & truth).sum() / (called | truth).sum() > 0.7
    assert (model.name, model.channels) == ("unet", CHANNELS)
    assert model.temperature == found["temperature"]


def test_probabilities_do_not_depend_on_the_other_chips_of_a_batch(trained):
    model = load_model(trained[0], device=torch.device("cpu"))
    image = texture_batch(5)["image"]
    alone = model.probability(image[:1], exact=True)
    torch.testing.assert_close(alone, model.probability(image, exact=True)[:1], atol=1e-5, rtol=0)


def test_a_model_for_other_features_is_refused(trained):
    model = load_model(trained[0], device=torch.device("cpu"))
    with pytest.raises(InputError, match="other bands or features") as caught:
        model.check_features(channels=("B02", "slope"), fusion_hash="f00d")
    assert "elevation, slope" in caught.value.found
    assert "B02, slope" in caught.value.expected
    assert "choose another model" in caught.value.todo
    with pytest.raises(InputError, match="fusion 'f00d'"):
        model.check_features(channels=CHANNELS, fusion_hash="beef")


def test_weights_of_another_network_are_refused(trained, tmp_path):
    folder = tmp_path / "trial-0"
    folder.mkdir()
    torch.save({"head.weight": torch.zeros(2)}, folder / "model.ckpt")
    (folder / "model.json").write_bytes((trained[0] / "model.json").read_bytes())
    with pytest.raises(ContractError, match="weights of a small unet with 2 channels"):
        load_model(folder)


def test_a_folder_without_a_model_says_what_to_do(tmp_path):
    with pytest.raises(NotFoundError, match="rockglacier train"):
        load_model(tmp_path / "trial-3")


def test_training_twice_gives_the_same_weights(tmp_path):
    one = run(tmp_path / "one", settings(epochs=1), batches=2)
    two = run(tmp_path / "two", settings(epochs=1), batches=2)
    assert one["weights"] == two["weights"]


@pytest.mark.parametrize("network", ["hrnet", "deeplabv3plus"])
def test_the_other_networks_train(tmp_path, network):
    found = run(tmp_path / network, settings(epochs=1), network=network, batches=1)
    assert found["steps"] == 1
    assert found["parameters"] > 1e6


def test_time_limit_stops_early_and_keeps_a_usable_model(tmp_path, caplog):
    found = run(tmp_path / "short", settings(epochs=500, max_minutes=0.01), batches=2)
    assert 0 < found["epochs"] < 20
    assert f"ended it after {found['steps']} steps, too few" in caplog.text
    assert load_model(tmp_path / "short").threshold == found["threshold"]


def test_patience_ends_a_training_that_stands_still(tmp_path):
    frozen = TrainConfig(size="small", learning_rate=1e-12, epochs=50, patience=2)
    assert run(tmp_path / "frozen", frozen, batches=1)["epochs"] < 30


@pytest.mark.parametrize(
    ("seconds", "steps"), [(-1, 0), (0, 0), (10, 10), (10.9, 10), (15, 14), (19.9, 19)]
)
def test_only_steps_whose_validation_fits_are_planned(seconds, steps):
    found = steps_that_fit(seconds, epoch_seconds=10, validation_seconds=1, steps_an_epoch=10)
    assert found == steps
