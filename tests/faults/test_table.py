"""The table of faults (README.md): every row is there, and every test that it names."""

import ast
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TEXT = (HERE / "README.md").read_text(encoding="utf-8")
ROWS = {line.split("|")[1].strip(): line for line in TEXT.splitlines() if re.match(r"\| \w+ \|", line)}
NAMED = sorted(set(re.findall(r"`([\w/.]+\.py)::(\w+)`", TEXT)))
WITHOUT_A_TEST = {"M14", "N10", "N11", "N14", "cost"}


def test_every_row_of_the_matrix_is_there() -> None:
    numbered = {*map(str, range(1, 79)), *(f"M{rule}" for rule in range(1, 16)), *(f"N{rule}" for rule in range(1, 15))}
    assert numbered <= ROWS.keys()


@pytest.mark.parametrize("row", ROWS)
def test_a_row_has_a_test_or_says_why_not(row: str) -> None:
    if row != "Row":
        assert ("::test_" in ROWS[row]) == (row not in WITHOUT_A_TEST)


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[f"{file}::{name}" for file, name in NAMED])
def test_the_test_is_there(file: str, name: str) -> None:
    path = HERE.parents[1] / file if file.startswith("tests/") else HERE / file
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_file_of_tests_is_in_the_table() -> None:
    files = {path.name for path in HERE.glob("test_*.py")} - {Path(__file__).name}
    assert files <= {file for file, _ in NAMED}
