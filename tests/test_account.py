"""account.py: the files for machines are there, and true, however a command ends."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Program, faults_of, sample_rows, strict_json
from test_prometheus import Series, parsed, value

from sentiment_batch import account
from sentiment_batch.errors import Stopped
from sentiment_batch.write.part import PartWriter

NAMES = {"--metrics": "m.json", "--prometheus": "p.prom", "--xcom": "x.json"}
FILES = tuple(each for pair in NAMES.items() for each in pair)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{text}\t{label}\n" for text, label in sample_rows("test")[:40])
    (tmp_path / "a.tsv").write_text("text\tlabel\n" + rows, encoding="utf-8")
    return tmp_path


def taken(folder: Path, command: str, code: int) -> tuple[dict[str, Any], Series, dict[str, Any]]:
    """What the three files say; they are gone afterwards. They agree, and nothing else was left beside them."""
    metrics, xcom = (strict_json((folder / name).read_text()) for name in ("m.json", "x.json"))
    series = parsed((folder / "p.prom").read_text())
    assert not faults_of(metrics)
    assert metrics["command"] == xcom["command"] == command
    assert metrics["exit_code"] == xcom["exit_code"] == value_of_all(series, "exit_code") == code
    assert metrics["status"] == xcom["status"]
    assert ("error" in xcom) == (code != 0)
    assert value_of_all(series, "success") == (code == 0)
    assert abs(float(value_of_all(series, "last_run_timestamp_seconds") or 0) - time.time()) < 60
    assert (value_of_all(series, "last_success_timestamp_seconds") is None) == (code != 0)
    for name in NAMES.values():
        (folder / name).unlink()
    assert not list(folder.glob(".*.tmp"))
    return metrics, series, xcom


def value_of_all(series: Series, name: str) -> float | None:
    return value({key: each for key, each in series.items() if "step" not in dict(key[1])}, name)


def test_a_finished_job_and_again(folder: Path, tiny_model: Path, program: Program) -> None:
    command = ("score", "a.tsv", "--model", tiny_model, "--output", "out", "--label-column", "label", *FILES)
    for again in (False, True):
        assert program(*command).code == 0
        metrics, series, xcom = taken(folder, "score", 0)
        assert xcom["F1"] == metrics["evaluation"]["macro_f1"]
        assert xcom["output"] == "out"
        assert value(series, "rows", kind="in", output="out") == 40
        assert ("already_done" in xcom) == bool(value(series, "done_already")) == again
    assert program(*command[: -len(FILES)]).code == 0, "the files are of no job's identity"


def test_a_gate_that_does_not_hold(folder: Path, tiny_model: Path, program: Program) -> None:
    command = ("evaluate", "--model", tiny_model, "--data", "a.tsv", "--output", "out", "--gate", "accuracy>=1")
    assert program(*command, *FILES).code == 9
    metrics, series, xcom = taken(folder, "evaluate", 9)
    assert value(series, "gate_holds") == 0
    assert "the model is not good enough: accuracy>=1" in xcom["error"]
    assert xcom["F1"] == metrics["evaluation"]["macro_f1"]
    assert program(*command[:-2]).code == 0, "the files are of no evaluation's identity"


@pytest.mark.parametrize(
    ("error", "code"), [(Stopped(signal.SIGTERM), 143), (KeyError("a review"), 1), (MemoryError(), 7)]
)
def test_whatever_ends_it(
    error: Exception, code: int, folder: Path, tiny_model: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise error

    monkeypatch.setattr(PartWriter, "write", fails)
    assert program("score", "a.tsv", "--model", tiny_model, "--output", "out", *FILES).code == code
    _, _, xcom = taken(folder, "score", code)
    assert "a review" not in xcom["error"]
    assert xcom["output"] == "out"


def test_other_commands(folder: Path, tiny_model: Path, program: Program) -> None:
    assert program("train", "--train", "none.tsv", "--valid", "a.tsv", "--output", "m", *FILES).code == 3
    taken(folder, "train", 3)
    assert program("verify", "nowhere", *FILES).code == 3
    taken(folder, "verify", 3)
    assert program("optimize", "--model", tiny_model, "--valid", "a.tsv", *FILES).code == 2
    taken(folder, "optimize", 2)
    assert program("run", "none.toml", *FILES).code == 2
    _, series, _ = taken(folder, "run", 2)
    assert value(series, "success", job_file="none.toml") == 0


# Before the job begins


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a.tsv", "--output", "out"), "Missing option '--model'"),
        (("a.tsv", "--model", "m", "--output", "out", "--chunk-rows", "0"), "0 is below 1"),
        (("a.tsv", "--model", "m", "--output", ""), "output is empty"),
        (("a.tsv", "--model", "m", "--output", "o", "--label-column", "text"), "are both 'text'"),
        (("--model", "m", "--output", "out"), "Missing argument 'INPUT...'"),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_options_that_are_refused(
    arguments: tuple[str, ...], said: str, first: bool, folder: Path, program: Program
) -> None:
    """Wherever the files are among them: Airflow waits for its file."""
    ended = program("score", *(*FILES, *arguments) if first else (*arguments, *FILES))
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    metrics, _, xcom = taken(folder, "score", 2)
    assert said in xcom["error"]
    assert ended.err == f"error: {metrics['error']}\n"
    assert sorted(path.name for path in folder.iterdir()) == ["a.tsv"]


def test_files_that_are_named_by_variables(folder: Path, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    for flag, name in NAMES.items():
        monkeypatch.setenv(f"SENTIMENT_BATCH_SCORE_{flag[2:].upper()}", name)
    assert program("score", "a.tsv").code == 2
    taken(folder, "score", 2)


def hold(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who runs the tests may be root, who may write everywhere."""
    access = os.access
    monkeypatch.setattr(
        "os.access", lambda asked, mode: not (mode & os.W_OK and Path(asked) == path) and access(asked, mode)
    )


def test_a_log_is_added_to_where_only_the_file_may_be_written(
    folder: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other files are made anew beside the old one."""
    (folder / "logs").mkdir()
    log = folder / "logs" / "night.log"
    log.write_text("2026-01-31 02:00:00 INFO before\n")
    hold(folder / "logs", monkeypatch)
    assert program("score", "none.tsv", "--model", "none", "--output", "out", "--log-file", log).code == 8
    assert log.read_text().startswith("2026-01-31 02:00:00 INFO before\n2")
    assert " ERROR no model folder at none; " in log.read_text()
    refused = program("score", "none.tsv", "--model", "none", "--output", "out", "--metrics", "logs/m.json")
    assert (refused.code, refused.err.count("you may not write in ")) == (2, 1)
    hold(log, monkeypatch)
    refused = program("score", "none.tsv", "--model", "none", "--output", "out", "--log-file", log)
    assert (refused.code, refused.err.count("cannot be written: you may not write it; ")) == (2, 1)


@pytest.mark.parametrize("name", ["metrics", "prometheus", "xcom"])
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("s3://bucket/file", "only a local file can be written"),
        ("out/file", "lies in --output"),
        ("a_folder", "is a folder; name a file"),
        ("a_pipe", "is no ordinary file, and one would be put in its place; name another"),
        ("a.tsv/more/file", "/a.tsv is no folder; name a file where you may write"),
        ("a_folder/held/more/file", "you may not write in "),
    ],
)
def test_a_file_that_cannot_be_there(
    name: str, path: str, said: str, folder: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said at once, in the other files, too."""
    (folder / "a_folder").mkdir()
    os.mkfifo(folder / "a_pipe")
    if "held" in path:
        hold(folder / "a_folder", monkeypatch)
    others = {flag: each for flag, each in NAMES.items() if flag != f"--{name}"}
    files = [f"--{name}", path, *(each for pair in others.items() for each in pair)]
    ended = program("score", "a.tsv", "--model", "none", "--output", "out", *files)
    assert ended.code == 2
    assert ended.err.startswith(f"error: --{name} {path}")
    assert said in ended.err
    assert sorted(each.name for each in folder.iterdir()) == sorted(["a.tsv", "a_folder", "a_pipe", *others.values()])
    assert not list((folder / "a_folder").iterdir())
    assert (folder / "a_pipe").is_fifo()
    if "--xcom" in others:
        assert said in strict_json((folder / "x.json").read_text())["error"]


def test_what_a_command_reads_is_not_written_over(folder: Path, tiny_model: Path, program: Program) -> None:
    """Nor by what says so, or says that an option is missing."""
    data = (folder / "a.tsv").read_text()
    for rest in (("--model", tiny_model, "--output", "out"), ()):
        ended = program("score", "a.tsv", *rest, "--xcom", "./a.tsv", "--metrics", "m.json")
        assert ended.code == 2
        assert (folder / "a.tsv").read_text() == data
        assert not (folder / "out").exists()
        said = "--xcom ./a.tsv is the input a.tsv; name another file" if rest else "Missing option"
        assert said in strict_json((folder / "m.json").read_text())["error"]
    (folder / "job.toml").write_text(JOB.format(model=tiny_model))
    assert program("run", "job.toml", "--prometheus", "job.toml").code == 2
    assert (folder / "job.toml").read_text() == JOB.format(model=tiny_model)


@pytest.mark.parametrize(("path", "said"), [("./a.tsv", "is the input a.tsv"), ("out/log", "lies in --output")])
def test_no_line_of_the_log_gets_there(path: str, said: str, folder: Path, tiny_model: Path, program: Program) -> None:
    data = (folder / "a.tsv").read_text()
    files = ("--log-file", path, "--metrics", "m.json")
    ended = program("score", "a.tsv", "--model", tiny_model, "--output", "out", *files)
    assert ended.code == 2
    assert f"error: --log-file {path} {said}" in ended.err
    assert (folder / "a.tsv").read_text() == data
    assert not (folder / "out").exists()
    assert said in strict_json((folder / "m.json").read_text())["error"]


def test_the_log_is_no_file_of_metrics(folder: Path, tiny_model: Path, program: Program) -> None:
    """Nor does the refusal take its place."""
    (folder / "one").write_text('{"schema_version": "is in a line of last night"}\n')
    given = ("a.tsv", "--model", tiny_model, "--output", "out", "--metrics", "one", "--log-file", "one")
    ended = program("score", *given)
    assert (ended.code, ended.err) == (2, "error: --log-file one is the file of --metrics, too; name another one\n")
    assert (folder / "one").read_text() == '{"schema_version": "is in a line of last night"}\n'


@pytest.mark.parametrize("flag", ["--metrics", "--prometheus", "--xcom", "--log-file"])
@pytest.mark.parametrize("given", ["dumps", "dumps/*.tsv", "dumps/**/*.tsv", "d*s/a.tsv"])
def test_what_is_named_as_data_is_not_written_over(
    flag: str, given: str, folder: Path, tiny_model: Path, program: Program
) -> None:
    """By whatever the command reads it; nor is anything put there that the next run would take for data."""
    dump = folder / "dumps" / "a.tsv"
    dump.parent.mkdir()
    (folder / "a.tsv").rename(dump)
    data = dump.read_text()
    for command in ("score", "plan"):
        for path in ("./dumps/../dumps/a.tsv", "dumps/new.tsv.gz"):
            ended = program(command, given, "--model", tiny_model, "--output", "out", flag, path)
            assert ended.code == 2
            assert f"{flag} {path} has a name of data" in ended.err or " is one of the inputs " in ended.err
    assert dump.read_text() == data
    assert os.listdir(dump.parent) == ["a.tsv"]


@pytest.mark.parametrize(
    ("given", "path", "is_found"),
    [
        ("dumps", "dumps/m.json", True),
        ("dumps/", "dumps/deep/er/m.json", True),
        ("dumps", "dumps/_metrics.json", False),
        ("dumps", "dumps/.hidden/m.json", False),
        ("dumps", "dumps2/m.json", False),
        ("dumps/*", "dumps/m.json", True),
        ("dumps/*", "dumps/_m.json", False),
        ("dumps/*", "dumps/deep/m.json", False),
        ("dumps/*.tsv", "dumps/m.json", False),
        ("dumps/**/*.json", "dumps/deep/er/m.json", True),
        ("dumps/**", "dumps/deep/m.json", True),
        ("d*/[lm].json", "./dumps/m.json", True),
        ("link/*", "dumps/m.json", True),
        ("*", "m.json", True),
        ("*", "../m.json", False),
        ("none", "none/m.json", False),
        ("s3://bucket/dumps/*", "dumps/m.json", False),
    ],
)
@pytest.mark.parametrize("absolute", [True, False])
def test_what_a_folder_or_a_pattern_would_find(
    given: str, path: str, is_found: bool, absolute: bool, folder: Path
) -> None:
    """Whether it is there or not."""
    (folder / "dumps" / "deep").mkdir(parents=True)
    (folder / "link").symlink_to("dumps")
    given = f"{folder}/{given}" if absolute and "://" not in given else given
    assert account._is_found_by(given, path) == is_found
    options = SimpleNamespace(data=(given,), metrics=path)
    if is_found:
        with pytest.raises(account.UnfitFile, match=r"is one of the inputs .*, or would be in the next run"):
            account.check_files(options, [])
    else:
        account.check_files(options, [])


def test_another_name_of_an_input_is_no_log(folder: Path, tiny_model: Path, program: Program) -> None:
    os.link(folder / "a.tsv", folder / "log")
    data = (folder / "a.tsv").read_bytes()
    ended = program("score", "a.tsv", "--model", tiny_model, "--output", "out", "--log-file", "log")
    assert (ended.code, "--log-file log is the input a.tsv" in ended.err) == (2, True)
    for command in (("predict", "bagus", "--model", tiny_model), ("report", "m.json", "--output", "r.html")):
        assert program(*command, "--log-file", "a.tsv").code == 2
    job = f"[score]\ninput = ['a.tsv']\nmodel = '{tiny_model}'\noutput = 'out'\n"
    (folder / "job.toml").write_text(job)
    assert program("run", "job.toml", "--log-file", "a.tsv").code == 2
    assert (folder / "a.tsv").read_bytes() == data


@pytest.mark.parametrize("rest", [(), ("--chunk-rows", "abc"), ("--nonsense",), ("--model", "none", "--output", "o")])
@pytest.mark.parametrize("flag", ["--metrics", "--prometheus", "--xcom"])
def test_what_is_something_else_is_not_written_over(
    flag: str, rest: tuple[str, ...], folder: Path, program: Program
) -> None:
    """Whatever else is wrong with the command."""
    data = (folder / "a.tsv").read_text()
    ended = program("score", "none.tsv", flag, "a.tsv", *rest)
    assert ended.code == 2
    assert (folder / "a.tsv").read_text() == data
    if "--output" in rest:
        assert f"error: {flag} a.tsv has a name of data" in ended.err
    (folder / "other").write_text('{"name": "precious"}')
    ended = program("score", "none.tsv", flag, "other", *rest)
    assert (folder / "other").read_text() == '{"name": "precious"}'
    if "--output" in rest:
        assert f"error: {flag} other is there, and is no" in ended.err
    if "--nonsense" in rest:  # then nobody knows what else is an option
        return
    (folder / "empty").touch()
    program("score", "none.tsv", flag, "empty", *rest)
    assert (folder / "empty").stat().st_size, "as mktemp makes it"
    program("score", "none.tsv", flag, "empty", *rest, "--key", "id")
    assert "is there" not in program("score", "none.tsv", flag, "empty", *rest).err, "an earlier one is"


@pytest.mark.parametrize(
    "content", [b"PAR1" + bytes(100), b'{"labels": ["a"]}\n', b'model = "m"\n[score]\n', b"import os\n"]
)
def test_a_log_goes_behind_no_other_file(content: bytes, folder: Path, program: Program) -> None:
    (folder / "there").write_bytes(content)
    ended = program("score", "a.tsv", "--model", "none", "--output", "o", "--log-file", "there")
    assert (ended.code, "error: --log-file there is there, and is no log; name another" in ended.err) == (2, True)
    assert (folder / "there").read_bytes() == content


@pytest.mark.parametrize(
    "line", ["", "2026-01-31 02:00:00 INFO a line", "error: of before", "[2026-01-31T02:00:00Z] of another program"]
)
@pytest.mark.parametrize("format", ["text", "json"])
def test_a_log_goes_behind_a_log(line: str, format: str, folder: Path, program: Program) -> None:
    (folder / "night.log").write_text(f"---\n{line}\n" if line else "")
    for lines in (1, 2):
        rest = ("--model", "none", "--output", "o", "--log-file", "night.log", "--log-format", format)
        assert program("score", "a.tsv", *rest).code == 8
        assert (folder / "night.log").read_text().count("no model folder at none") == lines


def test_what_an_output_is_made_from_is_not_written_into() -> None:
    options = SimpleNamespace(input=("b.tsv",), since="nights/1", metrics="nights/1/_metrics.json", log_file="log")
    with pytest.raises(account.UnfitFile, match=r"lies in nights/1, which is read; put it elsewhere"):
        account.check_files(options, ["nights/2"])


def test_what_is_compared_is_not_written_into() -> None:
    options = SimpleNamespace(old="nights/1", new="nights/2", metrics="nights/2/m.json", xcom="nights/x.json")
    with pytest.raises(account.UnfitFile, match=r"lies in nights/2, which is read; put it elsewhere") as raised:
        account.check_files(options, [None])
    assert raised.value.names == ("metrics",)


def test_two_files_of_one_name(folder: Path, program: Program) -> None:
    (folder / "link").symlink_to(folder)
    ended = program("verify", "out", "--metrics", "one.json", "--xcom", "link/one.json")
    assert (ended.code, ended.err) == (
        *(2, "error: --xcom link/one.json is the file of --metrics, too; name another one\n"),
    )
    assert strict_json((folder / "one.json").read_text())["schema_version"] == 1, "the metrics, not the other"


# Files that cannot be written when all is done


@pytest.mark.parametrize("flag", NAMES)
def test_a_file_that_cannot_be_written(
    flag: str, folder: Path, tiny_model: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output is whole, the exit code says that something is missing, and what is written behind it says so too."""
    write = account._write

    def fails(name: str, *rest: Any) -> None:
        if f"--{name}" == flag:
            raise OSError(28, "No space left on device", NAMES[flag])
        write(name, *rest)

    monkeypatch.setattr(account, "_write", fails)
    ended = program("score", "a.tsv", "--model", tiny_model, "--output", "out", *FILES)
    assert ended.code == 7
    assert f"error: all is done but {flag}, which could not be written: {NAMES[flag]}: No space left" in ended.err
    assert (folder / "out" / "_SUCCESS").exists()
    assert {name for name in NAMES.values() if (folder / name).exists()} == {*NAMES.values()} - {NAMES[flag]}
    if flag == "--metrics":
        assert value(parsed((folder / "p.prom").read_text()), "exit_code") == 7
        assert "all is done but --metrics" in strict_json((folder / "x.json").read_text())["error"]
    failed = program("score", "none.tsv", "--model", tiny_model, "--output", "no", *FILES)
    assert failed.code == 3, "the first failure counts"
    assert f"the {flag[2:]} file could not be written: " in failed.err


def test_an_older_file_is_replaced_whole(folder: Path, program: Program) -> None:
    for name in NAMES.values():
        (folder / name).write_text('{"schema_version": 1, "status": "sentiment_batch_"' + "old" * 10_000)
    assert program("verify", "nowhere", *FILES).code == 3
    taken(folder, "verify", 3)


# Jobs of several steps

JOB = """
[evaluate]
model = "{model}"
data = ["a.tsv"]
output = "evaluation"
xcom = "evaluate.json"
[score]
model = "{model}"
input = ["a.tsv"]
output = "labelled"
metrics = "score.json"
prometheus = "score.prom"
"""


def test_a_run_writes_its_own_once_and_those_of_its_steps(folder: Path, tiny_model: Path, program: Program) -> None:
    (folder / "job.toml").write_text(JOB.format(model=tiny_model))
    ended = program("run", "job.toml", *FILES)
    assert ended.code == 0, ended.err
    metrics, series, xcom = taken(folder, "run", 0)
    assert value(series, "rows", step="score", kind="in", job_file="job.toml") == 40
    assert xcom["outputs"] == {"evaluate": "evaluation", "score": "labelled"}
    assert xcom["evaluate_F1"] == metrics["headline"]["evaluate_F1"]
    assert strict_json((folder / "score.json").read_text()) == metrics["steps"]["score"]
    assert strict_json((folder / "evaluate.json").read_text())["F1"] == metrics["headline"]["evaluate_F1"]
    assert value(parsed((folder / "score.prom").read_text()), "rows", command="score", kind="in") == 40


def test_a_run_that_fails_in_a_step(folder: Path, tiny_model: Path, program: Program) -> None:
    (folder / "job.toml").write_text(JOB.format(model=tiny_model))
    ended = program("run", "job.toml", "--set", "score.input=none.tsv", *FILES)
    assert ended.code == 3
    _, series, xcom = taken(folder, "run", 3)
    assert [value(series, "exit_code", step=step) for step in ("evaluate", "score")] == [0, 3]
    assert (xcom["failed_step"], xcom["outputs"]) == ("score", {"evaluate": "evaluation"})
    step = strict_json((folder / "score.json").read_text())
    assert (step["command"], step["exit_code"]) == ("score", 3), "of the step, on failure too"
    assert value(parsed((folder / "score.prom").read_text()), "exit_code") == 3
    ended = program("run", "job.toml", "--set", "evaluate.gate=accuracy>=1", *FILES)
    assert ended.code == 9
    _, series, xcom = taken(folder, "run", 9)
    assert (xcom["failed_step"], value(series, "exit_code", step="evaluate")) == ("evaluate", 9)
    assert strict_json((folder / "evaluate.json").read_text())["exit_code"] == 9


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("score.prometheus=labelled/p.prom", "[score]: --prometheus labelled/p.prom lies in --output"),
        ("evaluate.metrics=labelled/p.prom", "[evaluate]: --metrics labelled/p.prom lies in --output"),
        ("score.xcom=s3://a/b", "[score]: --xcom s3://a/b: only a local file"),
    ],
)
def test_files_of_steps_are_checked_first(
    setting: str, said: str, folder: Path, tiny_model: Path, program: Program
) -> None:
    (folder / "job.toml").write_text(JOB.format(model=tiny_model))
    ended = program("run", "job.toml", "--set", setting, *FILES)
    assert ended.code == 2
    _, _, xcom = taken(folder, "run", 2)
    assert said in xcom["error"]
    assert sorted(path.name for path in folder.iterdir()) == ["a.tsv", "job.toml"]


def test_the_files_of_a_run_are_in_no_output_of_its_steps(folder: Path, tiny_model: Path, program: Program) -> None:
    (folder / "job.toml").write_text(JOB.format(model=tiny_model))
    ended = program("run", "job.toml", "--xcom", "labelled/x.json", "--metrics", "m.json")
    assert ended.code == 2
    assert "--xcom labelled/x.json lies in --output" in strict_json((folder / "m.json").read_text())["error"]
    assert not (folder / "labelled").exists()


# Signals

PROCESS = """
import hashlib, sys, time
from sentiment_batch import stop
from sentiment_batch.config import VerifyOptions
from sentiment_batch.outcome import run_job
stop.PATIENCE_SECONDS = 0.3
def loops(options):
    print("ready", flush=True)
    while True:
        stop.check()
        time.sleep(0.01)
def is_busy(options):
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
files = dict(metrics="m.json", prometheus="p.prom", xcom="x.json")
run_job("verify", VerifyOptions(output="out", **files), JOB)
"""


@contextmanager
def running(job: str) -> Iterator[subprocess.Popen[str]]:
    code = PROCESS.replace("JOB", job)
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **streams) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("job", ["loops", "is_busy"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal(job: str, number: int, folder: Path) -> None:
    """Taken at the next check, or by nobody, so that the process is ended from outside its work."""
    with running(job) as process:
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    metrics, series, _ = taken(folder, "verify", 128 + number)
    assert metrics["status"] == "stopped"
    assert value(series, "info", status="stopped", output="out") == 1
    assert err == f"error: {metrics['error']}\n"


def test_a_real_job_that_is_stopped(folder: Path) -> None:
    (folder / "dump.tsv").write_text("text\n" + "".join(f"review {row}\n" for row in range(300_000)))
    stub = Path(__file__).parent / "faults" / "stub.py"
    size = ("--shard-rows", "500", "--chunk-rows", "50", "--progress", "none")
    command = [sys.executable, str(stub), "score", "dump.tsv", "--model", "stub", "--output", "out", *size, *FILES]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not list(folder.glob(".out.wip/part-*")) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.terminate()
        _, err = process.communicate(timeout=30)
    assert process.returncode == 143, err
    _, _, xcom = taken(folder, "score", 143)
    assert json.dumps(xcom["output"]) == '"out"'
    assert not (folder / "out").exists()
