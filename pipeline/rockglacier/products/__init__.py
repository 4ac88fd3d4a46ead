"""What each product of a study is, as a STAC item; only metadata of the products is read."""

from rockglacier.products.cubes import cube_item
from rockglacier.products.inventories import inventory_item
from rockglacier.products.labels import label_item
from rockglacier.products.models import (
    bundle_asset,
    bundle_path,
    other_models,
    trained_model_item,
)
from rockglacier.products.predictions import prediction_item

__all__ = [
    "bundle_asset",
    "bundle_path",
    "cube_item",
    "inventory_item",
    "label_item",
    "other_models",
    "prediction_item",
    "trained_model_item",
]
