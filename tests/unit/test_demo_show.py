"""What the demo says at its end."""

import json

import pytest

from made_study import study_in
from rockglacier.demo.show import hardly_trained


@pytest.mark.parametrize(("steps", "is_told"), [(3, True), (600, False)])
def test_networks_that_hardly_learned_are_told_beside_their_scores(tmp_path, steps, is_told):
    study = study_in(tmp_path, train={"networks": ["unet", "hrnet"]})
    for name, last in (("unet", 600), ("hrnet", steps)):
        trial = study.models_path / name / "trial-0"
        trial.mkdir(parents=True)
        lines = [json.dumps({"epoch": epoch, "step": step}) for epoch, step in ((0, 1), (1, last))]
        (trial / "history.jsonl").write_text("\n".join(lines) + "\n")
    said = "\n".join(hardly_trained(study))
    assert ("hrnet 3" in said and "train.max_minutes" in said) is is_told
    assert bool(said) is is_told
