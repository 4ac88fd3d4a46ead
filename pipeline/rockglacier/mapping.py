"""A trained model leaves its basin: packed into one file, and a study made from such a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rockglacier.config import parse_config
from rockglacier.study import Study

if TYPE_CHECKING:
    from rockglacier.model.bundle import Bundle


def study_for_bundle(
    area: str,
    bundle: Bundle,
    *,
    search: dict[str, Any],
    name: str | None = None,
    output: str | None = None,
    cube: dict[str, Any] | None = None,
) -> Study:
    """Return the study that maps an area with a given model.

    Parameters
    ----------
    area
        Polygon file, relative to the working folder.
    bundle
        The model; its bands, resolution, feature set and window are taken over.
    search
        Settings of the search, as in a study's file.
    name
        Default: from the area's file name.
    output
        Folder of the products; default: the name.
    cube
        Settings of the cube beside the bands.
    """
    values = {
        "name": name or Path(area).stem.lower().replace(" ", "-"),
        "area": area,
        "output": output,
        "search": search,
        "cube": {
            "bands": list(bundle.fusion.bands),
            "resolution": bundle.resolution,
            **(cube or {}),
        },
        "features": {"set": bundle.fusion.set},
        "predict": {"window": bundle.window},
    }
    return Study(config=parse_config(values, source=f"map {area}"), base=Path())


def pack_model(study: Study, to: Path | None = None) -> Path:
    """Write a study's selected model as one file and return its path."""
    from rockglacier.model.bundle import write_bundle
    from rockglacier.publish import model_item
    from rockglacier.storage import read_json

    selection = read_json(study.require(study.selection_path, stage="train"))
    path = to or Path(f"{study.config.name}-{selection['network']}.rgbundle.zip")
    write_bundle(study, path, item=model_item(study))
    return path
