"""Verdicts for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Column, Table

from rockglacier.validation.finding import Verdict


def verdict_table(verdicts: Sequence[Verdict]) -> Table:
    """Return verdicts as a table, one row a file."""
    table = Table(
        Column("file", overflow="fold"), "what it is", "verdict", box=None, pad_edge=False
    )
    for verdict in verdicts:
        number = len(verdict.findings)
        said = "[green]valid[/green]" if verdict.is_valid else f"[red]{number} problem(s)[/red]"
        table.add_row(escape(verdict.what), escape(verdict.kind), said)
    return table
