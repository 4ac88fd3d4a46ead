"""A basin for the whole pipeline, its scenes in a store and a STAC API, and what two runs share."""

import io
import json
import re
import zipfile

import pyarrow.parquet as pq
import stac_geoparquet.arrow

from rockglacier.config import parse_config
from rockglacier.demo.basin import make_basin
from rockglacier.storage import put
from rockglacier.study import Study
from rockglacier_stac.transactions import TransactionApi

SIZE_KM = (4.0, 3.0)
SETTINGS = {
    "name": "everywhere",
    "search": {"start": "2024-07-01", "end": "2024-10-31"},
    "cube": {"block": 256, "bands": ["B02", "B03", "B04", "B08", "B11"]},
    "labels": {"split": "strip", "test_share": 0.25, "validation_share": 0.2, "guard": 32},
    "train": {
        "networks": ["unet"],
        "size": "small",
        "chip": 64,
        "batch": 4,
        "epochs": 2,
        "trials": 1,
        "chips_per_epoch": 8,
        "precision": "float32",
    },
    "predict": {"window": 64, "overlap": 0.5},
    "inventory": {"threshold": 0.5, "min_area_km2": 0.01},
    "publish": {"license": "CC0-1.0", "provider": "University of Nowhere"},
}


def study_of(basin, *, catalog, output, base, **publish):
    settings = {
        **SETTINGS,
        "area": str(basin.area),
        "output": output,
        "search": {**SETTINGS["search"], "catalog": catalog},
        "labels": {**SETTINGS["labels"], "reference": str(basin.reference)},
        "publish": {**SETTINGS["publish"], **publish},
    }
    return Study(config=parse_config(settings, source="test"), base=base)


def serve_scenes(basin, place, api):
    """Put a basin's COGs into a store, and its items into a STAC API."""
    table = pq.read_table(basin.items)
    items = list(stac_geoparquet.arrow.stac_table_to_items(table))
    for item in items:
        item["links"] = []
        item["properties"] = {k: v for k, v in item["properties"].items() if v is not None}
        for asset in item["assets"].values():
            source = basin.folder / asset["href"]
            target = place / asset["href"]
            put(source, target)
            asset["href"] = str(target)
    collections = json.loads(table.schema.metadata[b"stac-geoparquet"])["collections"]
    TransactionApi(api).send([*collections.values()], items)


def texts_of(path):
    """Yield all that a file says, unpacked: what a search for a secret has to look at."""
    data = path.read_bytes()
    yield data.decode("latin-1")
    if path.suffix == ".parquet":
        table = pq.ParquetFile(io.BytesIO(data)).read()
        yield f"{table.schema.metadata} {table.to_pylist()}"
    elif path.suffix == ".zip":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                yield archive.read(name).decode("latin-1")


def without_places(document):
    """Return a STAC object without what has to differ: addresses, times, hashes of settings.

    Nor what is null, which pgstac leaves out.
    """
    if isinstance(document, dict):
        dropped = {"href", "created", "updated", "file:checksum", "file:size", "catalog", "area"}
        return {
            name: without_places(value)
            for name, value in document.items()
            if name not in dropped and value is not None
        }
    if isinstance(document, list):
        return [without_places(value) for value in document]
    if isinstance(document, str):
        return re.sub(r"settings [0-9a-f]+", "settings", document)
    return document


__all__ = ["SIZE_KM", "make_basin", "serve_scenes", "study_of", "texts_of", "without_places"]
