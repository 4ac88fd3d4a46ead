"""What a person sees: progress bars in a terminal, lines without one, and one-screen errors."""

from __future__ import annotations

import logging
import re
import shlex
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import requires
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.progress import Task as RichTask
from rich.text import Text

from rockglacier.engine import Progress
from rockglacier.errors import RockGlacierError
from rockglacier.storage import RemotePath, redact_text, write_text
from rockglacier_stac.errors import StacError

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
EXIT_ENDED = 143
"""As a shell says of a program that SIGTERM ended: clusters, schedulers and ``timeout`` send it."""

LOG_EVERY_S = 30.0
"""Between two writings of a log in an object store."""

LOGGERS = ("rockglacier", "rockglacier_stac", "stamina")
"""Whose records a run keeps: ours, and those of what is tried again."""

ALIKE = 3
"""Warnings of one kind that are shown; the log has them all."""

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class RateColumn(TextColumn):
    """Units done a second (or seconds a unit, when it is slow)."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: RichTask) -> Text:
        """Render the rate of one bar."""
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each", style="dim")


class Bars:
    """Progress as bars, one a piece of work; what it is, how much is left, how fast it goes."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._known: dict[str, TaskID] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show ``done`` of ``total``."""
        if what not in self._known:
            self._known[what] = self._bars.add_task(what, total=total)
        self._bars.update(self._known[what], completed=done, total=total)


class Lines:
    """Progress as lines, for a run without a terminal: the start, one each 10 s, the end."""

    seconds_between = 10.0

    def __init__(self) -> None:
        self._started: dict[str, float] = {}
        self._spoken: dict[str, float] = {}
        self._ended: set[str] = set()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Print a line if it is time for one."""
        now = time.monotonic()
        start = self._started.setdefault(what, now)
        is_end = done >= total
        if is_end and what in self._ended:
            return
        self._ended.discard(what)
        if not is_end and now - self._spoken.get(what, float("-inf")) < self.seconds_between:
            return
        self._spoken[what] = now
        elapsed = now - start
        rate = done / elapsed if elapsed > 0 and done else 0.0
        left = f", about {spoken((total - done) / rate)} left" if rate and not is_end else ""
        out.print(f"  {what}: {done}/{total}{left}")
        if is_end:
            self._started.pop(what)
            self._spoken.pop(what)
            self._ended.add(what)


def command(*words: object) -> str:
    """Return a command of ours as a shell takes it, whatever its paths hold.

    Examples
    --------
    >>> command("plan", "my basin.yaml")
    "rockglacier plan 'my basin.yaml'"
    """
    return shlex.join(["rockglacier", *map(str, words)])


def spoken(seconds: float) -> str:
    """Return a length of time as a person would say it.

    Examples
    --------
    >>> spoken(40), spoken(402), spoken(9000)
    ('40 s', '7 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """Yield a progress that suits where the output goes."""
    if not out.is_terminal:
        yield Lines()
        return
    bars = RichProgress(
        TextColumn("  {task.description}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        RateColumn(),
        console=out,
        transient=True,
    )
    with bars:
        yield Bars(bars)


class Redacted(logging.Filter):
    """Takes signatures out of log records, whoever wrote them."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record's message; keep every record."""
        record.msg, record.args = redact_text(record.getMessage()), None
        return True


class RedactedFormatter(logging.Formatter):
    """Takes signatures out of what is written: the tracebacks of libraries hold them too."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of a record."""
        return redact_text(super().format(record))


class Retries(logging.Filter):
    """Says in words what stamina says in fields: what failed, and when it is tried again."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record's message; keep every record."""
        fields = vars(record)
        if "stamina.caused_by" in fields:
            record.msg = "%s; trying again in %.1f s"
            record.args = (fields["stamina.caused_by"], fields["stamina.wait_for"])
        return True


class Warned(logging.Handler):
    """Warnings on the screen, a line each; errors are told by what they end."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._seen: Counter[tuple[str, int]] = Counter()
        self.addFilter(Redacted())

    def emit(self, record: logging.LogRecord) -> None:
        """Show a warning, unless there were enough of its kind."""
        kind = record.pathname, record.lineno
        self._seen[kind] += 1
        if record.levelno > logging.WARNING or self._seen[kind] > ALIKE:
            return
        more = " (more of these only in logs/run.log)" if self._seen[kind] == ALIKE else ""
        err.print(Text(f"warning: {record.getMessage()}{more}", style="yellow"))


class RunLog(logging.FileHandler):
    """A log that comes with its first record: a folder that is refused stays as it was."""

    def _open(self) -> Any:
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        return super()._open()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, if that is possible."""
        with suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Say nothing: a disk that takes no log takes no product either, and that is told."""


class StoredLog(logging.Handler):
    """A log in an object store, which cannot append: written whole, now and then and at the end.

    Parameters
    ----------
    path
        What an earlier process wrote there stays.
    """

    def __init__(self, path: RemotePath) -> None:
        super().__init__()
        self._path = path
        self._lines: list[str] = []
        self._new, self._sent = False, float("-inf")

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record; send what there is after errors, and else each half minute at most."""
        if not self._lines:
            with suppress(Exception):
                self._lines.append(self._path.read_text().removesuffix("\n"))
        self._lines.append(self.format(record))
        self._new = True
        now = time.monotonic()
        if record.levelno >= logging.ERROR or now - self._sent >= LOG_EVERY_S:
            self._sent = now
            self.flush()

    def flush(self) -> None:
        """Write the log, if that is possible: a store that takes none takes no product either."""
        if self._new:
            with suppress(Exception):
                write_text(self._path, "\n".join(self._lines) + "\n")
                self._new = False

    def close(self) -> None:
        """Write what is left."""
        self.flush()
        super().close()


def log_to(folder: Path) -> Path:
    """Write the log of this process to ``run.log`` of a folder and return its path."""
    path = folder / "run.log"
    handler: logging.Handler = (
        StoredLog(path)
        if isinstance(path, RemotePath)
        else RunLog(path, encoding="utf-8", delay=True)
    )
    handler.setFormatter(RedactedFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    # GDAL's messages carry whole URLs, and go to the screen where no handler takes them
    logging.getLogger("rasterio._env").addFilter(Redacted())
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
    return path


@contextmanager
def warnings_shown() -> Iterator[None]:
    """Show warnings on the screen while the context lasts."""
    handler, retries = Warned(), Retries()
    loggers = [logging.getLogger(name) for name in LOGGERS]
    for logger in loggers:
        logger.addFilter(retries)
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(retries)
            logger.removeHandler(handler)


def end(number: int, frame: Any) -> None:
    """Handle SIGTERM as a stop: the folder is let go, so that another host can go on with it."""
    raise SystemExit(EXIT_ENDED)


@contextmanager
def errors_shown() -> Iterator[None]:
    """Turn an error into a one-screen message and exit code 1; Ctrl-C into 130."""
    # rasterio.features.rasterize says this of its own array in memory
    warnings.filterwarnings("ignore", message="Dataset has no geotransform")
    try:
        with warnings_shown():
            yield
    except (RockGlacierError, StacError) as error:
        err.print(Text(f"error: {redact_text(str(error))}", style="red"))
        sys.exit(EXIT_FAILED)
    except (KeyboardInterrupt, SystemExit) as stop:
        # Typer makes of Ctrl-C an exit that says nothing
        code = stop.code if isinstance(stop, SystemExit) else EXIT_INTERRUPTED
        if code not in (EXIT_INTERRUPTED, EXIT_ENDED):
            raise
        err.print("\nstopped. Finished work is kept: the same command goes on from there.")
        sys.exit(code)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and (extra := _extra_with(error.name or "")):
            err.print(Text(f"error: {error.name} is not installed", style="red"))
            err.print(Text(f"  expected: the extra {extra!r} of rockglacier"))
            err.print(Text(f"  to do:    pip install 'rockglacier[{extra}]'"))
            sys.exit(EXIT_FAILED)
        place = traceback.extract_tb(error.__traceback__)[-1]
        told = redact_text(f"error: {type(error).__name__}: {error}")
        err.print(Text(told, style="red"))
        err.print(f"  at:       {Path(place.filename).name}:{place.lineno} in {place.name}")
        err.print("  expected: no such error: this is a bug, or a file that nobody foresaw")
        err.print("  to do:    see logs/run.log in the study's folder, and report it with that log")
        sys.exit(EXIT_FAILED)


def _extra_with(module: str) -> str | None:
    """Return the extra of ours that brings a module, as the metadata of the package say."""
    name = module.partition(".")[0].lower()
    for needed in requires("rockglacier") or ():
        found = re.match(r"([\w.-]+).*extra == '(\w+)'", needed)
        if found and found[1].replace("-", "_") == name:
            return found[2]
    return None
