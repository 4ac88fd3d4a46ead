"""A root catalog in an object store that several basins share."""

import threading

import pytest
from typer.testing import CliRunner

from rockglacier.cli import app
from rockglacier.publish import publish
from rockglacier.storage import listing, read_json
from rockglacier.validation.target import validate_target
from rockglacier_stac.collection import COLLECTIONS


@pytest.fixture
def basin(s3, make_products, tmp_path):
    """A study with local products, that others reach at an address, and a catalog in the store."""

    def make(name, **settings):
        href = f"https://data.example/{name}"
        study = make_products(tmp_path / name, name=name, href=href, **settings)
        publishing = study.config.publish.model_copy(update={"catalog": str(s3 / "root")})
        config = study.config.model_copy(update={"publish": publishing})
        return study.__class__(config=config, base=study.base)

    return make


def all_documents(root):
    return {
        f"{name}/{path.name}": read_json(path)
        for name in COLLECTIONS
        for path in listing(root / name, ".json")
    }


def test_basins_share_a_catalog_in_a_store(s3, basin):
    root = s3 / "root"
    hunza = basin("hunza")
    assert publish(hunza)["changed_in_catalog"] > 4
    before = all_documents(root)
    gilgit = basin("gilgit", provider="University")
    publish(gilgit)
    after = all_documents(root)
    assert {name: after[name] for name in before if "hunza" in name} == {
        name: document for name, document in before.items() if "hunza" in name
    }
    assert after["cubes/collection.json"]["summaries"]["rockglacier:basin"] == ["gilgit", "hunza"]
    for study in (hunza, gilgit):
        assert publish(study)["changed_in_catalog"] == 0
    assert all_documents(root) == after
    verdicts = validate_target(str(root))
    assert [verdict for verdict in verdicts if not verdict.is_valid] == []
    assert verdicts[0].kind == "STAC catalog, 10 item(s)"
    answer = CliRunner().invoke(app, ["validate", str(root / "catalog.json")])
    assert answer.exit_code == 0, answer.output


def test_what_is_gone_leaves_the_catalog_in_the_store_too(s3, basin):
    study = basin("hunza")
    publish(study)
    study.selection_path.unlink()
    publish(study)
    assert not [name for name in all_documents(s3 / "root") if name.startswith("models/")]
    verdicts = validate_target(str(s3 / "root"))
    assert all(verdict.is_valid for verdict in verdicts), verdicts


def test_basins_that_publish_at_once_are_all_there(s3, basin):
    studies = [basin(f"basin{number}") for number in range(3)]
    failures = []

    def work(study):
        try:
            publish(study)
        except Exception as error:  # it is told by the test
            failures.append(error)

    threads = [threading.Thread(target=work, args=(study,)) for study in studies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    verdicts = validate_target(str(s3 / "root"))
    assert verdicts[0].kind == "STAC catalog, 15 item(s)"
    assert all(verdict.is_valid for verdict in verdicts), verdicts
