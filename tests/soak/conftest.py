"""An engine for containers, and the image of `deploy/docker`."""

from pathlib import Path

import pytest

from container_engine import base_of, find_engine, has_base

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "deploy" / "docker"


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    engine = find_engine(tmp_path_factory.mktemp("engine"))
    if engine is None:
        pytest.skip("no docker, and no podman: sh scripts/engine.sh")
    base = base_of(DOCKER / "Dockerfile")
    if not (found := has_base(engine, base)):
        pytest.skip(f"{base} cannot be pulled, and there is no mmdebstrap to make one in its place")
    print(f"base image {base}: {found}")
    return engine


@pytest.fixture(scope="session")
def image(engine):
    engine.build(DOCKER / "Dockerfile", ROOT, "localhost/rockglacier:test")
    return "localhost/rockglacier:test"
