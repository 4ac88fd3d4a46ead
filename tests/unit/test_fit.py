"""Training a study: what is trained, kept, chosen and refused."""

import pytest
import zarr

from rockglacier.errors import ContractError, InputError, NotFoundError
from rockglacier.model.fit import load_model, select_model, train, train_networks
from rockglacier.storage import read_json

pytestmark = pytest.mark.usefixtures("one_thread")
SHORT = {"epochs": 1, "chips_per_epoch": 8}


def settings_of(study, path):
    return read_json(study.models_path / path / "model.json")


def test_both_splits_are_trained_and_only_the_honest_one_is_selected(trained_ground):
    honest = settings_of(trained_ground, "hrnet/trial-0")
    leaking = settings_of(trained_ground, "hrnet-random/trial-0")
    assert (honest["split"], leaking["split"]) == ("strip", "random")
    selection = read_json(trained_ground.selection_path)
    assert selection["path"] == "hrnet/trial-0"
    assert selection["threshold"] == honest["threshold"]
    assert "validation ground" in selection["reason"]


def test_settings_say_what_the_model_is(trained_ground):
    found = settings_of(trained_ground, "hrnet/trial-0")
    fusion = read_json(trained_ground.fusion_path)
    assert found["channels"] == fusion["channels"]
    assert found["fusion"] == fusion["hash"]
    assert found["basins"] == ["ground"]
    assert found["held_out"] is None
    assert found["validation"]["iou_rock_glacier"] > 0.5


def test_the_random_split_remembers_its_held_out_chips(trained_ground):
    held_out = settings_of(trained_ground, "hrnet-random/trial-0")["held_out"]
    assert len(held_out) == round(7 * 11 / 10)
    assert all(chip[2:] == [64, 64] for chip in held_out)


def test_finished_trials_are_kept_until_their_inputs_change(make_ground):
    study = make_ground(**SHORT)
    first = train(study)
    weights = (study.models_path / "hrnet" / "trial-0" / "model.ckpt").read_bytes()
    assert (first["built"], first["kept"]) == (1, 0)
    second = train(study)
    assert (second["built"], second["kept"]) == (0, 1)
    labels = zarr.open_array(study.labels_path / "labels", mode="r+")
    labels[100, 200] = 1 - labels[100, 200]
    assert train(study)["built"] == 1
    assert (study.models_path / "hrnet" / "trial-0" / "model.ckpt").read_bytes() != weights


def test_more_trials_keep_those_that_are_finished(make_ground):
    train(make_ground(**SHORT))
    found = train(make_ground("ground", trials=2, **SHORT))
    assert (found["built"], found["kept"]) == (1, 1)


def test_the_trial_with_the_best_validation_is_selected(make_ground):
    study = make_ground()
    scores = {"hrnet/trial-0": 0.4, "hrnet/trial-1": 0.6, "hrnet-random/trial-0": 0.99}
    done = {
        path: {
            "network": "hrnet",
            "trial": int(path[-1]),
            "split": "random" if "random" in path else "strip",
            "threshold": 0.4,
            "temperature": 1.2,
            "validation": {"iou_rock_glacier": iou},
        }
        for path, iou in scores.items()
    }
    assert select_model(study, done)["path"] == "hrnet/trial-1"


def test_a_network_that_was_not_trained_cannot_predict(make_ground):
    study = make_ground()
    predict = study.config.predict.model_copy(update={"network": "unet"})
    object.__setattr__(study.config, "predict", predict)
    with pytest.raises(InputError, match=r"'unet', which was not trained(.|\n)*one of hrnet"):
        select_model(study, {"hrnet/trial-0": {"network": "hrnet", "split": "strip"}})


def test_two_basins_train_one_network(make_ground):
    first, second = make_ground(**SHORT), make_ground("second", seed=1, **SHORT)
    train_networks([first, second], into=first)
    assert settings_of(first, "hrnet/trial-0")["basins"] == ["ground", "second"]
    assert not second.models_path.exists()


def test_a_basin_with_another_fusion_is_refused(make_ground):
    first, second = make_ground(**SHORT), make_ground("second", mean=0.5, **SHORT)
    with pytest.raises(ContractError, match="basin 'second' were made with fusion") as caught:
        train_networks([first, second], into=first)
    assert "that of basin 'ground'" in caught.value.expected
    assert "fuse them again" in caught.value.todo


def test_training_without_features_says_which_stage_makes_them(make_ground):
    study = make_ground()
    study.fusion_path.unlink()
    with pytest.raises(NotFoundError, match="rockglacier fuse"):
        train(study)


def test_a_trial_that_was_cut_off_is_trained_again(make_ground):
    study = make_ground(**SHORT)
    train(study)
    (study.models_path / "hrnet" / "trial-0" / "model.json").unlink()
    assert train(study)["built"] == 1
    assert load_model(study.models_path / "hrnet" / "trial-0").name == "hrnet"
