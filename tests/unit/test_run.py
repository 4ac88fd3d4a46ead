"""Stages in order: done, stale, failed, and what runs again."""

from dataclasses import replace

import pytest

from made_study import study_in
from rockglacier.errors import InputError, NotFoundError
from rockglacier.run import require_stages_before, run_stages, standings
from rockglacier.stages import STAGES, Context, Stage, stage_named, stages_of

CONTEXT = Context()


def make_stages(calls, *, broken=False):
    """Two stages that write a file each; the second reads the first."""

    def work(name):
        def write(study, context):
            calls.append(name)
            if broken and name == "second":
                raise ValueError("no luck\nat all")
            (study.folder / name).write_text(name)
            return {"name": name}

        return write

    def stage(name, sections, after):
        return Stage(
            name=name,
            makes=f"the {name} file",
            work=work(name),
            sections=sections,
            after=after,
            product=lambda study: study.folder / name,
        )

    return [stage("first", ("cube",), ()), stage("second", ("inventory",), ("first",))]


def test_second_run_keeps_what_is_done(tmp_path):
    calls, study = [], study_in(tmp_path)
    run_stages(study, make_stages(calls), CONTEXT)
    run_stages(study, make_stages(calls), CONTEXT)
    assert calls == ["first", "second"]


def test_changed_setting_makes_its_stage_and_the_later_ones_stale(tmp_path):
    calls = []
    run_stages(study_in(tmp_path), make_stages(calls), CONTEXT)
    changed = study_in(tmp_path, cube={"resolution": 20})
    states = standings(changed, make_stages(calls), CONTEXT)
    assert [(s.state, s.why) for s in states] == [
        ("stale", "changed: cube settings"),
        ("stale", "first has to run before it"),
    ]
    run_stages(changed, make_stages(calls), CONTEXT)
    assert calls == ["first", "second", "first", "second"]


def test_setting_of_a_later_stage_leaves_the_earlier_ones(tmp_path):
    calls = []
    run_stages(study_in(tmp_path), make_stages(calls), CONTEXT)
    run_stages(study_in(tmp_path, inventory={"threshold": 0.4}), make_stages(calls), CONTEXT)
    assert calls == ["first", "second", "second"]


def test_lost_product_is_made_again(tmp_path):
    calls, study = [], study_in(tmp_path)
    run_stages(study, make_stages(calls), CONTEXT)
    (study.folder / "first").unlink()
    run_stages(study, make_stages(calls), CONTEXT)
    assert calls == ["first", "second", "first"]


def test_failed_stage_says_why_and_runs_again(tmp_path):
    calls, study = [], study_in(tmp_path)
    with pytest.raises(ValueError, match="no luck"):
        run_stages(study, make_stages(calls, broken=True), CONTEXT)
    states = standings(study, make_stages(calls), CONTEXT)
    assert [(s.state, s.why) for s in states] == [("done", ""), ("failed", "no luck")]
    run_stages(study, make_stages(calls), CONTEXT)
    assert [s.state for s in standings(study, make_stages(calls), CONTEXT)] == ["done", "done"]


def test_folder_is_free_after_a_failure(tmp_path):
    study = study_in(tmp_path)
    with pytest.raises(ValueError, match="no luck"):
        run_stages(study, make_stages([], broken=True), CONTEXT)
    assert not (study.folder / ".lease").exists()


def test_every_stage_reads_only_earlier_ones():
    names = [stage.name for stage in STAGES]
    for stage in STAGES:
        assert all(names.index(name) < names.index(stage.name) for name in stage.after)


def test_study_without_reference_cannot_learn(tmp_path):
    with pytest.raises(InputError, match="rockglacier map AREA"):
        stages_of(study_in(tmp_path), mapping=False)
    assert not any(stage.learns for stage in stages_of(study_in(tmp_path), mapping=True))


def test_single_stage_names_what_it_lacks(tmp_path):
    with pytest.raises(NotFoundError, match="rockglacier search"):
        require_stages_before(study_in(tmp_path), stage_named("cube"), CONTEXT)


def test_unknown_stage_lists_the_known_ones():
    with pytest.raises(InputError, match="search, label"):
        stage_named("serach")


def test_stage_run_alone_is_as_done_as_in_a_whole_run(tmp_path):
    calls, study = [], study_in(tmp_path)
    first, second = make_stages(calls)
    run_stages(study, [first], CONTEXT)
    run_stages(study, [second], CONTEXT)
    assert [s.state for s in standings(study, [first, second], CONTEXT)] == ["done", "done"]


@pytest.mark.parametrize(
    ("inventory", "state"),
    [
        ({"min_area_km2": 0.5, "overlaps": {"rivers": "r.gpkg"}}, "done"),
        ({"hydrology": {}}, "done"),
        ({"threshold_low": 0.3}, "done"),
        ({"threshold": 0.4}, "stale"),
    ],
)
def test_of_the_inventory_settings_the_prediction_reads_the_threshold(tmp_path, inventory, state):
    def work(study, context):
        study.prediction_path.mkdir(parents=True)
        (study.prediction_path / "probability.tif").write_text("made")
        return {}

    predict = replace(stage_named("predict"), work=work, after=())
    run_stages(study_in(tmp_path), [predict], CONTEXT)
    (standing,) = standings(study_in(tmp_path, inventory=inventory), [predict], CONTEXT)
    assert standing.state == state
    if state == "stale":
        assert standing.why == "changed: inventory.threshold settings"


def test_what_a_later_stage_lacks_is_told_before_the_first_runs(tmp_path):
    calls, study = [], study_in(tmp_path, train={"networks": ["unet", "nowhere_at_all:build"]})
    first, second = make_stages(calls)
    stages = [first, replace(second, check=stage_named("train").check)]
    with pytest.raises(InputError, match="'nowhere_at_all:build' cannot be imported"):
        run_stages(study, stages, CONTEXT)
    assert calls == []
    # what is done needs nothing more
    run_stages(study, make_stages(calls), CONTEXT)
    run_stages(study, stages, CONTEXT)
    assert calls == ["first", "second"]
