"""What networks learnt from as a STAC item: outlines by people, and the split of the ground."""

from __future__ import annotations

from dataclasses import replace

from rockglacier import origin
from rockglacier.model.card import packing
from rockglacier.products.names import item_id
from rockglacier.products.tables import table_of
from rockglacier.study import Study
from rockglacier_stac import item
from rockglacier_stac.extensions import Json
from rockglacier_stac.item import Source

COLLECTION = "inventories"


def label_item(study: Study) -> Json | None:
    """Return the item of the label set; None for a study that was not labelled."""
    if not study.label_table_path.is_file():
        return None
    outlines = origin.file_asset(
        study,
        "labels",
        study.label_table_path,
        item.GEOPARQUET,
        "Outlines that the networks learnt from",
        roles=("data", "labels"),
    )
    splits = origin.file_asset(
        study,
        "splits",
        study.splits_path,
        item.GEOPARQUET,
        "Training, validation and test ground",
    )
    splits = {
        name: replace(asset, fields={**asset.fields, **table_of(study.splits_path)})
        for name, asset in splits.items()
    }
    document = item.inventory_item(
        item_id(study, "labels"),
        title=_title(study),
        place=origin.place_of(study.area),
        period=origin.period_of(study),
        provenance=origin.provenance(
            study,
            level="L4",
            how="outlines of the reference, joined and repaired; ground split for training",
            software=("shapely", "geopandas"),
        ),
        assets={**outlines, **splits},
        sources=(),
        table=table_of(study.label_table_path),
    )
    document["properties"]["rockglacier:redistributable"] = packing(study)["redistributable"]
    return document


def label_source(study: Study) -> tuple[Source, ...]:
    """Return a link to the label set's item, if there is one."""
    if not study.label_table_path.is_file():
        return ()
    return (origin.own_source(COLLECTION, item_id(study, "labels"), _title(study)),)


def _title(study: Study) -> str:
    return f"Label set of {study.config.name}, {study.config.search.period}"
