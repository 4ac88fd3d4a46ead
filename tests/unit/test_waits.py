"""How long steps wait for data: counted as told, and written with every epoch."""

import json

import pytest

from rockglacier.model.waits import BatchClock
from rockglacier.storage import read_json


class Hands:
    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time


def test_waiting_and_working_are_told_apart():
    hands = Hands()
    clock = BatchClock(hands)
    for wait, work in ((1, 3), (0, 4), (2, 10)):
        hands.time += wait
        clock.arrived()
        hands.time += work
        clock.worked()
    assert clock.share == 0  # of epochs that have ended
    assert clock.end_epoch() == pytest.approx(3 / 20)
    hands.time += 50  # a validation
    clock.expect()
    hands.time += 1
    clock.arrived()
    hands.time += 1
    clock.worked()
    assert clock.end_epoch() == pytest.approx(0.5)
    assert clock.share == pytest.approx(round(4 / 22, 4))


def test_no_step_waits_for_nothing():
    clock = BatchClock()
    assert (clock.end_epoch(), clock.share) == (0, 0)


def test_the_share_is_in_the_log_the_table_and_the_model(trained_ground):
    folder = trained_ground.models_path / "hrnet" / "trial-0"
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    shares = [row["wait_share"] for row in rows]
    assert all(0 < share < 1 for share in shares)
    whole = read_json(folder / "model.json")["wait_share"]
    assert min(shares) <= whole <= max(shares)
    assert "wait_share" in (folder / "history.csv").read_text().splitlines()[0]
