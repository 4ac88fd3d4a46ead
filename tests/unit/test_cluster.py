"""Dask clients, and blocks worked on by other processes."""

import importlib.util
import os

import dask
import pytest
from distributed.protocol.pickle import dumps, loads

from rockglacier.cluster import Joining, cluster_client, dashboard_link, local_size
from rockglacier.config import ComputeConfig, parse_bytes, parse_config
from rockglacier.engine import Receipts, Task, run_tasks
from rockglacier.errors import InputError, RemoteError
from rockglacier.storage import read_json
from rockglacier.workers import Equipment, _compare, self_test, settings_for, versions


def test_threads_need_no_client():
    with cluster_client("threads") as client:
        assert client is None


def test_an_unknown_kind_is_refused_with_the_kinds_there_are():
    with (
        pytest.raises(InputError, match=r"no cluster 'gpu'\n.*threads, local"),
        cluster_client("gpu"),
    ):
        pass


def test_a_scheduler_that_does_not_answer_is_named_with_what_to_do(monkeypatch):
    monkeypatch.setattr("rockglacier.cluster.CONNECT_SECONDS", 0.3)
    with (
        pytest.raises(RemoteError, match=r"no Dask scheduler answers at 'tcp://127.0.0.1:1'") as e,
        cluster_client("tcp://127.0.0.1:1"),
    ):
        pass
    assert "dask scheduler" in e.value.todo


@pytest.fixture(scope="module")
def local():
    with cluster_client("local", workers=1) as client:
        yield client


def test_workers_here_are_not_stopped_by_a_profiler(local):
    (is_on,) = local.run(dask.config.get, "distributed.worker.profile.enabled").values()
    assert not is_on


def make_work(folder):
    # by value: worker processes cannot import the module of a test
    def work(task):
        import json
        import os
        from pathlib import Path

        number = task.inputs["number"]
        if number < 0:
            raise InputError(f"number {number}", expected="none below 0", todo="count up")
        (Path(folder) / f"{number}.json").write_text(json.dumps({"square": number**2}))
        return {"pid": os.getpid()}

    return work


def make_tasks(*numbers):
    return [Task(name=f"b{number}", inputs={"number": number}) for number in numbers]


def run(folder, tasks, client):
    receipts = Receipts(folder / "receipts")
    outcome = run_tasks(
        tasks, make_work(str(folder)), receipts=receipts, what="x", workers=1, client=client
    )
    return outcome, dict(receipts.all())


def test_blocks_run_in_worker_processes_and_leave_their_receipts(tmp_path, local):
    outcome, receipts = run(tmp_path, make_tasks(2, 3), local)
    assert (outcome.built, outcome.kept) == (2, 0)
    assert [read_json(tmp_path / f"{n}.json")["square"] for n in (2, 3)] == [4, 9]
    assert os.getpid() not in {receipt["pid"] for receipt in receipts.values()}


def test_finished_blocks_are_kept_on_a_cluster_too(tmp_path, local):
    run(tmp_path, make_tasks(2), local)
    outcome, _ = run(tmp_path, make_tasks(2, 3), local)
    assert (outcome.built, outcome.kept) == (1, 1)


def test_the_message_of_a_failed_block_survives_the_trip_back(tmp_path, local):
    with pytest.raises(InputError, match=r"number -1\n.*none below 0\n.*count up"):
        run(tmp_path, make_tasks(-1), local)


def test_a_scheduler_is_joined_by_its_address(tmp_path, local):
    address = local.scheduler_info()["address"]
    with cluster_client(address) as client:
        outcome, _ = run(tmp_path, make_tasks(4), client)
    assert outcome.built == 1


def test_workers_without_rockglacier_are_found_before_any_work(local, monkeypatch):
    def no_module(*args, **options):
        raise ModuleNotFoundError("No module named 'rockglacier'")

    monkeypatch.setattr("distributed.Client.run", no_module)
    with (
        pytest.raises(RemoteError, match=r"cannot work: No module named 'rockglacier'") as e,
        cluster_client(local.scheduler_info()["address"]),
    ):
        pass
    assert "install rockglacier" in e.value.todo


# sizes


def test_processes_are_as_many_as_memory_feeds():
    size = local_size(ComputeConfig(), cores=16, memory_bytes=10 * 2**30)
    assert size == (4, 1, int(0.9 * 10 * 2**30) // 4)


def test_processes_are_no_more_than_cores():
    assert local_size(ComputeConfig(threads=2), cores=8, memory_bytes=2**40)[:2] == (4, 2)


def test_a_small_machine_has_one_process():
    assert local_size(ComputeConfig(), cores=2, memory_bytes=2**30) == (1, 1, int(0.9 * 2**30))


def test_what_is_set_holds():
    compute = ComputeConfig(workers=3, memory="1.5GB")
    assert local_size(compute, cores=1, memory_bytes=2**30) == (3, 1, 1_500_000_000)


@pytest.mark.parametrize(
    ("text", "count"), [("4GiB", 4 * 2**30), ("500 MB", 500_000_000), ("12B", 12), ("1kiB", 1024)]
)
def test_amounts_of_memory(text, count):
    assert parse_bytes(text) == count


@pytest.mark.parametrize(
    "wrong",
    [{"adaptive": [4, 2]}, {"memory": "4 gigs"}, {"workers": 0}, {"timeout_s": 0}, {"gpu": -1}],
)
def test_a_size_that_is_none_is_refused(wrong):
    with pytest.raises(InputError, match=f"compute.*{next(iter(wrong))}"):
        parse_config({"name": "a", "area": [0, 0, 1, 1], "compute": wrong}, source="a.yaml")


# what reaches workers

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIDAKID",
    "AWS_SECRET_ACCESS_KEY": "very-secret",
    "AWS_SESSION_TOKEN": "token-token",
    "AWS_REGION": "eu-central-1",
    "AWS_SHARED_CREDENTIALS_FILE": "/home/me/keys",
    "AWS_CA_BUNDLE": "/etc/ca.pem",
    "GDAL_HTTP_TIMEOUT": "30",
    "GDAL_DATA": "/usr/share/gdal",
    "HOME": "/home/me",
}


def test_keys_go_through_tls_and_stay_on_this_machine():
    for address in ("tls://far:8786", "tcp://127.0.0.1:8786", "gateway://far:8786"):
        given, kept = settings_for(address, ENVIRONMENT)
        assert kept == []
        assert sorted(given) == [
            "AWS_ACCESS_KEY_ID",
            "AWS_REGION",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "GDAL_HTTP_TIMEOUT",
        ]


def test_settings_alone_go_over_an_open_line():
    given, kept = settings_for("tcp://far:8786", ENVIRONMENT)
    assert given == {"AWS_REGION": "eu-central-1", "GDAL_HTTP_TIMEOUT": "30"}
    assert kept == ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]


def test_nothing_shows_a_key():
    assert "very-secret" not in repr(Equipment(ENVIRONMENT, timeout_s=None))


def test_keys_are_at_workers_for_the_time_of_the_run(local, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    address = local.scheduler_info()["address"]
    with cluster_client(address) as client:
        held = client.run(os.getenv, "AWS_SECRET_ACCESS_KEY")
        assert set(held.values()) == {"very-secret"}
        graphs = client.run_on_scheduler(_task_texts)
        assert "very-secret" not in graphs
    assert set(local.run(os.getenv, "AWS_SECRET_ACCESS_KEY").values()) == {None}


def _task_texts(dask_scheduler):
    return repr([task.run_spec for task in dask_scheduler.tasks.values()])


# self-test


def test_other_versions_are_named(local, monkeypatch):
    mine = versions()
    monkeypatch.setattr("rockglacier.workers.versions", lambda: {**mine, "zarr": "2.0"})
    with pytest.raises(RemoteError, match=rf"other versions:\n.*zarr {mine['zarr']}, here 2.0"):
        _compare({"tcp://there:1": mine}, "'there'")


def test_workers_write_where_the_study_lies_and_leave_nothing(local, make_basin):
    study = make_basin()
    self_test(local, at="here", study=study)
    assert not list(study.folder.glob(".self-test*"))


def test_workers_that_see_another_folder_are_named(local, make_basin, monkeypatch):
    study = make_basin()
    monkeypatch.setattr("rockglacier.workers._write", lambda folder, token: "nowhere")
    with pytest.raises(InputError, match="is not there") as caught:
        self_test(local, at="here", study=study)
    assert "s3://BUCKET" in caught.value.todo


def test_a_worker_that_cannot_read_a_scene_is_named(local, make_basin):
    study = make_basin()
    for path in study.base.rglob("*SCL*.tif"):
        path.unlink()
    with pytest.raises(RemoteError, match=r"worker tcp://.* of here: item .*SCL.* cannot be read"):
        self_test(local, at="here", study=study)


def test_the_dashboard_has_a_link_only_where_there_is_one(local):
    with_bokeh = importlib.util.find_spec("bokeh") is not None
    assert dashboard_link(local).startswith("http://127.0.0.1") == with_bokeh


def test_another_process_joins_the_same_cluster_by_what_can_be_sent(local):
    joining = loads(dumps(Joining.of(local)))
    with joining.client() as client:
        assert client.scheduler_info()["id"] == local.scheduler_info()["id"]
        assert client.submit(os.getpid).result() in local.run(os.getpid).values()


def test_certificates_are_sent_with_the_address():
    pytest.importorskip("cryptography", reason="makes the certificates")
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=0, security=True, processes=False, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        joining = loads(dumps(Joining.of(client)))
        assert joining.address.startswith("tls://")
        with joining.client() as other:
            assert other.scheduler_info()["id"] == client.scheduler_info()["id"]
