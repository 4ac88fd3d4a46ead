"""Basins run at once, each in a process of its own: what happens to one happens to it alone."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
import yaml

from rockglacier.atlas.beside import Processes
from rockglacier.atlas.queue import Budget, run_queue
from rockglacier.config import parse_config
from rockglacier.stages import Context, Stage
from rockglacier.storage import lease
from rockglacier.study import Study

PATIENCE_S = 120


def study(folder, name, **values):
    given = {"name": name, "area": [74.0, 36.0, 74.1, 36.1], **values}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(given))
    return Study(config=parse_config(given, source="test"), base=folder)


def stages_doing(what):
    """Return what gives two stages, of which the first does something and the second a file."""

    # by value, as a new process cannot import the module of a test
    def stages_of(study):
        def first(of, context):
            context.progress("blocks", 3, 3)
            return what(of) or {}

        def second(of, context):
            (of.folder / "second").write_text("x")
            return {}

        def stage(name, work):
            return Stage(
                name=name,
                makes=name,
                work=work,
                sections=("inventory",),
                after=(),
                product=lambda of: of.folder / name,
            )

        return [stage("inventory", first), stage("second", second)]

    return stages_of


def make_equip():
    from contextlib import contextmanager

    from rockglacier.stages import Context

    @contextmanager
    def equip(study, progress):
        yield Context(progress=progress)

    return equip


def run(folder, studies, what, *, at_once=2, told=None, **options):
    heard = []
    stages_of = stages_doing(what)
    beside = Processes(
        at_once, stages_of=stages_of, equip=make_equip(), progress=lambda *said: heard.append(said)
    )
    rows = run_queue(
        studies,
        folder=folder,
        stages_of=stages_of,
        context=Context(),
        beside=beside,
        told=told,
        **options,
    )
    return {row.basin: row for row in rows}, heard


def meeting(patience_s=PATIENCE_S):
    """Return what waits for the other one of two basins, and then ends as its name says."""

    def meet(of):
        import os
        import time

        from rockglacier.errors import NotFoundError

        name = of.config.name
        (of.base / f"{name}-is-here").write_text(str(os.getpid()))
        end = time.monotonic() + patience_s
        while len(list(of.base.glob("*-is-here"))) < 2:
            if time.monotonic() > end:
                raise NotFoundError("nobody else", todo="run two at once")
            time.sleep(0.02)
        if name == "killed":
            os.kill(os.getpid(), 9)
        if name == "failing":
            raise NotFoundError("no scene", todo="look elsewhere")
        (of.folder / "inventory").write_text("x")
        return {"objects": 2, "area_km2": 0.5}

    return meet


def test_two_are_at_work_at_once_and_one_that_is_killed_or_fails_ends_alone(tmp_path):
    killed, kept = study(tmp_path, "killed"), study(tmp_path, "kept")
    told = []
    rows, _ = run(tmp_path, [killed, kept], meeting(), told=lambda *said: told.append(said[:2]))
    assert rows["killed"].state == "failed"
    assert rows["killed"].why == "its process ended without a word, code -9"
    assert (rows["kept"].state, rows["kept"].done, rows["kept"].outlines) == ("done", 2, 2)
    assert [(of.config.name, stage.name) for of, stage in told] == [
        ("kept", "inventory"),
        ("kept", "second"),
    ]
    pids = {int((tmp_path / f"{name}-is-here").read_text()) for name in ("killed", "kept")}
    assert len(pids) == 2
    assert os.getpid() not in pids
    failing = study(tmp_path, "failing")
    rows, _ = run(tmp_path, [failing, killed, kept], meeting(), budget=Budget(basins=1))
    assert (rows["failing"].state, rows["failing"].why) == ("failed", "no scene")
    assert "the budget of this run" in rows["killed"].why
    assert rows["kept"].state == "done"  # kept, and costs nothing
    table = json.loads((tmp_path / "progress.json").read_text())
    assert {row["basin"]: row["state"] for row in table} == {
        "failing": "failed",
        "killed": "waiting",
        "kept": "done",
    }


def test_a_basin_that_another_run_works_on_is_not_failed(tmp_path):
    held = study(tmp_path, "held")
    with lease(held.folder):
        rows, _ = run(tmp_path, [held], lambda of: None)
    assert rows["held"].state == "waiting"
    assert "is in use by process" in rows["held"].why


def test_ctrl_c_ends_all_and_leaves_neither_process_nor_lease(tmp_path):
    def linger(of):
        import time

        (of.base / f"{of.config.name}-is-here").write_text("x")
        time.sleep(600)

    def press():
        while len(list(tmp_path.glob("*-is-here"))) < 2:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    studies = [study(tmp_path, name, compute={"priority": n}) for n, name in enumerate("abc")]
    threading.Thread(target=press, daemon=True).start()
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, studies, linger)
    states = {
        row["basin"]: row["state"] for row in json.loads((tmp_path / "progress.json").read_text())
    }
    assert states == {"c": "stopped", "b": "stopped", "a": "waiting"}
    assert not list(tmp_path.rglob(".*lease"))
    left = set(psutil.Process().children(recursive=True)) - before
    assert not [process for process in left if "resource_tracker" not in str(process.cmdline())]


LINGERS = """
import os, sys, time
from contextlib import contextmanager
from pathlib import Path
from rockglacier.atlas.beside import Processes
from rockglacier.atlas.queue import run_queue
from rockglacier.stages import Context, Stage
from rockglacier.study import open_study

def linger(study, context):
    (study.base / "pid").write_text(str(os.getpid()))
    time.sleep(600)

def stages_of(study):
    return [Stage(name="inventory", makes="", work=linger, sections=("inventory",), after=(),
                  product=lambda of: of.folder / "inventory")]

@contextmanager
def equip(study, progress):
    yield Context()

study = open_study(Path(sys.argv[1]))
beside = Processes(1, stages_of=stages_of, equip=equip)
run_queue([study], folder=study.base, stages_of=stages_of, context=Context(), beside=beside)
"""


def test_a_command_that_is_killed_takes_its_processes_with_it(tmp_path):
    study(tmp_path, "a")
    command = subprocess.Popen([sys.executable, "-c", LINGERS, str(tmp_path / "a.yaml")])
    pid = tmp_path / "pid"
    while not (pid.is_file() and pid.read_text()):
        assert command.poll() is None
        time.sleep(0.05)
    process = psutil.Process(int(pid.read_text()))
    assert list((tmp_path / "a").glob(".lease"))
    command.kill()
    command.wait()
    psutil.wait_procs([process], timeout=PATIENCE_S)
    assert not process.is_running()
    assert not list((tmp_path / "a").glob(".lease"))


def test_no_stage_begins_after_the_hours_of_the_budget_and_progress_is_named(tmp_path):
    def slow(of):
        import time

        time.sleep(6)
        (of.folder / "inventory").write_text("x")

    rows, heard = run(tmp_path, [study(tmp_path, "a")], slow, budget=Budget(hours=5 / 3600))
    assert (rows["a"].state, rows["a"].done) == ("waiting", 1)
    assert "the budget of this run" in rows["a"].why
    assert heard == [("a: blocks", 3, 3)]


def test_a_basin_that_learns_from_another_waits_for_it(tmp_path):
    def note(of):
        import time

        with (of.base / "order").open("a") as file:
            file.write(f"{of.config.name} begins\n")
        time.sleep(0.5)
        with (of.base / "order").open("a") as file:
            file.write(f"{of.config.name} ends\n")
        (of.folder / "inventory").write_text("x")

    teacher = study(tmp_path, "teacher", compute={"priority": 1})
    pupil = study(tmp_path, "pupil", train={"basins": ["teacher.yaml"]})
    rows, _ = run(tmp_path, [pupil, teacher], note)
    assert {row.state for row in rows.values()} == {"done"}
    assert (tmp_path / "order").read_text().splitlines() == [
        "teacher begins", "teacher ends", "pupil begins", "pupil ends",
    ]  # fmt: skip
