"""TorchGeo over the grid: datasets, samplers, augmentation."""
