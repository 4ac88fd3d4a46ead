"""A browser for the tests that look at the report; without one they say how to get it."""

import importlib.util
from pathlib import Path

import pytest


def _module():
    path = Path(__file__).with_name("chromium.py")
    spec = importlib.util.spec_from_file_location("chromium", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A running Chromium; see ``chromium.py``."""
    module = _module()
    if module.find_chromium() is None:
        pytest.skip(module.INSTALL)
    with module.chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser
