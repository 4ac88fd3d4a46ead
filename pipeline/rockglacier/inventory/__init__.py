"""Probabilities become outlines with attributes, ids and matches."""
