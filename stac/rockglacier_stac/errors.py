"""Errors of the STAC layer, grouped by what a caller would do about them.

::

    StacError
    ├── CatalogError                          the address does not lead to a catalog: change it
    ├── UnknownCollectionError (LookupError)  the catalog has no such collection: name another one
    ├── AccessError                           keys are missing: get some, or take another catalog
    └── ServiceError                          somebody else's server failed: try again later
"""

from __future__ import annotations

import re
from typing import Final

URL_QUERY: Final = re.compile(r"(\w+://[^\s?\"']+)\?[^\s\"']*")
PATH_QUERY: Final = re.compile(r"(/[^\s?\"']*)\?[\w.%~-]+=[^\s\"']*")
"""As urllib3 has it: without the host."""
USER: Final = re.compile(r"(\w+://)[^\s/@\"']+@")
SECRET_VALUE: Final = re.compile(
    r"([?&][\w.-]*(?:sig|token|credential|key|secret|password|auth)[\w.-]*=)[^&\s\"']*"
    r"|(?<=://)([^\s/:@\"']+:)[^\s/@\"']+(?=@)",
    re.IGNORECASE,
)
"""The value of a parameter that opens something, and a password before a host."""


def without_secrets(text: str) -> str:
    """Return a text whose addresses have no query, which may be a signature, and no password.

    Examples
    --------
    >>> without_secrets("404 for https://me:word@host/a.tif?sig=abc, twice")
    '404 for https://host/a.tif twice'
    """
    for pattern in (URL_QUERY, PATH_QUERY, USER):
        text = pattern.sub(r"\1", text)
    return text


class StacError(Exception):
    """Say what was found, what was expected and what to do; addresses lose what may be secret.

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


class CatalogError(StacError):
    """An address at which there is no catalog that can be read."""


class UnknownCollectionError(StacError, LookupError):
    """A collection that the catalog does not have."""


class AccessError(StacError):
    """Assets that need keys which are not there."""


class ServiceError(StacError):
    """A server that failed, after it was asked again."""


def refused(
    href: str,
    base: str,
    reason: str,
    expected: str,
    todo: str = "do not use this catalog, unless you know its author; then ask them",
) -> CatalogError:
    """Return what to raise of an address that a document leads to, without its secrets."""
    shown = href.partition("?")[0].rpartition("@")[2][:200]
    return CatalogError(
        f"refused: {base.partition('?')[0]!r} leads to {reason}: {shown!r}",
        expected=expected,
        todo=todo,
    )
