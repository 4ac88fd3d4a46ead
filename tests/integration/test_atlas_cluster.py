"""Basins at once, each in a process of its own, on the workers of one cluster."""

import logging
from functools import partial

from rockglacier.atlas.beside import Processes
from rockglacier.atlas.queue import run_queue
from rockglacier.cli.many import Equipped
from rockglacier.cluster import Joining, cluster_client
from rockglacier.engine import Receipts
from rockglacier.stages import Context, stage_named
from rockglacier.study import RECORD


def cube_of(study):
    return [stage_named("cube")]


def test_two_basins_at_once_share_the_workers_of_a_command(make_basin, tmp_path):
    studies = [make_basin(name, block=128) for name in ("here", "there")]
    for study in studies:  # as a search that is run leaves it
        (study.folder / RECORD).write_text(f"name: {study.config.name}")
    heard = set()
    with cluster_client("local", workers=1) as client:
        equip = Equipped(model=None, at="local", joining=Joining.of(client)).context
        beside = Processes(
            2,
            stages_of=partial(lambda study, of: [of("cube")], of=stage_named),
            equip=equip,
            progress=lambda what, done, total: heard.add(what),
        )
        rows = run_queue(
            studies,
            folder=tmp_path / "atlas",
            stages_of=cube_of,
            context=Context(client=client),
            beside=beside,
        )
        assert len(client.nthreads()) == 1
    assert {row.state for row in rows} == {"done"}
    assert heard == {"here: cube", "there: cube"}
    for study in studies:
        log = (study.folder / "logs" / "run.log").read_text()
        assert "1 workers at the local cluster" in log
        other = {"here": "there", "there": "here"}[study.config.name]
        assert f"/{other}/" not in log
        receipts = dict(Receipts(study.receipts_path / "cube").all())
        assert set(receipts) == {block.name for block in study.grid.blocks()}
    assert not [one for one in logging.getLogger("rockglacier").handlers if "run.log" in str(one)]
