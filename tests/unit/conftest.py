"""Fixtures of the unit tests: a small catalog to search."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def catalog_module():
    """The module ``tests/made_catalog.py``."""
    path = Path(__file__).parents[1] / "made_catalog.py"
    spec = importlib.util.spec_from_file_location("made_catalog", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def basin(catalog_module, tmp_path):
    """An empty catalog; see ``tests/made_catalog.py``."""
    return catalog_module.Basin(tmp_path)
