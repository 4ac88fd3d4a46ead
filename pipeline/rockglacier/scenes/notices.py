"""What products have to say about where their pixels come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from rockglacier.config import Config
from rockglacier.storage import readable
from rockglacier.study import Study

FABDEM_LICENSE = "CC-BY-NC-SA-4.0"
"""Of FABDEM V1-2; it passes to what is made from it."""

MADE_UP_NOTICE = "Made-up scenes and terrain of no real place; holds no Copernicus data"
MADE_UP = "made-up"
"""How the platform of a scene begins that no satellite took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """What is owed to those whose pixels a product is made from."""

    notice: str
    """Has to be passed on; ``{period}`` is that of the scenes."""
    makers: tuple[Mapping[str, Any], ...] = ()
    """Who took them and who licenses them, as STAC has providers."""


COPERNICUS = {
    "name": "Copernicus Programme of the European Union",
    "roles": ["licensor"],
    "url": "https://www.copernicus.eu",
}
SENTINEL = Pixels(
    notice="Contains modified Copernicus Sentinel data {period}",
    makers=(
        {
            "name": "European Space Agency (ESA)",
            "roles": ["producer"],
            "url": "https://www.esa.int",
        },
        COPERNICUS,
    ),
)
COPERNICUS_DEM = Pixels(
    notice="produced using Copernicus WorldDEM-30 © DLR e.V. 2010-2014 and © Airbus Defence and "
    "Space GmbH 2014-2018 provided under COPERNICUS by the European Union and ESA; all rights "
    "reserved",
    makers=(
        {"name": "DLR e.V.", "roles": ["producer"], "url": "https://www.dlr.de"},
        {
            "name": "Airbus Defence and Space GmbH",
            "roles": ["producer"],
            "url": "https://www.airbus.com",
        },
        COPERNICUS,
    ),
)
FABDEM = Pixels(
    notice="Contains FABDEM V1-2, CC BY-NC-SA 4.0",
    makers=({"name": "University of Bristol", "roles": ["producer", "licensor"]},),
)
NO_PLACE = Pixels(notice=MADE_UP_NOTICE)


def license_of(config: Config) -> str:
    """Return the licence of the products: that of the settings, unless the DEM's is stricter."""
    if "fabdem" in config.search.dem_collection.lower():
        return FABDEM_LICENSE
    return config.publish.license


def notices(study: Study) -> list[str]:
    """Return the sentences that products of a study have to carry about their sources.

    The scenes used decide: those of a made-up catalog carry no notice of Copernicus.
    """
    config = study.config
    found = [pixels.notice.format(period=config.search.period) for pixels in _pixels(study)]
    found += [f"Layer {layer.name} of the cube: {layer.license}" for layer in config.cube.extra]
    if config.publish.attribution:
        found.append(config.publish.attribution)
    return found


def makers(study: Study) -> list[Mapping[str, Any]]:
    """Return who took and who licenses the pixels of a study's sources, as STAC has providers."""
    every = [maker for pixels in _pixels(study) for maker in pixels.makers]
    return [maker for place, maker in enumerate(every) if maker not in every[:place]]


def _pixels(study: Study) -> Iterator[Pixels]:
    config = study.config
    if _is_made_up(study):
        yield NO_PLACE
    else:
        yield SENTINEL
        if config.search.dem_collection.startswith("cop-dem"):
            yield COPERNICUS_DEM
    if license_of(config) == FABDEM_LICENSE:
        yield FABDEM


def _is_made_up(study: Study) -> bool:
    if not study.scenes_path.is_file():
        return False
    platforms = pd.read_parquet(readable(study.scenes_path), columns=["platform"])["platform"]
    return len(platforms) > 0 and bool(platforms.str.startswith(MADE_UP).all())
