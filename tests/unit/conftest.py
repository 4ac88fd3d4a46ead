"""Fixtures of the unit tests: a small catalog to search."""

import pytest


@pytest.fixture
def basin(tmp_path):
    """An empty catalog; see ``tests/made_catalog.py``."""
    from made_catalog import Basin

    return Basin(tmp_path)
