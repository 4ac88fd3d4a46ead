"""A reference inventory becomes burnt labels and a split of the ground."""
