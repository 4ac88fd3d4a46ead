"""Files of a run: whole, one writer, nothing secret, clear messages, here or in a store."""

import errno
import json
import os
import pickle
import socket
from contextlib import nullcontext
from operator import methodcaller
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import zarr

from rockglacier.errors import ContractError, InputError, RemoteError
from rockglacier.storage import (
    RemotePath,
    Traffic,
    disk_errors,
    gdal_settings,
    in_one_pass,
    is_local,
    lease,
    listing,
    local_copy,
    one_pass,
    open_array,
    open_group,
    open_place,
    read_bytes,
    read_json,
    read_jsons,
    redact,
    redact_text,
    remote,
    remove,
    require_space,
    uploaded,
    write_bytes,
    write_json,
    write_text,
    zarr_store,
)


@pytest.fixture(params=["disk", "store"])
def place(request, tmp_path):
    """An empty folder on a disk, and one in an object store that lives in memory."""
    if request.param == "disk":
        return tmp_path / "a study"
    return open_place(f"memory://{tmp_path.name}/a study")


@pytest.fixture
def no_store(monkeypatch):
    """Nobody listens where the environment says that the store is."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "unspeakable")
    monkeypatch.setattr(remote, "RETRIES", 0)
    return port


@pytest.mark.parametrize(
    ("href", "safe"),
    [
        ("https://host/a.tif?sig=SECRET&se=1", "https://host/a.tif"),
        ("https://user:password@host/a.tif", "https://host/a.tif"),
        ("s3://bucket/key.tif", "s3://bucket/key.tif"),
        ("data/a.tif", "data/a.tif"),
    ],
)
def test_redact_drops_what_may_be_secret(href, safe):
    assert redact(href) == safe


def test_redact_text_drops_signatures_of_a_library_s_message():
    line = "HTTP 403 on https://host/a.tif?sig=SECRET&se=1 (again)"
    assert redact_text(line) == "HTTP 403 on https://host/a.tif (again)"


def test_redact_text_drops_the_keys_of_the_environment(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "unspeakable")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sv=1&sig=abc")
    monkeypatch.setenv("STAC_API_PASSWORD", "open sesame")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    line = redact_text("eu-central-1 refused unspeakable, open sesame and sv=1&sig=abc")
    assert line == "eu-central-1 refused ***, *** and ***"


def test_remote_error_keeps_no_signature():
    error = RemoteError(
        "failed", item="i", asset="B02", href="https://me:SECRET@host/a.tif?sig=SECRET"
    )
    assert error.href == "https://host/a.tif"


def test_errors_survive_the_trip_from_a_worker():
    error = RemoteError("found", expected="this", todo="that", item="i", asset="B02", href="h")
    back = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert str(back) == str(error)
    assert back.item == "i"


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})


@pytest.mark.parametrize(
    "text",
    ['{"a": NaN}', '{"a": -Infinity}', '{"a": 1', "", "[" * 100_000],
    ids=lambda text: text[:12],
)
def test_json_that_is_none_is_named_with_its_file(tmp_path, text):
    (tmp_path / "receipt.json").write_text(text)
    with pytest.raises(ContractError, match=r"receipt\.json' is not JSON") as caught:
        read_json(tmp_path / "receipt.json")
    assert caught.value.expected
    assert caught.value.todo


def test_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_text(path, "new")
    assert path.read_text() == "old"


def test_folder_in_use_is_refused(tmp_path):
    with lease(tmp_path), pytest.raises(InputError, match="in use by process"), lease(tmp_path):
        pass


def test_lease_of_a_killed_run_is_taken_over(tmp_path):
    write_json(tmp_path / ".lease", {"pid": 2**22 + 1, "host": socket.gethostname()})
    with lease(tmp_path):
        assert read_json(tmp_path / ".lease")["pid"] == os.getpid()
    assert not (tmp_path / ".lease").exists()


def test_lease_of_a_run_that_was_killed_before_it_wrote_into_it_is_taken_over(tmp_path):
    path = tmp_path / ".lease"
    path.touch()
    with pytest.raises(InputError, match="in use by process"), lease(tmp_path):
        pass
    os.utime(path, (0, 0))
    with lease(tmp_path):
        assert read_json(path)["pid"] == os.getpid()


def test_run_that_is_stopped_while_it_takes_a_lease_leaves_none(tmp_path, monkeypatch):
    def stopped(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("json.dump", stopped)
        with pytest.raises(KeyboardInterrupt), lease(tmp_path):
            pass
    assert not list(tmp_path.iterdir())
    # nor does one that is refused take that of another
    with lease(tmp_path):
        with pytest.raises(InputError), lease(tmp_path):
            pass
        assert list(tmp_path.iterdir())


def test_lease_of_another_host_is_respected(tmp_path):
    (tmp_path / ".lease").write_text(json.dumps({"pid": 1, "host": "elsewhere"}))
    with pytest.raises(InputError, match="on elsewhere"), lease(tmp_path):
        pass


def test_full_disk_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match="finished blocks are kept"), disk_errors(tmp_path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_folder_that_is_not_writable_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match="set `output` to another folder"), disk_errors(tmp_path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path / "x"))


@pytest.mark.parametrize("folder", ["file", "file/products"])
def test_file_in_the_way_of_the_folder_says_what_to_do(tmp_path, folder):
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match=r"cannot make the folder(.|\n)*set `output`"),
        lease(tmp_path / folder),
    ):
        pass


def failed_write(path):
    with rasterio.open(path / "lost" / "a.tif", "w", driver="GTiff", width=1, height=1, count=1,
                       dtype="uint8"):  # fmt: skip
        pass


@pytest.mark.parametrize("free", [1000, 10**9])
def test_library_that_cannot_write_is_told_as_a_full_disk_if_it_is_full(
    tmp_path, monkeypatch, free
):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": free})())
    kind, words = (InputError, "is full") if free == 1000 else (rasterio.RasterioIOError, "a.tif")
    with pytest.raises(kind, match=words), disk_errors(tmp_path / "new"):
        failed_write(tmp_path)


def test_full_disk_is_seen_before_the_unfinished_file_is_deleted(tmp_path, monkeypatch):
    def usage(path):
        unfinished = any(tmp_path.glob(".a.tif.partial/*"))
        return type("Usage", (), {"free": 0 if unfinished else 10**9})()

    monkeypatch.setattr("shutil.disk_usage", usage)

    def write():
        with uploaded(tmp_path / "a.tif") as path:
            path.write_bytes(b"half")
            failed_write(tmp_path)

    with pytest.raises(InputError, match="is full"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_too_little_space_is_said_before_the_work(tmp_path):
    with pytest.raises(InputError, match="the cube needs"):
        require_space(tmp_path, 10**18, what="the cube")


def test_files_are_read_as_they_were_written(place):
    write_json(place / "receipts" / "a.json", {"a": [1, None]})
    write_text(place / "grün.txt", "ü\n")
    write_bytes(place / "b.bin", b"\0\1")
    assert read_json(place / "receipts" / "a.json") == {"a": [1, None]}
    assert (place / "grün.txt").read_text(encoding="utf-8") == "ü\n"
    assert read_bytes(place / "b.bin") == b"\0\1"
    assert (place / "b.bin").stat().st_size == 2
    assert sorted(path.name for path in place.iterdir()) == ["b.bin", "grün.txt", "receipts"]


def test_files_and_folders_are_told_apart(place):
    write_text(place / "receipts" / "a.json", "{}")
    states = [
        (path.exists(), path.is_file(), path.is_dir())
        for path in (place / "receipts" / "a.json", place / "receipts", place / "receipt")
    ]
    assert states == [(True, True, False), (True, False, True), (False, False, False)]


def test_missing_files_are_file_not_found(place):
    write_text(place / "here", "")
    for use in (read_json, read_bytes, methodcaller("unlink"), methodcaller("stat")):
        with pytest.raises(FileNotFoundError):
            use(place / "gone")
    (place / "gone").unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError), local_copy(place / "gone") as copy:
        copy.read_bytes()


def test_listing_has_the_files_of_one_folder_by_name(place):
    for name in ("b.json", "a.json", "c.txt", "deeper/d.json"):
        write_text(place / name, "1")
    assert listing(place, ".json") == [place / "a.json", place / "b.json"]
    assert listing(place / "nothing", ".json") == []
    assert read_jsons(place) == {"a": 1, "b": 1}
    assert sorted(place.glob("*/*.json")) == [place / "deeper" / "d.json"]
    assert sorted(place.glob("deeper/d.json")) == [place / "deeper" / "d.json"]
    assert sorted(place.glob("c*")) == [place / "c.txt"]


def test_remove_takes_a_file_or_all_of_a_folder_and_nothing_beside_it(place):
    for name in ("cube.zarr/zarr.json", "cube.zarr/c/0", "cube.zarr.txt", "a.json"):
        write_text(place / name, "1")
    for gone in ("cube.zarr", "a.json", "never was"):
        remove(place / gone)
    assert [path.name for path in place.iterdir()] == ["cube.zarr.txt"]


def test_upload_appears_whole_or_not_at_all(place):
    path = place / "inventory" / "a.gpkg"
    table = gpd.GeoDataFrame(geometry=gpd.points_from_xy([1], [2]), crs=4326)
    with uploaded(path) as file:
        table.to_file(file)
        assert not path.exists()
    with pytest.raises(ZeroDivisionError), uploaded(path) as file:
        file.write_bytes(b"half" * (1 // 0))
    with local_copy(path) as file:
        assert len(gpd.read_file(file)) == 1
    assert [found.name for found in path.parent.iterdir()] == ["a.gpkg"]


def test_sharded_zarr_is_written_and_read_by_path(place):
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    group = zarr.open_group(zarr_store(place / "a.zarr", read_only=False), mode="w")
    group.create_array("v", shape=(64, 64), dtype="uint16", shards=(32, 32), chunks=(16, 16))
    array = zarr.open_array(zarr_store(place / "a.zarr" / "v", read_only=False), mode="r+")
    array[...] = values
    held = zarr.open_group(zarr_store(place / "a.zarr", read_only=True), mode="r")
    np.testing.assert_array_equal(held["v"][...], values)
    with pytest.raises(ValueError, match="read-only"):
        held["v"][0, 0] = 1


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("s3://bucket/a b/c", RemotePath("s3://bucket/a b/c")),
        ("az://box/c/", RemotePath("az://box/c")),
        ("file:///srv/a%20b", Path("/srv/a b")),
        ("a/b", Path("a/b").absolute()),
        (Path("a/b"), Path("a/b").absolute()),
    ],
)
def test_addresses_become_paths(uri, path):
    assert open_place(uri) == path
    assert is_local(open_place(uri)) == (not isinstance(path, RemotePath))


@pytest.mark.parametrize("uri", ["ftp://host/a", "s3://", "https://host/a"])
def test_addresses_that_cannot_be_written_are_refused(uri):
    with pytest.raises(InputError, match="nothing can be written"):
        open_place(uri)


def test_remote_path_is_spelled_as_its_address():
    path = open_place("s3://bucket/hunza") / "receipts" / "cube.json"
    assert str(path) == "s3://bucket/hunza/receipts/cube.json"
    assert (path.bucket, path.object_name) == ("bucket", "hunza/receipts/cube.json")
    assert path.parent.with_name("a") == open_place("s3://bucket/hunza/a")
    assert pickle.loads(pickle.dumps(path)) == path  # noqa: S301 - our own bytes


@pytest.mark.parametrize("use", [os.fspath, rasterio.open, gpd.read_parquet, Path.touch])
def test_remote_path_taken_for_a_local_file_says_so(use):
    with pytest.raises(InputError, match="is in an object store"):
        use(open_place("s3://bucket/a.parquet"))


def test_store_that_does_not_answer_is_named_without_keys(no_store):
    path = open_place("s3://bucket/a.json")
    for use in (methodcaller("exists"), methodcaller("write_text", ""), read_json, remove, listing):
        with pytest.raises(RemoteError, match="Connection refused") as caught:
            use(path)
        assert "the store of 's3://bucket/a.json'" in str(caught.value)
        assert "unspeakable" not in str(caught.value)


def test_zarr_of_a_store_that_does_not_answer_is_told_as_clearly(no_store):
    path = open_place("s3://bucket/cube.zarr")
    with pytest.raises(RemoteError, match="Connection refused"), disk_errors(path):
        zarr.open_group(zarr_store(path, read_only=True), mode="r")


def test_pickled_zarr_store_holds_no_keys(no_store):
    store = zarr_store(open_place("s3://bucket/cube.zarr"), read_only=True).store
    assert b"unspeakable" not in pickle.dumps(store)


def test_object_store_always_has_room():
    require_space(open_place("s3://bucket/a"), 10**18, what="the cube")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {}),
        (
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:8333"},
            {
                "AWS_S3_ENDPOINT": "127.0.0.1:8333",
                "AWS_HTTPS": "NO",
                "AWS_VIRTUAL_HOSTING": "FALSE",
            },
        ),
        (
            {"AWS_ENDPOINT_URL_S3": "https://s3.host", "AWS_ENDPOINT_URL": "https://other"},
            {"AWS_S3_ENDPOINT": "s3.host", "AWS_HTTPS": "YES", "AWS_VIRTUAL_HOSTING": "FALSE"},
        ),
        (
            {"AWS_ENDPOINT_URL": "https://a", "AWS_S3_ENDPOINT": "b", "AWS_HTTPS": "NO"},
            {"AWS_VIRTUAL_HOSTING": "FALSE"},
        ),
    ],
)
def test_gdal_is_told_the_same_endpoint(monkeypatch, given, expected):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert gdal_settings() == expected


def test_lease_of_a_folder_in_a_store_is_released(tmp_path):
    folder = open_place(f"memory://{tmp_path.name}/a")
    with lease(folder) as held:
        held.check()
        assert read_json(folder / ".lease")["pid"] == os.getpid()
    assert not (folder / ".lease").exists()


def write_whole(path):
    with uploaded(path) as made:
        made.write_text("a")


@pytest.mark.parametrize("write", [write_whole, lambda path: write_text(path, "a")])
def test_a_file_where_a_folder_should_be_is_told(tmp_path, write):
    (tmp_path / "taken.gpkg").write_bytes(b"somebody's")
    with pytest.raises(InputError, match=r"cannot make the folder '.*taken\.gpkg") as told:
        write(tmp_path / "taken.gpkg" / "new.csv")
    assert "name another one" in str(told.value.todo)
    assert (tmp_path / "taken.gpkg").read_bytes() == b"somebody's"


@pytest.mark.parametrize("place", ["{folder}/layers.zarr", "memory://bucket/traffic/layers.zarr"])
@pytest.mark.parametrize("threaded", [False, True])
def test_bytes_of_a_store_are_counted_as_they_are_stored(place, threaded, tmp_path):
    path = open_place(place.format(folder=tmp_path))
    values = np.random.default_rng(3).integers(0, 9, (64, 64), np.uint8)
    group = open_group(path, "w")
    group.create_array("layer", shape=(64, 64), dtype="uint8", chunks=(16, 16), shards=(32, 32))
    traffic = Traffic()
    with one_pass() if threaded else nullcontext():
        layer = open_group(path, "r+", traffic=traffic)["layer"]
    about = traffic.taken()
    assert about["read_bytes"] > 0  # what the store says of itself
    layer[:] = values
    objects = [path / "layer" / "c" / str(y) / str(x) for y in (0, 1) for x in (0, 1)]
    sizes = sum(len(one.read_bytes()) for one in objects)
    assert traffic.taken()["written_bytes"] == sizes
    layer = open_array(path / "layer", traffic=traffic)
    traffic.taken()
    layer = in_one_pass(layer) if threaded else layer
    np.testing.assert_array_equal(layer[:], values)
    read = traffic.taken()["read_bytes"]
    assert sizes <= read < 1.2 * sizes + 3000
    layer[:16, :16]
    assert 0 < traffic.taken()["read_bytes"] < sizes / 2
