"""Scenes and DEM tiles become one cube of reflectance and terrain."""
