"""Basins beside each other: each in a process of its own, so that what ends one ends no other."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from multiprocessing.connection import Connection
from typing import Any, Final

from distributed.protocol.pickle import dumps, loads

from rockglacier.atlas.queue import Spent, StageTold, reason
from rockglacier.engine import Progress, silent
from rockglacier.errors import InUseError, RockGlacierError
from rockglacier.run import Standing, run_stages
from rockglacier.stages import Context, Stage
from rockglacier.study import Study

StagesOf = Callable[[Study], Sequence[Stage]]

Equip = Callable[[Study, Progress], AbstractContextManager[Context]]
"""Gives, in the process of a basin, what its run needs, and puts it away at the end."""

BETWEEN_S: Final = 0.2
"""Between two words of progress of one piece of work."""


class Processes:
    """Runs basins in processes of their own, as many as are asked for at once.

    Parameters
    ----------
    at_once
        Basins at work at a time.
    stages_of, equip
        The stages of a basin, and what its run needs; sent to the process, functions
        of a script too.
    progress
        Told of every basin's work, from several threads.

    Notes
    -----
    A process ends with its basin: memory is given back, and one that is killed fails its basin
    alone. Ctrl-C reaches the command, which tells its processes; they end as a run does, also when
    the command is killed.
    """

    def __init__(
        self,
        at_once: int,
        *,
        stages_of: StagesOf,
        equip: Equip,
        progress: Progress = silent,
    ) -> None:
        self.at_once = at_once
        self.stages_of, self.equip, self.progress = stages_of, equip, progress
        self._running: set[Any] = set()
        self._lock = threading.Lock()
        self._is_stopped = False

    def stop(self) -> None:
        """Tell all processes to end, and begin no other."""
        with self._lock:
            self._is_stopped = True
            for process in self._running:
                process.terminate()

    def __call__(self, study: Study, stages: Sequence[Stage], told: StageTold) -> None:
        """Run a basin's stages.

        Raises
        ------
        InUseError
            Another run holds its folder.
        RockGlacierError
            Why it failed, in a line, or that its process was killed.
        KeyboardInterrupt
            It was stopped.
        """
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        process = spawn.Process(
            target=_main,
            args=(theirs, dumps((study, self.stages_of, self.equip))),
            name=study.config.name,
        )
        try:
            with self._lock:
                if self._is_stopped:
                    raise KeyboardInterrupt
                process.start()
                self._running.add(process)
            theirs.close()  # so that its end is heard
            end, why = self._heard(ours, study, {stage.name: stage for stage in stages}, told)
        finally:
            ours.close()
            if process.pid is not None:
                process.join()
            with self._lock:
                self._running.discard(process)
        if end == "done":
            return
        if self._is_stopped:
            raise KeyboardInterrupt
        if end == "in use":
            raise InUseError(why, todo="wait for that run")
        if why:
            raise RockGlacierError(why, todo="look into logs/run.log of the basin")
        raise RockGlacierError(
            f"its process ended without a word, code {process.exitcode}",
            expected="a run that ends or says why not",
            todo="look for what killed it: a system that lacks memory does",
        )

    def _heard(
        self, pipe: Connection, study: Study, stages: dict[str, Stage], told: StageTold
    ) -> tuple[str, str]:
        """Hear what a process says until its end: how it ended, and why it is not done."""
        end, why, spent = "", "", None
        while True:
            try:
                kind, *said = pipe.recv()
            except (EOFError, OSError):
                break
            if kind == "progress":
                what, done, total = said
                self.progress(f"{study.config.name}: {what}", done, total)
            elif kind == "stage":
                name, is_kept, facts, seconds = said
                stage = stages[name]
                kept = Standing(stage=stage, state="done", why="", facts=facts, seconds=seconds)
                try:
                    told(stage, kept if is_kept else None, facts, seconds)
                except Spent as enough:
                    spent = enough
                pipe.send(spent is None)
            else:
                end, why = kind, said[0]
        if spent is not None:
            raise spent
        return end, why


def _main(pipe: Connection, job: bytes) -> None:
    """Run a basin; in its own process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the command decides
    signal.signal(signal.SIGTERM, _interrupted)
    threading.Thread(target=_end_with_command, name="command", daemon=True).start()
    study, stages_of, equip = loads(job)
    talk = _Talk(pipe)
    try:
        with equip(study, talk.progress) as context:
            run_stages(study, stages_of(study), context, told=talk.told)
        talk.say("done", "")
    except (Spent, KeyboardInterrupt):
        pass  # whoever told it to end knows
    except Exception as error:
        with suppress(OSError):  # of a command that is gone
            talk.say("in use" if isinstance(error, InUseError) else "failed", reason(error))


def _end_with_command() -> None:
    """End when the command is gone, so that the next one finds the basin free."""
    command = multiprocessing.parent_process()
    if command is not None:
        command.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _interrupted(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


class _Talk:
    """What a process says of its basin; blocks may speak from several threads."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._lock = pipe, threading.Lock()
        self._spoken: dict[str, float] = {}

    def say(self, *what: Any) -> None:
        with self._lock:
            self._pipe.send(what)

    def progress(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and now - self._spoken.get(what, float("-inf")) < BETWEEN_S:
            return
        self._spoken[what] = now
        self.say("progress", what, done, total)

    def told(
        self, stage: Stage, kept: Standing | None, facts: dict[str, Any], seconds: float
    ) -> None:
        self.say("stage", stage.name, kept is not None, facts, seconds)
        if not self._pipe.recv():
            raise Spent
