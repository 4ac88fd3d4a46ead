"""Dask clients, and blocks worked on by other processes."""

import os

import pytest

from rockglacier.cluster import cluster_client
from rockglacier.engine import Receipts, Task, run_tasks
from rockglacier.errors import InputError, RemoteError
from rockglacier.storage import read_json


def test_threads_need_no_client():
    with cluster_client("threads") as client:
        assert client is None


def test_an_unknown_kind_is_refused_with_the_kinds_there_are():
    with (
        pytest.raises(InputError, match=r"no cluster 'gpu'\n.*threads, local"),
        cluster_client("gpu"),
    ):
        pass


def test_a_scheduler_that_does_not_answer_is_named_with_what_to_do(monkeypatch):
    monkeypatch.setattr("rockglacier.cluster.CONNECT_SECONDS", 0.3)
    with (
        pytest.raises(RemoteError, match=r"no Dask scheduler answers at 'tcp://127.0.0.1:1'") as e,
        cluster_client("tcp://127.0.0.1:1"),
    ):
        pass
    assert "dask scheduler" in e.value.todo


@pytest.fixture(scope="module")
def local():
    with cluster_client("local", workers=1) as client:
        yield client


def make_work(folder):
    # by value: worker processes cannot import the module of a test
    def work(task):
        import json
        import os
        from pathlib import Path

        number = task.inputs["number"]
        if number < 0:
            raise InputError(f"number {number}", expected="none below 0", todo="count up")
        (Path(folder) / f"{number}.json").write_text(json.dumps({"square": number**2}))
        return {"pid": os.getpid()}

    return work


def make_tasks(*numbers):
    return [Task(name=f"b{number}", inputs={"number": number}) for number in numbers]


def run(folder, tasks, client):
    receipts = Receipts(folder / "receipts")
    outcome = run_tasks(
        tasks, make_work(str(folder)), receipts=receipts, what="x", workers=1, client=client
    )
    return outcome, dict(receipts.all())


def test_blocks_run_in_worker_processes_and_leave_their_receipts(tmp_path, local):
    outcome, receipts = run(tmp_path, make_tasks(2, 3), local)
    assert (outcome.built, outcome.kept) == (2, 0)
    assert [read_json(tmp_path / f"{n}.json")["square"] for n in (2, 3)] == [4, 9]
    assert os.getpid() not in {receipt["pid"] for receipt in receipts.values()}


def test_finished_blocks_are_kept_on_a_cluster_too(tmp_path, local):
    run(tmp_path, make_tasks(2), local)
    outcome, _ = run(tmp_path, make_tasks(2, 3), local)
    assert (outcome.built, outcome.kept) == (1, 1)


def test_the_message_of_a_failed_block_survives_the_trip_back(tmp_path, local):
    with pytest.raises(InputError, match=r"number -1\n.*none below 0\n.*count up"):
        run(tmp_path, make_tasks(-1), local)


def test_a_scheduler_is_joined_by_its_address(tmp_path, local):
    address = local.scheduler_info()["address"]
    with cluster_client(address) as client:
        outcome, _ = run(tmp_path, make_tasks(4), client)
    assert outcome.built == 1


def test_workers_without_rockglacier_are_found_before_any_work(local, monkeypatch):
    def no_module(*args, **options):
        raise ModuleNotFoundError("No module named 'rockglacier'")

    monkeypatch.setattr("distributed.Client.run", no_module)
    with (
        pytest.raises(RemoteError, match=r"cannot work: No module named 'rockglacier'") as e,
        cluster_client(local.scheduler_info()["address"]),
    ):
        pass
    assert "install rockglacier" in e.value.todo
