"""Where chips lie, as a table that a map can show."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import geopandas as gpd
import pandas as pd
import shapely

from rockglacier.chips.dataset import IGNORE, CubeDataset
from rockglacier.grid import Window

COLUMNS = ("basin", "split", "row", "col", "height", "width", "positive_share", "valid_share")
CRS = "EPSG:4326"  # basins of several zones share a table


def chip_footprints(
    dataset: CubeDataset, windows: Iterable[Window], *, basin: str, split: str
) -> gpd.GeoDataFrame:
    """Return a row a chip.

    Parameters
    ----------
    dataset
        With labels.
    windows
        Of the chips, in pixels of the dataset.
    basin, split
        Stand in every row.

    Returns
    -------
    GeoDataFrame
        ``basin``, ``split``, ``row``, ``col``, ``height``, ``width`` in pixels; ``positive_share``
        (0..1) of landform pixels among those that count; ``valid_share`` of pixels that count,
        as they have features and a label; geometry in EPSG:4326.
    """
    rows: list[dict[str, Any]] = []
    shapes = []
    for window in windows:
        labels = dataset.labels(window)
        counted = int((labels != IGNORE).sum())
        x, y = dataset.query_of(window)
        shapes.append(shapely.box(x.start, y.start, x.stop, y.stop))
        rows.append(
            {
                "basin": basin,
                "split": split,
                "row": window.y,
                "col": window.x,
                "height": window.height,
                "width": window.width,
                "positive_share": float((labels == 1).sum()) / counted if counted else 0.0,
                "valid_share": counted / labels.size,
            }
        )
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return gpd.GeoDataFrame(table, geometry=shapes, crs=dataset.crs).to_crs(CRS)
