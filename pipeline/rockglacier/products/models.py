"""Trained models as STAC items, and what lies beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rockglacier import origin
from rockglacier.model.card import packing
from rockglacier.products.labels import label_source
from rockglacier.products.names import cube_source, item_id, slug
from rockglacier.storage import read_json
from rockglacier.study import Study
from rockglacier_stac import item
from rockglacier_stac.extensions import Json
from rockglacier_stac.item import Asset, ModelFacts, Source

HYPERPARAMETERS: Final = (
    "set", "fusion", "chip", "batch", "seed", "trial", "split", "epochs", "best_epoch", "steps",
    "precision", "threshold", "temperature",
)  # fmt: skip
SCORES: Final = ("iou_rock_glacier", "f1_rock_glacier", "precision_rock_glacier",
                 "recall_rock_glacier")  # fmt: skip


def other_models(study: Study) -> list[Path]:
    """Return the folders of the trained networks that were not selected, the best trial of each."""
    selection = read_json(study.selection_path)
    chosen = read_json(study.models_path / selection["path"] / "model.json")
    best: dict[str, tuple[float, Path]] = {}
    for path in sorted(study.models_path.glob("*/trial-*/model.json")):
        settings = read_json(path)
        same = settings["split"] == chosen["split"] and settings["fusion"] == chosen["fusion"]
        if settings["network"] == chosen["network"] or not same:
            continue
        score = float(settings.get("validation", {}).get("iou_rock_glacier") or 0)
        known = best.get(settings["network"])
        if (path.with_name("model.ckpt")).is_file() and (known is None or score > known[0]):
            best[settings["network"]] = score, path.parent
    return [folder for _, (_, folder) in sorted(best.items())]


def trained_model_item(
    study: Study,
    *,
    folder: Path | None = None,
    href: str | None = None,
    sources: tuple[Source, ...] | None = None,
    more: Mapping[str, Asset] | None = None,
) -> Json:
    """Return the item of a trained model.

    Parameters
    ----------
    study
        Trained.
    folder
        Of the trial; default: the selected one.
    href
        Address of the weights; default: relative to an item in ``stac/models/``.
    sources
        Links to what it was made from; default: the study's cube, label set, scenes and DEM tiles.
    more
        Assets beside the weights.
    """
    if folder is None:
        selection = read_json(study.require(study.selection_path, stage="train"))
        folder = study.models_path / Path(selection["path"])
    settings, fusion = read_json(folder / "model.json"), read_json(study.fusion_path)
    weights = folder / "model.ckpt"
    cube = cube_source(study)
    terms = packing(study)
    begun = _begun_from(settings) or "random weights"
    document = item.model_item(
        item_id(study, slug(settings["network"])),
        title=f"{item.ARCHITECTURES.get(settings['network'], settings['network'])} trained on "
        f"{study.config.name}, {study.period.name}",
        place=origin.place_of(study.area),
        period=origin.period_of(study),
        provenance=origin.provenance(
            study, level="L4", how=f"trained from {begun}", software=("torch", "torchgeo")
        ),
        assets={
            "model": Asset(
                href=href or origin.href(study, weights),
                type=item.CHECKPOINT,
                title="Weights",
                roles=("mlm:model", "mlm:weights"),
                description="State dict; loads with torch.load(href, weights_only=True).",
                fields={"mlm:artifact_type": "torch.save", **origin.file_info(weights)},
            ),
            **(more or {}),
        },
        sources=(cube, *label_source(study), *origin.sources_of(study))
        if sources is None
        else sources,
        facts=_model_facts(study, settings, fusion),
    )
    document["properties"]["rockglacier:redistributable"] = terms["redistributable"]
    document["properties"] |= _scores(study, settings["network"])
    return document


def bundle_asset(study: Study) -> dict[str, Asset]:
    """Return the packed model, if it was packed beside the products."""
    path = bundle_path(study)
    return origin.file_asset(
        study, "bundle", path, "application/zip", "Packed model", roles=("data",)
    )


def bundle_path(study: Study) -> Path:
    """Return where the selected model lies packed."""
    network = slug(read_json(study.selection_path)["network"])
    return study.models_path / f"{study.config.name}-{network}.rgbundle.zip"


def _begun_from(settings: Mapping[str, Any]) -> str | None:
    """Return the weights that its training began from, by name; None: random ones."""
    said = settings.get("pretrained")
    return origin.told_text(str(said)) if said else None


def _model_facts(
    study: Study, settings: Mapping[str, Any], fusion: Mapping[str, Any]
) -> ModelFacts:
    channels = tuple(settings["channels"])
    layers = fusion.get("layers", fusion["channels"])
    # a channel that was fused from several layers has no numbers of its own: 0 and 1 change nothing
    mean = dict.fromkeys(channels, 0.0) | dict(zip(layers, fusion["mean"], strict=True))
    std = dict.fromkeys(channels, 1.0) | dict(zip(layers, fusion["std"], strict=True))
    own = {key: settings[key] for key in HYPERPARAMETERS if settings.get(key) is not None}
    return ModelFacts(
        network=settings["network"],
        size=settings["size"],
        channels=channels,
        mean=tuple(float(mean[name]) for name in channels),
        std=tuple(float(std[name]) for name in channels),
        chip=settings["chip"],
        parameters=settings.get("parameters"),
        framework_version=origin.version_of("torch"),
        batch=study.config.predict.batch,
        pretrained=_begun_from(settings),
        hyperparameters={"learning_rate": study.config.train.learning_rate, **own},
    )


def _scores(study: Study, network: str) -> Json:
    """Return the scores of the model on held-out ground, with the ground's name."""
    if not study.evaluation_path.is_file():
        return {}
    evaluation = read_json(study.evaluation_path)
    scores = evaluation.get("networks", {}).get(network, {})
    found = {name: scores[name] for name in SCORES if scores.get(name) is not None}
    return {"rockglacier:scores": {"ground": evaluation["split"], **found}} if found else {}
