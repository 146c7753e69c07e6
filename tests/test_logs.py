"""logs.py: one safe line for each message, whoever speaks, and a reader that goes away does not stop the job."""

import io
import json
import logging
import multiprocessing
import os
import re
import sys
import threading
import unicodedata
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import redirect_stderr
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import time_limit

from sentiment_batch.errors import InputError
from sentiment_batch.logs import (
    Elsewhere,
    message_of,
    one_line,
    pass_on,
    plain,
    redacted,
    say_again,
    say_error,
    set_up_logging,
    shown,
    traceback_of,
)

LOG = logging.getLogger("sentiment_batch.some.module")
REVIEW = "pelayanannya 'lambat', kata \"Budi\"\ndan mahal"


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Logging belongs to the whole process: leave it as it was found."""
    root, logger = logging.getLogger(), logging.getLogger("sentiment_batch")
    handlers, level, errors = list(root.handlers), logger.level, logging.raiseExceptions
    factory, shows = logging.getLogRecordFactory(), warnings.showwarning
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    yield
    root.handlers, logger.level, logging.raiseExceptions = handlers, level, errors
    logging.setLogRecordFactory(factory)
    warnings.showwarning = shows
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks


def logged(text: str) -> list[dict[str, Any]]:
    assert text.endswith("\n")
    return [json.loads(line) for line in text[:-1].split("\n")]


def test_json_lines() -> None:
    message = 'a "quoted"\nsecond line\t\u2028 é👍 \x00 \ud800'
    safe = r'a "quoted"\nsecond line\t\u2028 é👍 \x00 \ud800'
    with redirect_stderr(io.StringIO()) as stderr:
        set_up_logging("json")
        LOG.info("%d of %d rows", 3, 10)
        LOG.warning(message)
        LOG.error("plain")
    lines = logged(stderr.getvalue())
    assert [set(line) for line in lines] == [{"time", "level", "logger", "message"}] * 3
    assert [line["level"] for line in lines] == ["info", "warning", "error"]
    assert [line["message"] for line in lines] == ["3 of 10 rows", safe, "plain"]
    assert lines[0]["logger"] == "sentiment_batch.some.module"
    time = datetime.fromisoformat(lines[0]["time"])
    assert time.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - time) < timedelta(minutes=1)


def test_a_traceback_is_inside_its_json_line() -> None:
    with redirect_stderr(io.StringIO()) as stderr:
        set_up_logging("json")
        try:
            raise AssertionError("wrong\nnumber")
        except AssertionError:
            LOG.error("failed", exc_info=True)
    (line,) = logged(stderr.getvalue())
    assert line["message"] == "failed"
    assert line["traceback"].startswith("Traceback (most recent call last)")
    assert line["traceback"].endswith("\nAssertionError: wrong\\nnumber")


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


@pytest.mark.parametrize("format", ["text", "json"])
def test_with_a_file_standard_error_has_what_is_wrong(format: str, tmp_path: Path) -> None:
    file = tmp_path / "folder" / "log"
    with redirect_stderr(io.StringIO()) as stderr:
        for _ in range(2):
            set_up_logging(format, str(file))
            LOG.info("half is done, é \ud800")
            LOG.warning("a doubt")
            say_error("no such file: a.tsv", 3)
        set_up_logging(format)
        LOG.info("not in the file")
    said, noted = stderr.getvalue().splitlines(), file.read_text(encoding="utf-8").splitlines()
    assert (len(said), len(noted)) == (5, 6), "appended"
    if format == "text":  # the last line of a night has its time and its code: others follow
        assert {line[:5] for line in said[1:4:2]} == {"error"}
        time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
        assert all(re.fullmatch(f"{time} ERROR no such file: a.tsv \\(exit 3\\)", line) for line in noted[2::3])
        said = [re.sub("^error: .*", noted[2], line) for line in said]
        noted = [re.sub("^.* ERROR .*", noted[2], line) for line in noted]
    assert said[:4] == [line for line in noted if "half" not in line]
    assert r"half is done, é \ud800" in noted[0] if format == "text" else json.loads(noted[0])["message"]


def test_a_file_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        set_up_logging("text", str(tmp_path / "file" / "log"))


def test_a_full_disk_is_told_once_and_stops_nothing() -> None:
    with redirect_stderr(io.StringIO()) as stderr:
        set_up_logging("text", "/dev/full")
        for _ in range(3):
            LOG.info("a line")
        LOG.warning("a doubt")
        set_up_logging("text")
    said = [line.split(" ", 2)[-1] for line in stderr.getvalue().splitlines()]
    told = "WARNING the log file /dev/full cannot be written, and lacks lines: No space left on device"
    assert said == [told, "WARNING a doubt"]


def test_a_pipe_is_written_to_if_somebody_reads_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with time_limit(5), pytest.raises(OSError, match=r"nobody reads this pipe.*/pipe"):
        set_up_logging("text", str(pipe))
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    lines = 10_000  # more than a pipe holds

    def write() -> None:
        for _ in range(lines):
            LOG.info("a line")
        set_up_logging("text")  # and the pipe ends

    with redirect_stderr(io.StringIO()), ThreadPoolExecutor(1) as pool, open(reader) as read:
        set_up_logging("text", str(pipe))
        os.set_blocking(reader, True)
        writing = pool.submit(write)
        assert not wait([writing], 0.5).done, "it waits for a reader that is slow, and drops nothing"
        said = read.readlines()
    assert (len(said), {line.split(" ", 2)[-1] for line in said}) == (lines, {"INFO a line\n"})


def test_a_handler_of_somebody_else_says_it_as_safely() -> None:
    with redirect_stderr(io.StringIO()) as stderr:
        other = logging.StreamHandler(stderr)
        logging.getLogger().addHandler(other)
        try:
            set_up_logging("text")
            LOG.warning("one\ntwo ?sig=abc")
        finally:
            logging.getLogger().removeHandler(other)
    theirs, ours = stderr.getvalue().splitlines()
    assert theirs == r"one\ntwo ?sig=***"
    assert ours.endswith(theirs)


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_library_with_a_handler_of_its_own_writes_our_lines(format: str) -> None:
    """As transformers, torch and huggingface_hub do; the first of them even keeps its records from the root."""
    library = logging.getLogger("a_library")
    with redirect_stderr(io.StringIO()) as stderr:
        set_up_logging(format)
        library.addHandler(logging.StreamHandler(stderr))
        library.propagate = False
        logging.getLogger("a_library.part").warning("retrying\n%s", "https://a:b@host/x")
    (line,) = stderr.getvalue().splitlines()
    if format == "json":
        assert json.loads(line)["message"] == r"retrying\nhttps://***@host/x"
    else:
        assert line[20:] == r"WARNING a_library.part: retrying\nhttps://***@host/x"


def test_a_message_that_does_not_fit_its_arguments_is_said_all_the_same() -> None:
    with redirect_stderr(io.StringIO()) as stderr:
        set_up_logging("text")
        logging.getLogger("a_library").warning("%d files", "three")
    assert stderr.getvalue().endswith("a_library: %d files\n")


def test_a_warning_is_a_line() -> None:
    with redirect_stderr(io.StringIO()) as stderr, warnings.catch_warnings():
        warnings.simplefilter("always")
        set_up_logging("text")
        warnings.warn("look\nout: password=hunter2", UserWarning, stacklevel=1)
    (line,) = stderr.getvalue().splitlines()
    assert re.search(r"WARNING py.warnings: UserWarning: look\\nout: password=\*\*\* \(.*test_logs.py:\d+\)$", line)


def test_the_line_of_a_failure() -> None:
    with redirect_stderr(io.StringIO()) as stderr:
        set_up_logging("text")
        say_error("no such file: a\nb.tsv", 3)
        set_up_logging("json")
        say_error("no such file: a\nb.tsv", 3)
    text, line = stderr.getvalue().splitlines()
    assert text == r"error: no such file: a\nb.tsv"
    assert json.loads(line)["exit_code"] == 3


def test_what_an_exception_quotes_is_not_said() -> None:
    for error in (ValueError(f"could not convert string to float: {REVIEW!r}"), KeyError(REVIEW)):
        said = message_of(error)
        assert said.startswith(type(error).__name__)
        for word in ("pelayanannya", "lambat", "Budi", "mahal"):
            assert word not in said
    with pytest.raises(UnicodeEncodeError) as raised:
        "\ud800".encode()
    assert message_of(raised.value) == "UnicodeEncodeError: '...' in position 0: surrogates not allowed"


def test_an_exception_may_say_names_of_the_code_and_paths() -> None:
    with pytest.raises(AttributeError) as raised:
        _ = None.nothing  # type: ignore[attr-defined]
    assert message_of(raised.value) == "AttributeError: 'NoneType' object has no attribute 'nothing'"
    assert message_of(OSError(28, "No space left on device", "/data/out")).endswith("device: '/data/out'")
    assert message_of(InputError("a.tsv has no column 'text'")) == "InputError: a.tsv has no column 'text'"
    assert message_of(ZeroDivisionError()) == "ZeroDivisionError"
    assert len(message_of(RuntimeError("x" * 5000))) < 150


def test_an_exception_that_cannot_say_anything() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert message_of(Mute()) == "Mute"


def test_a_traceback_has_the_places_and_the_causes_but_no_values() -> None:
    def reads(value: str) -> None:
        try:
            float(value)
        except ValueError as error:
            raise KeyError(value) from error

    try:
        try:
            reads(REVIEW)
        except KeyError:
            raise InputError("a.tsv, row 3: mend it")  # noqa: B904
    except InputError as error:
        text = traceback_of(error)
    assert "pelayanannya" not in text
    kinds = [line for line in text.splitlines() if re.match(r"\w+(Error|Input)", line)]
    assert [kind.partition(":")[0] for kind in kinds] == ["ValueError", "KeyError", "InputError"]
    assert text.count("in reads\n") == 2
    assert "was the direct cause of" in text
    assert "During handling of" in text


def test_exactly_what_could_do_harm_is_escaped() -> None:
    """By the Unicode database: controls, line and paragraph separators, surrogates, and what turns the direction."""
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    turns = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    marks = {unicodedata.lookup(name) for name in ("LEFT-TO-RIGHT MARK", "RIGHT-TO-LEFT MARK", "ARABIC LETTER MARK")}
    harmful = {
        character
        for character in everything
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(character) in turns
        or character in marks
    }
    assert set(everything) - set(plain(everything)) == harmful
    assert plain("a\r\n\x1b[2J\u202e\t'\\é") == r"a\r\n\x1b[2J\u202e\t" + "'\\é"


def test_a_value_is_cut_and_a_path_is_not() -> None:
    assert shown("positif") == "positif"
    assert shown("x" * 500) == "x" * 117 + "..."
    path = "/data/" + "x" * 4000
    assert one_line(f" {path}\n") == path


@pytest.mark.parametrize("piece", ["x", "a://a:", "eyJ", "<token", "bearer ", "x_", "authorization", "://@:"])
def test_no_text_takes_long(piece: str) -> None:
    with time_limit(5):
        assert len(one_line(piece * (10**6 // len(piece)))) <= 4096


def test_every_text_of_a_document_is_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "kata/sandi")
    document = {"error": "kata/sandi", "steps": [{"path": "a?p=kata%2Fsandi"}], "rows": 3, "none": None}
    assert redacted(document) == {"error": "***", "steps": [{"path": "a?p=***"}], "rows": 3, "none": None}


def test_what_is_no_secret_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "TOKENIZERS_PARALLELISM": "falsehood",
        "SENTIMENT_BATCH_SCORE_BATCH_TOKENS": "4096000",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/web-identity",
        "MY_TOKEN": "short",
    }.items():
        monkeypatch.setenv(name, value)
    for text in (
        "falsehood 4096000 /var/run/web-identity short",
        "--set 'x': write it as TABLE.KEY=VALUE, such as score.output=labelled/tonight",
        "s3://bucket/dumps/2026-01-31/part-00000.parquet and /data/hf_models/indobert-base-p1",
        "design=3, the signature of a function, config=a.toml, tokens=12, bearer of bad news",
        "/home/user@host/reviews.tsv",
    ):
        assert redacted(text) == text


def test_a_reader_that_goes_away_does_not_stop_the_job() -> None:
    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    with redirect_stderr(Gone()):
        set_up_logging("text")
        LOG.info("nobody reads this")


def test_what_is_passed_on_is_said_by_another_process_as_its_own() -> None:
    """It is made safe, and can be sent, where it is said."""
    passed: list[logging.LogRecord] = []
    pass_on(passed.append, logging.INFO)
    LOG.debug("not this")
    LOG.info("%d rows\nof %s", 3, "s3://me:secret@host/x")
    logging.getLogger("library").info("nor this")
    logging.getLogger("library").warning("careful")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        pass_on(passed.append, logging.INFO)
        warnings.warn("old", stacklevel=1)
    try:
        raise ValueError(REVIEW)
    except ValueError as error:
        LOG.error("broken", exc_info=error)
    ours, theirs = multiprocessing.Pipe()
    with redirect_stderr(io.StringIO()) as stderr:
        set_up_logging("json")
        for record in passed:
            ours.send(record)
            say_again(theirs.recv())
    lines = logged(stderr.getvalue())
    assert [line["message"] for line in lines[:2]] == ["3 rows\\nof s3://***@host/x", "careful"]
    assert [line["logger"] for line in lines] == [LOG.name, "library", "py.warnings", LOG.name]
    assert "test_logs.py" in lines[3]["traceback"]
    assert "lambat" not in stderr.getvalue()


def test_a_library_that_wants_to_hear_less_does() -> None:
    passed: list[logging.LogRecord] = []
    pass_on(passed.append, logging.INFO)
    LOG.info("a line")
    with redirect_stderr(io.StringIO()) as stderr:
        set_up_logging("text")
        logging.getLogger("sentiment_batch").setLevel(logging.WARNING)
        say_again(passed[0])
    assert stderr.getvalue() == ""


def test_nobody_who_listens_does_not_stop_who_speaks() -> None:
    def gone(_: logging.LogRecord) -> None:
        raise BrokenPipeError

    pass_on(gone, logging.INFO)
    LOG.info("a line")


def test_the_traceback_of_another_process_is_shown_as_it_was_there() -> None:
    there = "In worker 1:\nTraceback (most recent call last):\n  somewhere\nKeyError: ..."
    try:
        raise KeyError("a name") from Elsewhere(there)
    except KeyError as error:
        shown_here = traceback_of(error)
    assert shown_here.startswith(there + "\n\nThe above exception was the direct cause")
    assert shown_here.endswith("KeyError: '...'")
