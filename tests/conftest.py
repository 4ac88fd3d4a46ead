"""Shared fixtures: where real data lies, and Torch on one thread."""

import importlib.util
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real pixels and metadata; they are not part of the project."""
    if not SHARED.is_dir():
        pytest.skip("no folder of real data beside the project")
    return SHARED


@pytest.fixture
def make_basin(tmp_path):
    """A function that makes a small searched basin; see ``tests/made_basin.py``."""
    spec = importlib.util.spec_from_file_location(
        "made_basin", Path(__file__).with_name("made_basin.py")
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def make(name="basin", **settings):
        return module.make_basin(tmp_path, name, **settings)

    return make
