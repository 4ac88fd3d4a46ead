"""Many basins: cut from a layer, run one after another, put together."""
