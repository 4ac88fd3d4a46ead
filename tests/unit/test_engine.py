"""Blocks as tasks: receipts, resume, failure."""

import pytest

from rockglacier.engine import Receipts, Selection, Task, run_groups, run_tasks
from rockglacier.engine.cluster import enough
from rockglacier.errors import BlocksFailedError, InputError, RemoteError


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

    with pytest.raises(BlocksFailedError, match=r"1 block.s. failed, 4 are done\n  b3: .*broken"):
        run_tasks(make_tasks(), work, receipts=receipts, what="x", workers=1)
    assert receipts.read("b4") is not None
    assert receipts.read("b3") is None
    assert receipts.failures()["b3"].message == "ValueError: broken block"
    outcome = run_tasks(make_tasks(), lambda t: {}, receipts=receipts, what="x", workers=1)
    assert (outcome.kept, outcome.built) == (4, 1)
    assert receipts.failures() == {}


def test_failure_of_an_asset_is_recorded_by_name(tmp_path):
    receipts = Receipts(tmp_path)

    def work(task):
        raise RemoteError(
            "gone", item="S2A", asset="B11", href="https://h/b.tif?sig=1", todo="skip"
        )

    with pytest.raises(BlocksFailedError, match=r"b\d, b\d: gone") as caught:
        run_tasks(make_tasks(2), work, receipts=receipts, what="x", workers=2)
    assert caught.value.todo == "skip"
    failure = receipts.failures()["b1"]
    assert (failure.item, failure.asset, failure.href) == ("S2A", "B11", "https://h/b.tif")


def test_what_is_wrong_with_the_disk_stops_the_run_at_once(tmp_path):
    tried = []

    def work(task):
        tried.append(task.name)
        raise InputError("the disk is full")

    with pytest.raises(InputError, match="the disk is full"):
        run_tasks(make_tasks(), work, receipts=Receipts(tmp_path), what="x", workers=1)
    assert tried == ["b0"]


def test_a_run_gives_up_when_everything_fails(tmp_path, monkeypatch):
    monkeypatch.setattr("rockglacier.engine.tally.MAX_FAILURES", 3)

    def work(task):
        raise ValueError("bad")

    with pytest.raises(BlocksFailedError, match=r"3 block.s. failed, 0 are done, 7 were not tried"):
        run_tasks(make_tasks(10), work, receipts=Receipts(tmp_path), what="x", workers=1)


def test_a_group_that_fails_is_built_block_by_block(tmp_path):
    receipts, groups = Receipts(tmp_path), []

    def work(tasks):
        groups.append([task.name for task in tasks])
        for task in tasks:
            if task.name == "b2":
                raise ValueError("broken block")
            yield task, {}

    with pytest.raises(BlocksFailedError, match="b2: ValueError: broken block"):
        run_groups([make_tasks()], work, receipts=receipts, what="x", workers=1)
    assert groups == [["b0", "b1", "b2", "b3", "b4"], ["b2"], ["b3"], ["b4"]]
    assert [name for name, _ in receipts.all()] == ["b0", "b1", "b3", "b4"]


def test_only_the_blocks_meant_are_built(tmp_path):
    receipts = Receipts(tmp_path)
    tasks = [Task(name=f"r{row:04d}c{col:04d}", inputs={}) for row in range(3) for col in range(3)]
    some = Selection.parse("1:3,0:1")
    outcome = run_tasks(tasks, lambda t: {}, receipts=receipts, what="x", workers=1, selection=some)
    assert outcome.facts == {"blocks": 9, "built": 2, "kept": 0, "left": 7}
    assert [name for name, _ in receipts.all()] == ["r0001c0000", "r0002c0000"]


def test_only_failed_blocks_are_tried_again(tmp_path):
    receipts = Receipts(tmp_path)
    tasks = [Task(name=f"r0000c{col:04d}", inputs={}) for col in range(3)]

    def work(task):
        if task.name.endswith("1"):
            raise ValueError("bad")
        return {}

    with pytest.raises(BlocksFailedError):
        run_tasks(tasks, work, receipts=receipts, what="x", workers=1)
    receipts.drop("r0000c0002")
    outcome = run_tasks(
        tasks,
        lambda t: {},
        receipts=receipts,
        what="x",
        workers=1,
        selection=Selection(only_failed=True),
    )
    assert (outcome.built, outcome.kept, outcome.left) == (1, 1, 1)


def test_blocks_are_named_by_ranges():
    with pytest.raises(InputError, match="blocks '3'") as caught:
        Selection.parse("3")
    assert "0:2,3:5" in caught.value.expected


def test_ranges_without_any_block_are_refused_before_anything_is_built(tmp_path):
    receipts, built = Receipts(tmp_path), []
    tasks = [Task(name=f"r{row:04d}c{col:04d}", inputs={}) for row in range(3) for col in range(2)]
    with pytest.raises(InputError, match="no block in rows 1:3 and columns 2:9") as caught:
        run_tasks(
            tasks,
            lambda t: built.append(t) or {},
            receipts=receipts,
            what="x",
            workers=1,
            selection=Selection.parse("1:3,2:9"),
        )
    assert caught.value.expected == "some of rows 0:3 and columns 0:2"
    assert built == []


def test_interrupted_run_ends_after_the_blocks_in_flight(tmp_path):
    receipts, built = Receipts(tmp_path), []

    def work(tasks):
        for task in tasks:
            built.append(task.name)
            yield task, {}

    def interrupt(what, done, total):
        if done == 1:
            raise KeyboardInterrupt

    groups = [make_tasks(200)]
    with pytest.raises(KeyboardInterrupt):
        run_groups(groups, work, receipts=receipts, what="x", workers=1, progress=interrupt)
    assert len(built) < 200
    assert len(list(receipts.all())) == len(built)


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


def test_groups_are_halved_by_rows_until_there_are_enough():
    group = [f"r{row}c{col}" for row in range(4) for col in range(4)]
    assert enough([group], 1) == [group]
    assert enough([group], 2) == [group[:8], group[8:]]
    assert enough([group], 3) == [group[at : at + 4] for at in (0, 4, 8, 12)]
    assert enough([group], 100) == [[block] for block in group]
    assert enough([], 5) == []


def test_the_largest_groups_are_halved_first_and_no_block_is_lost():
    groups = [list(range(16)), [16, 17], [18], list(range(19, 31))]
    found = enough(groups, 6)
    assert found == [
        list(range(8)), list(range(8, 16)), [16, 17], [18], list(range(19, 25)), list(range(25, 31))
    ]  # fmt: skip
    for wanted in range(40):
        halved = enough(groups, wanted)
        assert [block for group in halved for block in group] == list(range(31))
        assert len(halved) >= min(wanted, 31)
