"""The command line: parse, build the study, call one function, show what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from rockglacier.run import Standing
    from rockglacier.stages import Context, Stage
    from rockglacier.study import Study

# Heavy imports live inside the commands, so that `--help` answers at once.

app = typer.Typer(
    name="rockglacier",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="""Map rock glaciers of any mountain basin, from STAC search to a published STAC catalog.

    [bold]First steps[/bold]

    rockglacier demo                              the whole job on a made-up basin, offline

    rockglacier new hunza --area hunza.gpkg --reference outlines.gpkg

    rockglacier plan hunza.yaml

    rockglacier run hunza.yaml
    """,
)

StudyFile = Annotated[Path, typer.Argument(help="The study's YAML file, e.g. hunza.yaml.")]
Cluster = Annotated[
    str | None,
    typer.Option(
        help="threads, local (worker processes), a scheduler, e.g. tcp://host:8786, or gateway, "
        "kubernetes, coiled; default: compute.cluster of the study."
    ),
]


def main() -> None:
    """Run the command line."""
    from rockglacier.console import errors_shown

    with errors_shown():
        app()


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
    from rockglacier.storage import write_text
    from rockglacier.study import read_area
    from rockglacier.template import commented_yaml

    path = Path(f"{name}.yaml")
    if path.exists():
        raise InputError(
            f"{str(path)!r} is there already", todo="choose another name, or delete it"
        )
    text = commented_yaml(name, area=area, reference=reference)
    parse_config(yaml.safe_load(text), source=str(path))
    read_area(area)
    write_text(path, text)
    out.print(f"wrote {path}\nnext: rockglacier plan {path}")


@app.command()
def plan(
    study: StudyFile,
    steps: Annotated[
        int, typer.Option(help="Training steps of each network to time; 0: none, a rough figure.")
    ] = 10,
) -> None:
    """Say what a run will take: scenes, cloud, chips, bytes, disk and hours. Reads SCL only.

    Example: rockglacier plan hunza.yaml
    """
    from rockglacier.console import out
    from rockglacier.plan import make_plan, plan_lines
    from rockglacier.run import run_stages
    from rockglacier.stages import Context, stage_named

    opened = _open(study)
    with _progress() as progress:
        run_stages(opened, [stage_named("search")], Context(progress=progress))
    out.print("\n".join(plan_lines(make_plan(opened, steps=steps))))


@app.command()
def run(study: StudyFile, cluster: Cluster = None) -> None:
    """Run every stage in order, resuming where it stopped; says first which stages are stale.

    Example: rockglacier run hunza.yaml --cluster local
    """
    from rockglacier.stages import Context, stages_of

    opened = _open(study)
    stages = stages_of(opened, mapping=False)
    _show_standings(opened, stages, Context())
    _run(opened, stages, cluster=cluster)


@app.command()
def status(study: StudyFile) -> None:
    """Show which stages are done, stale or failed, and why.

    Example: rockglacier status hunza.yaml
    """
    from rockglacier.stages import Context, stages_of

    opened = _open(study)
    mapping = opened.config.labels.reference is None
    _show_standings(opened, stages_of(opened, mapping=mapping), Context(), every=True)


def _run_one(study: Path, name: str, *, cluster: str | None, **options: Any) -> None:
    from rockglacier.run import require_stages_before
    from rockglacier.stages import Context, stage_named

    opened = _open(study)
    stage = stage_named(name)
    require_stages_before(opened, stage, Context())
    _run(opened, [stage], cluster=cluster, force=True, **options)


def _add_stage_command(name: str, summary: str) -> None:
    def command(study: StudyFile, cluster: Cluster = None) -> None:
        _run_one(study, name, cluster=cluster)

    command.__doc__ = f"{summary}\n\nExample: rockglacier {name} hunza.yaml"
    app.command(name, rich_help_panel="One stage")(command)


_add_stage_command("search", "Choose scenes and DEM tiles from the catalog.")


@app.command(rich_help_panel="One stage")
def cube(
    study: StudyFile,
    cluster: Cluster = None,
    blocks: Annotated[
        str | None,
        typer.Option(help="Rows and columns of blocks, e.g. 0:2,3:5; the ends not included."),
    ] = None,
    only_failed: Annotated[
        bool, typer.Option("--only-failed", help="Try again the blocks that failed, no others.")
    ] = False,
) -> None:
    """Compose reflectance and terrain on one grid.

    Example: rockglacier cube hunza.yaml --only-failed
    """
    from rockglacier.engine import Selection

    selection = Selection(only_failed=only_failed)
    if blocks is not None:
        selection = Selection.parse(blocks, only_failed=only_failed)
    _run_one(study, "cube", cluster=cluster, selection=selection)


_add_stage_command("label", "Burn the reference inventory and split the ground.")


@app.command(rich_help_panel="One stage")
def fuse(
    study: StudyFile,
    cluster: Cluster = None,
    refit: Annotated[
        bool,
        typer.Option("--refit", help="Fit the features anew; models trained before do not fit."),
    ] = False,
) -> None:
    """Turn bands and terrain into what a network sees.

    Example: rockglacier fuse hunza.yaml
    """
    _run_one(study, "fuse", cluster=cluster, refit=refit)


for _name, _summary in {
    "train": "Train the networks.",
    "predict": "Write the probability and class rasters.",
    "inventory": "Draw outlines and measure them.",
    "report": "Write the report, one HTML file.",
}.items():
    _add_stage_command(_name, _summary)


@app.command(rich_help_panel="One stage")
def evaluate(study: StudyFile, cluster: Cluster = None) -> None:
    """Score the networks on held-out ground, and print the table.

    Example: rockglacier evaluate hunza.yaml
    """
    from rockglacier.console import out
    from rockglacier.evaluation.show import difference_lines, network_table
    from rockglacier.storage import read_json

    _run_one(study, "evaluate", cluster=cluster)
    found = read_json(_open(study).evaluation_path)
    out.print(network_table(found["table"]))
    for line in difference_lines(found["paired"]):
        out.print(line)


@app.command(rich_help_panel="One stage")
def publish(
    study: StudyFile,
    cluster: Cluster = "threads",
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

        out.print(f"wrote {deposit(_open(study))}")
    elif to == "stac":
        _run_one(study, "publish", cluster=cluster)
    else:
        raise InputError(f"nothing is published to {to!r}", expected="stac or deposit")


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
    cluster: Cluster = None,
) -> None:
    """Map a basin with a given model: no labels, no training.

    Example: rockglacier map gilgit.gpkg --model hunza-hrnet.rgbundle.zip
    """
    from rockglacier.mapping import model_file, study_for_bundle
    from rockglacier.model.bundle import read_bundle
    from rockglacier.stages import stages_of

    bundle = read_bundle(model_file(model))
    search = {"catalog": catalog, "start": start, "end": end}
    opened = study_for_bundle(area, bundle, name=name, search=search, output=output)
    _run(opened, stages_of(opened, mapping=True), cluster=cluster, bundle=bundle)


@app.command()
def pack(
    study: StudyFile,
    to: Annotated[Path | None, typer.Option(help="Default: NAME-NETWORK.rgbundle.zip.")] = None,
) -> None:
    """Put the trained model into one file that `map` reads.

    Example: rockglacier pack hunza.yaml
    """
    from rockglacier.console import out
    from rockglacier.mapping import pack_model

    path = pack_model(_open(study), to)
    out.print(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")
    out.print(f"next: rockglacier map AREA.gpkg --model {path}")


@app.command()
def export(
    study: StudyFile,
    to: Annotated[
        str,
        typer.Option(
            help="cog: layers of the cube, for GDAL and QGIS; qgis: the inventory as a project to "
            "review and edit; labelme: chips to draw on in LabelMe."
        ),
    ],
    layers: Annotated[
        str | None, typer.Option(help="cog: names with commas, e.g. elevation,slope; default: all.")
    ] = None,
    folder: Annotated[
        str | None,
        typer.Option(help="Default: export/cog, export/qgis ... in the study's folder."),
    ] = None,
    n: Annotated[int, typer.Option(min=1, help="labelme: how many chips.")] = 156,
    choose: Annotated[
        str,
        typer.Option(
            help="labelme: stratified by elevation and slope, or uncertain by the prediction."
        ),
    ] = "stratified",
    bands: Annotated[
        str | None, typer.Option(help="labelme: three bands with commas; default: B11,B08,B04.")
    ] = None,
    picture: Annotated[str, typer.Option(help="labelme: png or jpeg.")] = "png",
    outlines: Annotated[
        str | None, typer.Option(help="labelme: polygon file of outlines to begin from.")
    ] = None,
    not_within: Annotated[
        str | None, typer.Option(help="labelme: polygon file of ground drawn on before.")
    ] = None,
    seed: Annotated[int, typer.Option(help="labelme: another seed chooses other chips.")] = 0,
) -> None:
    """Write products in forms that other programs read.

    Example: rockglacier export hunza.yaml --to labelme --n 156 --choose stratified
    """
    from rockglacier.console import out
    from rockglacier.cube.export import export_cube
    from rockglacier.errors import InputError
    from rockglacier.inventory.export import export_qgis
    from rockglacier.labels.draw import Wish, write_chips
    from rockglacier.storage import open_place

    if to not in ("cog", "qgis", "labelme"):
        raise InputError(f"nothing is exported to {to!r}", expected="qgis, cog or labelme")
    opened = _open(study)
    place = open_place(folder) if folder else opened.folder / "export" / to
    with _progress() as progress:
        if to == "cog":
            files = export_cube(opened, place, layers=_names(layers), progress=progress)
        elif to == "qgis":
            files = export_qgis(opened, place)
        else:
            wish = Wish(
                n=n,
                choice=_one_of(choose, "stratified", "uncertain", what="choice"),
                picture=_one_of(picture, "png", "jpeg", what="picture"),
                bands=tuple(_names(bands) or ()),
                outlines=outlines,
                before=not_within,
                seed=seed,
            )
            files = write_chips(opened, place, wish, progress=progress)
    out.print(f"wrote {len(files)} file(s) to {place}")
    if to == "labelme":
        out.print(f"next: draw in LabelMe, save every chip, then rockglacier import {place}")
    if to == "qgis":
        out.print(
            f"next: open {files[1].name} in QGIS, then "
            f"rockglacier import {files[0]} --study {study}"
        )


def _names(given: str | None) -> list[str] | None:
    return None if given is None else [name.strip() for name in given.split(",")]


def _one_of(given: str, *known: str, what: str) -> Any:
    from rockglacier.errors import InputError

    if given not in known:
        raise InputError(f"no {what} {given!r}", expected=" or ".join(known))
    return given


@app.command(name="import")
def import_(
    given: Annotated[
        list[Path],
        typer.Argument(
            help="Folders of chips that were drawn on in LabelMe, or one inventory that was edited "
            "in QGIS."
        ),
    ],
    study: Annotated[
        Path | None, typer.Option(help="An edited inventory: the study that it is of.")
    ] = None,
    labels: Annotated[
        str, typer.Option(help="Labels of landforms, with commas; hole and ignore are known.")
    ] = "rock_glacier",
    to: Annotated[
        Path | None, typer.Option(help="Folder of the result; default: the last of the folders.")
    ] = None,
) -> None:
    """Bring back what people drew: chips of LabelMe, or an inventory edited in QGIS.

    Of an inventory it keeps what was decided, draws the inventory again, and writes labels with the
    corrections in them.

    Example: rockglacier import hunza/export/qgis/hunza-2024.gpkg --study hunza.yaml
    """
    if len(given) == 1 and given[0].is_file():
        _import_inventory(given[0], study)
    else:
        _import_chips(given, labels, to)


def _import_chips(given: list[Path], labels: str, to: Path | None) -> None:
    from rockglacier.console import out
    from rockglacier.labels.drawn import read_drawn, together, told, write_drawn

    landforms = _names(labels) or []
    drawn = together([read_drawn(folder, landforms=landforms) for folder in given])
    outlines, complete = write_drawn(drawn, to or given[-1])
    out.print("\n".join(told(drawn)))
    out.print(
        f"next, in the study's file:\nlabels:\n  reference: {outlines}\n"
        f"  complete_within: {complete}",
        markup=False,
    )
    if "ignore" in set(drawn.outlines["label"]):
        out.print(f"  where: {{label: [{', '.join(landforms)}]}}", markup=False)


def _import_inventory(edited: Path, study: Path | None) -> None:
    from rockglacier.console import out
    from rockglacier.errors import InputError
    from rockglacier.inventory import edited as editing
    from rockglacier.storage import lease

    if study is None:
        raise InputError(
            f"{str(edited)!r} is an inventory, and no study is named",
            expected="the study that it is of",
            todo=f"rockglacier import {edited} --study STUDY.yaml",
        )
    opened = _open(study)
    with lease(opened.folder):
        taken = editing.import_edited(opened, edited)
        files = editing.write_corrected(opened)
    out.print("\n".join(editing.lines_of(taken)))
    if opened.selection_path.is_file() or opened.config.inventory.threshold is not None:
        _run_one(study, "inventory", cluster="threads")
    else:
        out.print(
            "next: rockglacier map AREA --model BUNDLE again, which keeps all but the outlines"
        )
    out.print(editing.precision_line(opened))
    out.print(
        "to learn from the corrections, in the study's file:\n" + editing.settings_of(files),
        markup=False,
    )


@app.command()
def compare(
    a: Annotated[str, typer.Argument(help="Polygon file: the outlines in question.")],
    b: Annotated[str, typer.Argument(help="Polygon file: a reference, or another opinion.")],
    within: Annotated[
        str | None, typer.Option(help="Polygon file of the ground that both cover.")
    ] = None,
    reference_kind: Annotated[
        str,
        typer.Option(help="accuracy if people made B and it counts as true, else agreement."),
    ] = "agreement",
    to: Annotated[
        Path | None, typer.Option(help="Folder of the tables; default: compare-A-B.")
    ] = None,
) -> None:
    """Compare two inventories outline by outline: links, scores, sizes, areas, boundaries.

    Example: rockglacier compare mine.gpkg theirs.parquet --within hunza.gpkg
    """
    from rich.markup import escape

    from rockglacier.console import out
    from rockglacier.errors import InputError
    from rockglacier.inventory.compare import lines_of
    from rockglacier.inventory.compare_files import compare_files, write_comparison

    if reference_kind not in ("agreement", "accuracy"):
        raise InputError(f"no reference kind {reference_kind!r}", expected="agreement or accuracy")
    kind: Literal["agreement", "accuracy"] = (
        "accuracy" if reference_kind == "accuracy" else "agreement"
    )
    sides = compare_files(a, b, within=within, reference_kind=kind)
    folder = to or Path(f"compare-{Path(a).stem}-{Path(b).stem}")
    files = write_comparison(sides, folder)
    out.print(escape("\n".join(lines_of(sides.summary))))
    out.print(f"wrote {', '.join(file.name for file in files)} to {folder}")


@app.command()
def score(
    map_: Annotated[
        Path,
        typer.Argument(
            metavar="MAP",
            help="A raster (probabilities or classes), polygons, or a folder with a file an area.",
        ),
    ],
    benchmark: Annotated[
        str,
        typer.Option(help="A benchmark's folder, its name in benchmarks/, or a study's YAML file."),
    ],
    area: Annotated[
        list[str] | None, typer.Option(help="Score this area only; may be given several times.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Probability of a rock glacier; default: the rules'.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="Another map, to give the difference with its interval.")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Folder; default: score-MAP-BENCHMARK.")] = None,
) -> None:
    """Score any map on ground that it must not have learnt from.

    Example: rockglacier score theirs.tif --benchmark hunza.yaml
    """
    from rockglacier.console import out
    from rockglacier.evaluation.benchmark import find_benchmark
    from rockglacier.evaluation.score import score_map, write_score
    from rockglacier.evaluation.show import difference_lines, score_table

    ground = find_benchmark(benchmark)
    result = score_map(map_, ground, areas=area, threshold=threshold, against=against)
    files = write_score(result, to or Path(f"score-{map_.stem}-{ground.name}"))
    out.print(score_table(result))
    for line in difference_lines(result["paired"]):
        out.print(line)
    out.print(f"wrote {', '.join(file.name for file in files)} to {files[0].parent}")


@app.command()
def benchmark(
    source: Annotated[
        str, typer.Argument(help="synthetic, rogi-cci, or a study's YAML file: its test ground.")
    ],
    folder: Annotated[Path, typer.Argument(help="Where to write it, e.g. benchmarks/rogi-cci.")],
    data: Annotated[
        Path | None, typer.Option(help="rogi-cci: the GeoPackage that you downloaded.")
    ] = None,
    size_km: Annotated[
        tuple[float, float], typer.Option(help="synthetic: width and height of a basin, km.")
    ] = (20.0, 16.0),
    scenes: Annotated[
        bool, typer.Option(help="synthetic: also write imagery and elevation of the basins.")
    ] = True,
) -> None:
    """Write a benchmark: which ground is scored, what is true there, and the rules.

    Example: rockglacier benchmark rogi-cci benchmarks/rogi-cci --data rogi.gpkg
    """
    from rockglacier.console import out
    from rockglacier.demo.benchmark import write_synthetic
    from rockglacier.errors import InputError
    from rockglacier.evaluation.benchmark import find_benchmark, write_benchmark
    from rockglacier.evaluation.rogi import rogi_benchmark

    if source == "synthetic":
        with _progress() as progress:
            made = write_synthetic(folder, size_km=size_km, scenes=scenes, progress=progress)
    elif source == "rogi-cci":
        if data is None:
            raise InputError(
                "rogi-cci without its data",
                expected="--data, the GeoPackage of RoGI CCI",
                todo="download it from doi 10.5281/zenodo.14501398",
            )
        made = rogi_benchmark(data)
        write_benchmark(made, folder)
    elif source.endswith((".yaml", ".yml")):
        made = find_benchmark(source)
        write_benchmark(made, folder)
    else:
        raise InputError(
            f"no benchmark {source!r} is known", expected="synthetic, rogi-cci, or STUDY.yaml"
        )
    areas = made.test_areas()
    landforms = int((made.reference["use"] == "landform").sum())
    out.print(f"wrote {folder}: {made.title}; {landforms} outlines, scored: {', '.join(areas)}")


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

    opened = _open(study)
    opened.require(opened.report_path, stage="report")
    with serving(opened.folder, port=port) as server:
        place = f"http://{HOST}:{server.server_address[1]}/"
        out.print(f"report:  {place}")
        for raster in sorted(opened.folder.glob("predictions/*/*.tif")):
            out.print(f"raster:  {place}{raster.relative_to(opened.folder).as_posix()}")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            out.print("stopped")


@app.command()
def validate(
    study: StudyFile,
) -> None:
    """Check the published catalog against the STAC schemas, offline.

    Example: rockglacier validate hunza.yaml
    """
    from rockglacier.console import out
    from rockglacier.errors import ContractError
    from rockglacier_stac.validate import validate_catalog

    opened = _open(study)
    catalog = opened.require(opened.stac_path / "catalog.json", stage="publish")
    problems = validate_catalog(catalog)
    if problems:
        raise ContractError(
            f"{len(problems)} problem(s) in {str(catalog)!r}:\n"
            + "\n".join(f"    {problem}" for problem in problems[:20]),
            todo="rockglacier publish STUDY.yaml, then report it if it stays",
        )
    out.print(f"{catalog}: valid")


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
    from rockglacier.demo.show import run_demo

    with _progress() as progress:
        run_demo(folder, seed=seed, progress=progress, told=_told, picture=picture)


def _open(path: Path) -> Study:
    from rockglacier.study import open_study

    return open_study(path)


def _progress() -> Any:
    from rockglacier.console import shown_progress

    return shown_progress()


def _run(
    study: Study,
    stages: Any,
    *,
    cluster: str | None,
    force: bool = False,
    **options: Any,
) -> None:
    from rockglacier.cluster import cluster_client, dashboard_link
    from rockglacier.console import log_to, out
    from rockglacier.run import run_stages
    from rockglacier.stages import Context

    log_to(study.folder / "logs")
    with cluster_client(cluster, study=study) as client, _progress() as progress:
        if client is not None and (link := dashboard_link(client)):
            out.print(f"dashboard: {link}")
        context = Context(progress=progress, client=client, **options)
        run_stages(study, stages, context, force=force, told=_told)
    out.print(f"products: {study.folder}")


def _told(stage: Stage, kept: Standing | None, facts: dict[str, Any], seconds: float) -> None:
    from rockglacier.console import out

    if kept is not None:
        out.print(f"[dim]{stage.name:<10} kept: done before[/dim]")
        return
    shown = ", ".join(
        f"{key.replace('_', ' ')} {_short(value)}"
        for key, value in facts.items()
        if isinstance(value, str | int | float)
    )
    out.print(f"[bold]{stage.name:<10}[/bold] {seconds:6.1f} s  {shown}")


def _short(value: str | float) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _show_standings(study: Study, stages: Any, context: Context, *, every: bool = False) -> None:
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
        counts = block_counts(study, standing.stage) if every else None
        if counts is not None:
            out.print(
                f"{'':<20}blocks: {counts.done} done, {counts.stale} stale, "
                f"{counts.missing} missing, {len(counts.failures)} failed"
            )
            for failure in counts.failures.values():
                out.print(f"[red]{'':<20}{failure.name}: {escape(failure.message)}[/red]")


if __name__ == "__main__":
    main()
