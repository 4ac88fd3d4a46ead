"""Bands and terrain become what a network sees."""
