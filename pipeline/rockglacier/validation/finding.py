"""What is wrong with a file, and what was checked at all."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong."""

    found: str
    expected: str
    todo: str = ""

    def lines(self) -> list[str]:
        """Return it as lines for people."""
        parts = (("", self.found), ("expected: ", self.expected), ("to do:    ", self.todo))
        return [f"{name}{text}" for name, text in parts if text]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of one file."""

    what: str
    """File, relative to what was asked about."""
    kind: str
    """Cloud-optimized GeoTIFF, GeoParquet, cube, catalog and so on."""
    findings: tuple[Finding, ...] = ()

    @property
    def is_valid(self) -> bool:
        """Whether nothing was found."""
        return not self.findings
