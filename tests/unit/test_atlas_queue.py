"""A queue of basins: order, budget, failures that stop no other, Ctrl-C, and what they share."""

import itertools
import json
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace

import geopandas as gpd
import pandas as pd
import pytest
import shapely
import yaml

from rockglacier.atlas.queue import (
    MERGE_TURN,
    Budget,
    Queue,
    Row,
    failures,
    in_order,
    row_of,
    run_queue,
)
from rockglacier.cli.many import run_many
from rockglacier.config import parse_config
from rockglacier.errors import InputError, NotFoundError
from rockglacier.publish import publish
from rockglacier.shelf import add_to_catalog
from rockglacier.stages import Context, Stage, stage_named
from rockglacier.storage import lease, turn, write_json
from rockglacier.study import Study
from rockglacier_stac.collection import Publication
from rockglacier_stac.validate import validate_catalog


class Basins:
    """Studies of two stages that write a file each, and fail where they are told to."""

    def __init__(self, folder):
        self.folder, self.calls, self.broken = folder, [], {}

    def study(self, name, **compute):
        values = {"name": name, "area": [74.0, 36.0, 74.1, 36.1], "compute": compute}
        return Study(config=parse_config(values, source="test"), base=self.folder)

    def stages(self, study):
        def work(of, context):
            self.calls.append(of.config.name)
            if of.config.name in self.broken:
                raise self.broken[of.config.name]
            (of.folder / "first").write_text("x")
            return {"objects": 2, "area_km2": 0.5}

        def follow(of, context):
            (of.folder / "second").write_text("x")
            return {}

        return [stage("inventory", work, "first"), stage("report", follow, "second")]

    def run(self, studies, **options):
        return run_queue(
            studies,
            folder=self.folder,
            stages_of=self.stages,
            context=Context(),
            **options,
        )


def stage(name, work, product):
    return Stage(
        name=name,
        makes=name,
        work=work,
        sections=("inventory",),
        after=(),
        product=lambda study: study.folder / product,
    )


@pytest.fixture
def basins(tmp_path):
    return Basins(tmp_path)


def states(rows):
    return {row.basin: row.state for row in rows}


def test_higher_priority_goes_first_and_else_the_given_order(basins):
    studies = [basins.study("a"), basins.study("b", priority=2), basins.study("c", priority=2)]
    assert [study.config.name for study in in_order(studies)] == ["b", "c", "a"]


def test_basins_of_one_name_are_refused(basins):
    study = basins.study("a")
    with pytest.raises(InputError, match="several basins have the name 'a'"):
        in_order([study, Study(config=study.config, base=basins.folder / "elsewhere")])
    renamed = study.config.model_copy(update={"name": "b", "output": "a"})
    with pytest.raises(InputError, match="output folder"):
        in_order([study, Study(config=renamed, base=study.base)])


def test_basins_end_in_one_inventory_and_one_catalog(make_products, tmp_path):
    studies = []
    for name in "ab":
        study = make_products(tmp_path / name, name=name, learned=False)
        (study.folder / "study.yaml").write_text(f"name: {name}")
        studies.append(study)
    drawn = stage("inventory", lambda *_: {"objects": 2, "area_km2": 0.5}, "grid.json")
    found = {"verdict": "unlike", "distance": 1.5, "beyond": 0.25}
    write_json(studies[1].prediction_path / "applicability.json", found)
    said = {"a": {}, "b": {"applicability": "unlike"}}
    shown = stage("report", lambda of, _: said[of.config.name], "grid.json")
    stages = [drawn, shown, replace(stage_named("publish"), after=())]

    def run(*basins):
        return run_queue(basins, folder=tmp_path, stages_of=lambda study: stages, context=Context())

    # two commands, of a basin each, in one folder
    rows = [*run(studies[0]), *run(studies[1])]
    assert states(rows) == {"a": "done", "b": "done"}
    assert [(row.outlines, row.done, row.why) for row in rows] == [(2, 3, "")] * 2
    assert [row.ground for row in rows] == ["", "unlike"]
    table = pd.read_csv(tmp_path / "basins.csv", keep_default_na=False).set_index("basin")
    assert table["ground"].to_dict() == {"a": "", "b": "unlike"}
    for folder, kind in (("predictions", "prediction"), ("inventories", "inventory")):
        for name, expected in (("a", None), ("b", found)):
            place = tmp_path / "stac" / folder / f"{name}-2024-{kind}.json"
            said = json.loads(place.read_text())["properties"]
            assert said.get("rockglacier:applicability") == expected
    assert validate_catalog(tmp_path / "stac") == []
    names = {path.name for path in (tmp_path / "stac" / "inventories").glob("*-2024-*.json")}
    assert names == {"a-2024-inventory.json", "b-2024-inventory.json"}
    facts = json.loads((tmp_path / "inventory.json").read_text())
    # both were made with the same two landforms
    assert (facts["basins"], facts["outlines"], facts["doubles"]) == (2, 2, 2)
    table = json.loads((tmp_path / "progress.json").read_text())
    assert {row["basin"]: (row["state"], row["products"]) for row in table} == {
        "a": ("done", "a/products"),
        "b": ("done", "b/products"),
    }


def test_basin_that_fails_stops_no_other_and_goes_on_later(basins):
    studies = [basins.study("a"), basins.study("b"), basins.study("c")]
    basins.broken = {"a": ValueError("no luck\nat all"), "b": NotFoundError("no scene", todo="x")}
    rows = basins.run(studies)
    assert states(rows) == {"a": "failed", "b": "failed", "c": "done"}
    assert list(failures(rows)) == [("a", "ValueError: no luck"), ("b", "no scene")]
    told = [row_of(study, basins.stages(study), Context()) for study in studies]
    assert [(row.state, row.done, row.stages, row.outlines) for row in told] == [
        ("failed", 0, 2, None),
        ("failed", 0, 2, None),
        ("done", 2, 2, 2),
    ]
    assert told[0].why == "no luck"
    basins.broken = {}
    basins.calls.clear()
    assert set(states(basins.run(studies)).values()) == {"done"}
    assert basins.calls == ["a", "b"]  # c is kept


def test_ctrl_c_leaves_a_table_and_no_lease(basins):
    studies = [basins.study("a"), basins.study("b"), basins.study("c")]
    basins.broken = {"b": KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        basins.run(studies)
    table = json.loads((basins.folder / "progress.json").read_text())
    assert [row["state"] for row in table] == ["done", "stopped", "waiting"]
    assert not list(basins.folder.rglob(".lease"))
    basins.broken = {}
    basins.calls.clear()
    assert set(states(basins.run(studies)).values()) == {"done"}
    assert basins.calls == ["b", "c"]


def test_budget_counts_basins_that_are_worked_on(basins):
    studies = [basins.study(name) for name in "abc"]
    rows = basins.run(studies, budget=Budget(basins=1))
    assert states(rows) == {"a": "done", "b": "waiting", "c": "waiting"}
    assert "the budget of this run" in rows[1].why
    rows = basins.run(studies, budget=Budget(basins=1))
    assert states(rows) == {"a": "done", "b": "done", "c": "waiting"}


def test_no_stage_begins_after_the_hours_of_the_budget(basins, monkeypatch):
    studies = [basins.study(name) for name in "ab"]
    clock = itertools.count(0, 100.0)
    monkeypatch.setattr("rockglacier.atlas.queue.time.monotonic", lambda: next(clock))
    rows = basins.run(studies, budget=Budget(hours=0.1))
    assert states(rows) == {"a": "waiting", "b": "waiting"}
    assert (rows[0].stage, rows[0].done, rows[1].done) == ("inventory", 1, 0)
    assert rows[0].why == "0.1 h are over, the budget of this run"
    assert basins.calls == ["a"]
    monkeypatch.undo()
    basins.calls.clear()
    assert set(states(basins.run(studies)).values()) == {"done"}
    assert basins.calls == ["b"]


def test_every_basin_runs_within_what_is_put_around_it(basins):
    entered = []

    @contextmanager
    def around(study):
        entered.append(study.config.name)
        assert study.answers == basins.folder / "search"
        yield
        entered.append(f"end of {study.config.name}")

    basins.run([basins.study("a"), basins.study("b")], around=around)
    assert entered == ["a", "end of a", "b", "end of b"]


def test_given_model_is_on_the_shelf_once_and_stays_as_it_is(make_products, tmp_path):
    """Basins mapped with one model all bring its item, each with a copy of its own."""
    home = make_products(tmp_path / "home", name="home")
    publish(home)
    learnt = json.loads((home.stac_path / "models" / "home-2024-hrnet.json").read_text())
    shelf, href = tmp_path / "stac", "../../models/packed.zip"
    changed = []
    for name in ("a", "b", "a"):
        study = Study(config=home.config.model_copy(update={"name": name}), base=tmp_path / name)
        model = {
            **learnt,
            "assets": {key: {**asset, "href": href} for key, asset in learnt["assets"].items()},
        }
        publication = Publication(
            identifier=name, title=name, description=name, providers=(), license="other",
            attribution=(), notice="NOTICE.txt",
        )  # fmt: skip
        changed.append(
            add_to_catalog(
                shelf, study, publication, {"models": [model]}, now="2026-01-01T00:00:00Z"
            )
        )
    assert changed[0] > 0
    assert changed[1:] == [0, 0]
    kept = json.loads((shelf / "models" / "home-2024-hrnet.json").read_text())
    assert {asset["href"] for asset in kept["assets"].values()} == {
        "../../a/products/models/packed.zip"
    }


def in_a_process(code, *arguments):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)])


CHANGES = """
import sys
from pathlib import Path
from rockglacier.atlas.queue import Budget, Queue, Row

folder, basin = Path(sys.argv[1]), sys.argv[2]
queue = Queue(folder=folder, rows={basin: Row(basin=basin)}, budget=Budget(), told=None)
for number in range(150):
    queue.change(basin, done=number)
    assert any(row["basin"] == basin and row["done"] == number for row in queue.table())
"""


def test_two_commands_keep_each_others_rows(tmp_path):
    for process in [in_a_process(CHANGES, tmp_path, basin) for basin in "ab"]:
        assert process.wait(300) == 0
    table = json.loads((tmp_path / "progress.json").read_text())
    assert sorted((row["basin"], row["done"]) for row in table) == [("a", 149), ("b", 149)]
    assert [path.name for path in tmp_path.iterdir()] == ["progress.json"]


MERGES = """
import sys
from pathlib import Path
from rockglacier.atlas.queue import run_queue
from rockglacier.stages import Context
from rockglacier.study import open_study

folder = Path(sys.argv[1])
run_queue(
    [open_study(folder / "a" / "study.yaml")],
    folder=folder, stages_of=lambda study: [], context=Context(),
)
"""


def test_whoever_merges_last_sees_what_another_command_left(make_products, tmp_path):
    for name in "ab":
        study = make_products(tmp_path / name, name=name, learned=False)
        text = yaml.safe_dump(study.config.model_dump(mode="json", exclude_defaults=True))
        (study.base / "study.yaml").write_text(text)
        (study.folder / "study.yaml").write_text(text.replace("output: products", "output: ."))
    with turn(tmp_path, name=MERGE_TURN):
        process = in_a_process(MERGES, tmp_path)
        queue = Queue(
            folder=tmp_path,
            rows={"b": Row(basin="b", state="done", products="b/products")},
            budget=Budget(),
            told=None,
        )
        while not any(row["basin"] == "a" for row in queue.table()):
            time.sleep(0.05)
        queue.save()
        time.sleep(2)
        assert process.poll() is None
        assert not (tmp_path / "inventory.json").exists()
    assert process.wait(300) == 0
    facts = json.loads((tmp_path / "inventory.json").read_text())
    assert facts["basins"] == 2


def test_a_lost_file_of_any_basin_is_told_before_the_first_begins(tmp_path):
    reference = gpd.GeoDataFrame(geometry=[shapely.box(74.0, 36.0, 74.05, 36.05)], crs=4326)
    reference.to_file(tmp_path / "outlines.gpkg")
    files = []
    for name, outlines in (("a", "outlines.gpkg"), ("b", "lost.gpkg")):
        values = {"name": name, "area": [74.0, 36.0, 74.1, 36.1], "labels": {"reference": outlines}}
        files.append(tmp_path / f"{name}.yaml")
        files[-1].write_text(yaml.safe_dump(values))
    with pytest.raises(InputError, match=r"basin 'b': no file .*lost\.gpkg"):
        run_many(
            files, model=None, bundle=None, folder=None, hours=None, basins=None, at_once=1,
            cluster=None,
        )  # fmt: skip
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "progress.json").exists()


def test_basins_that_name_several_clusters_are_told_before_the_first_begins(tmp_path):
    reference = gpd.GeoDataFrame(geometry=[shapely.box(74.0, 36.0, 74.05, 36.05)], crs=4326)
    reference.to_file(tmp_path / "outlines.gpkg")
    files = []
    for name, cluster in (("a", "threads"), ("b", "local")):
        values = {
            "name": name, "area": [74, 36, 74.1, 36.1], "compute": {"cluster": cluster},
            "labels": {"reference": "outlines.gpkg"},
        }  # fmt: skip
        files.append(tmp_path / f"{name}.yaml")
        files[-1].write_text(yaml.safe_dump(values))
    with pytest.raises(InputError, match=r"several clusters .*'local' \(b\), 'threads' \(a\)"):
        run_many(
            files, model=None, bundle=None, folder=None, hours=None, basins=None, at_once=1,
            cluster=None,
        )  # fmt: skip
    assert not (tmp_path / "progress.json").exists()


@pytest.mark.parametrize("name", ["stac", "search"])
def test_a_basin_of_the_name_of_a_shared_folder_is_refused(basins, name):
    with pytest.raises(InputError, match=f"basin '{name}' has the folder .* which the basins"):
        basins.run([basins.study("a"), basins.study(name)])
    assert basins.calls == []


def test_a_basin_that_another_run_works_on_waits_and_keeps_that_runs_row(basins):
    studies = [basins.study(name) for name in "abc"]
    other = Queue(
        folder=basins.folder,
        rows={"b": Row(basin="b", state="done", outlines=7)},
        budget=Budget(),
        told=None,
    )
    stages = basins.stages

    def ended_meanwhile(study):
        if study.config.name == "c":
            other.save()
        return stages(study)

    basins.stages = ended_meanwhile
    with lease(studies[1].folder):
        rows = basins.run(studies)
    assert states(rows) == {"a": "done", "b": "waiting", "c": "done"}
    assert "is in use by process" in rows[1].why
    assert list(failures(rows)) == []
    table = json.loads((basins.folder / "progress.json").read_text())
    assert {row["basin"]: (row["state"], row["outlines"]) for row in table}["b"] == ("done", 7)
