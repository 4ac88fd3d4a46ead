"""What products have to say about where their pixels come from."""

from __future__ import annotations

import pandas as pd

from rockglacier.config import Config
from rockglacier.storage import readable
from rockglacier.study import Study

SENTINEL_NOTICE = "Contains modified Copernicus Sentinel data {period}"
DEM_NOTICE = (
    "produced using Copernicus WorldDEM-30 © DLR e.V. 2010-2014 and © Airbus Defence and Space "
    "GmbH 2014-2018 provided under COPERNICUS by the European Union and ESA; all rights reserved"
)
FABDEM_NOTICE = "Contains FABDEM V1-2, CC BY-NC-SA 4.0"
FABDEM_LICENSE = "CC-BY-NC-SA-4.0"
"""Of FABDEM V1-2; it passes to what is made from it."""

MADE_UP_NOTICE = "Made-up scenes and terrain of no real place; holds no Copernicus data"
MADE_UP = "made-up"
"""How the platform of a scene begins that no satellite took."""


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
    if _is_made_up(study):
        found = [MADE_UP_NOTICE]
    else:
        found = [SENTINEL_NOTICE.format(period=config.search.period)]
        if config.search.dem_collection.startswith("cop-dem"):
            found.append(DEM_NOTICE)
    if license_of(config) == FABDEM_LICENSE:
        found.append(FABDEM_NOTICE)
    found += [f"Layer {layer.name} of the cube: {layer.license}" for layer in config.cube.extra]
    if config.publish.attribution:
        found.append(config.publish.attribution)
    return found


def _is_made_up(study: Study) -> bool:
    if not study.scenes_path.is_file():
        return False
    platforms = pd.read_parquet(readable(study.scenes_path), columns=["platform"])["platform"]
    return len(platforms) > 0 and bool(platforms.str.startswith(MADE_UP).all())
