"""Folders as a whole, tables and logs, here and in an object store."""

import logging
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest

from rockglacier.console import StoredLog
from rockglacier.storage import (
    listing,
    local_folder,
    move,
    open_array,
    open_group,
    open_place,
    put,
    readable,
    sha256_of,
    upload,
    uploaded,
    write_text,
)


@pytest.fixture(params=["disk", "store"])
def place(request, tmp_path):
    return tmp_path / "here" if request.param == "disk" else open_place(f"memory://{uuid4().hex}/a")


def contents(folder):
    found = {}
    for path in listing(folder):
        if path.is_file():
            found[path.name] = path.read_text()
        else:
            found |= {f"{path.name}/{name}": text for name, text in contents(path).items()}
    return found


def test_a_folder_is_worked_on_locally_and_brought_back(place):
    write_text(place / "trial" / "before", "1")
    with local_folder(place / "trial") as folder:
        assert contents(folder) == {"before": "1"}
        (folder / "events").mkdir()
        (folder / "events" / "one").write_text("2")
        upload(folder, place / "trial")
    assert contents(place / "trial") == {"before": "1", "events/one": "2"}


def test_what_was_not_uploaded_leaves_a_store_as_it_was():
    place = open_place(f"memory://{uuid4().hex}/a")
    write_text(place / "before", "1")
    with local_folder(place) as folder:
        (folder / "before").write_text("2")
    assert contents(place) == {"before": "1"}


def test_the_file_that_says_it_is_whole_is_uploaded_last(tmp_path, monkeypatch):
    for name in ("a.json", "model.json", "z.csv"):
        (tmp_path / name).write_text(name)
    order = []
    monkeypatch.setattr("rockglacier.storage.folders.put", lambda path, to: order.append(to.name))
    upload(tmp_path, open_place("memory://b/c"), last="model.json")
    assert order == ["a.json", "z.csv", "model.json"]


def test_folders_and_files_move(place):
    for name in ("trial-1", "trial-10"):
        write_text(place / name / "events" / "one", name)
    (place / "earlier").mkdir(parents=True, exist_ok=True)
    move(place / "trial-1", place / "earlier" / "trial-1.1")
    write_text(place / "a.gpkg", "edited")
    move(place / "a.gpkg", place / "a-edited-1.gpkg")
    assert contents(place) == {
        "a-edited-1.gpkg": "edited",
        "earlier/trial-1.1/events/one": "trial-1",
        "trial-10/events/one": "trial-10",
    }


def test_tables_and_arrays_are_read_by_path(place, tmp_path):
    table = pd.DataFrame({"a": [1, 2]})
    with uploaded(place / "t.parquet") as file:
        table.to_parquet(file)
    pd.testing.assert_frame_equal(pd.read_parquet(readable(place / "t.parquet")), table)
    group = open_group(place / "z.zarr", "w", attributes={"fusion": "f"})
    group.create_array("v", data=np.arange(6))
    open_array(place / "z.zarr" / "v", "r+")[0] = 9
    assert open_group(place / "z.zarr").attrs["fusion"] == "f"
    assert open_array(place / "z.zarr" / "v")[...].tolist() == [9, 1, 2, 3, 4, 5]
    (tmp_path / "b").write_text("abc")
    put(tmp_path / "b", place / "b")
    assert sha256_of(place / "b") == sha256_of(tmp_path / "b")


def test_a_stored_log_goes_on_after_that_of_an_earlier_process():
    path = open_place(f"memory://{uuid4().hex}/logs/run.log")
    for text in ("first", "second"):
        handler = StoredLog(path)
        for number in range(3):
            handler.emit(logging.makeLogRecord({"msg": f"{text} {number}", "levelno": 20}))
        handler.close()
    lines = [f"{text} {number}" for text in ("first", "second") for number in range(3)]
    assert path.read_text() == "\n".join(lines) + "\n"


def test_paths_of_a_store_know_where_they_lead():
    place = open_place("s3://bucket/a/stac/cubes")
    assert str((place / ".." / ".." / "cube.zarr").resolve()) == "s3://bucket/a/cube.zarr"
