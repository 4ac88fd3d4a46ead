"""A folder with scenes, DEM tiles and the study that searches them: small, and full of choices.

A scene is a square tile of 2.4 km with a classification of 20 m and the bands B02 and B04 of 10 m.
What an item says may differ from what its files are.
"""

import json
import shutil

import numpy as np
import rasterio
import shapely
import stac_geoparquet.arrow as stac_arrow
from rasterio.transform import from_origin

from rockglacier.config import parse_config
from rockglacier.grid import projected
from rockglacier.study import Study

WEST, NORTH, SIZE = 499_980, 4_000_020, 2400  # upper left corner and edge of a tile, EPSG:32643
S2, DEM = "sentinel-2-c1-l2a", "cop-dem-glo-30"
KEYS = {"B02": "blue", "B04": "red", "SCL": "scl"}


def square(west, south, east, north, epsg=32643):
    return projected(shapely.box(west, south, east, north), epsg=4326, source_epsg=epsg)


AREA = square(WEST + 615, NORTH - 1805, WEST + 1785, NORTH - 595).bounds


class Basin:
    """A catalog of made scenes.

    Parameters
    ----------
    folder
        Empty.
    """

    def __init__(self, folder):
        self.folder, self.items = folder, []

    def scene(self, name, *, scl=5, dn=1500, cloud=1.0, baseline="05.11", epsg=32643, **values):
        """Write a scene and its item.

        Parameters
        ----------
        name
            Id, and folder of its rasters.
        scl, dn
            Class, and stored number: one for all pixels, or (y, x) of 20 m and 10 m.
        cloud, baseline
            What the item says.
        epsg
            CRS of the files.
        values
            ``crs`` (of the files, if EPSG has none), ``corner`` (upper left), ``when``, ``tile``,
            ``assets`` (what every asset says besides), ``footprint`` and ``bbox`` of the item; the
            rest are properties. None leaves one out.
        """
        folder = self.folder / name
        folder.mkdir()
        west, north = values.pop("corner", (WEST, NORTH))
        cells = SIZE // 20
        classes = np.broadcast_to(np.asarray(scl, np.uint8), (cells, cells))
        crs = values.pop("crs", f"EPSG:{epsg}")
        self._raster(folder / "SCL.tif", classes, from_origin(west, north, 20, 20), crs)
        for band in ("B02", "B04"):
            pixels = np.broadcast_to(np.asarray(dn, np.uint16), (2 * cells, 2 * cells))
            self._raster(folder / f"{band}.tif", pixels, from_origin(west, north, 10, 10), crs)
        said = values.pop("assets", {})
        assets = {}
        for band, key in KEYS.items():
            edge = 20 if band == "SCL" else 10
            assets[key] = {
                "href": f"./{name}/{band}.tif",
                "proj:transform": [edge, 0, west, 0, -edge, north],
                "proj:shape": [SIZE // edge, SIZE // edge],
                "raster:bands": [{"scale": 1e-4, "offset": -0.1}],
                **said,
            }
        whole = square(west, north - SIZE, west + SIZE, north, epsg)
        footprint = values.pop("footprint", whole)
        bbox = values.pop("bbox", list(footprint.bounds) if footprint else None)
        properties = {
            "datetime": values.pop("when", "2024-08-01T05:50:00Z"),
            "platform": "sentinel-2a",
            "proj:epsg": epsg,
            "grid:code": values.pop("tile", "MGRS-43SDA"),
            "eo:cloud_cover": cloud,
            "s2:processing_baseline": baseline,
            "s2:sequence": "0",
            **values,
        }
        return self._item(name, S2, properties, assets, footprint, bbox)

    def dem(self, name="N36", footprint=None):
        """Add a DEM item; its file is not there."""
        footprint = footprint or shapely.box(74, 35, 76, 37)
        properties = {"datetime": "2021-04-22T00:00:00Z"}
        assets = {"data": {"href": "./dem.tif"}}
        return self._item(name, DEM, properties, assets, footprint, list(footprint.bounds))

    def _item(self, name, collection, properties, assets, footprint, bbox):
        item = {
            "type": "Feature",
            "stac_version": "1.0.0",
            "stac_extensions": [],
            "id": name,
            "collection": collection,
            "geometry": footprint and shapely.geometry.mapping(footprint),
            "bbox": bbox,
            "properties": {key: value for key, value in properties.items() if value is not None},
            "assets": assets,
            "links": [],
        }
        self.items.append(item)
        return item

    def _raster(self, path, pixels, transform, crs):
        profile = {
            "driver": "GTiff",
            "width": pixels.shape[1],
            "height": pixels.shape[0],
            "count": 1,
            "dtype": pixels.dtype,
            "crs": crs,
            "transform": transform,
        }
        with rasterio.open(path, "w", **profile) as file:
            file.write(pixels, 1)

    def write(self, kind="parquet"):
        """Write the items as one table, or as a static catalog, and return the file's name."""
        if kind == "parquet":
            table = stac_arrow.parse_stac_items_to_arrow(self.items)
            stac_arrow.to_parquet(table, self.folder / "items.parquet")
            return "items.parquet"
        links = []
        for item in self.items:
            (self.folder / f"{item['id']}.json").write_text(json.dumps(item))
            links.append({"rel": "item", "href": f"./{item['id']}.json"})
        root = {"type": "Catalog", "id": "root", "links": links}
        (self.folder / "catalog.json").write_text(json.dumps(root))
        return "catalog.json"

    def study(self, *, area=AREA, cube=None, kind="parquet", **search):
        """Write the catalog and return a new study that searches it."""
        search = {"catalog": self.write(kind), **search}
        values = {
            "name": "here",
            "area": area if isinstance(area, str) else list(area),
            "search": search,
            "cube": {"bands": ["B02", "B04"], "block": 128, **(cube or {})},
        }
        shutil.rmtree(self.folder / "here", ignore_errors=True)
        return Study(config=parse_config(values, source="test"), base=self.folder)
