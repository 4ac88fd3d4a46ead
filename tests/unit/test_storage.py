"""Files of a run: whole, one writer, nothing secret, clear messages."""

import errno
import json
import os
import pickle
import socket

import pytest

from rockglacier.errors import InputError, RemoteError
from rockglacier.storage import (
    disk_errors,
    lease,
    read_json,
    redact,
    redact_text,
    require_space,
    write_json,
    write_text,
)


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


def test_remote_error_keeps_no_signature():
    error = RemoteError("failed", item="i", asset="B02", href="https://host/a.tif?sig=SECRET")
    assert error.href == "https://host/a.tif"


def test_errors_survive_the_trip_from_a_worker():
    error = RemoteError("found", expected="this", todo="that", item="i", asset="B02", href="h")
    back = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert str(back) == str(error)
    assert back.item == "i"


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})


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


def test_too_little_space_is_said_before_the_work(tmp_path):
    with pytest.raises(InputError, match="the cube needs"):
        require_space(tmp_path, 10**18, what="the cube")
