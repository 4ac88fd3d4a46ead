"""What the files of an inventory say of themselves."""

from __future__ import annotations

from rockglacier.scenes.notices import license_of, notices
from rockglacier.study import Study


def about_inventory(study: Study) -> dict[str, str]:
    """Return the metadata of an inventory's files: title, summary, rules, licence, attribution."""
    rules = study.config.inventory
    return {
        "title": f"Rock glaciers of {study.config.name}, {study.period.name}",
        "summary": (
            "Candidates that a model drew, until a person decides on them: see the column status"
        ),
        "outlines": (
            f"at least {rules.min_area_km2:g} km², holes up to {rules.fill_holes_km2:g} km² "
            f"filled, simplified as one coverage with a tolerance of {rules.simplify_m:g} m "
            "(Visvalingam-Whyatt); those that a person drew as they were drawn"
        ),
        "license": license_of(study.config),
        "attribution": "; ".join(notices(study)),
    }
