import tomllib
from dataclasses import MISSING
from pathlib import Path
from typing import Any, get_args

import click
import pytest

from sentiment_batch.cli import cli
from sentiment_batch.config import COMMANDS, LabelOptions, ScoreOptions, option_fields, read_job
from sentiment_batch.errors import UsageError
from sentiment_batch.parameters import parse_options, unknown_variables


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_line_has_every_option_with_its_default(command: str) -> None:
    parameters = {parameter.name: parameter for parameter in cli.commands[command].params}
    fields = {field.name: field for field in option_fields(COMMANDS[command])}
    assert parameters.keys() == fields.keys()
    for name, field in fields.items():
        assert parameters[name].required == (field.default is MISSING)
        assert parameters[name].help == field.metadata["help"]


def test_options_come_out_as_the_dataclass_has_them() -> None:
    table = {"input": "one.tsv", "model": "m", "output": "o", "keep_columns": ["a", "b"], "max_reject_rate": 0}
    options = parse_options("score", table, {"columns": "x,y", "overwrite": "true", "chunk_rows": "7"})
    assert options == ScoreOptions(
        input=("one.tsv",),
        model="m",
        output="o",
        keep_columns=("a", "b"),
        max_reject_rate=0.0,
        columns=("x", "y"),
        overwrite=True,
        chunk_rows=7,
    )


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        ("id,text", ("id", "text")),
        ('["id", "text"]', ("id", "text")),
        ("['a,b']", ("a,b",)),
        ("[]", ()),
    ],
)
def test_a_setting_may_be_a_list(value: str, taken: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTIMENT_BATCH_SCORE_COLUMNS", "of,the,environment")
    table = {"input": ["one.tsv"], "model": "m", "output": "o", "columns": ["of", "the", "file"]}
    assert parse_options("score", table, {"columns": value}).columns == taken
    assert parse_options("score", table, {}).columns == ("of", "the", "environment")


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        ("two.tsv", ("two.tsv",)),
        ('[ "two.tsv", "a b.tsv" ]', ("two.tsv", "a b.tsv")),
        ("[ab]*.tsv", ("[ab]*.tsv",)),  # a pattern
        ('"two.tsv"', ("two.tsv",)),
    ],
)
def test_a_setting_of_several_paths(value: str, taken: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTIMENT_BATCH_SCORE_INPUT", "three.tsv\nfour.tsv")
    assert parse_options("score", {"model": "m", "output": "o"}, {"input": value}).input == taken


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_variable_of_several_paths_may_end_its_last_line(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a block of YAML does."""
    monkeypatch.setenv("SENTIMENT_BATCH_SCORE_INPUT", f"three.tsv\n fo ur.tsv{end}")
    assert parse_options("score", {"model": "m", "output": "o"}, {}).input == ("three.tsv", " fo ur.tsv")


@pytest.mark.parametrize(("value", "taken"), [('"a b"', "a b"), ("'a'", "a"), ('"a', '"a'), ("a'", "a'"), ("a", "a")])
def test_a_setting_of_one_text_may_have_tomls_quotes(value: str, taken: str) -> None:
    table = {"input": ["a.tsv"], "model": "m"}
    assert parse_options("score", table, {"output": value}).output == taken
    assert parse_options("score", {**table, "output": "o"}, {"input": value}).input == (taken,)


def test_a_setting_that_is_nearly_a_text() -> None:
    with pytest.raises(UsageError, match=r"--set score.output: .* is not one text; write it as in TOML, or without"):
        parse_options("score", {"input": ["a.tsv"], "model": "m"}, {"output": '"a" or "b"'})


@pytest.mark.parametrize("value", ['["a.tsv"', '["a.tsv", 1]', "['a.tsv'] x"])
def test_a_setting_that_is_nearly_a_list(value: str) -> None:
    with pytest.raises(UsageError, match=r"--set score.input: .* is not a list of texts; write it as in TOML"):
        parse_options("score", {"model": "m", "output": "o"}, {"input": value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("output", ["o"]), ("output", True), ("model", {"a": "m"}), ("input", [["a.tsv"]]), ("keep_columns", [["id"]])],
)
def test_a_list_or_a_table_is_no_name_of_a_folder(name: str, value: Any) -> None:
    with pytest.raises(click.BadParameter, match="is not one text"):
        parse_options("score", {"input": ["a.tsv"], "model": "m", "output": "o", name: value}, {})


def test_numbers_and_dates_of_toml_may_stand_without_quotes() -> None:
    table = tomllib.loads("input = ['a.tsv']\nmodel = 'm'\noutput = 2026-01-31\nkeep_columns = [1]")
    options = parse_options("score", table, {})
    assert (options.output, options.keep_columns) == ("2026-01-31", ("1",))


NEEDED: dict[str, dict[str, Any]] = {
    "train": {"train": ("t",), "valid": "v", "output": "o"},
    "optimize": {"model": "m"},
    "plan": {"input": ("i",), "model": "m"},
    "score": {"input": ("i",), "model": "m", "output": "o"},
    "evaluate": {"data": ("d",), "model": "m", "output": "o"},
    "compare": {"old": "a", "new": "b", "output": "o"},
    "predict": {"model": "m"},
    "verify": {"output": "o"},
    "drift": {"night": "n", "before": ("b",)},
    "run": {"job": "j"},
    "report": {"metrics": "m", "output": "o"},
    "publish": {"output": "o"},
}
NUMBERS = [
    (command, each.name)
    for command, options in COMMANDS.items()
    for each in option_fields(options)
    if {int, float} & {each.type, *get_args(each.type)}
]


@pytest.mark.parametrize(("command", "name"), NUMBERS)
@pytest.mark.parametrize("value", ["-1", "nan", "inf", "1e400", "1" + "0" * 400, "", "x", "1 0"])
def test_a_number_that_makes_no_sense_is_refused(command: str, name: str, value: str) -> None:
    with pytest.raises(click.BadParameter):
        parse_options(command, NEEDED[command], {name: value})
    if value in ("-1", "nan", "inf"):
        with pytest.raises(UsageError, match=name):
            COMMANDS[command](**NEEDED[command], **{name: float(value)})


@pytest.mark.parametrize(
    ("command", "name", "value", "said"),
    [
        ("score", "max_reject_rate", "2", "2.0 is above 1"),
        ("score", "chunk_rows", "0", "0 is below 1"),
        ("score", "cache_rows", "10000001", "10000001 is above 10000000"),
        ("score", "max_length", "0", "0 is below 3"),
        ("score", "limit_rows", "0", "0 is below 1"),
        ("train", "seed", "4294967296", "4294967296 is above 4294967295"),
        ("train", "epochs", "0", "0 is below 1"),
    ],
)
def test_bounds(command: str, name: str, value: str, said: str) -> None:
    with pytest.raises(click.BadParameter, match=said):
        parse_options(command, NEEDED[command], {name: value})


@pytest.mark.parametrize("value", ["0", "1"])
def test_the_ends_of_a_share_are_of_it(value: str) -> None:
    assert parse_options("score", NEEDED["score"], {"max_reject_rate": value}).max_reject_rate == float(value)


@pytest.mark.parametrize("command", ["train", "score", "evaluate", "compare"])
def test_a_label_is_not_the_text(command: str) -> None:
    with pytest.raises(UsageError, match=r"--text-column and --label-column are both 'x'"):
        parse_options(command, NEEDED[command], {"text_column": "x", "label_column": "x"})


@pytest.mark.parametrize("command", COMMANDS)
def test_an_empty_value_is_no_value(command: str) -> None:
    """`--output "$OUT"`, where OUT is not set, is not the folder that the command is run in."""
    for each in option_fields(COMMANDS[command]):
        if each.default != "" and str in {each.type, *get_args(each.type)}:
            with pytest.raises(UsageError, match=f"^{each.name} is empty"):
                COMMANDS[command](**{**NEEDED[command], each.name: ""})


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("SENTIMENT_BATCH_SCORE_OUPUT", "SENTIMENT_BATCH_SCORE_OUTPUT"),
        ("SENTIMENT_BATCH_EVALUATE_GATES", "SENTIMENT_BATCH_EVALUATE_GATE"),
        ("SENTIMENT_BATCH_SCORES_OUTPUT", "SENTIMENT_BATCH_SCORE_OUTPUT"),
        ("sentiment_batch_score_output", "SENTIMENT_BATCH_SCORE_OUTPUT"),
        ("SENTIMENT_BATCH_RUN_OUTPUT", None),  # `run` has none, and another command's is none of its options
        ("SENTIMENT_BATCH_VERSION", None),
    ],
)
def test_a_variable_that_is_no_option_is_found_with_the_nearest_that_is(name: str, near: str | None) -> None:
    others = ["PATH", "SENTIMENT_BATCH", "SENTIMENT_BATCHES_X", "MY_SENTIMENT_BATCH_X", "SENTIMENT_BATCH_SCORE_MODEL"]
    assert list(unknown_variables([*others, name])) == [(name, near)]


def test_what_is_needed_comes_first_in_the_help() -> None:
    names = [field.name for field in option_fields(ScoreOptions)]
    assert names[:3] == ["input", "output", "model"]
    assert names.index("keep_columns") < names.index("batch_tokens") < names.index("log_format")


def test_the_labellers_options_are_those_of_score() -> None:
    score = {field.name: field.default for field in option_fields(ScoreOptions)}
    assert {field.name: field.default for field in option_fields(LabelOptions)}.items() <= score.items()


def test_read_job(tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text('[score]\noutput = "o"\n')
    assert read_job(path) == {"score": {"output": "o"}}
    path.write_text('score = "o"\n')
    with pytest.raises(UsageError, match="not a table"):
        read_job(path)


@pytest.mark.parametrize(("given", "taken"), [(2, 2), ("2", 2), ("auto", "auto"), (None, "auto")])
def test_a_number_of_workers_or_auto(given: Any, taken: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By whichever of the ways."""
    needed: dict[str, Any] = {"input": "a.tsv", "model": "m", "output": "o"}
    assert parse_options("score", {**needed, "workers": given} if given else needed, {}).workers == taken
    assert parse_options("score", needed, {"workers": str(given)} if given else {}).workers == taken
    if given:
        monkeypatch.setenv("SENTIMENT_BATCH_SCORE_WORKERS", str(given))
    assert parse_options("score", needed, {}).workers == taken


@pytest.mark.parametrize("given", ["two", "AUTO", 0, -1, 1.5, True, "", "1,2"])
def test_no_number_of_workers(given: Any) -> None:
    needed: dict[str, Any] = {"input": ["a.tsv"], "model": "m", "output": "o"}
    with pytest.raises(click.BadParameter, match=r"is not a whole number or auto|is below 1"):
        parse_options("score", {**needed, "workers": given}, {})
    if isinstance(given, str) or given in (0, -1):
        with pytest.raises(UsageError, match=r"^workers: |^workers is empty"):
            ScoreOptions(**{**needed, "workers": given})
