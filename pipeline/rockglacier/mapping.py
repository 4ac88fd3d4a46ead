"""A trained model leaves its basin: packed into one file, and a study made from such a file."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rockglacier.config import parse_config
from rockglacier.errors import ContractError, InputError
from rockglacier.storage import sha256_of, write_bytes
from rockglacier.study import Study
from rockglacier_stac.extensions import multihash
from rockglacier_stac.files import read_bytes, read_item

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
    given = settings_of(bundle)
    values = {
        "name": name or Path(area).stem.lower().replace(" ", "-"),
        "area": area,
        "output": output,
        "search": search,
        **given,
        "cube": {**given["cube"], **(cube or {})},
    }
    return Study(config=parse_config(values, source=f"map {area}"), base=Path())


def settings_of(bundle: Bundle) -> dict[str, dict[str, Any]]:
    """Return the settings of a study that a given model decides on."""
    return {
        "cube": {"bands": list(bundle.fusion.bands), "resolution": bundle.resolution},
        "features": {"set": bundle.fusion.set},
        "predict": {"window": bundle.window},
    }


def require_fit(study: Study, bundle: Bundle) -> None:
    """Raise :class:`InputError` unless a study has the settings that a given model decides on."""
    resolved = study.resolved()
    for section, settings in settings_of(bundle).items():
        for key, wanted in settings.items():
            if (found := resolved[section][key]) != wanted:
                raise InputError(
                    f"basin {study.config.name!r} has {section}.{key} {found!r}",
                    expected=f"{wanted!r}, as the model in {bundle.path.name!r} has",
                    todo=f"set {section}.{key} in the study's file to that",
                )


def pack_model(study: Study, to: Path | None = None) -> Path:
    """Write a study's selected model as one file and return its path."""
    from rockglacier.model.bundle import write_bundle
    from rockglacier.products.models import bundle_path
    from rockglacier.publish import model_item

    study.require(study.selection_path, stage="train")
    path = to or Path(bundle_path(study).name)
    write_bundle(study, path, item=model_item(study))
    return path


def model_file(address: str) -> Path:
    """Return the packed model at an address as a local file.

    Parameters
    ----------
    address
        A packed model's path, or the path or URL of a published model's STAC item: then its asset
        ``bundle`` is fetched (kept in ``models/`` of the working folder) and its checksum compared.

    Raises
    ------
    InputError
        The item offers no packed model.
    ContractError
        What was fetched is not what the item says.
    """
    if "://" not in address and not address.endswith(".json"):
        return Path(address)
    item = read_item(address)
    assets = {**item.get("assets", {})}
    packed = assets.get("bundle") or next(
        (asset for asset in assets.values() if asset.get("type") == "application/zip"), None
    )
    if packed is None:
        raise InputError(
            f"the item {item.get('id')!r} offers no packed model",
            expected="an asset `bundle` of type application/zip",
            todo="ask its publisher to publish it again, or for the packed file",
        )
    href = packed["href"]
    path = Path(href)
    if "://" in href:
        path = Path("models") / PurePosixPath(urlsplit(href).path).name
        write_bytes(path, read_bytes(href))
    said = packed.get("file:checksum")
    if said and path.is_file() and multihash(sha256_of(path)) != said:
        raise ContractError(
            f"the packed model of item {item.get('id')!r} is not the one that the item names",
            expected=f"file:checksum {said}",
            todo="get it again, or ask its publisher",
        )
    return path
