"""What commands share: open a study, run its stages, show how they stand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rockglacier.run import Standing
    from rockglacier.stages import Context, Stage
    from rockglacier.study import Study


def study_of(path: Path) -> Study:
    """Open the study of a YAML file."""
    from rockglacier.study import open_study

    return open_study(path)


def progress_shown() -> Any:
    """Show progress on the terminal while the context lasts."""
    from rockglacier.console import shown_progress

    return shown_progress()


def run_shown(
    study: Study,
    stages: Any,
    *,
    cluster: str | None,
    force: bool = False,
    **options: Any,
) -> None:
    """Run stages on the cluster that is meant, and say what came of each."""
    from rockglacier.cluster import cluster_client, dashboard_link
    from rockglacier.console import log_to, out
    from rockglacier.run import run_stages
    from rockglacier.stages import Context

    log_to(study.folder / "logs")
    with cluster_client(cluster, study=study) as client, progress_shown() as progress:
        if client is not None and (link := dashboard_link(client)):
            out.print(f"dashboard: {link}")
        context = Context(progress=progress, client=client, **options)
        run_stages(study, stages, context, force=force, told=told)
    out.print(f"products: {study.folder}", markup=False)


def told(stage: Stage, kept: Standing | None, facts: dict[str, Any], seconds: float) -> None:
    """Print a line about a stage that ended or was kept."""
    from rockglacier.console import out

    if kept is not None:
        out.print(f"[dim]{stage.name:<10} kept: done before[/dim]")
        return
    shown = ", ".join(
        _short(key, value)
        for key, value in facts.items()
        if isinstance(value, str | int | float) and (value or not _is_quiet(key))
    )
    out.print(f"[bold]{stage.name:<10}[/bold] {seconds:6.1f} s  {shown}")


def _is_quiet(key: str) -> bool:
    """Return whether a fact goes without saying while it is zero."""
    return key in {"kept", "left"} or key.endswith(("retries", "_share"))


def _short(key: str, value: str | float) -> str:
    words = key.replace("_", " ")
    if key.endswith("_bytes"):
        return f"{words.removesuffix(' bytes')} {float(value) / 1e6:.0f} MB"
    return f"{words} {value:.3g}" if isinstance(value, float) else f"{words} {value}"


def show_standings(study: Study, stages: Any, context: Context, *, every: bool = False) -> None:
    """Print how stages stand: the stale and failed ones, or with ``every`` all and their blocks."""
    from rich.markup import escape

    from rockglacier.console import out
    from rockglacier.run import block_counts, standings

    colours = {"done": "green", "stale": "yellow", "missing": "dim", "failed": "red"}
    for standing in standings(study, stages, context):
        if every or standing.state in {"stale", "failed"}:
            took = f" ({standing.seconds:.0f} s)" if standing.seconds else ""
            out.print(
                f"[{colours[standing.state]}]{standing.state:<8}[/] {standing.stage.name:<10} "
                f"{standing.why or standing.stage.makes}{took}"
            )
        counts = block_counts(study, standing) if every else None
        if counts is not None:
            out.print(
                f"{'':<20}blocks: {counts.done} done, {counts.stale} stale, "
                f"{counts.missing} missing, {len(counts.failures)} failed"
            )
            for name, failure in counts.failures.items():
                out.print(f"[red]{'':<20}{name}: {escape(failure.message)}[/red]")


def standings_of(study: Study, stages: Any, context: Context) -> dict[str, Any]:
    """Return how stages and their blocks stand, for programs."""
    from rockglacier.run import block_counts, standings

    told = []
    for standing in standings(study, stages, context):
        counts = block_counts(study, standing)
        blocks = counts and {
            "done": counts.done,
            "stale": counts.stale,
            "missing": counts.missing,
            "failed": {name: failure.message for name, failure in counts.failures.items()},
        }
        told.append(
            {
                "stage": standing.stage.name,
                "state": standing.state,
                "why": standing.why,
                "seconds": standing.seconds,
                "blocks": blocks,
                "facts": standing.facts,
            }
        )
    return {"basin": study.config.name, "folder": str(study.folder), "stages": told}


def run_one(
    study: Path,
    name: str,
    *,
    cluster: str | None = "threads",
    out_of_fold: bool = False,
    **options: Any,
) -> None:
    """Run one stage of a study, though it may be done; ``out_of_fold`` as if it were set there.

    What cannot be done is refused before the stage begins: one that was done stays done.
    """
    from dataclasses import replace

    from rockglacier.engine import EVERYTHING, Receipts
    from rockglacier.labels.every_fold import folds_of
    from rockglacier.run import require_stages_before
    from rockglacier.stages import Context, stage_named

    opened = study_of(study)
    if out_of_fold:
        folds_of(opened)
        predict = opened.config.predict.model_copy(update={"out_of_fold": True})
        opened = replace(opened, config=opened.config.model_copy(update={"predict": predict}))
    stage = stage_named(name)
    require_stages_before(opened, stage, Context())
    selection = options.get("selection", EVERYTHING)
    if selection != EVERYTHING:
        blocks = [block.name for block in opened.grid.blocks()]
        selection.meant(blocks, Receipts(opened.receipts_path / name))
    run_shown(opened, [stage], cluster=cluster, force=True, **options)
