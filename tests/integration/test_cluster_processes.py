"""A scheduler and workers as processes of their own: blocks that kill, hang, and the self-test."""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress

import pytest

from rockglacier.cluster import cluster_client
from rockglacier.config import ComputeConfig
from rockglacier.engine import Receipts, Task, run_groups, run_tasks
from rockglacier.errors import BlocksFailedError, InputError, RemoteError

ONE_THREAD = ("--nthreads", "1", "--no-dashboard", "--memory-limit", "0")


def dask(folder, *arguments, log):
    environment = {**os.environ, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
    command = [sys.executable, "-m", "dask", *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
    )


def answers(address):
    """Wait until a scheduler does."""
    host, _, port = address.partition("://")[2].rpartition(":")
    for _ in range(1200):
        with suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return
        time.sleep(0.1)


@contextmanager
def fleet(folder, *, workers, scheme="tcp", certificates=()):
    """A scheduler and workers, each brought back by its nanny when it dies: address, scheduler."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"{scheme}://127.0.0.1:{free.getsockname()[1]}"
    with (folder / "log").open("w") as log:
        at = ("--host", f"{scheme}://127.0.0.1", "--port", address.rpartition(":")[2])
        at += tuple(certificates)
        scheduler = dask(folder, "scheduler", *at, "--no-dashboard", log=log)
        options = (*ONE_THREAD, *certificates)
        started = dask(folder, "worker", address, "--nworkers", str(workers), *options, log=log)
        try:
            answers(address)
            yield address, scheduler
        finally:
            for process in (started, scheduler):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # with the nannies' children
                process.wait(20)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with fleet(tmp_path_factory.mktemp("dask"), workers=2) as (address, _):
        yield address


@pytest.fixture
def client(address):
    from distributed import Client

    with Client(address, timeout=20) as client:
        client.wait_for_workers(2, timeout=20)
    with cluster_client(address, compute=ComputeConfig.model_validate({"timeout_s": 3})) as client:
        yield client


def make_work(folder):
    # by value: workers cannot import the module of a test
    def work(task):
        import os
        import signal
        import time
        from pathlib import Path

        time.sleep(task.inputs.get("seconds", 0))
        if task.inputs.get("kills"):
            with (Path(folder) / "deaths").open("a") as deaths:
                deaths.write(f"{os.getpid()}\n")
            os.kill(os.getpid(), signal.SIGKILL)
        return {"pid": os.getpid()}

    return work


def run(folder, tasks, client):
    receipts = Receipts(folder / "receipts")
    work = make_work(str(folder))
    with pytest.raises(BlocksFailedError) as caught:
        run_tasks(tasks, work, receipts=receipts, what="x", workers=1, client=client)
    return [name for name, _ in caught.value.failures], dict(receipts.all())


def test_a_single_group_is_halved_so_that_every_worker_has_a_part(tmp_path, client):
    tasks = [Task(name=f"b{n}", inputs={"n": n}) for n in range(8)]
    receipts = Receipts(tmp_path)

    def work(group):  # by value: workers cannot import the module of a test
        import os
        import time

        for task in group:
            time.sleep(0.1)
            yield task, {"pid": os.getpid(), "with": [one.name for one in group]}

    outcome = run_groups([tasks], work, receipts=receipts, what="x", workers=1, client=client)
    assert outcome.built == 8
    told = dict(receipts.all())
    assert len({receipt["pid"] for receipt in told.values()}) == 2
    # two for each of two workers
    assert {tuple(receipt["with"]) for receipt in told.values()} == {
        (f"b{n}", f"b{n + 1}") for n in (0, 2, 4, 6)
    }


def test_a_block_that_kills_its_workers_is_set_aside_and_the_others_are_done(tmp_path, client):
    tasks = [Task(name=f"b{n}", inputs={"n": n, "seconds": 0.05}) for n in range(12)]
    tasks[4] = Task(name="b4", inputs={"kills": True, "seconds": 0.3})
    failed, done = run(tmp_path, tasks, client)
    assert failed == ["b4"]
    assert set(done) == {task.name for task in tasks} - {"b4"}
    # twice among others, which might have been to blame, and twice alone
    assert len(set((tmp_path / "deaths").read_text().split())) == 4
    assert set(Receipts(tmp_path / "receipts").failures()) == {"b4"}


def test_a_block_that_hangs_is_ended_and_set_aside(tmp_path, client, caplog):
    tasks = [Task(name=f"b{n}", inputs={"n": n}) for n in range(4)]
    tasks[1] = Task(name="b1", inputs={"seconds": 600})
    start = time.monotonic()
    with caplog.at_level(logging.WARNING, "rockglacier"):
        failed, done = run(tmp_path, tasks, client)
    assert failed == ["b1"]
    assert sorted(done) == ["b0", "b2", "b3"]
    assert time.monotonic() - start < 20
    assert "b1: not done after 3 s" in caplog.text


def test_a_scheduler_that_dies_ends_the_run_and_what_is_done_is_kept(tmp_path):
    tasks = [Task(name=f"b{n}", inputs={"n": n, "seconds": 0 if n < 2 else 600}) for n in range(4)]
    receipts = Receipts(tmp_path / "receipts")

    def kill(scheduler):
        while len(receipts.current(tasks)) < 2:
            time.sleep(0.05)
        scheduler.kill()

    with fleet(tmp_path, workers=1) as (address, scheduler), cluster_client(address) as client:
        killer = threading.Thread(target=kill, args=(scheduler,))
        killer.start()
        with pytest.raises(RemoteError, match="the Dask scheduler is gone") as caught:
            run_tasks(
                tasks, make_work(str(tmp_path)), receipts=receipts, what="x", workers=1,
                client=client,
            )  # fmt: skip
        killer.join()
    assert "finished blocks are kept" in caught.value.todo
    assert receipts.current(tasks) == {"b0", "b1"}


def test_workers_show_that_they_reach_the_study(address, make_basin):
    study = make_basin()
    with cluster_client(address, study=study) as client:
        assert client is not None
    assert not list(study.folder.glob(".self-test*"))


def test_a_worker_that_its_provider_takes_back_leaves_its_blocks_to_others(tmp_path):
    receipts = Receipts(tmp_path / "receipts")
    tasks = [Task(name=f"b{n}", inputs={"n": n, "seconds": 0.3}) for n in range(24)]
    work = make_work(str(tmp_path))
    with fleet(tmp_path, workers=1) as (address, _), (tmp_path / "spot").open("w") as log:
        spot = dask(tmp_path, "worker", address, "--no-nanny", *ONE_THREAD, log=log)

        def take_back():
            while spot.pid not in {receipt["pid"] for _, receipt in receipts.all()}:
                time.sleep(0.05)
            time.sleep(0.1)  # in the middle of the next
            spot.terminate()  # what a provider sends, a minute or two before the machine goes

        with cluster_client(address) as client:
            client.wait_for_workers(2, timeout=60)
            threading.Thread(target=take_back, daemon=True).start()
            outcome = run_tasks(tasks, work, receipts=receipts, what="x", workers=1, client=client)
        assert spot.wait(60) is not None
    assert outcome.built == 24
    assert not receipts.failures()
    by = [receipt["pid"] for _, receipt in receipts.all()]
    assert 1 <= by.count(spot.pid) < 24


def test_a_scheduler_behind_tls_is_joined_by_the_certificates_of_the_settings(
    tmp_path, monkeypatch
):
    pytest.importorskip("cryptography", reason="makes the certificates")
    import dask as dask_itself
    from distributed import Security

    made = Security.temporary()
    files = {"ca": made.tls_ca_file, "cert": made.tls_scheduler_cert, "key": made.tls_scheduler_key}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    options = [f"--tls-{'ca-file' if name == 'ca' else name}={tmp_path / name}" for name in files]
    settings = {
        "distributed.comm.tls.ca-file": str(tmp_path / "ca"),
        "distributed.comm.tls.client.cert": str(tmp_path / "cert"),
        "distributed.comm.tls.client.key": str(tmp_path / "key"),
    }
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    with fleet(tmp_path, workers=1, scheme="tls", certificates=options) as (address, _):
        with dask_itself.config.set(settings), cluster_client(address) as client:
            client.wait_for_workers(1, timeout=60)
            held = client.run(os.getenv, "AWS_SECRET_ACCESS_KEY")
            assert set(held.values()) == {"very-secret"}
        with pytest.raises(InputError, match="no certificates to join"), cluster_client(address):
            pass
