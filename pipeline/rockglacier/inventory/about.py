"""What the files of an inventory say of themselves."""

from __future__ import annotations

from rockglacier.scenes.notices import license_of, notices
from rockglacier.study import Study


def about_inventory(study: Study) -> dict[str, str]:
    """Return the metadata of an inventory's files: title, summary, licence and attribution."""
    return {
        "title": f"Rock glaciers of {study.config.name}, {study.period.name}",
        "summary": (
            "Candidates that a model drew, until a person decides on them: see the column status"
        ),
        "license": license_of(study.config),
        "attribution": "; ".join(notices(study)),
    }
