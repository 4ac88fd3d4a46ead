"""Commands of one stage each, from search to publish."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rockglacier.cli.app import Cluster, StudyFile, app
from rockglacier.cli.running import progress_shown, run_one, study_of

if TYPE_CHECKING:
    from rockglacier.engine import Selection

Blocks = Annotated[
    str | None,
    typer.Option(help="Blocks by row and column: 0:2,3:5 is rows 0 and 1, columns 3 and 4."),
]
OnlyFailed = Annotated[
    bool, typer.Option("--only-failed", help="Try again the blocks that failed, no others.")
]


def _add_stage_command(name: str, summary: str) -> None:
    def command(study: StudyFile) -> None:
        run_one(study, name)

    command.__doc__ = f"{summary}\n\nExample: rockglacier {name} hunza.yaml"
    app.command(name, rich_help_panel="One stage")(command)


def _selection(blocks: str | None, only_failed: bool) -> Selection:
    from rockglacier.engine import Selection

    if blocks is None:
        return Selection(only_failed=only_failed)
    return Selection.parse(blocks, only_failed=only_failed)


_add_stage_command("search", "Choose scenes and DEM tiles from the catalog.")


@app.command(rich_help_panel="One stage")
def label(study: StudyFile, blocks: Blocks = None, only_failed: OnlyFailed = False) -> None:
    """Burn the reference inventory and split the ground.

    Example: rockglacier label hunza.yaml
    """
    run_one(study, "label", selection=_selection(blocks, only_failed))


@app.command(rich_help_panel="One stage")
def cube(
    study: StudyFile,
    cluster: Cluster = None,
    blocks: Blocks = None,
    only_failed: OnlyFailed = False,
) -> None:
    """Compose reflectance and terrain on one grid.

    Example: rockglacier cube hunza.yaml --only-failed
    """
    run_one(study, "cube", cluster=cluster, selection=_selection(blocks, only_failed))


@app.command(rich_help_panel="One stage")
def fuse(
    study: StudyFile,
    cluster: Cluster = None,
    blocks: Blocks = None,
    only_failed: OnlyFailed = False,
    refit: Annotated[
        bool,
        typer.Option("--refit", help="Fit the features anew; models trained before do not fit."),
    ] = False,
) -> None:
    """Turn bands and terrain into what a network sees.

    Example: rockglacier fuse hunza.yaml
    """
    selection = _selection(blocks, only_failed)
    run_one(study, "fuse", cluster=cluster, refit=refit, selection=selection)


_add_stage_command("train", "Train the networks.")


@app.command(rich_help_panel="One stage")
def evaluate(
    study: StudyFile,
    ablation: Annotated[
        str | None,
        typer.Option(
            help="Also train one network on other feature sets, all or names with commas, and say "
            "what each is worth; tells first how long it takes."
        ),
    ] = None,
    network: Annotated[
        str | None, typer.Option(help="Of the ablation; default: the one that was selected.")
    ] = None,
) -> None:
    """Score the networks on held-out ground, and print the table.

    Example: rockglacier evaluate hunza.yaml --ablation all
    """
    if ablation is not None:
        _require_variants(study, ablation, network)
    run_one(study, "evaluate")

    from rockglacier.console import out
    from rockglacier.evaluation.pooled import POOLED, pooled_lines
    from rockglacier.evaluation.show import difference_lines, network_table
    from rockglacier.storage import read_json

    found = read_json(study_of(study).evaluation_path)
    out.print(network_table(found["table"]))
    for line in [*difference_lines(found["paired"]), *pooled_lines(found.get(POOLED, {}))]:
        out.print(line)
    if ablation is not None:
        _ablate(study, ablation, network)


def _sets_of(named: str) -> list[str] | None:
    return None if named == "all" else [name.strip() for name in named.split(",")]


def _require_variants(path: Path, named: str, network: str | None) -> None:
    """Refuse what the ablation cannot train before the evaluation takes its time."""
    from rockglacier.evaluation.ablation import variants_of

    study = study_of(path)
    variants_of(study, network=network or study.config.train.networks[0], sets=_sets_of(named))


def _ablate(path: Path, named: str, network: str | None) -> None:
    from rockglacier.console import out
    from rockglacier.evaluation.ablation import ablate, cost_lines, variants_of
    from rockglacier.evaluation.worth import lines_of
    from rockglacier.prediction.infer import infer_window
    from rockglacier.storage import lease, read_json

    study = study_of(path)
    chosen = network or str(read_json(study.selection_path)["network"])
    sets = _sets_of(named)
    with lease(study.folder):
        out.print("\n".join(cost_lines(variants_of(study, network=chosen, sets=sets))))
        with progress_shown() as progress:
            found = ablate(study, network=chosen, infer=infer_window, sets=sets, progress=progress)
    out.print("\n".join(lines_of(found)), markup=False)
    out.print(f"wrote {study.models_path / 'ablation.csv'}")


@app.command(rich_help_panel="One stage")
def predict(
    study: StudyFile,
    cluster: Cluster = None,
    blocks: Blocks = None,
    only_failed: OnlyFailed = False,
    out_of_fold: Annotated[
        bool,
        typer.Option(
            "--out-of-fold",
            help="Every pixel by the networks of a fold that never saw it (labels.every_fold).",
        ),
    ] = False,
) -> None:
    """Write the probability and class rasters.

    Example: rockglacier predict hunza.yaml --out-of-fold
    """
    selection = _selection(blocks, only_failed)
    run_one(study, "predict", cluster=cluster, out_of_fold=out_of_fold, selection=selection)


_add_stage_command("inventory", "Draw outlines and measure them.")
_add_stage_command("report", "Write the report, one HTML file.")


@app.command(rich_help_panel="One stage")
def publish(
    study: StudyFile,
    to: Annotated[
        str,
        typer.Option(
            help="stac: the catalog, and where publish.catalog and publish.api say; deposit: a "
            "folder for a data repository."
        ),
    ] = "stac",
) -> None:
    """Write the STAC catalog of the products, or a folder for a data repository.

    Example: rockglacier publish hunza.yaml --to deposit
    """
    from rockglacier.console import out
    from rockglacier.errors import InputError

    if to == "deposit":
        from rockglacier.publish import deposit

        out.print(f"wrote {deposit(study_of(study))}")
    elif to == "stac":
        run_one(study, "publish")
    else:
        raise InputError(f"nothing is published to {to!r}", expected="stac or deposit")
