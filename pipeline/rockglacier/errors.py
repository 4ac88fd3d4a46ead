"""Errors of the pipeline, grouped by what a caller would do about them.

::

    RockGlacierError
    ├── InputError (ValueError)      the person changes a file, a setting or the area
    │   └── InUseError               another run works there: wait for it
    ├── NotFoundError (LookupError)  what was asked for is not there: ask for something else
    ├── RemoteError                  somebody else's server or file failed: try again, or skip it
    ├── BlocksFailedError            some blocks could not be built; the others are done
    ├── BasinsFailedError            some basins of many could not be mapped; the others are done
    └── ContractError                a product breaks a promise of ours: rebuild it, or report a bug
"""

from __future__ import annotations

from rockglacier_stac.errors import without_secrets


class RockGlacierError(Exception):
    """Say what was found, what was expected and what to do, each on a line of its own.

    Addresses lose what may be secret: queries, and passwords.

    Parameters
    ----------
    found
        What is the matter, with the offending value.
    expected
        What would have been right.
    todo
        The next step for the person reading it.
    """

    def __init__(self, found: str, *, expected: str = "", todo: str = "") -> None:
        self.found, self.expected, self.todo = map(without_secrets, (found, expected, todo))
        lines = [self.found]
        if expected:
            lines.append(f"  expected: {self.expected}")
        if todo:
            lines.append(f"  to do:    {self.todo}")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the trip back from a worker process, which keyword arguments alone do not."""
        return _rebuild, (type(self), self.found, self.expected, self.todo, self.__dict__)


def _rebuild(
    kind: type[RockGlacierError], found: str, expected: str, todo: str, state: dict[str, object]
) -> RockGlacierError:
    error = kind.__new__(kind)
    RockGlacierError.__init__(error, found, expected=expected, todo=todo)
    error.__dict__.update(state)
    return error


class InputError(RockGlacierError, ValueError):
    """A file, a setting or an area that cannot be used as it is."""


class InUseError(InputError):
    """Another run holds the folder: it goes on once that one has ended."""


class NotFoundError(RockGlacierError, LookupError):
    """Nothing answers the question: no scene, no collection, no product of an earlier stage."""


class ContractError(RockGlacierError):
    """A product or an array breaks what the stages promise each other."""


class RemoteError(RockGlacierError):
    """An asset or a service failed.

    Parameters
    ----------
    item, asset, href
        Where it failed; ``href`` without its query, which may hold a signature, and without user
        and password.
    """

    def __init__(
        self,
        found: str,
        *,
        expected: str = "",
        todo: str = "",
        item: str = "",
        asset: str = "",
        href: str = "",
    ) -> None:
        super().__init__(found, expected=expected, todo=todo)
        self.item, self.asset, self.href = item, asset, without_secrets(href)


class BlocksFailedError(RockGlacierError):
    """Blocks of a stage could not be built; the others are done.

    Parameters
    ----------
    what
        The stage.
    failures
        Name and cause of each block.
    done, waiting
        Blocks that are finished, and that were not tried.
    expected, todo
        What would have been right, and the next step for the person reading it.
    """

    SHOWN = 3

    def __init__(
        self,
        what: str,
        *,
        failures: list[tuple[str, str]],
        done: int,
        waiting: int = 0,
        expected: str = "",
        todo: str = "",
    ) -> None:
        lines = [f"{what}: {len(failures)} block(s) failed, {done} are done"]
        if waiting:
            lines[0] += f", {waiting} were not tried"
        by_cause: dict[str, list[str]] = {}
        for name, message in failures:
            by_cause.setdefault(message, []).append(name)
        for message, names in list(by_cause.items())[: self.SHOWN]:
            more = f" and {len(names) - self.SHOWN} more" if len(names) > self.SHOWN else ""
            lines.append(f"  {', '.join(names[: self.SHOWN])}{more}: {message}")
        if len(by_cause) > self.SHOWN:
            lines.append(f"  and {len(by_cause) - self.SHOWN} other cause(s): see `status`")
        again = "run the same command again: it tries only what is not done"
        super().__init__("\n".join(lines), expected=expected, todo=todo or again)
        self.failures = failures


class BasinsFailedError(RockGlacierError):
    """Basins of a run of many could not be mapped; the others are done.

    Parameters
    ----------
    failures
        Name and cause of each basin.
    """

    def __init__(self, failures: list[tuple[str, str]]) -> None:
        lines = [f"{len(failures)} basin(s) failed, the others were run"]
        lines += [f"  {name}: {cause}" for name, cause in failures]
        again = "run the same command again: it goes on from there; see logs/run.log of the basin"
        super().__init__("\n".join(lines), todo=again)
        self.failures = failures
