"""Sections that close the page: what is thin, where it all comes from, and under which licence."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from rockglacier import origin
from rockglacier.report.layers import Products, read_days
from rockglacier.report.parts import Section, Table
from rockglacier.scenes.notices import notices
from rockglacier.storage import read_json

FEW: Final = 20
"""Landforms below which a score on them is a rough figure."""

SOFTWARE: Final = (
    "rockglacier", "numpy", "rasterio", "zarr", "geopandas", "shapely", "odc-stac", "torch",
    "torchgeo", "segmentation-models-pytorch",
)  # fmt: skip
STAGES: Final = (
    "search", "label", "cube", "fuse", "train", "evaluate", "predict", "inventory",
)  # fmt: skip
TOLD: Final = (str, int, float)


def thin(products: Products) -> Section:
    """Say what the numbers rest on that is little."""
    study, inventory = products.study, products.inventory
    said = ["Every outline is a candidate: activity, kinematics and origin are left to a person."]
    dates = read_days(study).nunique()
    if dates < 3:
        said.append(f"{dates} date(s) of imagery: a median of so few looks keeps what is odd.")
    test = (products.matches or {}).get("test")
    if test and test["n_b"] < FEW:
        said.append(f"{test['n_b']} landforms on the test ground: scores of outlines are rough.")
    if study.config.train.trials == 1 and products.evaluation:
        said.append("One trial a network: differences between networks may be chance.")
    truncated = int(inventory["truncated"].sum()) if "truncated" in inventory else 0
    if truncated:
        said.append(f"{truncated} outlines are cut by the edge of the area or of the data.")
    if products.reference is None:
        said.append("Without a reference nothing here says how right the outlines are.")
    if study.config.publish.license == "other":
        said.append("No licence was chosen: neither the data nor the model may be passed on.")
    if study.config.features.set.startswith("paper"):
        said.append("The feature set is one reading of the 2025 paper; its text allows others.")
    return Section(key="thin", title="What is thin", notes=tuple(said))


def provenance(products: Products) -> Section:
    """Say what made each product, and from which settings."""
    study = products.study
    receipts = [
        {"stage": stage, **_told(receipt)}
        for stage in STAGES
        if (receipt := products.json(study.receipts_path / f"{stage}.json")) is not None
    ]
    found = []
    if receipts:
        said = "Stages: how long each took, and the hash that later ones depend on"
        found.append(Table(name="stages", caption=said, frame=pd.DataFrame(receipts)))
    versions = [(name, origin.version_of(name)) for name in SOFTWARE]
    frame = pd.DataFrame([v for v in versions if v[1]], columns=["software", "version"])
    found.append(Table(name="software", caption="Software of this report", frame=frame))
    found.append(Table(name="settings", caption="Settings", frame=_settings(products)))
    notes = [f"{len(products.inventory)} outlines, period {study.period.name}."]
    if len(products.inventory):
        first = products.inventory.iloc[0]
        notes.append(f"Model {first['model_id']}, run {first['run_id']}.")
    if study.selection_path.is_file():
        chosen = read_json(study.selection_path)
        notes.append(
            f"Network {chosen['network']}, trial {chosen['trial']}, threshold "
            f"{chosen['threshold']:.3f}, temperature {chosen['temperature']:.3f}: "
            f"{chosen.get('reason', 'chosen on validation ground')}."
        )
        weights = products.json(study.models_path / chosen["path"] / "model.json") or {}
        if weights.get("weights"):
            notes.append(f"SHA-256 of its weights: {weights['weights']}.")
    return Section(
        key="provenance", title="Provenance", notes=tuple(notes), tables=tuple(found)
    )  # fmt: skip


def _told(receipt: dict[str, Any]) -> dict[str, Any]:
    facts = receipt.get("facts", {})
    short = "; ".join(f"{k.replace('_', ' ')} {v}" for k, v in facts.items() if isinstance(v, TOLD))
    return {"seconds": receipt.get("seconds"), "hash": receipt.get("output"), "facts": short}


def _settings(products: Products) -> pd.DataFrame:
    told = origin.told_settings(products.study)
    rows = [
        {"section": section, "setting": name, "value": _words(value)}
        for section, values in told.items()
        for name, value in (values.items() if isinstance(values, dict) else [("", values)])
    ]
    return pd.DataFrame(rows, columns=["section", "setting", "value"])


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def sources(products: Products) -> Section:
    """Carry the notices that users of the data have to pass on."""
    config = products.study.config
    said = [*notices(products.study), f"Licence: {config.publish.license}."]
    if config.publish.provider:
        said.append(f"Published by {config.publish.provider}.")
    said.append("The method follows Remote Sensing 2025, 17(24), 3942, doi 10.3390/rs17243942.")
    return Section(key="sources", title="Sources and licence", notes=tuple(said))
