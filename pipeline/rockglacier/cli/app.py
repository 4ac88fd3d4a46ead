"""The program that every module of commands adds to, and options that many of them share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

# Heavy imports live inside the commands, so that `--help` answers at once.

app = typer.Typer(
    name="rockglacier",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="""Map rock glaciers of any mountain basin, from STAC search to a published STAC catalog.

    [bold]First steps[/bold]

    rockglacier demo: the whole job on a made-up basin, offline

    rockglacier new hunza --area hunza.gpkg --reference outlines.gpkg: a commented hunza.yaml

    rockglacier plan hunza.yaml: what it will take, before anything is computed

    rockglacier run hunza.yaml: every stage; the same command goes on where it stopped
    """,
    epilog="Exit codes: 0 done; 1 it could not be done, and the message says why; 2 wrong use of "
    "the command line; 130 stopped by Ctrl-C; 143 ended by SIGTERM. After 1, 130 and 143 the same "
    "command goes on where it stopped.",
)

StudyFile = Annotated[Path, typer.Argument(help="The study's YAML file, e.g. hunza.yaml.")]
Cluster = Annotated[
    str | None,
    typer.Option(
        help="threads, local (worker processes), a scheduler, e.g. tcp://host:8786, or gateway, "
        "kubernetes, coiled; default: compute.cluster of the study."
    ),
]


def _version(is_asked: bool) -> None:
    if is_asked:
        from rockglacier import __version__

        typer.echo(f"rockglacier {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    import signal

    from rockglacier.console import end, errors_shown

    signal.signal(signal.SIGTERM, end)
    with errors_shown():
        app()
