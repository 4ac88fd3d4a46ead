"""Errors of the STAC layer, grouped by what a caller would do about them.

::

    StacError
    ├── CatalogError                          the address does not lead to a catalog: change it
    ├── UnknownCollectionError (LookupError)  the catalog has no such collection: name another one
    ├── AccessError                           keys are missing: get some, or take another catalog
    └── ServiceError                          somebody else's server failed: try again later
"""

from __future__ import annotations


class StacError(Exception):
    """Say what was found, what was expected and what to do.

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


class CatalogError(StacError):
    """An address at which there is no catalog that can be read."""


class UnknownCollectionError(StacError, LookupError):
    """A collection that the catalog does not have."""


class AccessError(StacError):
    """Assets that need keys which are not there."""


class ServiceError(StacError):
    """A server that failed, after it was asked again."""
