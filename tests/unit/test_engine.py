"""Blocks as tasks: receipts, resume, failure."""

import pytest

from rockglacier.engine import Receipts, Task, run_tasks


def make_tasks(n=5, recipe=1):
    return [Task(name=f"b{i}", inputs={"i": i, "recipe": recipe}) for i in range(n)]


def test_every_task_runs_and_leaves_a_receipt(tmp_path):
    receipts = Receipts(tmp_path)
    outcome = run_tasks(
        make_tasks(),
        lambda t: {"double": 2 * t.inputs["i"]},
        receipts=receipts,
        what="x",
        workers=2,
    )
    assert outcome.built == 5
    assert {name: r["double"] for name, r in receipts.all()} == {f"b{i}": 2 * i for i in range(5)}


def test_second_run_keeps_finished_blocks(tmp_path):
    receipts = Receipts(tmp_path)
    run_tasks(make_tasks(), lambda t: {}, receipts=receipts, what="x", workers=2)
    again = []
    outcome = run_tasks(
        make_tasks(), lambda t: again.append(t) or {}, receipts=receipts, what="x", workers=2
    )
    assert (outcome.built, outcome.kept, again) == (0, 5, [])


def test_changed_inputs_are_built_again(tmp_path):
    receipts = Receipts(tmp_path)
    run_tasks(make_tasks(), lambda t: {}, receipts=receipts, what="x", workers=2)
    outcome = run_tasks(make_tasks(recipe=2), lambda t: {}, receipts=receipts, what="x", workers=2)
    assert outcome.built == 5


def test_failed_block_keeps_the_receipts_of_the_others(tmp_path):
    receipts = Receipts(tmp_path)

    def work(task):
        if task.name == "b3":
            raise ValueError("broken block")
        return {}

    with pytest.raises(ValueError, match="broken block"):
        run_tasks(make_tasks(), work, receipts=receipts, what="x", workers=1)
    assert receipts.read("b2") is not None
    assert receipts.read("b3") is None
    outcome = run_tasks(make_tasks(), lambda t: {}, receipts=receipts, what="x", workers=1)
    assert (outcome.kept, outcome.built) == (3, 2)


def test_old_receipt_goes_before_the_data_is_written(tmp_path):
    receipts = Receipts(tmp_path)
    run_tasks(make_tasks(1), lambda t: {}, receipts=receipts, what="x", workers=1)
    seen = []
    run_tasks(
        make_tasks(1, recipe=2),
        lambda t: seen.append(receipts.read("b0")) or {},
        receipts=receipts,
        what="x",
        workers=1,
    )
    assert seen == [None]


def test_progress_counts_what_was_kept(tmp_path):
    receipts = Receipts(tmp_path)
    run_tasks(make_tasks(2), lambda t: {}, receipts=receipts, what="x", workers=1)
    told = []
    run_tasks(
        make_tasks(4),
        lambda t: {},
        receipts=receipts,
        what="blocks",
        workers=1,
        progress=lambda *args: told.append(args),
    )
    assert told == [("blocks", 2, 4), ("blocks", 3, 4), ("blocks", 4, 4)]
