"""Shared fixtures: where real data lies, and Torch on one thread."""

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real pixels and metadata; they are not part of the project."""
    if not SHARED.is_dir():
        pytest.skip("no folder of real data beside the project")
    return SHARED
