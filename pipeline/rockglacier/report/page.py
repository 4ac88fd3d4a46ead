"""The report: one HTML file that holds its figures and loads nothing, and its numbers beside it."""

from __future__ import annotations

import logging
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from rockglacier.engine import Progress, silent
from rockglacier.errors import ContractError
from rockglacier.grid import geodesic_area_km2
from rockglacier.origin import version_of
from rockglacier.report.layers import Products
from rockglacier.report.parts import Section
from rockglacier.report.sections import PAPER_NUMBERS, SECTIONS
from rockglacier.report.style import COLOURS
from rockglacier.report.words import WORDS_USED
from rockglacier.storage import write_bytes, write_text
from rockglacier.study import Study

logger = logging.getLogger(__name__)

LARGEST_BYTES: Final = 20_000_000


def write_report(study: Study, *, progress: Progress = silent) -> dict[str, Any]:
    """Write ``report/index.html``, and its figures (PNG, SVG) and tables (CSV) beside it.

    Parameters
    ----------
    study
        With an inventory; a section whose product is absent says so.
    progress
        Told after every section.

    Returns
    -------
    dict
        ``size_mb``, ``sections``, ``missing`` (titles of those that lack something) and
        ``candidates``.

    Raises
    ------
    NotFoundError
        There are no scenes or no inventory.
    ContractError
        The page is larger than 20 MB.
    """
    study.require(study.scenes_path, stage="search")
    study.require(study.inventory_path / "inventory.parquet", stage="inventory")
    products = Products(study)
    sections = []
    for done, make in enumerate(SECTIONS, start=1):
        if (section := make(products)) is not None:
            sections.append(section)
        progress("report", done, len(SECTIONS))
    text = render(products, sections)
    size = len(text.encode())
    if size > LARGEST_BYTES:
        raise ContractError(
            f"the report has {size / 1e6:.1f} MB",
            expected=f"at most {LARGEST_BYTES / 1e6:.0f} MB",
            todo="report it, with the number of trials and scenes",
        )
    _write_beside(study.report_path.parent, sections)
    write_text(study.report_path, text)
    missing = [section.title for section in sections if section.missing]
    logger.info("report: %.1f MB, lacking: %s", size / 1e6, ", ".join(missing) or "nothing")
    return {
        "size_mb": round(size / 1e6, 3),
        "sections": len(sections),
        "missing": missing,
        "candidates": len(products.inventory),
    }


def render(products: Products, sections: list[Section]) -> str:
    """Return the page as HTML; everything that comes from a file is escaped."""
    study = products.study
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    height, width = study.grid.shape
    return environment.from_string(_packaged("page.html")).render(
        css=Markup(_packaged("page.css")),  # noqa: S704  ours, not a reader's
        js=Markup(_packaged("page.js")),  # noqa: S704
        colours=COLOURS,
        paper=PAPER_NUMBERS if study.config.protocol == "paper" else {},
        hatch=round(max(study.grid.shape) * study.grid.resolution / 90),
        version=version_of("rockglacier") or "",
        title=f"Rock glaciers of {study.config.name}, {study.period.name}",
        summary=f"{geodesic_area_km2(study.area):,.0f} km², EPSG:{study.grid.epsg}, "
        f"{width} × {height} pixels of {study.grid.resolution:g} m. "
        f"Imagery from {study.period.start} to {study.period.end}{_of_several(study)}.",
        words=WORDS_USED,
        facts=_facts(products),
        sections=sections,
    )


def _of_several(study: Study) -> str:
    if len(study.periods) == 1:
        return ""
    others = ", ".join(one.name for one in study.periods if one != study.period)
    return f"; other periods: {others}"


def _packaged(name: str) -> str:
    return files("rockglacier.report").joinpath(name).read_text(encoding="utf-8")


def _facts(products: Products) -> list[tuple[str, str]]:
    """Return the few numbers to read first, what was found apart from what was taught."""
    inventory = products.inventory
    is_seen = inventory["ground"] == "train"
    area = float(inventory["area_km2"][~is_seen].sum())
    count = int((~is_seen).sum())
    where = "outside training ground" if products.splits is not None else "where nothing was taught"
    found = [
        (f"{count}", f"candidate{'s' * (count != 1)} {where}"),
        (f"{area:.2f} km²", "area of those candidates"),
    ]
    if is_seen.any():
        found.append((f"{int(is_seen.sum())}", "on training ground: seen before, not findings"))
    for name, row in (products.evaluation or {}).get("networks", {}).items():
        score = row.get("iou_rock_glacier")
        if score is not None:
            found.append((f"{score:.3f}", f"IoU of {name} on the test ground"))
    corrected = products.json(products.study.inventory_path / "adjusted-area.json") or {}
    if corrected.get("low_km2") is not None:
        low, high = corrected["low_km2"], corrected["high_km2"]
        found.append(
            (f"{low:.2f} to {high:.2f} km²", "area of rock glaciers, corrected for errors, 95 %")
        )
    return found


def _write_beside(folder: Path, sections: list[Section]) -> None:
    """Write figures and tables, and remove those of an earlier report that are gone."""
    names = set()
    for section in sections:
        for picture in section.pictures:
            write_bytes(folder / f"{picture.name}.png", picture.png)
            write_bytes(folder / f"{picture.name}.svg", picture.svg)
            names |= {f"{picture.name}.png", f"{picture.name}.svg"}
        for table in section.tables:
            write_text(folder / f"{table.name}.csv", table.frame.to_csv(index=False))
            names.add(f"{table.name}.csv")
    for path in [path for kind in ("png", "svg", "csv") for path in folder.glob(f"*.{kind}")]:
        if path.name not in names:
            path.unlink()
