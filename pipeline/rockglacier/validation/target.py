"""What an address is of, and the checks that it gets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from rockglacier.engine import Progress, silent
from rockglacier.errors import InputError
from rockglacier.storage import RemotePath, open_place, read_bytes, sha256_of
from rockglacier.validation.catalog import catalog_verdicts
from rockglacier.validation.cube import cube_findings
from rockglacier.validation.finding import Finding, Verdict
from rockglacier.validation.raster import raster_findings
from rockglacier.validation.table import table_findings
from rockglacier_stac import files
from rockglacier_stac.errors import StacError

EXPECTED = (
    "a study's YAML file, a published catalog, a folder that holds one, a cube (.zarr), a "
    "cloud-optimized GeoTIFF (.tif) or GeoParquet (.parquet)"
)
SUMS = "SHA256SUMS"


def validate_target(
    address: str, *, quick: bool = False, progress: Progress = silent
) -> list[Verdict]:
    """Check whatever lies at an address.

    Parameters
    ----------
    address
        Path or URI of a study's file, a catalog, the folder of products or of a deposit, a cube, a
        raster or a table; the last two over HTTP too.
    quick
        Whether sizes of files and of a cube's objects are compared alone, not their checksums.
    progress
        Told after every block of a cube.

    Returns
    -------
    list of Verdict
        One a file.

    Raises
    ------
    InputError
        Nothing that can be checked is there.
    """
    kind = urlsplit(address).path.rpartition(".")[2].lower()
    if kind in ("yaml", "yml"):
        return _of_study(Path(address), quick=quick, progress=progress)
    if address.startswith(("http://", "https://")):
        return [_over_http(address, kind)]
    path = open_place(address)
    if not path.exists():
        raise _nothing(address)
    if kind in ("tif", "tiff"):
        return [_verdict(path.name, "COG", raster_findings(str(path)))]
    if kind in ("parquet", "geoparquet"):
        return [_verdict(path.name, "GeoParquet", table_findings(path))]
    if (path / "zarr.json").is_file():
        return [_verdict(path.name, "cube", cube_findings(path, quick=quick, progress=progress))]
    if path.is_file():
        catalog = _required(path)
        return [*catalog_verdicts(catalog, assets_elsewhere=True, quick=quick, progress=progress)]
    return _of_folder(path, address, quick=quick, progress=progress)


def _of_study(path: Path, *, quick: bool, progress: Progress) -> list[Verdict]:
    from rockglacier.study import open_study

    study = open_study(path)
    catalog = study.require(study.stac_path / "catalog.json", stage="publish")
    return [*catalog_verdicts(catalog, quick=quick, progress=progress)]


def _of_folder(folder: Path, address: str, *, quick: bool, progress: Progress) -> list[Verdict]:
    for place in (folder, folder / "stac"):
        if (place / "catalog.json").is_file():
            catalog = place / "catalog.json"
            verdicts = [
                *catalog_verdicts(catalog, assets_elsewhere=True, quick=quick, progress=progress)
            ]
            if (folder / SUMS).is_file() and not quick:
                verdicts.append(_verdict(SUMS, "checksums", _sum_findings(folder)))
            return verdicts
    raise _nothing(address)


def _required(path: Path) -> Path:
    if path.suffix != ".json":
        raise _nothing(str(path))
    return path


def _over_http(address: str, kind: str) -> Verdict:
    name = urlsplit(address).path.rpartition("/")[2]
    if kind in ("tif", "tiff"):
        return _verdict(name, "COG", raster_findings(address))
    if kind not in ("parquet", "geoparquet"):
        raise InputError(
            f"{address.partition('?')[0]!r} cannot be checked over HTTP",
            expected="a raster (.tif) or a table (.parquet)",
            todo="get a catalog or a cube first, or name it in its object store (s3://...)",
        )
    try:
        content = files.read_bytes(address)
    except StacError as error:
        raise InputError(error.found, expected=error.expected, todo=error.todo) from error
    return _verdict(name, "GeoParquet", table_findings(content))


def _sum_findings(folder: Path) -> Iterator[Finding]:
    for line in read_bytes(folder / SUMS).decode("utf-8", "replace").splitlines():
        said, _, name = line.partition("  ")
        path = folder.joinpath(*name.split("/"))
        if ".." in name.split("/") or name.startswith("/"):
            held = "not of this folder"
        else:
            held = sha256_of(path) if path.is_file() else "missing"
        if held != said:
            yield Finding(
                found=f"{name}: {held}", expected=said, todo="rockglacier publish --to deposit"
            )


def _verdict(what: str, kind: str, findings: Iterator[Finding]) -> Verdict:
    return Verdict(what=what, kind=kind, findings=tuple(findings))


def _nothing(address: str) -> InputError:
    shown = address if "://" not in address else str(RemotePath(address.partition("?")[0]))
    return InputError(
        f"there is nothing at {shown!r} that can be checked",
        expected=EXPECTED,
        todo="check the address",
    )
