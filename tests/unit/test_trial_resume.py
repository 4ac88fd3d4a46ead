"""A training that is killed goes on after its last epoch and ends as if nothing had happened."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
import torch
from lightning.pytorch.strategies import SingleDeviceStrategy

from made_ground import make_ground
from rockglacier.model.fit import train
from rockglacier.model.resume import RESUME, restorable
from rockglacier.storage import listing, local_copy, open_place, put, read_json

pytestmark = pytest.mark.usefixtures("one_thread")
EPOCHS = 5
# dropout, batch statistics, augmentation, sampler, warm-up and early stopping all take part
SETTINGS = {
    "networks": ["deeplabv3plus"],
    "epochs": EPOCHS,
    "chips_per_epoch": 12,
    "patience": 2,
    "accumulate": 2,
}
WORKER = """
import sys, torch
from pathlib import Path
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from made_ground import make_ground
import rockglacier.model.resume as resume
from rockglacier.config import parse_config
from rockglacier.model.fit import train
from rockglacier.study import Study
resume.SAVING_SHARE = float("inf")  # epochs of a test are shorter than any save
study = make_ground(Path(sys.argv[2]), **{settings})
def told(what, done, total):
    print(done, flush=True)
train(study, progress=told)
"""
ABOUT_TIME = ("seconds", "wait_share", "device", "inputs")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    study = make_ground(tmp_path_factory.mktemp("whole"), **SETTINGS)
    train(study)
    return study


def trial_of(study):
    return study.models_path / "deeplabv3plus" / "trial-0"


def start(folder):
    """Run a training in a process of its own."""
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            WORKER.replace("{settings}", repr(SETTINGS)),
            str(Path(__file__).parents[1]),
            str(folder),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )


def killed_after(process, file, *, steps):
    """Kill without warning once a file is there and some more steps were made."""
    made = 0
    try:
        for _ in process.stdout:
            made += file.is_file()
            if made >= steps:
                break
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.stdout.close()
    assert process.wait(60) == -signal.SIGKILL


def test_a_killed_training_ends_with_the_same_weights_and_metrics(undisturbed, tmp_path):
    file = tmp_path / "ground" / "models" / "deeplabv3plus" / ".trial-0.training" / RESUME
    killed_after(start(tmp_path), file, steps=2)
    first = restorable(file, inputs=read_json(trial_of(undisturbed) / "model.json")["inputs"])
    done = len(first["callbacks"]["Keeper"]["history"])
    assert 1 <= done < EPOCHS
    assert not (file.parent.parent / "trial-0").exists()

    study = make_ground(tmp_path, **SETTINGS)
    begun = []
    train(study, progress=lambda what, step, total: begun.append(step))
    assert begun[0] == 2 * done  # two optimiser steps an epoch; told after the first batch
    assert_same(trial_of(study), trial_of(undisturbed))
    assert not file.parent.exists()


def assert_same(folder, other):
    found, expected = (read_json(path / "model.json") for path in (folder, other))
    for name in ABOUT_TIME:
        found.pop(name), expected.pop(name)
    assert found == expected  # with the hash of the weights
    weights, whole = (
        torch.load(path / "model.ckpt", weights_only=True) for path in (folder, other)
    )
    assert all(torch.equal(weights[name], whole[name]) for name in whole)
    tables = [
        [line.rsplit(",", 2)[0] for line in (path / "history.csv").read_text().splitlines()]
        for path in (folder, other)
    ]
    assert tables[0] == tables[1]  # all but the last two columns, of time


def test_a_training_killed_before_it_is_stored_is_not_trained_further(
    undisturbed, tmp_path, monkeypatch
):
    study = make_ground(tmp_path, **SETTINGS)
    monkeypatch.setattr("rockglacier.model.resume.SAVING_SHARE", float("inf"))
    with monkeypatch.context() as patch:
        patch.setattr("rockglacier.model.trial._calibrated", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(study)
    begun = []
    train(study, progress=lambda *step: begun.append(step))
    assert begun == []
    assert_same(trial_of(study), trial_of(undisturbed))


def interrupted(*_):
    raise KeyboardInterrupt


def test_state_of_other_settings_or_damaged_is_not_used(undisturbed, tmp_path, caplog):
    path = tmp_path / RESUME
    torch.save({"callbacks": {"Saver": {"inputs": "abc", "is_finished": False}}}, path)
    assert restorable(path, inputs="abc") is not None
    assert restorable(path, inputs="other") is None
    path.write_bytes(path.read_bytes()[:100])
    assert restorable(path, inputs="abc") is None
    assert "starts over" in caplog.text
    assert restorable(tmp_path / "none", inputs="abc") is None


def test_state_that_would_run_code_is_not_loaded(tmp_path):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"callbacks": Attack()}, tmp_path / RESUME)
    assert restorable(tmp_path / RESUME, inputs="abc") is None
    assert not (tmp_path / "ran").exists()


def test_saving_takes_a_small_part_of_the_time(tmp_path):
    from rockglacier.model.resume import SAVING_SHARE, Saver

    class Trainer:
        should_stop = False
        is_global_zero = True
        strategy = SingleDeviceStrategy()
        saves = 0

        def save_checkpoint(self, path):
            time.sleep(0.02)
            Path(path).write_bytes(b"")
            self.saves += 1

    trainer, saver = Trainer(), Saver(tmp_path / RESUME, inputs="abc")
    begin = time.perf_counter()
    while time.perf_counter() - begin < 1.0:
        saver.on_train_epoch_end(trainer, None)
        time.sleep(0.005)
    assert 1 <= trainer.saves <= 1 + 1.0 * SAVING_SHARE / 0.02


class StoppedError(Exception):
    """A training is cut off here."""


def test_a_training_in_a_store_goes_on_after_its_last_epoch(undisturbed, monkeypatch):
    monkeypatch.setattr("rockglacier.model.resume.SAVING_SHARE", float("inf"))
    place = open_place(f"memory://{uuid4().hex}/ground")
    for path in undisturbed.folder.rglob("*"):
        if path.is_file() and undisturbed.models_path not in path.parents:
            put(path, place / path.relative_to(undisturbed.folder).as_posix())
    study = replace(
        undisturbed, config=undisturbed.config.model_copy(update={"output": str(place)})
    )
    saved = trial_of(study).with_name(".trial-0.training") / RESUME

    def told(what, done, total):
        if saved.is_file():
            raise StoppedError

    with pytest.raises(StoppedError):
        train(study, progress=told)
    inputs = read_json(trial_of(undisturbed) / "model.json")["inputs"]
    with local_copy(saved) as file:
        assert restorable(file, inputs=inputs)["callbacks"]["Keeper"]["history"]
    assert not trial_of(study).exists()
    train(study)
    first, second = (read_json(trial_of(one) / "model.json") for one in (undisturbed, study))
    for name in ABOUT_TIME:
        first.pop(name), second.pop(name)
    assert second == first
    names = {path.name for path in listing(trial_of(study))}
    assert names == {path.name for path in listing(trial_of(undisturbed))}
    assert not saved.is_file()
