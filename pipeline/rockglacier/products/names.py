"""Names of the items of a study, and of the files that belong to them."""

from __future__ import annotations

import re

from rockglacier.study import Study


def item_id(study: Study, kind: str) -> str:
    """Return the id of an item: basin, period and what it is."""
    return f"{study.config.name}-{study.config.search.period}-{kind}"


def slug(name: str) -> str:
    """Return a network's name as a part of ids and file names."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)


def cube_title(study: Study) -> str:
    """Return the title of the cube's item."""
    return f"Cube of {study.config.name}, {study.config.search.period}"
