"""What many tests begin with: a study of a few settings, its grid, a raster to read."""

import rasterio

from rockglacier.config import parse_config
from rockglacier.grid import Grid
from rockglacier.storage import write_json
from rockglacier.study import Study

CRS = "EPSG:32643"
WEST, NORTH = 500_000, 4_000_000


def grid_of(shape, *, block=128, west=WEST, north=NORTH, pixel=10):
    """Return a grid of (rows, columns) whose upper left corner is given in EPSG:32643."""
    transform = [pixel, 0, west, 0, -pixel, north]
    return Grid.from_dict({"crs": CRS, "transform": transform, "shape": shape, "block": block})


def study_in(folder, grid=None, **settings):
    """Return a study of a folder, and write its grid if one is given."""
    values = {"name": "here", "area": [74.0, 36.0, 74.1, 36.1], **settings}
    study = Study(config=parse_config(values, source="test"), base=folder)
    if grid is not None:
        write_json(study.grid_path, grid.to_dict())
    return study


def changed(study, **sections):
    """Return a study with some settings changed, section by section, in the same folder."""
    values = study.resolved()
    for name, given in sections.items():
        values[name] = {**values[name], **given} if isinstance(given, dict) else given
    return Study(config=parse_config(values, source="test"), base=study.base)


def write_raster(path, values, *, transform, crs=CRS, **profile):
    """Write (y, x) or (band, y, x) as GeoTIFF; ``profile`` is what rasterio takes besides."""
    bands = values if values.ndim == 3 else values[None]
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=bands.shape[0],
        height=bands.shape[1],
        width=bands.shape[2],
        dtype=values.dtype,
        crs=crs,
        transform=transform,
        **profile,
    ) as raster:
        raster.write(bands)
