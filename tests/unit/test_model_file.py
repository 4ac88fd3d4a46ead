"""A published model, by the address of its STAC item."""

import json
from pathlib import Path

import pytest

from rockglacier.errors import ContractError, InputError
from rockglacier.mapping import model_file
from rockglacier.origin import file_info


@pytest.fixture
def item(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    packed = tmp_path / "valley" / "models" / "valley.rgbundle.zip"
    packed.parent.mkdir(parents=True)
    packed.write_bytes(b"packed")
    path = tmp_path / "valley" / "stac" / "models" / "valley.json"
    path.parent.mkdir(parents=True)
    (path.parents[1] / "catalog.json").write_text("{}")  # beside it lie the products that it names

    def write(**asset):
        href = "../../models/valley.rgbundle.zip"
        held = {"href": href, "type": "application/zip", **file_info(packed), **asset}
        values = {"type": "Feature", "id": "valley", "properties": {}, "links": []}
        path.write_text(json.dumps({**values, "assets": {"bundle": held}}))
        return path

    return write


def test_an_item_leads_to_its_packed_model_from_any_folder(item, tmp_path):
    path = item()
    expected = tmp_path / "valley" / "models" / "valley.rgbundle.zip"
    for address in (str(path), str(path.relative_to(tmp_path))):
        assert model_file(address).resolve() == expected


def test_a_packed_model_is_taken_as_it_is():
    assert model_file("a/b.rgbundle.zip") == Path("a/b.rgbundle.zip")


def test_another_file_than_the_item_names_is_refused(item):
    path = item(**{"file:checksum": "1220" + 64 * "0"})
    with pytest.raises(ContractError, match="is not the one that the item names"):
        model_file(str(path))


def test_an_item_without_a_packed_model_is_told(item):
    path = item(type="text/plain")
    held = json.loads(path.read_text())
    held["assets"] = {"model": held["assets"]["bundle"]}
    path.write_text(json.dumps(held))
    with pytest.raises(InputError, match="offers no packed model"):
        model_file(str(path))
