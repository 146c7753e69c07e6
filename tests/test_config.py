from dataclasses import MISSING
from pathlib import Path

import pytest

from sentiment_batch.cli import cli
from sentiment_batch.config import COMMANDS, LabelOptions, ScoreOptions, option_fields, read_job
from sentiment_batch.errors import UsageError
from sentiment_batch.parameters import parse_options


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
