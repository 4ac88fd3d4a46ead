"""What a person checks before trusting a product: catalogs, rasters, tables and cubes."""
