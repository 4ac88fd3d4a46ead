"""Commands of many basins: what `run` does with several studies, and atlas."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rockglacier.cli.app import Cluster, StudyFile, app
from rockglacier.cli.running import progress_shown, study_of, told

if TYPE_CHECKING:
    from rockglacier.atlas.queue import Row
    from rockglacier.cluster import Joining
    from rockglacier.engine import Progress
    from rockglacier.model.bundle import Bundle
    from rockglacier.stages import Context
    from rockglacier.study import Study

PANEL = "Many basins"

Model = Annotated[
    str | None,
    typer.Option(
        help="A packed model, or a published model's STAC item, to map with: no labels, no "
        "training."
    ),
]
Hours = Annotated[
    float | None,
    typer.Option(min=0, help="Of several basins: no stage begins after so many hours."),
]
Basins = Annotated[
    int | None, typer.Option(min=1, help="Of several basins: work on so many, and no more.")
]
AtOnce = Annotated[
    int,
    typer.Option(min=1, help="Of several basins: run so many at once, each in its own process."),
]


@app.command(rich_help_panel=PANEL)
def atlas(
    area: Annotated[str, typer.Argument(help="Polygon file of the whole area.")],
    cut: Annotated[
        str, typer.Option(help="Polygon file of the basins, e.g. catchments or mountain ranges.")
    ],
    name: Annotated[str, typer.Option(help="Column that names the basins.")] = "name",
    priority: Annotated[
        str | None, typer.Option(help="Column of numbers: those with the highest are run first.")
    ] = None,
    layer: Annotated[str | None, typer.Option(help="Layer of the basins' file.")] = None,
    like: Annotated[
        Path | None,
        typer.Option(help="A study's YAML file whose settings hold for all; no name, no area."),
    ] = None,
    model: Model = None,
    to: Annotated[Path, typer.Option(help="Folder of it all.")] = Path("atlas"),
    only_write: Annotated[
        bool, typer.Option("--only-write", help="Write the studies, and run nothing.")
    ] = False,
    hours: Hours = None,
    basins: Basins = None,
    at_once: AtOnce = 1,
    cluster: Cluster = None,
) -> None:
    """Cut an area into basins, write a study of each, and run them all.

    Example: rockglacier atlas range.gpkg --cut catchments.gpkg --model hunza-hrnet.rgbundle.zip
    """
    from rockglacier.atlas.cut import read_basins, settings_like, write_studies
    from rockglacier.console import out
    from rockglacier.errors import InputError
    from rockglacier.mapping import settings_of
    from rockglacier.study import read_area

    settings = settings_like(like, to) if like else {}
    bundle = bundle_of(model)
    if bundle is not None:
        for section, own in settings_of(bundle).items():
            settings[section] = {**settings.get(section, {}), **own}
    elif not settings.get("labels", {}).get("reference"):
        raise InputError(
            "an atlas without a model and without labels to train one",
            expected="--model, or --like STUDY.yaml with labels.reference",
            todo="rockglacier pack STUDY.yaml, of a basin that has labels, writes a model",
        )
    found = read_basins(cut, read_area(area), name=name, priority=priority, layer=layer)
    files = write_studies(found, to, settings, source=str(like or "the settings of the model"))
    out.print(f"{len(files)} basin(s), {found['area_km2'].sum():,.0f} km², in {to}")
    if only_write:
        out.print(f"next: rockglacier run {to}/*.yaml" + (f" --model {model}" if model else ""))
        return
    run_many(
        files,
        model=model,
        bundle=bundle,
        folder=to,
        hours=hours,
        basins=basins,
        at_once=at_once,
        cluster=cluster,
    )


def bundle_of(model: str | None) -> Bundle | None:
    """Read a packed model, or the one that a STAC item leads to; None where none is named."""
    if model is None:
        return None
    from rockglacier.mapping import model_file
    from rockglacier.model.bundle import read_bundle

    return read_bundle(model_file(model))


def run_many(
    files: Sequence[Path],
    *,
    model: str | None,
    bundle: Bundle | None,
    folder: Path | None,
    hours: float | None,
    basins: int | None,
    at_once: int,
    cluster: str | None,
) -> None:
    """Run the studies of several files, and show one table of them.

    Parameters
    ----------
    files
        A study each.
    model, bundle
        What to map with: where it is, and as it was read from there.
    folder
        Of what they share.
    hours, basins
        Budget.
    at_once
        Basins at a time.
    cluster
        In place of the studies' ``compute.cluster``; all share it.

    Raises
    ------
    InputError
        Before the first begins: a study cannot be run, a file that it names is lost, or they name
        several clusters.
    BasinsFailedError
        At the end, where basins failed.
    """
    from rockglacier.atlas.queue import Budget, failures, in_order, run_queue
    from rockglacier.cluster import cluster_client
    from rockglacier.errors import BasinsFailedError
    from rockglacier.stages import Context, stages_of

    studies = in_order([study_of(path) for path in files])
    for study in studies:
        _require(study, bundle)
    folder = (folder or folder_of(files)).absolute()
    kind = cluster or _cluster_of(studies)
    lines = threading.Lock()

    def told_of(study: Study, *what: Any) -> None:
        with lines:
            if at_once > 1:
                _named(study)
            told(*what)

    with (
        cluster_client(kind, compute=studies[0].config.compute) as client,
        progress_shown() as progress,
    ):
        stages = partial(stages_of, mapping=bundle is not None)
        beside = None
        if at_once > 1:
            from rockglacier.atlas.beside import Processes
            from rockglacier.cluster import Joining

            equip = Equipped(
                model=model, at=kind, joining=None if client is None else Joining.of(client)
            )
            beside = Processes(at_once, stages_of=stages, equip=equip.context, progress=progress)
        rows = run_queue(
            studies,
            folder=folder,
            stages_of=stages,
            context=Context(progress=progress, client=client, bundle=bundle),
            budget=Budget(hours=hours, basins=basins),
            around=partial(_around, client=client, at=kind),
            told=told_of,
            beside=beside,
        )
    show_rows(rows, folder)
    if failed := list(failures(rows)):
        raise BasinsFailedError(failed)


def _cluster_of(studies: Sequence[Study]) -> str:
    """Return the cluster that studies name; they share it."""
    from rockglacier.errors import InputError

    named = {study.config.compute.cluster: study.config.name for study in studies}
    if len(named) > 1:
        found = ", ".join(f"{kind!r} ({basin})" for kind, basin in sorted(named.items()))
        raise InputError(
            f"the basins name several clusters in compute.cluster: {found}",
            expected="one, which they share",
            todo="name it with --cluster, or run them apart",
        )
    return next(iter(named))


def _require(study: Study, bundle: Bundle | None) -> None:
    """Check that a basin can be run, before the first of several begins."""
    from rockglacier.errors import InputError
    from rockglacier.mapping import require_fit
    from rockglacier.run import require_files
    from rockglacier.stages import stages_of

    if bundle is not None:
        require_fit(study, bundle)
    stages = stages_of(study, mapping=bundle is not None)
    try:
        require_files(study, stages)
    except InputError as error:
        raise InputError(
            f"basin {study.config.name!r}: {error.found}", expected=error.expected, todo=error.todo
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Equipped:
    """What a basin that is run in a process of its own takes there."""

    model: str | None
    at: str
    """Kind of the cluster."""
    joining: Joining | None
    """How to join it."""

    @contextmanager
    def context(self, study: Study, progress: Progress) -> Iterator[Context]:
        """Give the context of a run, in that process."""
        from rockglacier.console import warnings_shown
        from rockglacier.stages import Context

        with ExitStack() as stack:
            stack.enter_context(warnings_shown())
            client = stack.enter_context(self.joining.client()) if self.joining else None
            stack.enter_context(_watched(study, client=client, at=self.at))
            yield Context(progress=progress, client=client, bundle=bundle_of(self.model))


def _named(study: Study) -> None:
    """Print whose line it is that follows."""
    from rockglacier.console import out

    out.print(f"[bold]{study.config.name}[/bold]", end=": ")


@contextmanager
def _around(study: Study, *, client: Any, at: str) -> Iterator[None]:
    """Name a basin, and watch it."""
    from rockglacier.console import out

    out.print(f"\n[bold]{study.config.name}[/bold]")
    with _watched(study, client=client, at=at):
        yield


@contextmanager
def _watched(study: Study, *, client: Any, at: str) -> Iterator[None]:
    """Write a basin's log, and let workers show that they reach what is its own."""
    with _logged(study.folder / "logs"):
        if client is not None:
            from rockglacier.workers import self_test

            self_test(client, at=f"the {at} cluster", study=study)
        yield


@contextmanager
def _logged(folder: Path) -> Iterator[None]:
    """Write the log of a basin beside its products, and not beside those of the next."""
    from rockglacier.console import LOGGERS, log_to

    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = {logger: list(logger.handlers) for logger in loggers}
    log_to(folder)
    try:
        yield
    finally:
        for logger, held in before.items():
            for handler in logger.handlers[:]:
                if handler not in held:
                    logger.removeHandler(handler)
                    handler.close()


def folder_of(files: Sequence[Path]) -> Path:
    """Return the folder that holds all files: there lies what their basins share."""
    return Path(os.path.commonpath([path.parent.absolute() for path in files]))


def show_status(files: Sequence[Path], *, bundle: Bundle | None) -> None:
    """Print a table of where basins stand."""
    from rockglacier.atlas.queue import in_order, row_of
    from rockglacier.stages import Context, stages_of

    rows = []
    for study in in_order([study_of(path) for path in files]):
        mapping = bundle is not None or study.config.labels.reference is None
        rows.append(row_of(study, stages_of(study, mapping=mapping), Context(bundle=bundle)))
    show_rows(rows, folder_of(files))


def show_rows(rows: Sequence[Row], folder: Path) -> None:
    """Print where basins stand, and where what they share lies."""
    from rich.markup import escape
    from rich.table import Table

    from rockglacier.console import out
    from rockglacier.storage import read_json

    colours = {"done": "green", "failed": "red", "waiting": "yellow", "stopped": "yellow"}
    table = Table(box=None, pad_edge=False)
    for column in ("basin", "state", "stages", "time", "outlines", "km²", "ground", ""):
        is_word = column in ("basin", "state", "ground", "")
        table.add_column(column, justify="left" if is_word else "right")
    for row in rows:
        table.add_row(
            row.basin,
            f"[{colours.get(row.state, 'dim')}]{row.state}[/]",
            f"{row.done}/{row.stages}",
            f"{row.seconds:.0f} s",
            "" if row.outlines is None else str(row.outlines),
            "" if row.area_km2 is None else f"{row.area_km2:.2f}",
            f"[{'red' if row.ground == 'unlike' else 'yellow'}]{row.ground}[/]"
            if row.ground in ("shifted", "unlike")
            else row.ground,
            escape(row.why),
        )
    out.print()
    out.print(table)
    if unlike := [row.basin for row in rows if row.ground == "unlike"]:
        from rockglacier.features.shift import ADVICE

        out.print(f"[red]{', '.join(unlike)}[/red]: {ADVICE['unlike']}")
    if (folder / "inventory.json").is_file():
        facts = read_json(folder / "inventory.json")
        out.print(
            f"together: {facts['outlines']} outlines of {facts['basins']} basin(s), "
            f"{facts['area_km2']:.2f} km²; {facts['doubles']} counted in another basin"
        )
    out.print(f"products: {folder}")


@app.command(rich_help_panel=PANEL)
def calibrate(
    study: StudyFile,
    outlines: Annotated[str, typer.Option(help="Polygon file of landforms that you drew.")],
    within: Annotated[
        str, typer.Option(help="Polygon file of the chips that you looked at, whole.")
    ],
) -> None:
    """Check the probabilities of a mapped basin against a few labelled chips of it.

    Example: rockglacier calibrate swat.yaml --outlines outlines.gpkg --within chips.gpkg
    """
    import yaml

    from rockglacier.console import out
    from rockglacier.evaluation.few import calibrate_on, lines_of

    facts = calibrate_on(study_of(study), outlines, within)
    out.print("\n".join(lines_of(facts)))
    if facts["settings"]:
        out.print("to use what did better, in the study's file:")
        out.print(yaml.safe_dump(facts["settings"], sort_keys=False), markup=False, end="")
    out.print("the next run shows it in the report")
