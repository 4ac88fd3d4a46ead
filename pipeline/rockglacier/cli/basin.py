"""Commands of a whole basin: new, plan, run, status, map, pack."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rockglacier.cli.app import Cluster, StudyFile, app
from rockglacier.cli.many import (
    AtOnce,
    Basins,
    Hours,
    Model,
    bundle_of,
    run_many,
    show_status,
)
from rockglacier.cli.running import (
    progress_shown,
    run_shown,
    show_standings,
    standings_of,
    study_of,
)

if TYPE_CHECKING:
    from rockglacier.model.bundle import Bundle
    from rockglacier.study import Study


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the basin: lower case, no spaces.")],
    area: Annotated[str, typer.Option(help="Polygon file of the basin.")],
    reference: Annotated[str | None, typer.Option(help="Inventory to learn from.")] = None,
) -> None:
    """Write a commented NAME.yaml with modest defaults.

    Example: rockglacier new hunza --area hunza.gpkg --reference outlines.gpkg
    """
    import yaml

    from rockglacier.config import parse_config
    from rockglacier.console import out
    from rockglacier.errors import InputError
    from rockglacier.labels.reference import read_reference
    from rockglacier.run import require_files
    from rockglacier.stages import STAGES
    from rockglacier.storage import write_text
    from rockglacier.study import Study, read_area
    from rockglacier.template import commented_yaml

    path = Path(f"{name}.yaml")
    if path.exists():
        raise InputError(
            f"{str(path)!r} is there already", todo="choose another name, or delete it"
        )
    text = commented_yaml(name, area=area, reference=reference)
    config = parse_config(yaml.safe_load(text), source=str(path))
    require_files(Study(config=config, base=path.parent), STAGES)
    outline = read_area(area)
    if reference is not None:
        read_reference(reference, area=outline, may_be_empty=True)
    write_text(path, text)
    out.print(f"wrote {path}\nnext: rockglacier plan {path}")


@app.command()
def plan(
    study: StudyFile,
    steps: Annotated[
        int, typer.Option(help="Training steps of each network to time; 0: none, a rough figure.")
    ] = 10,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Also say what so many workers of a core make of it.")
    ] = None,
    price: Annotated[
        float | None, typer.Option(min=0, help="Of a worker for an hour, in your currency.")
    ] = None,
) -> None:
    """Say what a run will take: scenes, cloud, chips, bytes, disk and hours. Reads SCL only.

    Example: rockglacier plan hunza.yaml --workers 200 --price 0.05
    """
    from rockglacier.console import log_to, out
    from rockglacier.plan import make_plan, plan_lines
    from rockglacier.run import require_files, run_stages
    from rockglacier.stages import STAGES, Context, stage_named

    opened = study_of(study)
    require_files(opened, STAGES)
    log_to(opened.folder / "logs")
    with progress_shown() as progress:
        run_stages(opened, [stage_named("search")], Context(progress=progress))
    out.print("\n".join(plan_lines(make_plan(opened, steps=steps))))
    if workers is not None:
        from rockglacier.scale import Fleet, area_of_study, estimate, scale_lines

        found = estimate(area_of_study(opened), Fleet(workers=workers, price=price))
        out.print("\n".join(scale_lines(found)))


@app.command()
def run(
    studies: Annotated[
        list[Path], typer.Argument(help="A study's YAML file, or those of several basins.")
    ],
    cluster: Cluster = None,
    model: Model = None,
    to: Annotated[
        Path | None,
        typer.Option(
            help="Of several basins: folder of what they share; default: the one that holds them."
        ),
    ] = None,
    hours: Hours = None,
    basins: Basins = None,
    at_once: AtOnce = 1,
) -> None:
    """Run every stage in order, resuming where it stopped; says first which stages are stale.

    Several basins are run in turn, or `--at-once` some; those that fail are named at the end, and
    the inventories become one.

    Example: rockglacier run hunza.yaml --cluster local
    """
    from rockglacier.mapping import require_fit
    from rockglacier.run import require_files
    from rockglacier.stages import Context, stages_of

    bundle = bundle_of(model)
    if len(studies) > 1 or to is not None:
        run_many(
            studies,
            model=model,
            bundle=bundle,
            folder=to,
            hours=hours,
            basins=basins,
            at_once=at_once,
            cluster=cluster,
        )
        return
    opened = study_of(studies[0])
    if bundle is not None:
        require_fit(opened, bundle)
    stages = stages_of(opened, mapping=bundle is not None)
    require_files(opened, stages)
    show_standings(opened, stages, Context(bundle=bundle))
    run_shown(opened, stages, cluster=cluster, bundle=bundle)


@app.command()
def status(
    studies: Annotated[
        list[Path], typer.Argument(help="A study's YAML file; of several basins a table.")
    ],
    model: Model = None,
    json: Annotated[
        bool,
        typer.Option(
            "--json", help="For programs: a list of basins, each with its stages, blocks and facts."
        ),
    ] = False,
) -> None:
    """Show which stages are done, stale or failed, and why.

    Example: rockglacier status hunza.yaml --json
    """
    from rockglacier.stages import Context, stages_of

    bundle = bundle_of(model)
    if json:
        _print_standings([study_of(path) for path in studies], bundle)
        return
    if len(studies) > 1:
        show_status(studies, bundle=bundle)
        return
    opened = study_of(studies[0])
    stages = stages_of(opened, mapping=_is_mapped(opened, bundle))
    show_standings(opened, stages, Context(bundle=bundle), every=True)


def _is_mapped(study: Study, bundle: Bundle | None) -> bool:
    return bundle is not None or study.config.labels.reference is None


def _print_standings(studies: list[Study], bundle: Bundle | None) -> None:
    import json

    from rockglacier.stages import Context, stages_of

    told = [
        standings_of(
            study, stages_of(study, mapping=_is_mapped(study, bundle)), Context(bundle=bundle)
        )
        for study in studies
    ]
    typer.echo(json.dumps(told, indent=1, ensure_ascii=False))


@app.command(name="map")
def map_(
    area: Annotated[str, typer.Argument(help="Polygon file of the basin.")],
    model: Annotated[
        str,
        typer.Option(
            help="A packed model, from `rockglacier pack`, or a published model's STAC item."
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Default: the area file's name.")] = None,
    catalog: Annotated[str, typer.Option(help="As search.catalog of a study.")] = "earth-search",
    start: Annotated[str, typer.Option(help="First day, e.g. 2024-01-01.")] = "2024-01-01",
    end: Annotated[str, typer.Option(help="Last day, e.g. 2024-12-31.")] = "2024-12-31",
    output: Annotated[str | None, typer.Option(help="Folder; default: the name.")] = None,
    cube: Annotated[
        str | None,
        typer.Option(
            help="A published cube's STAC item: its grid, scenes and pixels are taken over, with "
            "its days."
        ),
    ] = None,
    cluster: Cluster = None,
) -> None:
    """Map a basin with a given model: no labels, no training.

    Example: rockglacier map gilgit.gpkg --model hunza-hrnet.rgbundle.zip
    """
    from rockglacier.cube.published import PublishedCube
    from rockglacier.mapping import model_file, study_for_bundle
    from rockglacier.model.bundle import read_bundle
    from rockglacier.stages import stages_of

    bundle = read_bundle(model_file(model))
    search: dict[str, Any] = {"catalog": catalog, "start": start, "end": end}
    if cube is not None:
        search["start"], search["end"] = PublishedCube.read(cube).days()
    given = {"item": cube} if cube else None
    opened = study_for_bundle(area, bundle, name=name, search=search, output=output, cube=given)
    run_shown(opened, stages_of(opened, mapping=True), cluster=cluster, bundle=bundle)


@app.command()
def pack(
    study: StudyFile,
    to: Annotated[Path | None, typer.Option(help="Default: NAME-NETWORK.rgbundle.zip.")] = None,
) -> None:
    """Put the trained model into one file that `map` reads.

    Example: rockglacier pack hunza.yaml
    """
    from rockglacier.console import command, out
    from rockglacier.mapping import pack_model

    path = pack_model(study_of(study), to)
    out.print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)", markup=False)
    out.print(f"next: {command('map', 'AREA.gpkg', '--model', path)}", markup=False)
