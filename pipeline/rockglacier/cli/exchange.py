"""Commands that trade with other programs: export and import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rockglacier.cli.app import StudyFile, app
from rockglacier.cli.running import progress_shown, run_one, study_of


@app.command()
def export(
    study: StudyFile,
    to: Annotated[
        str,
        typer.Option(
            help="cog: layers of the cube, for GDAL and QGIS; qgis: the inventory as a project to "
            "review and edit; csv: the inventory as a table, with what its columns mean; labelme: "
            "chips to draw on in LabelMe; chips: images and masks for anybody's training."
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
    period: Annotated[
        str | None,
        typer.Option(help="qgis, csv: of several periods, the name of one; default: the last."),
    ] = None,
) -> None:
    """Write products in forms that other programs read.

    Example: rockglacier export hunza.yaml --to labelme --n 156 --choose stratified
    """
    from rockglacier.chipset import write_chipset
    from rockglacier.console import command, out
    from rockglacier.cube.export import export_cube
    from rockglacier.errors import InputError
    from rockglacier.inventory.export import export_csv, export_qgis
    from rockglacier.labels.draw import Wish, write_chips
    from rockglacier.storage import open_place

    if to not in ("cog", "qgis", "csv", "labelme", "chips"):
        raise InputError(
            f"nothing is exported to {to!r}", expected="qgis, csv, cog, labelme or chips"
        )
    opened = study_of(study)
    place = open_place(folder) if folder else opened.folder / "export" / to
    with progress_shown() as progress:
        if to == "cog":
            files = export_cube(opened, place, layers=_names(layers), progress=progress)
        elif to == "qgis":
            files = export_qgis(opened.of_period(period), place)
        elif to == "csv":
            files = export_csv(opened.of_period(period), place)
        elif to == "chips":
            files = write_chipset(opened, place, progress=progress)
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
    out.print(f"wrote {len(files)} file(s) to {place}", markup=False)
    if to == "labelme":
        next_one = command("import", place)
        out.print(f"next: draw in LabelMe, save every chip, then {next_one}", markup=False)
    if to == "qgis":
        next_one = command("import", files[0], "--study", study)
        out.print(f"next: open {files[1].name} in QGIS, then {next_one}", markup=False)


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
    period: Annotated[
        str | None,
        typer.Option(help="An edited inventory: its period; default: what it says, else the last."),
    ] = None,
) -> None:
    """Bring back what people drew: chips of LabelMe, or an inventory edited in QGIS.

    Of an inventory it keeps what was decided, draws the inventory again, and writes labels with the
    corrections in them.

    Example: rockglacier import hunza/export/qgis/hunza-2024.gpkg --study hunza.yaml
    """
    if _are_folders(given):
        _import_chips(given, labels, to)
    else:
        _import_inventory(given[0], study, period)


def _are_folders(given: list[Path]) -> bool:
    """Say whether chips were given, and not one inventory."""
    from rockglacier.errors import InputError

    for path in given:
        # an inventory may lie in an archive, as in edited.zip!outlines.shp
        if not path.exists() and not Path(str(path).partition("!")[0]).is_file():
            raise InputError(
                f"there is nothing at {str(path)!r}",
                expected="a folder of chips, or an inventory that was edited in QGIS",
                todo="check the path",
            )
    if all(path.is_dir() for path in given):
        return True
    if len(given) > 1:
        raise InputError(
            f"{len(given)} paths, of which some are files",
            expected="folders of chips, or one edited inventory",
            todo="import one inventory after the other",
        )
    return False


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


def _import_inventory(edited: Path, study: Path | None, period: str | None) -> None:
    from rockglacier.console import command, out
    from rockglacier.errors import InputError
    from rockglacier.inventory import corrected
    from rockglacier.inventory import edited as editing
    from rockglacier.inventory.edited_file import in_period_of
    from rockglacier.storage import lease

    if study is None:
        raise InputError(
            f"{str(edited)!r} is an inventory, and no study is named",
            expected="the study that it is of",
            todo=command("import", edited, "--study", "STUDY.yaml"),
        )
    opened = study_of(study)
    opened = in_period_of(opened.of_period(period) if period else opened, edited)
    with lease(opened.folder):
        taken = editing.import_edited(opened, edited)
        files = corrected.write_corrected(opened)
    out.print("\n".join(editing.lines_of(taken)))
    if opened.selection_path.is_file() or opened.config.inventory.threshold is not None:
        run_one(study, "inventory", cluster="threads")
    else:
        out.print(
            "next: rockglacier map AREA --model BUNDLE again, which keeps all but the outlines"
        )
    out.print(editing.precision_line(opened))
    out.print(
        "to learn from the corrections, in the study's file:\n" + corrected.settings_of(files),
        markup=False,
    )
