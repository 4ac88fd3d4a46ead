"""Commands to look at things: view, validate, schema, demo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rockglacier.cli.app import StudyFile, app
from rockglacier.cli.running import progress_shown, study_of, told

if TYPE_CHECKING:
    from rockglacier.study import Study

SHOWN = 20
"""Findings of one file that are printed."""


@app.command()
def view(
    study: StudyFile,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 8080,
) -> None:
    """Serve the report and the rasters to this machine alone, until Ctrl-C.

    Example: rockglacier view hunza.yaml
    """
    from rockglacier.console import out
    from rockglacier.report.serve import HOST, serving

    opened = study_of(study)
    opened.require(opened.report_path, stage="report")
    with serving(opened.folder, port=port) as server:
        place = f"http://{HOST}:{server.server_address[1]}/"
        out.print(f"report:  {place}")
        for raster in _rasters(opened):
            out.print(f"raster:  {place}{raster.relative_to(opened.folder).as_posix()}")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            out.print("stopped")


def _rasters(study: Study) -> list[Path]:
    """Return the rasters of every period, of an area of several COGs the VRT over them."""
    layers = ("probability", "classes", "spread", "agreement")
    paths = [one.raster_path(name) for one in study.each_period() for name in layers]
    return sorted(path for path in paths if path.is_file())


@app.command()
def validate(
    target: Annotated[
        str,
        typer.Argument(
            help="The study's YAML file, or path or URI of a catalog, a folder of products, a "
            "cube, a raster (.tif) or a table (.parquet)."
        ),
    ],
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="Compare sizes alone, where without it every byte is read for its checksum.",
        ),
    ] = False,
) -> None:
    """Check catalog, rasters, tables and cube: schemas, layout, checksums. Nothing is fetched.

    Example: rockglacier validate hunza.yaml
    """
    from rich.markup import escape

    from rockglacier.console import out
    from rockglacier.validation.show import verdict_table
    from rockglacier.validation.target import validate_target

    with progress_shown() as progress:
        verdicts = validate_target(target, quick=quick, progress=progress)
    out.print(verdict_table(verdicts))
    wrong = [verdict for verdict in verdicts if not verdict.is_valid]
    for verdict in wrong:
        out.print(f"\n[bold red]{escape(verdict.what)}[/bold red]")
        for finding in verdict.findings[:SHOWN]:
            out.print(escape("\n".join(f"  {line}" for line in finding.lines())))
        if len(verdict.findings) > SHOWN:
            out.print(f"  and {len(verdict.findings) - SHOWN} more")
    if wrong:
        raise typer.Exit(1)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a study's file.

    Example: rockglacier schema > study.schema.json
    """
    from rockglacier.config import json_schema

    typer.echo(json_schema())


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to put it all.")] = Path("rockglacier-demo"),
    seed: Annotated[int, typer.Option(help="Another seed makes another basin.")] = 7,
    picture: Annotated[Path | None, typer.Option(help="Also write the README's picture.")] = None,
) -> None:
    """Do the whole job on a made-up basin with an embedded catalog: no network, no account.

    Example: rockglacier demo my-demo
    """
    from rockglacier.console import log_to
    from rockglacier.demo.show import run_demo

    log_to(folder / "logs")
    with progress_shown() as progress:
        run_demo(folder, seed=seed, progress=progress, told=told, picture=picture)
