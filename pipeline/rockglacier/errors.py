"""Errors of the pipeline, grouped by what a caller would do about them.

::

    RockGlacierError
    ├── InputError (ValueError)      the person changes a file, a setting or the area
    ├── NotFoundError (LookupError)  what was asked for is not there: ask for something else
    ├── RemoteError                  somebody else's server or file failed: try again, or skip it
    └── ContractError                a product breaks a promise of ours: rebuild it, or report a bug
"""

from __future__ import annotations


class RockGlacierError(Exception):
    """Say what was found, what was expected and what to do, each on a line of its own.

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
        self.found, self.expected, self.todo = found, expected, todo
        lines = [found]
        if expected:
            lines.append(f"  expected: {expected}")
        if todo:
            lines.append(f"  to do:    {todo}")
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


class NotFoundError(RockGlacierError, LookupError):
    """Nothing answers the question: no scene, no collection, no product of an earlier stage."""


class ContractError(RockGlacierError):
    """A product or an array breaks what the stages promise each other."""


class RemoteError(RockGlacierError):
    """An asset or a service failed.

    Parameters
    ----------
    item, asset, href
        Where it failed; ``href`` without its query, which may hold a signature.
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
        self.item, self.asset, self.href = item, asset, href.split("?", 1)[0]
