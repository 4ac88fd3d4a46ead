"""Leases in a real S3 server, taken by real processes."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import timedelta

import pytest

from rockglacier.errors import InputError, RemoteError
from rockglacier.storage import lease, read_json, remote, write_json

BEAT_S, EXPIRY_S = 0.3, 1.5

RUN = f"""
import socket, sys, time
from rockglacier.errors import InputError
from rockglacier.storage import lease, open_place

module = sys.modules["rockglacier.storage.lease"]
module.BEAT_S, module.EXPIRY_S = {BEAT_S}, {EXPIRY_S}
host, seconds, *folders = sys.argv[1:]
if host:
    socket.gethostname = lambda: host
print("ready", flush=True)
for folder in folders:
    sys.stdin.readline()
    try:
        with lease(open_place(folder)) as held:
            print("held", flush=True)
            time.sleep(float(seconds))
            held.check()
    except InputError as error:
        print("refused" if "in use" in str(error) else error, flush=True)
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    module = sys.modules["rockglacier.storage.lease"]
    monkeypatch.setattr(module, "BEAT_S", BEAT_S)
    monkeypatch.setattr(module, "EXPIRY_S", EXPIRY_S)


@pytest.fixture
def start():
    """A function that starts a process which takes leases when it is told to."""
    with ExitStack() as stack:

        def start(*folders, host="", seconds=2.0):
            process = subprocess.Popen(
                [sys.executable, "-c", RUN, host, str(seconds), *map(str, folders)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout.readline() == "ready\n"
            return process

        yield start


def go(*processes):
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()


def said(process):
    return process.stdout.readline().strip()


def test_of_racing_processes_exactly_one_holds_the_folder(s3, start):
    folders = [s3 / str(turn) for turn in range(3)]
    runs = [start(*folders, host=host, seconds=1.5) for host in ("", "", "elsewhere")]
    for folder in folders:
        go(*runs)
        assert sorted(said(run) for run in runs) == ["held", "refused", "refused"]
        while (folder / ".lease").exists():
            time.sleep(0.05)


def test_folder_of_a_live_run_is_refused_and_free_after_it(s3, start):
    run = start(s3, host="elsewhere", seconds=1.5)
    go(run)
    assert said(run) == "held"
    with pytest.raises(InputError, match=r"in use by process \d+ on elsewhere"), lease(s3):
        pass
    assert run.wait(10) == 0
    with lease(s3) as held:
        held.check()


def test_lease_of_a_run_killed_on_this_host_is_taken_over_at_once(s3, start):
    run = start(s3, host=socket.gethostname(), seconds=60)
    go(run)
    assert said(run) == "held"
    run.send_signal(signal.SIGKILL)
    run.wait(10)
    began = time.monotonic()
    with lease(s3):
        assert read_json(s3 / ".lease")["pid"] == os.getpid()
    assert time.monotonic() - began < EXPIRY_S


def test_lease_of_a_run_killed_on_another_host_expires_for_exactly_one(s3, start):
    run = start(s3, host="elsewhere", seconds=60)
    go(run)
    assert said(run) == "held"
    run.send_signal(signal.SIGKILL)
    run.wait(10)
    heirs = [start(s3, host=host, seconds=1.5) for host in ("one", "two", "three")]
    began = time.monotonic()
    go(*heirs)
    assert sorted(said(heir) for heir in heirs) == ["held", "refused", "refused"]
    assert time.monotonic() - began > EXPIRY_S


def test_lease_is_renewed_while_the_run_lasts(s3):
    with lease(s3) as held:
        first = read_json(s3 / ".lease")["beats"]
        time.sleep(4 * BEAT_S)
        assert read_json(s3 / ".lease")["beats"] >= first + 2
        held.check()


def test_run_that_lost_its_folder_is_told(s3):
    thief = {"pid": 1, "host": "elsewhere"}
    with ExitStack() as stack:
        held = stack.enter_context(lease(s3))
        write_json(s3 / ".lease", thief)
        time.sleep(3 * BEAT_S)
        with pytest.raises(RemoteError, match="another run has taken over"):
            held.check()
        with pytest.raises(RemoteError, match="another run has taken over"):
            stack.close()
    assert read_json(s3 / ".lease") == thief


def test_lease_survives_lost_answers(s3, fault_proxy, monkeypatch):
    monkeypatch.setitem(remote.BACKOFF, "init_backoff", timedelta(milliseconds=20))
    for seed in range(6):
        fault_proxy.set(seed=seed, lost=0.15, busy=0.1, truncated=0.05)
        with lease(s3 / str(seed)) as held:
            time.sleep(3 * BEAT_S)
            held.check()
        fault_proxy.set()
        assert not (s3 / str(seed) / ".lease").exists()
