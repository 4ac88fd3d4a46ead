"""A synthetic mountain basin with its catalog: made, not downloaded."""
