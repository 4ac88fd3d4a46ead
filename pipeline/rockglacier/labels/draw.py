"""Chips of a basin as pictures to draw on, with where they lie beside them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from rockglacier.cube.store import open_arrays
from rockglacier.engine import Progress, silent
from rockglacier.errors import InputError
from rockglacier.grid import Window, projected
from rockglacier.labels.choose import Choice, choose_chips
from rockglacier.labels.labelme import LANDFORM, Outline, drawing_of
from rockglacier.labels.reference import read_reference
from rockglacier.storage import disk_errors, is_local, write_json
from rockglacier.study import Study, read_area

CHIPS: Final = "chips.geojson"
"""Where the chips of a folder lie: EPSG:4326 boxes, and the transform of each."""

FALSE_COLOUR: Final = ("B11", "B08", "B04")
"""Short-wave infrared, near infrared, red: ice is dark, plants are green, debris is neither."""

STRETCH: Final = (2.0, 98.0)
"""Percentiles of a band over all chips that become dark and bright."""

LEAST_PIXELS: Final = 1.0
"""What a chip's edge cuts off smaller than this is not drawn: no one could edit it."""

Picture = Literal["png", "jpeg"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be drawn on."""

    n: int = 156
    choice: Choice = "stratified"
    picture: Picture = "png"
    bands: tuple[str, ...] = ()
    """Three bands as red, green and blue; default: see :data:`FALSE_COLOUR`."""
    outlines: str | None = None
    """Polygon file of outlines to begin from."""
    before: str | None = None
    """Polygon file of ground that was drawn on before."""
    seed: int = 0


def write_chips(
    study: Study, folder: Path, wish: Wish, *, progress: Progress = silent
) -> list[Path]:
    """Write false-colour chips for LabelMe.

    Parameters
    ----------
    study
        Its cube is built; the period that teaches is shown.
    folder
        New, or without chips.
    wish
        How many, which, and how.
    progress
        Told after every chip.

    Returns
    -------
    list of Path
        The pictures. Beside each lie its world file and CRS, so that it opens in its place in
        QGIS; :data:`CHIPS` tells :func:`rockglacier.labels.drawn.read_drawn` where they are. With
        outlines to begin from, also a LabelMe file for each chip that has some.

    Raises
    ------
    InputError
        The folder holds chips already, a band is not in the cube, or no chip can be drawn on.
    NotFoundError
        There is no cube, or no prediction to choose by.
    """
    if not is_local(folder):
        raise InputError(
            f"{str(folder)!r} is in an object store, where LabelMe cannot draw",
            expected="a folder of this machine",
            todo="name one with --folder",
        )
    path = folder / CHIPS
    if path.exists():
        raise InputError(
            f"{str(folder)!r} holds chips already, maybe drawn on",
            expected="a folder without chips",
            todo="name another one with --folder; --not-within leaves out ground drawn before",
        )
    before = None if wish.before is None else read_area(wish.before)
    windows = choose_chips(
        study,
        n=wish.n,
        chip=study.config.train.chip,
        choice=wish.choice,
        seed=wish.seed,
        before=before,
    )
    pixels = _pixels(study, windows, wish.bands)
    drawn = _outlines(study, wish.outlines)
    limits = _limits(pixels)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    written, features = [], []
    for done, (window, values) in enumerate(zip(windows, pixels, strict=True), start=1):
        name = f"{study.config.name}-r{window.y:05d}-c{window.x:05d}"
        image = folder / f"{name}.{'png' if wish.picture == 'png' else 'jpg'}"
        _write_picture(image, _stretched(values, limits), study, window, wish.picture)
        begun = _begin(folder / f"{name}.json", image.name, drawn, study, window)
        features.append(_feature(name, image.name, begun, study, window))
        written.append(image)
        progress("draw chips", done, len(windows))
    write_json(path, {"type": "FeatureCollection", "features": features})
    return written


def _pixels(
    study: Study, windows: Sequence[Window], bands: tuple[str, ...]
) -> list[NDArray[np.uint16]]:
    held: list[str] = list(study.config.cube.bands)
    wanted = bands or (FALSE_COLOUR if set(FALSE_COLOUR) <= set(held) else tuple(held[-3:]))
    missing = [band for band in wanted if band not in held]
    if missing or len(wanted) != 3:
        raise InputError(
            f"bands {', '.join(wanted)} make no picture",
            expected=f"three of {', '.join(held)}",
            todo="name them with --bands, or add them to cube.bands",
        )
    group: Any = open_arrays(study.cube_path)
    reflectance = group["reflectance"]
    places = [held.index(band) for band in wanted]
    time = study.period.index
    return [
        np.stack([np.asarray(reflectance[(time, place, *window.slices)]) for place in places])
        for window in windows
    ]


def _limits(pixels: Sequence[NDArray[np.uint16]]) -> NDArray[np.float64]:
    """Return the dark and bright value of each band, (3, 2); all chips share them."""
    sample = np.concatenate([values[:, ::4, ::4].reshape(3, -1) for values in pixels], axis=1)
    return np.stack([np.percentile(band[band > 0], STRETCH) for band in sample])


def _stretched(values: NDArray[np.uint16], limits: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return 1 to 255, and 0 where there is no reflectance."""
    low, high = limits.T[:, :, None, None]
    bright = np.clip((values - low) / np.maximum(high - low, 1), 0, 1)
    return np.where(values > 0, np.rint(1 + 254 * bright), 0).astype(np.uint8)


def _write_picture(
    path: Path, values: NDArray[np.uint8], study: Study, window: Window, picture: Picture
) -> None:
    profile = {
        "driver": "PNG" if picture == "png" else "JPEG",
        "height": window.height,
        "width": window.width,
        "count": 3,
        "dtype": "uint8",
        "crs": f"EPSG:{study.grid.epsg}",
        "transform": study.grid.window_geobox(window).affine,
        "worldfile": "YES",
    }
    if picture == "jpeg":
        profile["quality"] = 95
    with rasterio.open(path, "w", **profile) as file:
        file.write(values)


def _outlines(study: Study, uri: str | None) -> list[BaseGeometry]:
    if uri is None:
        return []
    table = read_reference(uri, area=study.area)
    return [projected(shape, epsg=study.grid.epsg) for shape in table[table["used"]].geometry]


def _begin(
    path: Path, image: str, outlines: Sequence[BaseGeometry], study: Study, window: Window
) -> str | None:
    """Write the outlines on a chip, if there are any, and return the hash of the file."""
    geobox = study.grid.window_geobox(window)
    box = shapely.box(*geobox.boundingbox.bbox)
    inverse = ~geobox.affine
    found = []
    for shape in outlines:
        inside = shape.intersection(box) if shape.intersects(box) else shapely.Polygon()
        parts = [
            part
            for part in shapely.get_parts(inside)
            if part.geom_type == "Polygon" and part.area >= LEAST_PIXELS * geobox.affine.a**2
        ]
        if parts:
            polygon = moved(shapely.MultiPolygon(parts), inverse)
            found.append(Outline(label=LANDFORM, polygon=polygon))
    if not found:
        return None
    write_json(path, drawing_of(found, image=image, size=(window.height, window.width)))
    return file_hash(path)


def _feature(
    name: str, image: str, begun: str | None, study: Study, window: Window
) -> dict[str, Any]:
    geobox = study.grid.window_geobox(window)
    box = projected(shapely.box(*geobox.boundingbox.bbox), epsg=4326, source_epsg=study.grid.epsg)
    return {
        "type": "Feature",
        "properties": {
            "chip": name,
            "image": image,
            "row": window.y,
            "col": window.x,
            "height": window.height,
            "width": window.width,
            "epsg": study.grid.epsg,
            "transform": list(geobox.affine)[:6],
            "begun": begun,
        },
        "geometry": json.loads(shapely.to_geojson(box)),
    }


def moved(shape: BaseGeometry, transform: Affine) -> BaseGeometry:
    """Return a geometry after an affine transform, e.g. from pixels to the CRS of a chip."""
    return shapely.transform(shape, lambda x, y: transform * (x, y), interleaved=False)


def file_hash(path: Path) -> str:
    """Return the hash of a file's content: whether LabelMe has saved it since it was written."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
