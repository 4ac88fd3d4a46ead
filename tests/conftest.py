"""Shared fixtures: where real data lies, and Torch on one thread."""

import importlib.util
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


def _made(name):
    """Return a module of ``tests`` that makes data."""
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def make_basin(tmp_path):
    """A function that makes a small searched basin; see ``tests/made_basin.py``."""
    module = _made("made_basin")

    def make(name="basin", **settings):
        return module.make_basin(tmp_path, name, **settings)

    return make


@pytest.fixture
def make_ground(tmp_path):
    """A function that makes a study ready to train; see ``tests/made_ground.py``."""
    module = _made("made_ground")

    def make(name="ground", **settings):
        return module.make_ground(tmp_path, name, **settings)

    return make


@pytest.fixture(scope="session")
def trained_ground(tmp_path_factory):
    """A study whose HRNet is trained on both splits, for reading only; see ``made_ground.py``."""
    import torch

    from rockglacier.model.fit import train

    module = _made("made_ground")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    study = module.make_ground(tmp_path_factory.mktemp("trained"), random_split=["hrnet"])
    train(study)
    torch.set_num_threads(before)
    return study


@pytest.fixture(scope="session")
def products_module():
    """The module ``tests/made_products.py``."""
    return _made("made_products")


@pytest.fixture
def make_products(products_module, tmp_path):
    """A function that makes the products of every stage; see ``tests/made_products.py``."""

    def make(folder=tmp_path, **settings):
        return products_module.make_products(folder, **settings)

    return make


@pytest.fixture(scope="session")
def full_report(products_module, tmp_path_factory):
    """A study with everything a report shows, and what writing it told; see ``made_report.py``."""
    return _made("made_report").make_report(
        products_module,
        tmp_path_factory.mktemp("report"),
        provider="Université de ہنزہ",
        attribution="Inventory <of> 洪扎 & others",
    )


@pytest.fixture(scope="session")
def taught_module():
    """The module ``tests/made_ground.py``, whose ``make_taught`` makes a study with a cube."""
    return _made("made_ground")
