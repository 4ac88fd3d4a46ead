"""A folder ready for a data repository: products, what they mean, and how they were made."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Final

import geopandas as gpd
import pandas as pd
import pyarrow.parquet as pq
import yaml

from rockglacier import __version__, origin
from rockglacier.catalog import write_catalog
from rockglacier.inventory.schema import COLUMNS
from rockglacier.scenes.record import read_scenes
from rockglacier.storage import (
    local_copy,
    local_folder,
    put,
    read_json,
    readable,
    remove,
    sha256_of,
    upload,
    write_text,
)
from rockglacier.study import Study
from rockglacier_stac.collection import COLLECTIONS, CollectionName, Publication
from rockglacier_stac.extensions import METHOD, Json
from rockglacier_stac.item import ARCHITECTURES, ZARR

LEARNT_FROM: Final = frozenset({"labels", "splits"})
"""Assets that are somebody else's outlines, or made from them."""
OWN_LICENSE: Final = "Apache-2.0"
"""Of this program, whose text is at hand, and has to be passed on (section 4a). Creative Commons is
content with the address of its texts (CC-BY-4.0, section 3a1)."""
UNITS: Final = (
    ("_km2", "km²"), ("_km", "km"), ("_m", "m"), ("_deg", "degrees"), ("_share", "1"),
    ("probability", "1"), ("spread", "1"), ("agreement", "1"), ("pixels", "pixels"),
)  # fmt: skip
RASTERS: Final = (
    ("probability.tif", "probability", "percent", "Probability of a rock glacier", "255"),
    ("classes.tif", "classes", "class", "0 background, 1 candidate of a rock glacier", "255"),
    ("spread.tif", "spread", "percentage points", "Standard deviation over the ensemble", "255"),
    ("agreement.tif", "agreement", "percent", "Share of networks that call it one", "255"),
)


def write_deposit(study: Study, publication: Publication, folder: Path | None = None) -> Path:
    """Write the deposit of a published study.

    Parameters
    ----------
    study
        Published.
    publication
        What is said of all its products.
    folder
        Default: ``deposit`` in the study's folder; what it held before is replaced.

    Returns
    -------
    Path
        The folder: the single-file products where they lie in the study's folder too, a valid
        catalog of them, and README.md, LICENSE, ATTRIBUTION.md, CITATION.cff, methods.md,
        fields.csv and SHA256SUMS.

    Notes
    -----
    The cube is left out: it is large, and follows from the scenes that ``scenes.parquet`` names.
    Outlines that a model learnt from are left out, and without a licence the model is too.
    """
    study.require(study.stac_path / "catalog.json", stage="publish")
    folder = folder or study.folder / "deposit"
    remove(folder)
    with local_folder(folder) as place:
        _fill(study, publication, place)
        upload(place, folder)
    return folder


def _fill(study: Study, publication: Publication, folder: Path) -> None:
    items = _items(study)
    now = max(item["properties"]["updated"] for found in items.values() for item in found)
    for found in items.values():
        for item in found:
            for asset in item["assets"].values():
                path = asset["href"].removeprefix(f"{origin.UP}/")
                _copy(study.folder / path, folder / path)
    for path in (study.scenes_path, study.dem_path):
        if path.is_file():
            _copy(origin.public_record(study, path), folder / path.name)
    write_catalog(folder / "stac", publication, items, now=now)
    texts = {
        "README.md": _readme(study, publication, items),
        "LICENSE": _license(publication),
        "ATTRIBUTION.md": _attribution(publication),
        "CITATION.cff": _citation(study, publication, items),
        "methods.md": methods(study),
        "fields.csv": fields_csv(),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    write_text(folder / "SHA256SUMS", "".join(_sums(folder)))


def _copy(path: Path, to: Path) -> None:
    with local_copy(path) as copy:
        put(copy, to)


def _items(study: Study) -> dict[CollectionName, list[Json]]:
    """Return the published items with those assets that are deposited."""
    found: dict[CollectionName, list[Json]] = {}
    left: set[str] = set()
    for name in COLLECTIONS:
        for path in sorted((study.stac_path / name).glob("*.json")):
            item = read_json(path)
            if item["type"] != "Feature" or item["properties"].get("deprecated"):
                continue
            item["assets"] = {
                key: asset
                for key, asset in item["assets"].items()
                if asset["type"] != ZARR and key not in LEARNT_FROM
            }
            is_given = item["properties"].get("rockglacier:redistributable", True)
            if not is_given or not item["assets"]:
                left.add(f"../{name}/{path.name}")
                continue
            found.setdefault(name, []).append(item)
    for documents in found.values():
        for item in documents:
            item["links"] = [
                link
                for link in item["links"]
                if link["rel"] == "derived_from"
                and link["href"] not in left
                and (
                    "://" in link["href"]
                    or (
                        link["href"].startswith((f"{origin.UP}/", "../"))
                        and not link["href"].startswith(f"{origin.UP}/../")
                    )
                )
            ]
    return found


def _readme(
    study: Study, publication: Publication, items: Mapping[CollectionName, list[Json]]
) -> str:
    rows = [
        f"| `{asset['href'].removeprefix(f'{origin.UP}/')}` | {asset['title']} |"
        for found in items.values()
        for item in found
        for asset in item["assets"].values()
    ]
    return f"""# {publication.title}

{publication.description}

| file | what it is |
|---|---|
{chr(10).join(dict.fromkeys(rows))}
| `stac/` | a STAC catalog of all this; `stac/items.parquet` is the same as a table |
| `fields.csv` | name, unit, meaning and nodata of every column and raster |
| `methods.md` | how it was made |
| `SHA256SUMS` | `sha256sum -c SHA256SUMS` checks every file |

Coordinates: rasters in EPSG:{study.grid.epsg}, outlines in EPSG:4326. Made with rockglacier
{__version__}. Licence: LICENSE. What has to be said when this is used: ATTRIBUTION.md.
"""


def _license(publication: Publication) -> str:
    if publication.license == "other":
        return "No licence was chosen: ask the publisher before you pass the data on.\n"
    identifier = f"SPDX-License-Identifier: {publication.license}\n\n"
    text = distribution("rockglacier").read_text("licenses/LICENSE")
    if publication.license == OWN_LICENSE and text:
        return identifier + text
    return f"{identifier}The text: https://spdx.org/licenses/{publication.license}.html\n"


def _attribution(publication: Publication) -> str:
    said = [f"- {notice}" for notice in publication.attribution]
    method = f"- Method: {METHOD['citation']} https://doi.org/{METHOD['doi']}"
    return "\n".join(["# Attribution", "", *said, method]) + "\n"


def _citation(
    study: Study, publication: Publication, items: Mapping[CollectionName, list[Json]]
) -> str:
    stamps = [item["properties"]["updated"] for found in items.values() for item in found]
    values: dict[str, Any] = {
        "cff-version": "1.2.0",
        "message": "Cite this dataset as below.",
        "type": "dataset",
        "title": publication.title,
        "authors": [{"name": study.config.publish.provider or "to be filled in"}],
        "version": study.config.publish.version or __version__,
        "date-released": max(stamps)[:10],
        "references": [
            {
                "type": "article",
                "title": "The study whose method this follows",
                "authors": [{"name": "see the DOI"}],
                "doi": METHOD["doi"],
                "journal": "Remote Sensing",
                "year": 2025,
            }
        ],
    }
    if publication.license != "other":
        values["license"] = publication.license
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def fields_csv() -> str:
    """Return name, unit, meaning and nodata of every column of the inventory and every raster."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["file", "name", "unit", "meaning", "nodata"])
    for name, column in COLUMNS.items():
        writer.writerow(["inventory.parquet", name, _unit(name), column.description, "empty"])
    writer.writerow(["inventory.parquet", "geometry", "", "Outline, EPSG:4326.", ""])
    writer.writerows(RASTERS)
    return buffer.getvalue()


def _unit(name: str) -> str:
    return next((unit for part, unit in UNITS if re.search(f"{part}(_|$)", name)), "")


def methods(study: Study) -> str:
    """Return how the products were made, as prose, from what the run recorded."""
    parts = ["# Methods", _imagery(study), _elevation(study), *_networks(study), _outlines(study)]
    return "\n\n".join(parts) + "\n"


def _imagery(study: Study) -> str:
    search, cube = study.config.search, study.config.cube
    scenes = read_scenes(study.scenes_path)
    moments = sorted(scene.datetime for scene in scenes)
    span = f", taken from {moments[0]:%Y-%m-%d} to {moments[-1]:%Y-%m-%d}" if moments else ""
    return (
        f"Imagery: {len(scenes)} scene(s) of `{search.collection}`{span}, with less than "
        f"{search.scene_cloud_max:g} % cloud in the scene and {search.basin_cloud_max:g} % over "
        f"the basin; `scenes.parquet` lists them. Bands {', '.join(cube.bands)} were composed to "
        f"pixels of {cube.resolution:g} m in EPSG:{study.grid.epsg} as the {cube.composite} of "
        "the clear looks."
    )


def _elevation(study: Study) -> str:
    tiles = pq.read_metadata(readable(study.dem_path)).num_rows if study.dem_path.is_file() else 0
    return (
        f"Elevation: {tiles} tile(s) of `{study.config.search.dem_collection}`, warped by cubic "
        "convolution to the same pixels; slope and aspect were derived there."
    )


def _networks(study: Study) -> Iterator[str]:
    if not study.selection_path.is_file():
        return
    selection = read_json(study.selection_path)
    settings = read_json(study.models_path / selection["path"] / "model.json")
    name = ARCHITECTURES.get(settings["network"], settings["network"])
    yield (
        f"Network: {name} ({settings['size']}), {len(settings['channels'])} channels of feature "
        f"set `{settings['set']}`, chips of {settings['chip']} pixels, chosen on validation "
        f"ground ({selection['reason']}). Its probabilities were scaled with temperature "
        f"{selection['temperature']:.3f}, and cut at {selection['threshold']:.2f}."
    )
    if not study.evaluation_path.is_file():
        return
    evaluation = read_json(study.evaluation_path)
    lines = []
    for network, scores in sorted(evaluation.get("networks", {}).items()):
        told = [
            f"{label} {scores[key]:.3f}"
            for key, label in (
                ("iou_rock_glacier", "IoU"),
                ("f1_rock_glacier", "F1"),
                ("precision_rock_glacier", "precision"),
                ("recall_rock_glacier", "recall"),
            )
            if scores.get(key) is not None
        ]
        lines.append(f"- {ARCHITECTURES.get(network, network)}: {', '.join(told)}")
    if lines:
        heading = f"Scores of rock glaciers on ground held out from training, {evaluation['split']}"
        yield f"{heading}:\n\n" + "\n".join(lines)


def _outlines(study: Study) -> str:
    table = gpd.read_parquet(readable(study.inventory_path / "inventory.parquet"))
    settings = study.config.inventory
    area = float(pd.to_numeric(table["area_km2"]).sum())
    return (
        f"Outlines: {len(table)} outline(s) of together {area:.3f} km² (geodesic), none smaller "
        f"than {settings.min_area_km2:g} km², simplified with a tolerance of "
        f"{settings.simplify_m:g} m. Outlines are candidates until a person confirms them."
    )


def _sums(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield f"{sha256_of(path)}  {path.relative_to(folder).as_posix()}\n"
