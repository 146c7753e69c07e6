"""What a user meets: help, errors in one line with the right code, and nothing of a review in a log."""

import gzip
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Program, random_texts

from sentiment_batch import __version__
from sentiment_batch.cli import cli

SECRET = "rahasia pelanggan nomor 4711"


def damaged_parquet(path: Path) -> None:
    pq.write_table(pa.table({"text": random_texts(50)}), path)
    path.write_bytes(path.read_bytes()[:-20])


def damaged_gzip(path: Path) -> None:
    path.write_bytes(gzip.compress(b"text\n" + b"abc\n" * 5000)[:-12])


def text_of(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data) and None


BAD_INPUTS: dict[str, tuple[str, Callable[[Path], None], int, str]] = {
    "missing file": ("a.tsv", lambda _: None, 3, "no such file"),
    "missing column": ("a.tsv", text_of(b"id\treview\n1\tx\n"), 3, "no column 'text'; it has: 'id', 'review'"),
    "duplicate column": ("a.tsv", text_of(b"text\ttext\n1\tx\n"), 3, "column 'text' twice"),
    "wrong field count": ("a.tsv", text_of(b"id\ttext\n1\tx\ty\n2\n"), 6, "2 of 2 rows are rejected"),
    "invalid UTF-8": ("a.tsv", text_of(b"text\nabc\xff\n"), 6, "1 of 1 rows are rejected"),
    "UTF-16": ("a.tsv", text_of("text\nabc\n".encode("utf-16")), 3, "looks like UTF-16"),
    "empty file": ("a.tsv", text_of(b""), 3, "is empty: no header line"),
    "corrupt Parquet": ("a.parquet", damaged_parquet, 3, "is not a whole Parquet file"),
    "corrupt gzip": ("a.tsv.gz", damaged_gzip, 3, "cannot be read near byte"),
    "not a Parquet file": ("a.parquet", text_of(b"text\nabc\n"), 3, "is not a whole Parquet file"),
    "unknown format": ("a.data", text_of(b"text\nabc\n"), 2, "give --format"),
    "no strings": (
        "a.parquet",
        lambda path: pq.write_table(pa.table({"text": [1]}), path),
        3,
        "holds int64, not strings",
    ),
}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_bad_input_is_one_line_and_its_code(name: str, tiny_model: Path, tmp_path: Path, program: Program) -> None:
    file, make, code, said = BAD_INPUTS[name]
    make(tmp_path / file)
    metrics = tmp_path / "metrics.json"
    ended = program(
        *("score", tmp_path / file, "--model", tiny_model, "--output", tmp_path / "out", "--metrics", metrics),
        *("--progress", "none"),
    )
    assert ended.code == code
    [error] = [line for line in ended.err.splitlines() if " INFO the model runs on " not in line]
    assert error.startswith("error: ")
    assert said in error
    assert ended.out == ""
    assert not (tmp_path / "out").exists()
    failure = json.loads(metrics.read_text())
    assert (failure["status"], failure["exit_code"]) == ("failed", code)
    assert said in failure["error"]


def test_header_only_is_no_error(tiny_model: Path, tmp_path: Path, program: Program) -> None:
    (tmp_path / "a.tsv").write_text("id\ttext\n")
    ended = program("score", tmp_path / "a.tsv", "--model", tiny_model, "--output", tmp_path / "out")
    assert ended.code == 0
    assert "0 in = 0 out + 0 rejected" in ended.out


def test_a_mended_command_is_not_another_job(tiny_model: Path, tmp_path: Path, program: Program) -> None:
    """What failed before anything was finished leaves nothing that would stand in the way."""
    (tmp_path / "a.tsv").write_text("text\n" + "a\tb\n" * 5)
    arguments = ("--model", tiny_model, "--output", tmp_path / "out")
    assert program("score", tmp_path / "a.tsv", *arguments, "--device", "cuda:77").code == 7
    assert program("score", tmp_path / "a.tsv", *arguments, "--max-reject-rate", "1").code == 0


def test_model_folders_that_are_refused(tiny_model: Path, tmp_path: Path, program: Program) -> None:
    (tmp_path / "a.tsv").write_text("text\nabc\n")
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        folder = tmp_path / f"without {name}"
        shutil.copytree(tiny_model, folder)
        (folder / name).unlink()
        ended = program("score", tmp_path / "a.tsv", "--model", folder, "--output", tmp_path / "out")
        assert ended.code == 8
        assert f"has no {name}" in ended.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("score", "--output", "o", "--model", "m"), "Missing argument 'INPUT...'"),
        (("score", "x", "--model", "m"), "Missing option '--output'"),
        (("score", "x", "--output", "o", "--model", "m", "--chunk-rows", "0"), "0 is below 1"),
        (("score", "x", "--output", "o", "--model", "m", "--colour"), "No such option '--colour'"),
        (("scor",), "Did you mean 'score'; see sentiment-batch --help"),
        (("score", "x", "--output", "o", "--model", "m", "--format", "xml"), "'parquet'; see sentiment-batch score"),
        (("score", "x", "--model", "m", "--output"), "requires an argument; see sentiment-batch score --help"),
        (("score", "x", "--output", "", "--model", "m"), "output is empty; give it a value"),
        (("score", "x", "--output", "o", "--model", "m", "--label-column", "text"), "are both 'text'"),
        (("evaluate", "--data", "x", "--output", "o", "--model", "m", "--text-column", "label"), "are both 'label'"),
        (("train", "--train", "x", "--valid", "x", "--output", "o", "--label-column", "text"), "are both 'text'"),
        (("score", "x", "--output", "o", "--model", "m", "--device", "tpu"), "no model folder"),
    ],
)
def test_usage_errors_are_one_line(arguments: tuple[str, ...], said: str, program: Program) -> None:
    ended = program(*arguments)
    assert ended.code in (2, 8)
    assert ended.err.startswith("error: ")
    assert said in ended.err
    assert ".;" not in ended.err
    assert "?;" not in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize("name", ["SENTIMENT_BATCH_VERSION", "SENTIMENT_BATCH_HELP", "SENTIMENT_BATCH_SCORE_HELP"])
def test_no_variable_makes_a_night_end_before_it_began(
    name: str, tiny_model: Path, tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster may have set which version it has: that is no wish to be told of ours, with exit 0."""
    monkeypatch.setenv(name, "1")
    (tmp_path / "a.tsv").write_text("text\nabc\n")
    ended = program("score", tmp_path / "a.tsv", "--model", tiny_model, "--output", tmp_path / "out")
    assert ended.code == 0
    assert (tmp_path / "out" / "_SUCCESS").exists()
    assert f"the variable {name} sets no option of this version, and is ignored" in ended.err


def test_a_misspelt_variable_is_said(
    tiny_model: Path, tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTIMENT_BATCH_SCORE_OUPUT", str(tmp_path / "out"))
    (tmp_path / "a.tsv").write_text("text\nabc\n")
    command = ("score", tmp_path / "a.tsv", "--model", tiny_model)
    for others, code in ((("--output", tmp_path / "out", "--log-format", "json"), 0), ((), 2)):
        ended = program(*command, *others)
        assert ended.code == code
        assert ended.err.count("did you mean SENTIMENT_BATCH_SCORE_OUTPUT?") == 1
        assert str(tmp_path) not in ended.err.splitlines()[0], "what it is set to is nobody's business"


def test_help_and_version(program: Program) -> None:
    for command in ((), *((name,) for name in cli.commands)):
        for flag in ("-h", "--help"):
            ended = program(*command, flag)
            assert ended.code == 0
            assert ended.out.startswith("Usage: sentiment-batch")
    assert program("--version").out == f"sentiment-batch, version {__version__}\n"
    assert program().code == 2


def test_python_dash_m_is_the_same_program() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "sentiment_batch", "--version"], capture_output=True, text=True, check=True
    )
    assert ended.stdout == f"sentiment-batch, version {__version__}\n"


def test_no_review_in_a_log(tiny_model: Path, tmp_path: Path, program: Program) -> None:
    lines = [SECRET, f"{SECRET}\ttoo many fields", SECRET * 2000]
    (tmp_path / "a.tsv").write_text("text\n" + "\n".join(lines) + "\n")
    for name, others in (("one", ()), ("two", ("--max-reject-rate", "1")), ("three", ("--log-format", "json"))):
        ended = program(
            *("score", tmp_path / "a.tsv", "--model", tiny_model, "--output", tmp_path / name, "--debug", *others),
        )
        assert ended.code in (0, 6)
        assert "rahasia" not in ended.err + ended.out


def test_an_unexpected_error_is_a_bug_and_says_so(
    tiny_model: Path, tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentiment_batch.shards.plan", lambda *_: 1 / 0)
    (tmp_path / "a.tsv").write_text("text\nabc\n")
    ended = program("score", tmp_path / "a.tsv", "--model", tiny_model, "--output", tmp_path / "out")
    assert ended.code == 1
    assert "Traceback" in ended.err
    assert ended.err.splitlines()[-1] == "error: unexpected: ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "No space left on device; mend it"),
        (OSError(13, "Permission denied", "a/b"), "error: a/b: Permission denied; mend it and run again"),
        (OSError(18, "Invalid link", b"a", None, b"b"), "error: a -> b: Invalid link; mend it and run again"),
        (OSError("the disk is gone"), "error: the disk is gone; mend it and run again"),
        (MemoryError(), "error: out of memory"),
    ],
)
def test_the_environments_faults_are_worth_a_retry(
    error: Exception, said: str, tiny_model: Path, tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr("sentiment_batch.score.settle_json", fails)
    (tmp_path / "a.tsv").write_text("text\nabc\n")
    ended = program("score", tmp_path / "a.tsv", "--model", tiny_model, "--output", tmp_path / "out")
    assert ended.code == 7
    assert said in ended.err
    assert "run it again" in ended.err or "run again" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_and_the_same_command_ends_it(number: int, tiny_model: Path, tmp_path: Path) -> None:
    texts = random_texts(4000)
    pq.write_table(pa.table({"id": range(4000), "text": texts}), tmp_path / "a.parquet", row_group_size=500)
    command = [
        *(sys.executable, "-m", "sentiment_batch", "score", str(tmp_path / "a.parquet"), "--model", str(tiny_model)),
        *("--output", str(tmp_path / "out"), "--shard-rows", "500", "--batch-tokens", "64"),
    ]
    work = tmp_path / ".out.wip"
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    deadline = time.monotonic() + 60
    while not list(work.glob("part-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    sent = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert time.monotonic() - sent < 10
    assert "run the same command to go on" in err
    assert not (tmp_path / "out").exists()
    sealed = {part.name: part.read_bytes() for part in work.glob("part-*")}
    assert 0 < len(sealed) < 8
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    assert pq.read_table(tmp_path / "out").column("id").to_pylist() == list(range(4000))
    for name, data in sealed.items():
        assert (tmp_path / "out" / name).read_bytes() == data


def test_a_run_that_is_not_alone_is_busy(tiny_model: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": random_texts(3000)}), tmp_path / "a.parquet")
    command = [
        *(sys.executable, "-m", "sentiment_batch", "score", str(tmp_path / "a.parquet"), "--model", str(tiny_model)),
        *("--output", str(tmp_path / "out"), "--shard-rows", "100", "--batch-tokens", "64"),
    ]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob(".out.wip/part-*")):
        assert first.poll() is None
        time.sleep(0.02)
    second = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ})
    assert second.returncode == 5
    assert f"process {first.pid} on " in second.stderr
    assert first.wait(timeout=60) == 0


def score_command(tiny_model: Path, tmp_path: Path, *others: str) -> list[str]:
    pq.write_table(
        pa.table({"id": range(2000), "text": random_texts(2000)}), tmp_path / "a.parquet", row_group_size=500
    )
    return [
        *(sys.executable, "-m", "sentiment_batch", "score", str(tmp_path / "a.parquet"), "--model", str(tiny_model)),
        *("--output", str(tmp_path / "out"), "--shard-rows", "500", "--batch-tokens", "64", *others),
    ]


def test_a_reader_that_goes_away_stops_nothing(tiny_model: Path, tmp_path: Path) -> None:
    command = shlex.join(score_command(tiny_model, tmp_path, "--progress", "bar"))
    ended = subprocess.run(["bash", "-c", f"set -o pipefail; {command} 2>&1 | head -c 1 > /dev/null"], check=False)
    assert pq.read_table(tmp_path / "out").num_rows == 2000
    assert ended.returncode == 0


def test_a_full_standard_output_does_not_undo_a_finished_job(tiny_model: Path, tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(score_command(tiny_model, tmp_path), check=False, stdout=full, stderr=subprocess.DEVNULL)
    assert ended.returncode == 0
    assert (tmp_path / "out" / "_SUCCESS").exists()


def test_what_only_tells_fails_if_it_cannot(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "few.tsv").write_text("text\nenak\njelek\n")
    plan = ("plan", tmp_path / "few.tsv", "--model", tiny_model, "--seconds", 0.1)
    for command in (("schema",), plan, (*plan, "--json")):
        line = shlex.join(map(str, (sys.executable, "-m", "sentiment_batch", *command)))
        full = subprocess.run(["bash", "-c", f"{line} > /dev/full"], capture_output=True, text=True)
        assert (full.returncode, full.stderr.count("error: ")) == (7, 1), full.stderr
        assert "No space left on device" in full.stderr
        seen = subprocess.run(["bash", "-c", f"set -o pipefail; {line} | head -c 1"], capture_output=True, text=True)
        assert (seen.returncode, "error: " in seen.stderr) == (0, False), seen.stderr


def test_nohup_means_it(tiny_model: Path, tmp_path: Path) -> None:
    command = shlex.join(score_command(tiny_model, tmp_path))
    process = subprocess.Popen(["bash", "-c", f"trap '' HUP; exec {command}"], stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob(".out.wip/part-*")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=60) == 0


def test_a_signal_while_a_large_text_file_is_planned(tiny_model: Path, tmp_path: Path) -> None:
    with open(tmp_path / "a.tsv", "wb") as file:
        file.write(b"text\n")
        for _ in range(60):
            file.write(b"x\n" * 2**19)
    command = [
        *(sys.executable, "-m", "sentiment_batch", "score", str(tmp_path / "a.tsv"), "--model", str(tiny_model)),
        *("--output", str(tmp_path / "out")),
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not (tmp_path / ".out.wip" / ".claim.json").exists():
        assert process.poll() is None
        time.sleep(0.01)
    sent = time.monotonic()
    process.terminate()
    assert process.wait(timeout=30) == 143
    assert time.monotonic() - sent < 5
    assert not (tmp_path / ".out.wip").exists(), "there is nothing to go on with"


def test_urls_are_not_taken_for_folders(
    tiny_model: Path, tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.tsv").write_text("text\nabc\n")
    ended = program("score", "a.tsv", "--model", tiny_model, "--output", "hdfs://host/out")
    assert (ended.code, os.listdir(tmp_path)) == (2, ["a.tsv"])
    assert "no such store" in ended.err
    ended = program("score", "hdfs://host/a.tsv", "--model", tiny_model, "--output", "out")
    assert ended.code in (2, 3)
    assert os.listdir(tmp_path) == ["a.tsv"]


def test_metrics_cannot_go_to_a_url_and_that_is_said_at_once(
    tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    (tmp_path / "a.tsv").write_text("text\nabc\n")
    command = ("score", tmp_path / "a.tsv", "--model", tiny_model, "--output", tmp_path / "out")
    ended = program(*command, "--metrics", "s3://bucket/metrics.json")
    assert ended.code == 2
    assert ended.err == "error: --metrics s3://bucket/metrics.json: only a local file can be written\n"
    assert os.listdir(tmp_path) == ["a.tsv"]


def test_metrics_cannot_take_the_place_of_a_folder_and_that_is_said_at_once(
    tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    (tmp_path / "a.tsv").write_text("text\nabc\n")
    (tmp_path / "metrics").mkdir()
    command = ("score", tmp_path / "a.tsv", "--model", tiny_model, "--output", tmp_path / "out")
    ended = program(*command, "--metrics", tmp_path / "metrics")
    assert (ended.code, ended.err) == (2, f"error: --metrics {tmp_path}/metrics is a folder; name a file\n")
    assert sorted(os.listdir(tmp_path)) == ["a.tsv", "metrics"]


@pytest.mark.parametrize("metrics", ["out", "out/metrics.json", "link/metrics.json"])
def test_metrics_cannot_go_into_the_output(metrics: str, tiny_model: Path, tmp_path: Path, program: Program) -> None:
    (tmp_path / "a.tsv").write_text("text\nabc\n")
    (tmp_path / "link").symlink_to(tmp_path / "out")
    command = ("score", tmp_path / "a.tsv", "--model", tiny_model, "--output", tmp_path / "out")
    ended = program(*command, "--metrics", tmp_path / metrics)
    assert ended.code == 2
    assert "lies in --output" in ended.err
    assert sorted(os.listdir(tmp_path)) == ["a.tsv", "link"]


def test_a_file_without_a_header_is_not_quoted(tiny_model: Path, tmp_path: Path, program: Program) -> None:
    (tmp_path / "a.tsv").write_text(f"{SECRET}\tpositive\n")
    ended = program("score", tmp_path / "a.tsv", "--model", tiny_model, "--output", tmp_path / "out")
    assert ended.code == 3
    assert "if the file has no header line, its 2 columns with --columns" in ended.err
    assert "rahasia" not in ended.err
    command = ("score", tmp_path / "a.tsv", "--model", tiny_model, "--output", tmp_path / "out")
    ended = program(*command, "--text-column", "positive", "--keep-columns", "x")
    assert ended.code == 2
    assert "--keep-columns: no column 'x'; there are: 2 columns, not shown" in ended.err
    assert "rahasia" not in ended.err
    ended = program(*command, "--columns", "text,the label", "--keep-columns", "x")
    assert "--keep-columns: no column 'x'; there are: 'text', 'the label'" in ended.err


@pytest.mark.parametrize(("arguments", "code"), [(["--version"], 0), (["nothing"], 2), (["verify", "nowhere"], 3)])
def test_what_a_library_does_at_the_end_of_the_interpreter_changes_no_exit_code(
    arguments: list[str], code: int, tmp_path: Path
) -> None:
    """A thread of one that is alive by then has ended a finished job with SIGABRT."""
    start = f"import atexit, os, sys; atexit.register(os.abort); sys.argv[1:] = {arguments!r}"
    asked = [sys.executable, "-c", f"{start}; from sentiment_batch.cli import program; program()"]
    ended = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path)
    plain = subprocess.run(
        [sys.executable, "-m", "sentiment_batch", *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == plain.returncode
    assert (ended.returncode != 0) == (code != 0)
    assert (ended.stdout, bool(ended.stderr)) == (plain.stdout, bool(code))
    assert __version__ in ended.stdout or code
