"""What a packed model says of itself: model card, licence, and how it is to be used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rockglacier.scenes.notices import notices
from rockglacier.study import Study

NO_LICENSE = "other"
SCORES = ("iou_rock_glacier", "f1_rock_glacier", "precision_rock_glacier", "recall_rock_glacier")


def packing(study: Study) -> dict[str, Any]:
    """Return how a packed model is to be used, and whether it may be passed on.

    Weights carry the licence of the outlines that they were learnt from: without a licence they
    are marked as not redistributable.
    """
    config = study.config
    return {
        "basin": config.name,
        "period": config.search.period,
        "window": config.predict.window,
        "resolution": config.cube.resolution,
        "license": config.publish.license,
        "redistributable": config.publish.license != NO_LICENSE,
        "attribution": config.publish.attribution,
        "provider": config.publish.provider,
    }


def model_card(
    study: Study,
    settings: Mapping[str, Any],
    facts: Mapping[str, Any],
    evaluation: Mapping[str, Any] | None,
) -> str:
    """Return the model card, Markdown.

    Parameters
    ----------
    study
        Where it was trained.
    settings
        The content of ``model.json``.
    facts
        The content of ``bundle.json``.
    evaluation
        The content of ``evaluation.json``, or None if it was not scored.
    """
    parts = [
        _what_it_is(settings, facts),
        _data(study, settings),
        _scores(settings, evaluation),
        _license(study, facts),
        _limits(facts),
    ]
    return "\n".join(parts)


def _what_it_is(settings: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    return f"""# Rock glaciers of {facts["basin"]}, {facts["period"]}: {settings["network"]}

A {settings["size"]} {settings["network"]} ({settings["parameters"] / 1e6:.2f} million weights, from
random ones) that gives each pixel of {facts["resolution"]:g} m the probability of being a rock
glacier. Use: `rockglacier map AREA.gpkg --model THIS_FILE`.

- input: {len(settings["channels"])} features of set `{settings["set"]}`:
  {", ".join(settings["channels"])}
- fusion: `{settings["fusion"]}` (in `fusion.json`, used as it is)
- output: probability after temperature {settings["temperature"]:.3f}; a rock glacier from
  {settings["threshold"]:.2f}
- windows of {facts["window"]} pixels, blended
"""


def _data(study: Study, settings: Mapping[str, Any]) -> str:
    trained_on, search = ", ".join(settings["basins"]), study.config.search
    return f"""## Data

- basins: {trained_on}
- imagery: `{search.collection}`, {search.start} to {search.end}
- elevation: `{search.dem_collection}`
- outlines: {study.config.publish.attribution or "source not given"}
- split of the ground: {settings["split"]}, guard band {study.config.labels.guard} pixels
- trained for {settings["epochs"]} epochs ({settings["steps"]} steps of {settings["batch"]} chips of
  {settings["chip"]} pixels), seed {settings["seed"]}, {settings["precision"]} on
  {settings["device"]}
"""


def _scores(settings: Mapping[str, Any], evaluation: Mapping[str, Any] | None) -> str:
    grounds = [("validation (chosen on it)", settings["validation"])]
    scored = (evaluation or {}).get("networks", {}).get(settings["network"])
    if evaluation and scored:
        grounds.append((str(evaluation["split"]), scored))
    lines = ["## Scores", "", "| ground | " + " | ".join(SCORES) + " |"]
    lines.append("|---" * (len(SCORES) + 1) + "|")
    for ground, values in grounds:
        lines.append(f"| {ground} | " + " | ".join(_shown(values[name]) for name in SCORES) + " |")
    if not scored:
        lines += ["", "It was not scored on ground that it never saw."]
    return "\n".join([*lines, ""])


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _license(study: Study, facts: Mapping[str, Any]) -> str:
    said = "\n".join(f"- {notice}" for notice in notices(study))
    if facts["redistributable"]:
        terms = f"`{facts['license']}`, which follows from the outlines that it was trained on."
    else:
        terms = (
            "None. The outlines that it was trained on came without a licence: these weights are "
            "**not redistributable**."
        )
    return f"## Licence\n\n{terms}\n\n{said}\n"


def _limits(facts: Mapping[str, Any]) -> str:
    return f"""## Limits

- It finds candidates. Activity, kinematics and what feeds a landform cannot be seen by it.
- It knows the ground of {facts["basin"]}: elsewhere expect less than the scores above.
- Debris-covered glaciers, talus, moraine, cast shadow and late snow are what it confuses; landforms
  below 0.1 km² are often missed.
- Its features must be made from the same bands, at the same resolution, with its own fusion.
"""
