import io
import json
from pathlib import Path

import pytest
from conftest import LABELS, Program

from sentiment_batch import Labeller


def test_a_table(tiny_model: Path, program: Program) -> None:
    texts = ["enak sekali", "", "kata " * 50]
    ended = program("predict", "--model", tiny_model, *texts)
    assert ended.code == 0
    head, first, blank, long = ended.out.splitlines()
    assert head.split() == ["label", *LABELS, "text"]
    truth = Labeller(str(tiny_model)).predict(texts)[0]  # of the same batch: in bfloat16 another one rounds otherwise
    label, *cells = first.split()
    assert label == truth["label"]
    assert cells[:3] == [f"{truth['probabilities'][each]:.3f}" for each in LABELS]
    assert first.endswith("enak sekali")
    assert blank.split() == ["-", "-", "-", "-"]
    assert long.endswith("...")


def test_lines_of_json_from_standard_input(tiny_model: Path, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("enak sekali 🙂\n\njelek".encode())))
    ended = program("predict", "--model", tiny_model, "--json")
    lines = [json.loads(line) for line in ended.out.splitlines()]
    assert [line["text"] for line in lines] == ["enak sekali 🙂", "", "jelek"]
    assert [line["label"] is None for line in lines] == [False, True, False]
    assert (
        lines[2]["probabilities"]
        == Labeller(str(tiny_model)).predict(["enak sekali 🙂", "", "jelek"])[2]["probabilities"]
    )


def test_calibrated(tiny_model: Path, warm_model: Path, program: Program) -> None:
    ended = program("predict", "--model", warm_model, "--json", "--calibrated", "enak sekali")
    truth = Labeller(str(warm_model), calibrated=True).predict(["enak sekali"])
    assert {"text": "enak sekali", **truth[0]} == json.loads(ended.out)
    assert truth[0]["confidence"] < Labeller(str(warm_model)).predict(["enak sekali"])[0]["confidence"]
    ended = program("predict", "--model", tiny_model, "--calibrated", "enak sekali")
    assert ended.code == 2
    assert "leave --calibrated off" in ended.err


def test_no_model(tmp_path: Path, program: Program) -> None:
    ended = program("predict", "--model", tmp_path / "none", "a")
    assert ended.code == 8
    assert "no model folder" in ended.err


def test_what_is_not_utf8(tiny_model: Path, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"enak\n\xff\n")))
    ended = program("predict", "--model", tiny_model)
    assert ended.code == 3
    assert "standard input, line 2: not UTF-8" in ended.err
    ended = program("predict", "--model", tiny_model, "a\udcff")
    assert ended.code == 2
