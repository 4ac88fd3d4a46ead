"""STAC in and out: catalogs, search, items, collections, validation. Reads no pixels."""
