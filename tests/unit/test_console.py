"""What a person sees without a terminal: lines, not too many, and no secrets in the log."""

import logging
import sys

import pytest
import stamina

from rockglacier.console import LOGGERS, Lines, Redacted, errors_shown, log_to, warnings_shown


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr("rockglacier.console.out.print", lines.append)
    return lines


def test_start_and_end_are_told_and_the_quick_steps_between_are_not(said):
    progress = Lines()
    for done in range(5):
        progress("cube", done, 4)
    assert [line.strip() for line in said] == ["cube: 0/4", "cube: 4/4"]


def test_end_is_told_once(said):
    progress = Lines()
    progress("train", 3, 3)
    progress("train", 3, 3)
    assert len(said) == 1


def test_same_work_on_another_basin_is_told_again(said):
    progress = Lines()
    for _ in range(2):
        progress("cube", 0, 2)
        progress("cube", 2, 2)
    assert len(said) == 4


def test_signature_in_a_record_s_arguments_is_taken_out():
    record = logging.LogRecord("x", 30, "f", 1, "HTTP 403 on %s", ("https://h/a?sig=S",), None)
    assert Redacted().filter(record)
    assert record.getMessage() == "HTTP 403 on https://h/a"


@pytest.fixture
def logger():
    loggers = [logging.getLogger(name) for name in LOGGERS]
    yield loggers[0]
    for one in loggers:
        for handler in list(one.handlers):
            handler.close()
            one.removeHandler(handler)


def test_log_comes_with_its_first_record(tmp_path, logger):
    path = log_to(tmp_path / "here" / "logs")
    assert not (tmp_path / "here").exists()
    logger.info("searched")
    assert path.read_text(encoding="utf-8").endswith("INFO rockglacier: searched\n")


def test_log_that_cannot_be_written_hides_no_message(tmp_path, logger, capsys):
    (tmp_path / "here").write_text("a file")
    log_to(tmp_path / "here")
    logger.error("the disk is full")
    assert capsys.readouterr().err == ""


def test_warnings_are_seen_though_a_few_of_a_kind_only_and_without_secrets(logger, capsys):
    with warnings_shown():
        for tile in range(5):
            logger.warning("no answer from https://h/%d?sig=S", tile)
        logger.error("a stage failed, which its error tells")
        for attempt in stamina.retry_context(on=OSError, attempts=2, wait_initial=0, wait_jitter=0):
            with attempt:
                if attempt.num == 1:
                    raise OSError("connection refused")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "warning: no answer from https://h/0",
        "warning: no answer from https://h/1",
        "warning: no answer from https://h/2 (more of these only in logs/run.log)",
        "warning: OSError('connection refused'); trying again in 0.0 s",
    ]
    logger.warning("later")
    assert "warning: later" not in capsys.readouterr().err


@pytest.mark.parametrize("module", ["torch", "torchgeo.datasets", "tensorboardX"])
def test_a_library_of_an_extra_that_is_not_installed_is_asked_for(monkeypatch, capsys, module):
    monkeypatch.setitem(sys.modules, module.partition(".")[0], None)
    with pytest.raises(SystemExit) as end, errors_shown():
        __import__(module)
    said = capsys.readouterr().err
    assert end.value.code == 1
    assert "is not installed" in said
    assert "pip install 'rockglacier[learn]'" in said
    assert "bug" not in said


def test_a_library_of_no_extra_that_is_not_there_is_a_bug(capsys):
    with pytest.raises(SystemExit), errors_shown():
        import nowhere.to_be_found  # noqa: F401
    said = capsys.readouterr().err
    assert "No module named 'nowhere'" in said
    assert "this is a bug" in said
