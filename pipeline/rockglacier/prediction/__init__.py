"""A trained network becomes seamless rasters of a whole basin."""
