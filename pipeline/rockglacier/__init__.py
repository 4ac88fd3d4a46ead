"""Map rock glaciers of any mountain basin, from STAC search to a published STAC catalog.

Every stage of the command line is a function that takes a study::

    import rockglacier

    study = rockglacier.open_study("hunza.yaml")
    rockglacier.search_scenes(study)
    rockglacier.build_cube(study)
    cube = rockglacier.open_cube(study.cube_path)  # lazy, float32, CRS set
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PLACES = {
    "open_study": "rockglacier.study",
    "search_scenes": "rockglacier.scenes.select",
    "open_scenes": "rockglacier.cube.lazy",
    "build_cube": "rockglacier.cube.build",
    "open_cube": "rockglacier.cube.store",
    "label_basin": "rockglacier.labels.burn",
    "train": "rockglacier.model.fit",
    "predict": "rockglacier.prediction.infer",
    "build_inventory": "rockglacier.inventory.tables",
    "publish": "rockglacier.publish",
}
__all__ = ["__version__", *_PLACES]  # noqa: PLE0604 - the keys are strings


def __getattr__(name: str) -> Any:
    """Import a stage when it is first used, so that ``import rockglacier`` costs nothing."""
    if name not in _PLACES:
        raise AttributeError(f"module 'rockglacier' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
