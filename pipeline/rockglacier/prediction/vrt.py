"""One raster out of several: GDAL's virtual format, for areas too large for one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as ET

from odc.geo.geobox import GeoBox

from rockglacier.grid import Window
from rockglacier.prediction.blend import PERCENT_NODATA


def vrt_of(
    parts: Mapping[str, Window],
    *,
    geobox: GeoBox,
    description: str,
    tags: Mapping[str, str],
    band_tags: Mapping[str, str],
    colours: Mapping[int, tuple[int, int, int]],
    categories: Sequence[str],
) -> str:
    """Return a VRT of uint8 rasters that lie beside it, 255 nodata.

    Parameters
    ----------
    parts
        Where in the whole each lies, by file name.
    geobox
        Of the whole.
    description
        Of the band.
    tags, band_tags
        Of the whole and of its band.
    colours, categories
        Of the first values; empty where values are numbers.

    References
    ----------
    https://gdal.org/en/stable/drivers/raster/vrt.html
    """
    height, width = geobox.shape
    root = ET.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
    _add(root, "SRS", str(geobox.crs))
    _add(root, "GeoTransform", ", ".join(map(repr, geobox.affine.to_gdal())))
    _add_tags(root, tags)
    band = ET.SubElement(root, "VRTRasterBand", dataType="Byte", band="1")
    _add(band, "Description", description)
    _add_tags(band, band_tags)
    _add(band, "NoDataValue", str(PERCENT_NODATA))
    _add(band, "ColorInterp", "Palette" if colours else "Gray")
    if categories:
        names = ET.SubElement(band, "CategoryNames")
        for name in categories:
            _add(names, "Category", name)
    if colours:
        table = ET.SubElement(band, "ColorTable")
        for _, (red, green, blue) in sorted(colours.items()):
            ET.SubElement(table, "Entry", c1=str(red), c2=str(green), c3=str(blue), c4="255")
    for name, window in parts.items():
        source = ET.SubElement(band, "SimpleSource")
        _add(source, "SourceFilename", name).set("relativeToVRT", "1")
        _add(source, "SourceBand", "1")
        _add_rectangle(source, "SrcRect", window, y=0, x=0)
        _add_rectangle(source, "DstRect", window, y=window.y, x=window.x)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def _add(parent: ET.Element, name: str, text: str) -> ET.Element:
    element = ET.SubElement(parent, name)
    element.text = text
    return element


def _add_tags(parent: ET.Element, tags: Mapping[str, str]) -> None:
    metadata = ET.SubElement(parent, "Metadata")
    for key, value in tags.items():
        _add(metadata, "MDI", value).set("key", key)


def _add_rectangle(parent: ET.Element, name: str, size: Window, *, y: int, x: int) -> None:
    ET.SubElement(
        parent, name, xOff=str(x), yOff=str(y), xSize=str(size.width), ySize=str(size.height)
    )
