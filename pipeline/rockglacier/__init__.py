"""Map rock glaciers of any mountain basin, from STAC search to a published STAC catalog."""

from __future__ import annotations

__version__ = "0.1.0"
