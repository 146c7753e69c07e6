"""logs.py: one line for each message, and a reader that goes away does not stop the job."""

import io
import json
import logging
import re
from collections.abc import Iterator
from contextlib import redirect_stderr
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sentiment_batch.logs import set_up_logging

LOG = logging.getLogger("sentiment_batch.some.module")


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Logging belongs to the whole process: leave it as it was found."""
    logger = logging.getLogger("sentiment_batch")
    before = logger.handlers, logger.level, logger.propagate, logging.raiseExceptions
    yield
    logger.handlers, logger.level, logger.propagate, logging.raiseExceptions = before


def logged(text: str) -> list[dict[str, Any]]:
    assert text.endswith("\n")
    return [json.loads(line) for line in text[:-1].split("\n")]


def test_json_lines() -> None:
    message = 'a "quoted"\nsecond line\t\u2028 é👍 \x00 \ud800'
    with redirect_stderr(io.StringIO()) as stderr:
        set_up_logging("json")
        LOG.info("%d of %d rows", 3, 10)
        LOG.warning(message)
        LOG.error("plain")
    lines = logged(stderr.getvalue())
    assert [set(line) for line in lines] == [{"time", "level", "logger", "message"}] * 3
    assert [line["level"] for line in lines] == ["info", "warning", "error"]
    assert [line["message"] for line in lines] == ["3 of 10 rows", message, "plain"]
    assert lines[0]["logger"] == "sentiment_batch.some.module"
    time = datetime.fromisoformat(lines[0]["time"])
    assert time.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - time) < timedelta(minutes=1)


def test_a_traceback_is_inside_its_json_line() -> None:
    with redirect_stderr(io.StringIO()) as stderr:
        set_up_logging("json")
        try:
            raise ValueError("wrong\nnumber")
        except ValueError:
            LOG.error("failed", exc_info=True)
    (line,) = logged(stderr.getvalue())
    assert line["message"] == "failed"
    assert line["traceback"].startswith("Traceback (most recent call last)")
    assert "ValueError: wrong\nnumber" in line["traceback"]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_json_lines_are_json_in_every_locale(encoding: str) -> None:
    """Standard error writes what its encoding lacks with backslashes of Python, which JSON does not know."""
    raw = io.BytesIO()
    with redirect_stderr(io.TextIOWrapper(raw, encoding, errors="backslashreplace", write_through=True)):
        set_up_logging("json")
        LOG.info("ulasan/é👍.tsv")
    (line,) = logged(raw.getvalue().decode(encoding))
    assert line["message"] == "ulasan/é👍.tsv"


def test_text_lines() -> None:
    with redirect_stderr(io.StringIO()) as stderr:
        set_up_logging("text")
        LOG.info("%d of %d rows", 3, 10)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO 3 of 10 rows\n", stderr.getvalue())


@pytest.mark.parametrize("format", ["text", "json"])
def test_debug_messages_and_those_of_other_packages_are_not_shown(format: str) -> None:
    with redirect_stderr(io.StringIO()) as stderr:
        set_up_logging(format)
        LOG.debug("of interest to nobody")
        logging.getLogger("transformers").info("of others")
    assert stderr.getvalue() == ""


def test_setting_up_again_does_not_double_the_lines() -> None:
    with redirect_stderr(io.StringIO()) as stderr:
        set_up_logging("text")
        set_up_logging("json")
        LOG.info("once")
    assert len(logged(stderr.getvalue())) == 1


def test_messages_do_not_reach_the_root_logger_as_well() -> None:
    with redirect_stderr(io.StringIO()) as stderr:
        root = logging.StreamHandler(stderr)
        logging.getLogger().addHandler(root)
        try:
            set_up_logging("json")
            LOG.warning("once")
        finally:
            logging.getLogger().removeHandler(root)
    assert len(logged(stderr.getvalue())) == 1


def test_a_reader_that_goes_away_does_not_stop_the_job() -> None:
    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    with redirect_stderr(Gone()):
        set_up_logging("text")
        LOG.info("nobody reads this")
