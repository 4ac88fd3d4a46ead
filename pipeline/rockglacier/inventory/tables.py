"""The inventory stage: a basin's probabilities become tables of candidates.

Every outline here is a *candidate*: a model drew it and nobody has looked at it yet.
"""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np

from rockglacier.engine import Progress, silent
from rockglacier.inventory import geoparquet, qgis
from rockglacier.inventory.about import about_inventory
from rockglacier.inventory.across import write_across
from rockglacier.inventory.attributes import BAND_M
from rockglacier.inventory.candidates import draw, ground_of, measured
from rockglacier.inventory.domains import Domains, domains_of
from rockglacier.inventory.ids import names_of
from rockglacier.inventory.overlaps import overlap_columns
from rockglacier.inventory.references import (
    REFERENCE_COLUMNS,
    Matched,
    known_outlines,
    matched_with,
    write_matches,
)
from rockglacier.inventory.review import review_queue
from rockglacier.inventory.reviews import read_reviews, review_counts, with_reviews
from rockglacier.inventory.schema import table_of
from rockglacier.inventory.sources import (
    Model,
    doubts_of,
    probability_of,
    source_of,
    splits_of,
)
from rockglacier.inventory.versions import (
    history_of,
    other_periods,
    previous_names,
    retired_ids,
    write_changes,
)
from rockglacier.inventory.water import water_table
from rockglacier.inventory.whereabouts import write_tables
from rockglacier.storage import Traffic, listing, open_group, write_json, write_text
from rockglacier.storage.vector import in_degrees
from rockglacier.study import Study


def build_inventory(
    study: Study, *, bundle: Model | None = None, progress: Progress = silent
) -> dict[str, Any]:
    """Draw, measure, name and match the candidates of a study, and write the inventory.

    Parameters
    ----------
    study
        With its prediction and cube; with ``labels.parquet`` and ``splits.parquet`` if it learned.
    bundle
        The given model, if the study maps with one.
    progress
        Told of blocks and of landforms.

    Returns
    -------
    dict
        ``objects``, ``area_km2``, ``threshold``, ``dropped_small``, ``dropped_outside``,
        ``kept_ids``, ``to_review``, ``edited_kept``, ``version``; with a reference also
        ``reference``, ``matched`` and the same on held-out ground, ``test_reference``,
        ``test_matched``, ``test_objects``. Last ``read_bytes`` of rasters and ``written_bytes`` of
        files.

    Raises
    ------
    NotFoundError
        The prediction or the cube is missing.
    ContractError
        The prediction does not lie on the study's grid.

    Notes
    -----
    Writes ``inventory.parquet``, ``inventory.gpkg``, ``across.parquet`` (landforms that reach into
    the area from beside it), ``hypsometry.csv``, ``tables/*.csv`` (where they sit), ``CHANGES.csv``
    (what became of every landform, a version each time that something did), with a reference
    ``matches.parquet`` and ``matches.json``, and with ``inventory.hydrology`` ``water.csv`` and
    ``water.json``. A GeoPackage that was edited since is set aside first.
    """
    traffic = Traffic()
    probability = probability_of(study, traffic=traffic)
    cube = open_group(study.require(study.cube_path, stage="cube"), traffic=traffic)
    source = source_of(study, bundle)
    drawn = draw(study, probability, threshold=source.threshold, progress=progress)
    reviews = read_reviews(study)
    drawn, decided = with_reviews(drawn, reviews, study.grid)
    outlines, points = in_degrees(drawn.outlines), drawn.points.to_crs(4326)
    # what is wrong with a file is told before hours of measuring
    domains = study_domains(study)
    overlaps = {name: study.resolve(uri) for name, uri in study.config.inventory.overlaps.items()}
    extra, values = overlap_columns(drawn.outlines, overlaps)
    previous, others = previous_names(study), other_periods(study)
    history = history_of(study)
    names = names_of(
        outlines,
        points,
        previous,
        others=others,
        retired=retired_ids(history, previous) | frozenset(reviews["candidate_id"]),
        fixed={place: str(own["candidate_id"]) for place, own in enumerate(decided) if own},
    )
    splits = splits_of(study, bundle)
    doubts = doubts_of(study, traffic=traffic)
    rows, bands = measured(study, drawn, probability, cube, doubts=doubts, progress=progress)
    origin = {
        "model_id": source.model_id,
        "run_id": source.run_id,
        "period": study.period.name,
    }
    merged = [
        {
            **row,
            **own,
            **origin,
            **{name: column[place] for name, column in values.items()},
            "candidate_id": names.ids[place],
            "replaces": names.replaces[place],
            "n_periods_found": 1
            + sum(bool((other["candidate_id"] == names.ids[place]).any()) for other in others),
            "geometry": outlines.iloc[place],
            **decided[place],
        }
        for place, (row, own) in enumerate(
            zip(rows, ground_of(drawn, splits, study.grid), strict=True)
        )
    ]
    waiting = [row for row, own in zip(merged, decided, strict=True) if not own]
    queue = iter(review_queue(waiting, threshold=source.threshold))
    table = table_of(
        [row if own else {**row, **next(queue)} for row, own in zip(merged, decided, strict=True)],
        extra=extra,
    )
    facts: dict[str, Any] = {
        "objects": len(table),
        "area_km2": round(float(table["area_km2"].sum()), 4),
        "threshold": source.threshold,
        "dropped_small": drawn.small,
        "dropped_outside": drawn.outside,
        "kept_ids": 0
        if previous is None
        else int(np.isin(names.ids, previous["candidate_id"]).sum()),
        "to_review": int(table["review_reason"].notna().sum()),
    }
    facts["version"] = write_changes(study, history, names, source)
    write_across(study, drawn, reviews, probability, cube, origin, taken=frozenset(names.ids))
    write_json(study.inventory_path / "reviews.json", review_counts(reviews, waiting=len(waiting)))
    matched = matched_with(study, table)
    hypsometries = dict(zip(names.ids, bands, strict=True))
    facts |= _write(study, table, points, hypsometries, matched, domains)
    write_tables(study, table, drawn, cube, reference=known_outlines(study), progress=progress)
    facts |= _write_water(study, table)
    facts |= write_matches(study, table, splits, matched)
    files = (*listing(study.inventory_path), *listing(study.inventory_path / "tables"))
    written = sum(path.stat().st_size for path in files if path.is_file())
    return {**facts, **traffic.taken(), "written_bytes": written}


def _write(
    study: Study,
    table: gpd.GeoDataFrame,
    points: gpd.GeoSeries,
    bands: dict[str, dict[int, int]],
    matched: Matched | None,
    domains: Domains,
) -> dict[str, Any]:
    folder = study.inventory_path
    package, record = folder / "inventory.gpkg", study.receipts_path / "inventory" / "gpkg.json"
    edited = qgis.set_aside_if_edited(package, record)
    about = about_inventory(study)
    geoparquet.write_geoparquet(table, folder / "inventory.parquet", about=about)
    qgis.write_geopackage(
        package,
        table,
        points,
        study.area,
        name=study.config.name,
        period=study.period.name,
        reference=None if matched is None else matched.reference[list(REFERENCE_COLUMNS)],
        matches=None if matched is None else matched.links,
        domains=domains,
        about=about,
    )
    qgis.remember(package, record)
    lines = ["candidate_id,band_from_m,band_to_m,thousandths"]
    lines += [
        f"{name},{low},{low + BAND_M},{n}"
        for name, shares in bands.items()
        for low, n in shares.items()
    ]
    write_text(folder / "hypsometry.csv", "\n".join(lines) + "\n")
    return {"edited_kept": edited.name if edited else None}


def study_domains(study: Study) -> dict[str, tuple[str, ...]]:
    """Return the values that RGIK columns may have in a study."""
    given = study.config.inventory.domains
    return domains_of(study.resolve(given) if given else None)


def _write_water(study: Study, table: gpd.GeoDataFrame) -> dict[str, Any]:
    settings = study.config.inventory.hydrology
    paths = study.inventory_path / "water.csv", study.inventory_path / "water.json"
    for path in paths:
        path.unlink(missing_ok=True)
    if settings is None:
        return {}
    water, summary = water_table(
        table, ice_fraction=settings.ice_fraction, ice_density=settings.ice_density
    )
    write_text(paths[0], water.round(3).to_csv(index=False))
    write_json(paths[1], summary)
    return {"water_at_most_km3": round(summary["water_high_km3"], 6)}
