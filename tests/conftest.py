"""Fixtures of all tests. The modules ``made_*.py`` beside this file can be imported anywhere."""

from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real pixels and metadata; they are not part of the project."""
    if not SHARED.is_dir():
        pytest.skip("no folder of real data beside the project")
    return SHARED


@contextmanager
def torch_on_one_thread():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def one_thread():
    """Torch on one thread: small networks gain nothing from more, and sums keep one order."""
    with torch_on_one_thread():
        yield


@pytest.fixture
def make_basin(tmp_path):
    """A function that makes a small searched basin; see ``tests/made_basin.py``."""
    from made_basin import make_basin

    return partial(make_basin, tmp_path)


@pytest.fixture
def make_ground(tmp_path):
    """A function that makes a study ready to train; see ``tests/made_ground.py``."""
    from made_ground import make_ground

    return partial(make_ground, tmp_path)


@pytest.fixture(scope="session")
def trained_ground(tmp_path_factory):
    """A study whose HRNet is trained on both splits, for reading only; see ``made_ground.py``."""
    from made_ground import make_ground
    from rockglacier.model.fit import train

    study = make_ground(tmp_path_factory.mktemp("trained"), random_split=["hrnet"])
    with torch_on_one_thread():
        train(study)
    return study


@pytest.fixture
def make_products(tmp_path):
    """A function that makes the products of every stage; see ``tests/made_products.py``."""
    from made_products import make_products

    def make(folder=tmp_path, **settings):
        return make_products(folder, **settings)

    return make


@pytest.fixture(scope="session")
def full_report(tmp_path_factory):
    """A study with everything a report shows, and what writing it told; see ``made_report.py``."""
    from made_report import make_report

    return make_report(
        tmp_path_factory.mktemp("report"),
        provider="Université de ہنزہ",
        attribution="Inventory <of> 洪扎 & others",
    )
