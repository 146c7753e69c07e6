"""jobs/crontab, the service and docs/cron.md, each run as cron, systemd or a person would run it."""

import fcntl
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from configparser import RawConfigParser
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
from conftest import SAMPLE

ROOT = Path(__file__).parents[1]
JOBS = ROOT / "jobs"
GUIDE = (ROOT / "docs" / "cron.md").read_text(encoding="utf-8")
SRV = "/srv/reviews"

BARE = {"PATH": "/usr/bin:/bin", "SHELL": "/bin/sh", "LOGNAME": "reviews"}  # all that cron gives, and HOME


@dataclass(frozen=True)
class Night:
    """A folder as the guide wants it, whose user has a home elsewhere."""

    folder: Path
    home: Path

    def run(self, command: str, given: str = "", cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
        """A command as cron runs it: no terminal, nothing in the environment, and both outputs in one, for the mail."""
        return subprocess.run(
            ["/bin/sh", "-c", command.replace(SRV, str(self.folder))],
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=cwd or self.home,
            env={**BARE, "HOME": str(self.home)},
            start_new_session=True,
            timeout=200,
        )

    def log(self) -> str:
        return next((self.folder / "log").glob("*.log")).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def night(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Night:
    """What is there before the first night: the program, the job, today's dump."""
    folder = tmp_path_factory.mktemp("reviews")
    program = folder / ".venv" / "bin" / "sentiment-batch"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m sentiment_batch "$@"\n')
    program.chmod(0o755)
    text = (JOBS / "nightly.toml").read_text(encoding="utf-8")
    text = re.sub(r"(?ms)^\[optimize\].*?^$", "", text)
    text = re.sub(r"(?m)^base_model = .*", f'base_model = "{tiny_model}"\nepochs = 1\nlimit_rows = 100', text)
    text = re.sub(r"(?m)^gate = .*", 'gate = ["rows>=100"]', text)
    (folder / "jobs").mkdir()
    (folder / "jobs" / "nightly.toml").write_text(text, encoding="utf-8")
    (folder / "dumps").mkdir()
    write_dump(folder, date.today().isoformat())
    return Night(folder, tmp_path_factory.mktemp("home"))


def write_dump(folder: Path, day: str) -> None:
    import pyarrow.csv as csv
    import pyarrow.parquet as pq

    how = csv.ParseOptions(delimiter="\t", quote_char=False)
    pq.write_table(csv.read_csv(SAMPLE / "test.tsv", parse_options=how), folder / "dumps" / f"{day}.parquet")


def lines_of(crontab: str) -> list[tuple[str, str]]:
    """(command, standard input) of each line, as crontab(5) has it: the first bare % ends the command."""
    found = []
    for line in crontab.splitlines():
        if re.match(r"[\d*]", line):
            command, *given = re.split(r"(?<!\\)%", line.split(maxsplit=5)[5])
            found.append((command.replace("\\%", "%"), "\n".join(given).replace("\\%", "%")))
    return found


LABEL, DRIFT = lines_of((JOBS / "crontab").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def labelled(night: Night) -> "subprocess.CompletedProcess[str]":
    """The first night."""
    return night.run(*LABEL)


def test_what_percent_signs_mean() -> None:
    assert lines_of("# no\nA=1\n1 * * * *  date +\\%F %one%two\\%\n") == [("date +%F ", "one\ntwo%")]
    assert all("%" not in re.sub(r"%[FYm]", "", command) and not given for command, given in (LABEL, DRIFT))


def test_a_night_is_one_line_of_mail(night: Night, labelled: "subprocess.CompletedProcess[str]") -> None:
    today = date.today().isoformat()
    assert labelled.returncode == 0, labelled.stdout
    (line,) = labelled.stdout.splitlines()
    assert line.startswith(f"done: labelled/{today}; rows 500 in = 500 out + 0 rejected; labels ")
    assert re.search(r"; \d+ s$", line)
    assert (night.folder / "labelled" / today / "_SUCCESS").exists()
    assert json.loads((night.folder / "metrics" / f"{today}.json").read_text())["exit_code"] == 0


def test_the_log_is_lines_without_a_bar(night: Night, labelled: "subprocess.CompletedProcess[str]") -> None:
    log = night.log()
    assert not re.search("\r|\x1b|it/s|\\|", log)
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO ", line) for line in log.splitlines())
    assert "INFO 0 of 500 rows (0 %)" in log
    assert "INFO rows      500 in = 500 out + 0 rejected" in log


def test_a_night_that_is_done_is_no_mail(night: Night, labelled: "subprocess.CompletedProcess[str]") -> None:
    again = night.run(*LABEL)
    assert (again.returncode, again.stdout) == (0, "")
    assert night.log().count("done already: labelled/") == 1


def test_a_second_run_at_the_same_time(night: Night, labelled: "subprocess.CompletedProcess[str]") -> None:
    work = night.folder / "labelled" / ".busy.wip"
    work.mkdir()
    command = LABEL[0].replace("score.output=labelled/$(date +%F)", "score.output=labelled/busy")
    with open(work / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = night.run(command)
    shutil.rmtree(work)
    assert ended.returncode == 5
    (line,) = ended.stdout.splitlines()
    assert re.match(r"error: \S+/labelled/.busy.wip is held by another run", line)


@pytest.mark.parametrize(
    ("setting", "code", "said"),
    [
        ("score.text_column=nothing", 3, "error: "),
        ("score.nothing=1", 2, "error: "),
        ("train.output=jobs", 4, "error: "),
    ],
)
def test_exit_codes_pass_and_the_error_is_the_mail(
    night: Night, labelled: "subprocess.CompletedProcess[str]", setting: str, code: int, said: str
) -> None:
    ended = night.run(f"{LABEL[0]} --set {setting}")
    assert ended.returncode == code
    (line,) = ended.stdout.splitlines()
    assert line.startswith(said)


def test_a_dump_that_is_not_there(night: Night, labelled: "subprocess.CompletedProcess[str]") -> None:
    ended = night.run(LABEL[0].replace("$(date +%F)", "2026-01-29"))
    assert (ended.returncode, ended.stdout) == (3, block("error: no such file").replace("01-31", "01-29"))


def test_a_failed_gate_is_in_the_mail(night: Night, labelled: "subprocess.CompletedProcess[str]") -> None:
    ended = night.run(f"{LABEL[0]} --set 'evaluate.gate=[\"accuracy>=1\"]'")
    assert ended.returncode == 9
    summary, error = ended.stdout.splitlines()
    assert "its gates failed now: out/evaluation; " in summary
    assert "gate accuracy>=1: FAILS" in summary
    assert error.startswith("error: the model is not good enough: accuracy>=1")


def test_the_line_about_drift(night: Night, labelled: "subprocess.CompletedProcess[str]") -> None:
    ended = night.run(*DRIFT)
    assert ended.returncode in (0, 9), ended.stdout  # a split of 100 rows is like anything or nothing
    assert f"labelled/{date.today()}" in ended.stdout
    assert (night.folder / "drift" / f"{date.today()}.json").exists()


# systemd


def unit(name: str) -> RawConfigParser:
    parser = RawConfigParser(strict=True, comment_prefixes=("#", ";"), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(JOBS / name, encoding="utf-8")
    return parser


def test_the_service_labels_as_the_line_of_cron(night: Night, labelled: "subprocess.CompletedProcess[str]") -> None:
    service = unit("sentiment-batch.service")["Service"]
    shell, flag, script = shlex.split(service["ExecStart"].replace("%%", "%").replace("$$", "$"))
    assert (shell, flag, service["WorkingDirectory"]) == ("/bin/sh", "-c", SRV)
    assert "%" not in re.sub("%%", "", service["ExecStart"])
    ended = night.run(f"{service['Environment']}; export PYTHONSAFEPATH; {script}", cwd=night.folder)
    assert ended.returncode == 0, ended.stdout
    assert ended.stdout.count("done already: labelled/") == 1, "the very job of the crontab"


def test_what_systemd_tries_again() -> None:
    parser = unit("sentiment-batch.service")
    service = parser["Service"]
    assert service["RestartForceExitStatus"].split() == ["5", "7", "SIGKILL"]
    assert service["SuccessExitStatus"].split() == ["10", "143"]
    assert service["Type"] != "oneshot", "which is not restarted before systemd 256"
    assert service["User"] not in ("root", "0")
    pause, span = (int(re.findall(r"\d+", text)[0]) for text in (service["RestartSec"], "8h"))
    assert parser["Unit"]["StartLimitIntervalSec"] == "8h"
    assert pause * int(parser["Unit"]["StartLimitBurst"]) < span * 60, "else it would be tried for ever"
    assert unit("sentiment-batch.timer")["Timer"]["Persistent"] == "true"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze")
def test_systemd_understands_the_units() -> None:
    units = [str(JOBS / f"sentiment-batch.{kind}") for kind in ("service", "timer")]
    ended = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


# The guide


def blocks(text: str) -> list[str]:
    """What is indented."""
    found = re.findall(r"(?m)(?:^    .*\n)+", text)
    return [re.sub(r"(?m)^    ", "", block) for block in found]


def block(beginning: str) -> str:
    (found,) = (each for each in blocks(GUIDE) if each.startswith(beginning))
    return found


def test_the_night_by_hand(night: Night, labelled: "subprocess.CompletedProcess[str]") -> None:
    bare, by_hand = block("env -i"), next(each for each in blocks(GUIDE) if "score.input=dumps/2026-01-31" in each)
    write_dump(night.folder, "2026-01-31")
    script = by_hand.replace(SRV, str(night.folder)) + 'env > "$HOME/environment"\n'
    ended = subprocess.run(
        ["bash", "-c", bare],
        input=script,
        text=True,
        capture_output=True,
        env={**os.environ, "HOME": str(night.home), "LOGNAME": "x"},
    )
    assert ended.returncode == 0, ended.stderr
    names = {line.partition("=")[0] for line in (night.home / "environment").read_text().splitlines()}
    assert names - {"PWD", "OLDPWD", "_"} == {*BARE, "HOME"}
    assert (night.folder / "labelled" / "2026-01-31" / "_SUCCESS").exists()


def test_the_days_that_were_missed(night: Night, labelled: "subprocess.CompletedProcess[str]") -> None:
    write_dump(night.folder, "2026-01-30")
    ended = night.run(next(each for each in blocks(GUIDE) if "for dump in" in each))
    assert ended.returncode == 0, ended.stdout
    assert (night.folder / "labelled" / "2026-01-30" / "_SUCCESS").exists()
    assert "done already: labelled" not in ended.stdout, "only what is missing"


def test_old_logs_go(night: Night, labelled: "subprocess.CompletedProcess[str]") -> None:
    old = night.folder / "log" / "2020-01.log"
    old.write_text("")
    os.utime(old, (0, 0))
    ended = night.run(block("find log"), cwd=night.folder)
    assert (ended.returncode, ended.stdout) == (0, "")
    assert not old.exists()
    assert night.log()


def test_the_mail_of_the_guide_is_that_of_the_program(labelled: "subprocess.CompletedProcess[str]") -> None:
    figures = re.compile(r"[\d,.]+|\b(openvino|torch|int8|bfloat16|float32)\b")
    told = block("done: ").replace("2026-01-31", date.today().isoformat())
    assert figures.sub("N", told) == figures.sub("N", labelled.stdout)


def test_the_units_of_the_guide_exist() -> None:
    named = re.findall(r"[\w-]+\.(?:service|timer)\b", GUIDE)
    assert set(named) == {path.name for path in JOBS.glob("sentiment-batch.*")}
    commands = [line.split()[0] for each in blocks(GUIDE) for line in each.splitlines() if "sentiment-batch." in line]
    assert set(commands) == {"cp", "systemd-analyze", "systemctl", "journalctl"}
