"""Names of the items of a study, and of the files that belong to them."""

from __future__ import annotations

import re

from rockglacier.model.applicability import applicability_of
from rockglacier.origin import own_source
from rockglacier.study import Study
from rockglacier_stac.extensions import Json
from rockglacier_stac.item import Source


def item_id(study: Study, kind: str) -> str:
    """Return the id of an item: basin, period and what it is.

    Of a study in one of its periods that of the period, else all its time.
    """
    period = study.chosen.name if study.chosen else study.config.search.period
    return f"{study.config.name}-{period}-{kind}"


def cube_source(study: Study) -> Source:
    """Return a link to the cube's item, which holds all periods."""
    identifier = f"{study.config.name}-{study.config.search.period}-cube"
    return own_source("cubes", identifier, cube_title(study))


def slug(name: str) -> str:
    """Return a network's name as a part of ids and file names."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)


def cube_title(study: Study) -> str:
    """Return the title of the cube's item."""
    return f"Cube of {study.config.name}, {study.config.search.period}"


def applicability(study: Study) -> Json:
    """Return how like the ground is to that of a given model's training, where it was measured."""
    found = applicability_of(study)
    if found is None:
        return {}
    said = {name: found[name] for name in ("verdict", "distance", "beyond")}
    return {"rockglacier:applicability": said}
