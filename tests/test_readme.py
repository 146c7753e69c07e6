"""The README and the jobs against the program: every command in them runs or at least parses, every name is real."""

import re
import shlex
from pathlib import Path

import pytest

from sentiment_batch import errors
from sentiment_batch.cli import cli
from sentiment_batch.config import COMMANDS, option_fields, read_job
from sentiment_batch.parameters import parse_options

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CRONTAB = re.sub(r"\$\(date [^)]*\)", "2026-01-31", (ROOT / "jobs" / "crontab").read_text(encoding="utf-8"))
NIGHTLY = (ROOT / "jobs" / "nightly.toml").read_text(encoding="utf-8")


def commands(text: str) -> list[str]:
    """The sentiment-batch commands of a text, without redirections and variables before them."""
    found = re.findall(r"^[ #0-9*,]{4,}.*?(?<![\w/.-])((?:\S*/)?sentiment-batch (?!jobs).*)$", text, re.MULTILINE)
    return [re.sub(r"\S*sentiment-batch ", "", command, count=1) for command in found]


GUIDES = "\n".join(page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs").glob("*.md")))
ALL_COMMANDS = [*commands(README), *commands(GUIDES), *commands(CRONTAB), *commands(NIGHTLY)]


def test_there_are_commands_of_every_kind() -> None:
    assert {command.split()[0] for command in ALL_COMMANDS} == set(COMMANDS)
    assert len(ALL_COMMANDS) >= 9


@pytest.mark.parametrize("command", ALL_COMMANDS)
def test_every_command_is_understood(command: str) -> None:
    name, *arguments = shlex.split(command.split(" > ")[0], comments=True)
    if arguments != ["--help"]:
        context = cli.commands[name].make_context(name, arguments)
        COMMANDS[name](**context.params)


@pytest.mark.parametrize("page", [README, GUIDES], ids=["readme", "guides"])
def test_every_option_of_a_page_exists(page: str) -> None:
    known = {option for command in cli.commands.values() for parameter in command.params for option in parameter.opts}
    of_scripts = {"--help", "--long", "--texts", "--json", "--random", "--duplicates"}
    page = re.sub(r"^ {4}(airflow|journalctl|ray|systemctl) .*$", "", page, flags=re.MULTILINE)
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page)) - of_scripts <= known


def test_the_environment_variable_of_the_readme_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTIMENT_BATCH_SCORE_OUTPUT", "from-the-environment")
    assert "SENTIMENT_BATCH_SCORE_OUTPUT" in README
    assert parse_options("score", {"input": ["x"], "model": "m"}, {}).output == "from-the-environment"


def test_exit_codes_are_those_of_the_program() -> None:
    table = README.partition("## Exit codes")[2].partition("## ")[0]
    codes = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE) for code in row.split(",")}
    kinds = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)]
    ours = {each.exit_code for each in kinds if each is not errors.Stopped}
    assert codes == ours | {0, 129, 130, 143}


def test_fields_of_rejects_are_those_of_the_program() -> None:
    from sentiment_batch.read.chunk import reject

    described = README.partition("`_rejects/`: JSON lines")[2].partition("If more than")[0]
    for position in ({"byte_offset": 0, "byte_length": 1}, {"row_group": 0, "row_in_group": 1}):
        for name in reject("a.tsv", 0, position, "field_count", "", "", b""):
            assert f"`{name}`" in described


def test_output_columns_are_those_of_the_program(tiny_model: Path) -> None:
    from sentiment_batch import Labeller

    table = README.partition("## The output")[2].partition("`--prefix`")[0]
    documented = dict(re.findall(r"^\| `(\S+)` \| (\w+) \|", table, re.MULTILINE))
    fields = {
        re.sub("^prob_.*", "prob_<label>", field.name): field.type for field in Labeller(str(tiny_model)).added_fields()
    }
    assert documented == {name: {"float": "float32"}.get(str(type), str(type)) for name, type in fields.items()}


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_every_key_of_the_nightly_job_is_an_option() -> None:
    tables = read_job(ROOT / "jobs" / "nightly.toml")
    assert list(tables) == ["train", "optimize", "evaluate", "score"]
    for command, table in tables.items():
        assert set(table) <= {field.name for field in option_fields(COMMANDS[command])}
        parse_options(command, {"model": "m", **table}, {}) if command != "train" else parse_options(command, table, {})


def test_the_scripts_of_the_readme_exist() -> None:
    for script in set(re.findall(r"scripts/[\w.]*\w", README)):
        assert (ROOT / script).stat().st_mode & 0o111, script
