"""A packed model: the round trip, and everything that may be wrong with a stranger's file."""

import io
import json
import pickle
import zipfile

import numpy as np
import pytest
import torch

from rockglacier.errors import ContractError, InputError, NotFoundError
from rockglacier.model.bundle import read_bundle, write_bundle
from rockglacier.model.trained import load_model

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def packed(trained_ground, tmp_path_factory):
    path = tmp_path_factory.mktemp("packed") / "ground-hrnet.rgbundle.zip"
    return write_bundle(trained_ground, path, item={"id": "ground-model"})


def contents_of(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def repacked(path, contents):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return path


def changed(packed, tmp_path, **changes):
    """The packed model with other members; None leaves one out."""
    contents = contents_of(packed)
    contents.update({name.replace("__", "."): data for name, data in changes.items()})
    kept = {name: data for name, data in contents.items() if data is not None}
    return repacked(tmp_path / "changed.zip", kept)


def test_a_packed_model_predicts_as_the_trained_one(trained_ground, packed):
    bundle = read_bundle(packed, device=CPU)
    trained = load_model(trained_ground.models_path / "hrnet" / "trial-0", device=CPU)
    image = torch.randn(1, 2, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(bundle.model.probability(image), trained.probability(image))
    assert bundle.threshold == trained.threshold
    assert bundle.fusion.channels == trained.channels
    assert (bundle.resolution, bundle.window) == (10, 64)
    assert bundle.item == {"id": "ground-model"}


def test_packing_twice_gives_the_same_file(trained_ground, packed, tmp_path):
    again = write_bundle(trained_ground, tmp_path / "again.zip", item={"id": "ground-model"})
    assert again.read_bytes() == packed.read_bytes()
    assert read_bundle(again, device=CPU).fingerprint == read_bundle(packed).fingerprint


def test_outlines_without_a_licence_make_weights_that_may_not_be_passed_on(packed):
    bundle = read_bundle(packed, device=CPU)
    assert not bundle.facts["redistributable"]
    assert "**not redistributable**" in bundle.card


def test_card_names_data_scores_and_their_ground(packed):
    card = read_bundle(packed, device=CPU).card
    assert "validation (chosen on it)" in card
    assert "Copernicus Sentinel data 2024" in card
    assert "elevation, slope" in card


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(InputError, match=r"no packed model(.|\n)*rockglacier pack"):
        read_bundle(tmp_path / "nothing.zip")


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "text.zip"
    path.write_text("not a zip")
    with pytest.raises(InputError, match="is not a packed model"):
        read_bundle(path)


@pytest.mark.parametrize("name", ["../escaped.txt", "/escaped.txt", "extra.py"])
def test_members_that_do_not_belong_are_refused(packed, tmp_path, name):
    path = repacked(tmp_path / "evil.zip", {**contents_of(packed), name: b"x"})
    with pytest.raises(ContractError, match="holds what it should not"):
        read_bundle(path)
    assert not (tmp_path.parent / "escaped.txt").exists()


def test_a_missing_member_is_named(packed, tmp_path):
    with pytest.raises(InputError, match=r"lacks fusion\.json"):
        read_bundle(changed(packed, tmp_path, fusion__json=None))


def test_other_weights_are_noticed(packed, tmp_path):
    weights = bytearray(contents_of(packed)["model.ckpt"])
    weights[len(weights) // 2] ^= 1
    with pytest.raises(ContractError, match=r"weights in .* are not those"):
        read_bundle(changed(packed, tmp_path, model__ckpt=bytes(weights)))


def test_pickled_code_is_not_run(packed, tmp_path):
    class Boom:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    import hashlib

    weights = pickle.dumps(Boom())
    settings = json.loads(contents_of(packed)["model.json"])
    settings["weights"] = hashlib.sha256(weights).hexdigest()
    path = changed(packed, tmp_path, model__ckpt=weights, model__json=json.dumps(settings).encode())
    with pytest.raises(ContractError, match="weights of model 'hrnet' cannot be used"):
        read_bundle(path)
    assert not (tmp_path / "ran").exists()


def test_a_network_that_answers_differently_is_refused(packed, tmp_path):
    with np.load(io.BytesIO(contents_of(packed)["selfcheck.npz"])) as arrays:
        features, probability = arrays["features"], arrays["probability"]
    buffer = io.BytesIO()
    np.savez(buffer, features=features, probability=1 - probability)
    with pytest.raises(ContractError, match="gives other probabilities than where it was packed"):
        read_bundle(changed(packed, tmp_path, selfcheck__npz=buffer.getvalue()))


def test_a_fusion_of_other_features_is_refused(packed, tmp_path):
    fusion = json.loads(contents_of(packed)["fusion.json"])
    fusion["mean"] = [9.0, 9.0]
    with pytest.raises(InputError, match="made for other bands or features"):
        read_bundle(changed(packed, tmp_path, fusion__json=json.dumps(fusion).encode()))


def test_a_damaged_description_is_refused(packed, tmp_path):
    with pytest.raises(ContractError, match="is damaged"):
        read_bundle(changed(packed, tmp_path, bundle__json=b"{"))


def test_a_study_without_a_trained_model_cannot_be_packed(make_ground, tmp_path):
    with pytest.raises(NotFoundError, match="rockglacier train"):
        write_bundle(make_ground(), tmp_path / "model.zip")
