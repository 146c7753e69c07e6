"""baseline.py and conditions.py: an evaluation against an earlier one, on the same rows and on others."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import LABELS, Program, random_texts
from sklearn.metrics import f1_score

from sentiment_batch import Labeller
from sentiment_batch.measure.evaluation import evaluation_section, intervals_section
from sentiment_batch.measure.paired import unpaired_intervals

ROWS = 900


@pytest.fixture(scope="module")
def splits(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`good.tsv` and `bad.tsv` have the same texts; the model is right on nine of ten, and on eight of ten."""
    folder = tmp_path_factory.mktemp("splits")
    texts, chance = random_texts(ROWS), np.random.default_rng(2)
    said = [each["label"] for each in Labeller(str(tiny_model)).predict(texts)]
    for name, wrong in (("good", 0.1), ("bad", 0.2)):
        labels = [chance.choice(LABELS) if chance.random() < wrong else label for label in said]
        rows = (f"{text}\t{label}\n" for text, label in zip(texts, labels, strict=True))
        (folder / f"{name}.tsv").write_text("text\tlabel\n" + "".join(rows), encoding="utf-8")
    return folder


def evaluated(program: Program, model: Path, data: Path, output: Path, *others: object) -> tuple[int, str]:
    how = ("--progress", "none", "--dtype", "float32")
    ended = program("evaluate", "--model", model, "--data", data, "--output", output, *how, *others)
    return ended.code, ended.err


def metrics_of(folder: Path) -> Any:
    return json.loads((folder / "metrics.json").read_text())


def test_the_same_model_does_not_drop(splits: Path, tiny_model: Path, tmp_path: Path, program: Program) -> None:
    arguments = (program, tiny_model, splits / "good.tsv")
    assert evaluated(*arguments, tmp_path / "old")[0] == 0
    for baseline in (tmp_path / "old", tmp_path / "old" / "metrics.json"):
        given = ("--gate-baseline", baseline, "--max-drop", "0.03", "--overwrite")
        code, err = evaluated(*arguments, tmp_path / "new", *given)
        assert code == 0, err
    found = metrics_of(tmp_path / "new")
    assert found["baseline"]["paired"]
    assert found["baseline"]["difference"]["macro_f1"] == 0
    assert found["gates"][0]["condition"] == "macro_f1_difference>=-0.03"
    assert found["baseline"]["intervals"]["macro_f1"] == [0, 0]
    assert evaluated(*arguments, tmp_path / "new", *given[:2], "--max-drop", "0")[0] == 0


def test_another_model_that_says_the_same_is_no_proof(
    splits: Path, tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    """On so many rows; how many it takes follows from the interval."""
    other = tmp_path / "other"
    shutil.copytree(tiny_model, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "hidden_dropout_prob": 0.2}))
    assert evaluated(program, tiny_model, splits / "good.tsv", tmp_path / "old")[0] == 0
    arguments = (program, other, splits / "good.tsv", tmp_path / "new", "--gate-baseline", tmp_path / "old")
    code, err = evaluated(*arguments, "--max-drop", "0.001")
    assert code == 9
    assert f"{ROWS} rows cannot decide macro_f1_difference>=-0.001 (it is 0.0000" in err
    found = metrics_of(tmp_path / "new")
    low, high = found["baseline"]["intervals"]["macro_f1"]
    assert -0.03 < low < 0 < high < 0.03, "paired: either figure alone is sure to some .025"
    assert evaluated(*arguments, "--max-drop", "0.001", "--on-undecidable", "pass")[0] == 0
    assert evaluated(*arguments, "--max-drop", "0.03")[0] == 0


def test_a_worse_model_is_found_row_by_row(splits: Path, tiny_model: Path, tmp_path: Path, program: Program) -> None:
    """The model that sees but four tokens of each text."""
    assert evaluated(program, tiny_model, splits / "good.tsv", tmp_path / "old")[0] == 0
    code, err = evaluated(
        *(program, tiny_model, splits / "good.tsv", tmp_path / "new", "--gate-baseline", tmp_path / "old"),
        *("--max-length", 4),
    )
    assert code == 9
    assert "error: the model is not good enough: macro_f1_difference>=-0.01 (it is -0." in err
    found, frames = metrics_of(tmp_path / "new"), []
    for name in ("old", "new"):
        frames.append(pd.read_parquet(tmp_path / name / "predictions.parquet"))
    scores = [f1_score(each["label"], each["predicted_label"], average="macro", labels=LABELS) for each in frames]
    assert found["baseline"]["difference"]["macro_f1"] == pytest.approx(scores[1] - scores[0])
    assert found["baseline"]["macro_f1"] == pytest.approx(scores[0])
    assert (found["status"], found["exit_code"]) == ("gate_failed", 9), "so it is published"


def test_an_evaluation_of_other_rows_is_less_sure(
    splits: Path, tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    assert evaluated(program, tiny_model, splits / "good.tsv", tmp_path / "old")[0] == 0
    code, err = evaluated(
        program, tiny_model, splits / "bad.tsv", tmp_path / "new", "--gate-baseline", tmp_path / "old"
    )
    assert code == 9
    assert "was measured on other rows (the input good.tsv and bad.tsv)" in err
    old, found = metrics_of(tmp_path / "old"), metrics_of(tmp_path / "new")
    section = found["baseline"]
    assert not section["paired"]
    assert section["difference"]["macro_f1"] == found["evaluation"]["macro_f1"] - old["evaluation"]["macro_f1"] < -0.03
    low, high = section["intervals"]["macro_f1"]
    assert high - low > np.ptp(old["evaluation"]["intervals"]["macro_f1"])


def test_what_is_no_baseline(splits: Path, tiny_model: Path, tmp_path: Path, program: Program) -> None:
    arguments = (program, tiny_model, splits / "good.tsv", tmp_path / "new", "--gate-baseline")
    for name in ("nowhere", "nowhere/metrics.json", str(tiny_model)):
        code, err = evaluated(*arguments, tmp_path / name)
        assert code == 3
        assert "is no finished evaluation; give the folder that `evaluate` wrote" in err
    assert not (tmp_path / "new").exists()
    assert evaluated(program, tiny_model, splits / "good.tsv", tmp_path / "old")[0] == 0
    older = metrics_of(tmp_path / "old")
    del older["evaluation"]["intervals"]
    (tmp_path / "old" / "metrics.json").write_text(json.dumps(older))
    code, err = evaluated(*arguments, tmp_path / "old")
    assert code == 3
    assert "was made by an older version; do that evaluation again" in err


def test_unpaired_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Of what is between two simulated splits of one size: 95 % of the time."""
    chances = (
        [[0.4, 0.05, 0.05], [0.05, 0.1, 0.05], [0.02, 0.08, 0.2]],
        [[0.4, 0.06, 0.04], [0.02, 0.13, 0.05], [0.03, 0.07, 0.2]],
    )
    true = [evaluation_section(np.rint(np.array(each) * 1e9).astype(int).tolist(), LABELS) for each in chances]
    chance, held = np.random.default_rng(4), {"accuracy": 0, "macro_f1": 0}
    for _ in range(400):
        sides = []
        for each in chances:
            matrix = chance.multinomial(500, np.ravel(each)).reshape(3, 3).tolist()
            sides.append({**evaluation_section(matrix, LABELS), "intervals": intervals_section(matrix, LABELS)})
        found = unpaired_intervals(*sides)
        for name in held:
            low, high = found[name]
            held[name] += low <= true[1][name] - true[0][name] <= high
    assert all(370 <= count <= 396 for count in held.values()), held


def test_an_edited_split_is_not_the_same_rows(tiny_model: Path, tmp_path: Path, program: Program) -> None:
    """Labels were corrected in its middle: neither its size says so, nor its beginning and its end."""
    texts = [f"{text} {number}" for number, text in enumerate(random_texts(600) * 4)]
    labels = [LABELS[row % 3] for row in range(len(texts))]
    lines = [f"{text}\t{label}\n" for text, label in zip(texts, labels, strict=True)]
    path = tmp_path / "split.tsv"
    path.write_text("text\tlabel\n" + "".join(lines), encoding="utf-8")
    assert path.stat().st_size > 3 * 2**16
    assert evaluated(program, tiny_model, path, tmp_path / "old")[0] == 0
    swapped = {"positive": "negative", "negative": "positive", "neutral": "neutral"}
    middle = range(len(lines) // 2 - 150, len(lines) // 2 + 150)
    for row in middle:
        lines[row] = f"{texts[row]}\t{swapped[labels[row]]}\n"
    path.write_text("text\tlabel\n" + "".join(lines), encoding="utf-8")
    given = ("--gate-baseline", tmp_path / "old", "--on-undecidable", "pass", "--max-drop", "1")
    code, err = evaluated(program, tiny_model, path, tmp_path / "new", *given)
    assert code == 0
    assert "was measured on other rows (an input was edited between the two, though its size and its ends are" in err
    assert not metrics_of(tmp_path / "new")["baseline"]["paired"]
    ended = program(
        "compare", tmp_path / "old", tmp_path / "new", "--output", tmp_path / "c", "--label-column", "label"
    )
    assert ended.code == 3
    assert "an input was edited between the two" in ended.err


def test_a_baseline_is_never_the_output_itself(
    splits: Path, tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    arguments = (program, tiny_model, splits / "good.tsv", tmp_path / "old")
    assert evaluated(*arguments)[0] == 0
    before = (tmp_path / "old" / "metrics.json").read_bytes()
    for baseline in (tmp_path / "old", tmp_path / "old" / "metrics.json"):
        code, err = evaluated(*arguments, "--gate-baseline", baseline, "--overwrite", "--max-length", 4)
        assert code == 2
        assert "lie in each other; keep the earlier evaluation in a folder of its own" in err
    metrics = ("--gate-baseline", tmp_path / "old" / "metrics.json", "--metrics")
    for copy in (tmp_path / "old" / "metrics.json", tmp_path / "old" / "more.json", tiny_model / "m.json"):
        code, err = evaluated(program, tiny_model, splits / "good.tsv", tmp_path / "new", *metrics, copy)
        assert code == 2
        assert "which is read; put it elsewhere" in err
    assert (tmp_path / "old" / "metrics.json").read_bytes() == before
    code, err = evaluated(program, tiny_model, splits / "good.tsv", tmp_path / "new", "--max-drop", "0.5")
    assert code == 2
    assert "--max-drop needs an earlier evaluation: give --gate-baseline" in err


def test_a_split_without_a_text_has_no_difference(
    splits: Path, tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    assert evaluated(program, tiny_model, splits / "good.tsv", tmp_path / "old")[0] == 0
    (tmp_path / "blank.tsv").write_text("text\tlabel\n \tpositive\n \tnegative\n")
    code, err = evaluated(
        program, tiny_model, tmp_path / "blank.tsv", tmp_path / "new", "--gate-baseline", tmp_path / "old"
    )
    assert code == 9
    assert "macro_f1_difference>=-0.01 (it is undefined)" in err
    assert metrics_of(tmp_path / "new")["baseline"]["difference"] == {"accuracy": None, "macro_f1": None}
