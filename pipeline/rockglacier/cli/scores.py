"""Commands that judge maps and inventories: compare, score, benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from rockglacier.cli.app import app
from rockglacier.cli.running import progress_shown


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
        float | None,
        typer.Option(min=0, max=1, help="Probability of a rock glacier; default: the rules'."),
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
    replace: Annotated[
        bool, typer.Option(help="Write over the benchmark that the folder holds.")
    ] = False,
) -> None:
    """Write a benchmark: which ground is scored, what is true there, and the rules.

    Example: rockglacier benchmark rogi-cci benchmarks/rogi-cci --data rogi.gpkg
    """
    from rockglacier.console import out
    from rockglacier.demo.benchmark import write_synthetic
    from rockglacier.errors import InputError
    from rockglacier.evaluation.benchmark import find_benchmark, require_free, write_benchmark
    from rockglacier.evaluation.rogi import rogi_benchmark

    if not replace:
        require_free(folder)
    if source == "synthetic":
        with progress_shown() as progress:
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
