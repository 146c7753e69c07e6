import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import LABELS, Program, needs_smsa, random_texts, sample_rows
from sklearn.metrics import accuracy_score, classification_report, confusion_matrix

from sentiment_batch import evaluate
from sentiment_batch.errors import Stopped
from sentiment_batch.write.bucket import Bucket
from sentiment_batch.write.claim import CLAIM
from sentiment_batch.write.part import PartWriter
from sentiment_batch.write.store import Version


@pytest.fixture
def split(tmp_path: Path) -> Path:
    path = tmp_path / "split.tsv"
    rows = [*sample_rows("test")[:150], *((text, LABELS[row % 3]) for row, text in enumerate(random_texts(150)))]
    path.write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows), encoding="utf-8")
    return path


def evaluated(program: Program, model: Path, data: Path, output: Path, *others: object) -> tuple[int, str]:
    ended = program("evaluate", "--model", model, "--data", data, "--output", output, "--progress", "none", *others)
    return ended.code, ended.err


def metrics_of(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / "metrics.json").read_text()))


def test_figures_are_scikit_learns_on_the_predictions(
    split: Path, tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    code, err = evaluated(program, tiny_model, split, tmp_path / "out")
    assert code == 0
    assert [line.split(" INFO ")[1].startswith("the model runs on torch in ") for line in err.splitlines()] == [True]
    metrics = metrics_of(tmp_path / "out")
    frame = pd.read_parquet(tmp_path / "out" / "predictions.parquet")
    true, predicted = frame["label"], frame["predicted_label"]
    report = classification_report(true, predicted, labels=list(LABELS), output_dict=True, zero_division=0)
    evaluation = metrics["evaluation"]
    assert evaluation["rows"] == len(frame) == 300
    assert evaluation["accuracy"] == pytest.approx(accuracy_score(true, predicted), abs=1e-12)
    for ours, theirs in (("macro_f1", "f1-score"), ("macro_precision", "precision"), ("macro_recall", "recall")):
        assert evaluation[ours] == pytest.approx(report["macro avg"][theirs], abs=1e-12)
    for label in LABELS:
        assert evaluation["per_class"][label]["f1"] == pytest.approx(report[label]["f1-score"], abs=1e-12)
        assert evaluation["per_class"][label]["rows"] == report[label]["support"]
    assert evaluation["confusion"]["labels"] == list(LABELS)
    assert evaluation["confusion"]["matrix"] == confusion_matrix(true, predicted, labels=list(LABELS)).tolist()
    headline = metrics["headline"]
    assert [headline[name] for name in ("ACC", "F1", "REC", "PRE")] == [
        evaluation[name] for name in ("accuracy", "macro_f1", "macro_recall", "macro_precision")
    ]
    made = ["metrics.json", "predictions.parquet", "report.html"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == made


def test_gates(split: Path, tiny_model: Path, tmp_path: Path, program: Program) -> None:
    copy = tmp_path / "copy.json"
    code, err = evaluated(
        *(program, tiny_model, split, tmp_path / "out", "--metrics", copy),
        *("--gate", "macro_f1>=0.01", "--gate", "recall[neutral]>0.999"),
    )
    assert code == 9
    assert "recall[neutral]>0.999 (it is 0." in err
    assert f"all figures are in {tmp_path / 'out'}" in err
    metrics = metrics_of(tmp_path / "out")
    assert metrics == json.loads(copy.read_text()), "everything is written"
    assert (metrics["status"], metrics["exit_code"]) == ("gate_failed", 9)
    assert [gate["holds"] for gate in metrics["gates"]] == [True, False]
    again, _ = evaluated(program, tiny_model, split, tmp_path / "out", "--gate", "recall[neutral]>0.999")
    assert again == 9, "done already, but not good enough"
    published = (tmp_path / "out" / "metrics.json").read_bytes()
    arguments = (program, tiny_model, split, tmp_path / "out", "--metrics", copy, "--gate", "macro_f1>=0.01")
    assert evaluated(*arguments)[0] == 0
    assert json.loads(copy.read_text())["status"] == "done"
    assert (tmp_path / "out" / "metrics.json").read_bytes() == published, "what is visible never changes"


def test_a_gate_that_the_split_cannot_decide(split: Path, tiny_model: Path, tmp_path: Path, program: Program) -> None:
    assert evaluated(program, tiny_model, split, tmp_path / "out")[0] == 0
    evaluation: Any = metrics_of(tmp_path / "out")["evaluation"]
    low, high = evaluation["intervals"]["macro_f1"]
    assert low < evaluation["macro_f1"] < high
    gate = ("--gate", f"macro_f1>={(low + evaluation['macro_f1']) / 2:.6f}", "--metrics", tmp_path / "copy.json")
    code, err = evaluated(program, tiny_model, split, tmp_path / "out", *gate)
    assert code == 9
    assert "error: 300 rows cannot decide macro_f1>=0." in err
    assert "give --on-undecidable pass; all figures are in" in err
    assert json.loads((tmp_path / "copy.json").read_text())["gates"][0]["verdict"] == "undecidable"
    assert evaluated(program, tiny_model, split, tmp_path / "out", *gate, "--on-undecidable", "pass")[0] == 0
    published = tmp_path / "out" / "metrics.json"
    del evaluation["intervals"]
    published.write_text(json.dumps({**metrics_of(tmp_path / "out"), "evaluation": evaluation}))
    assert evaluated(program, tiny_model, split, tmp_path / "out", *gate)[0] == 9, "published before there were any"
    worse = ("--gate", f"macro_f1>={(1 + high) / 2:.6f}")
    code, err = evaluated(program, tiny_model, split, tmp_path / "out", *gate, *worse)
    assert code == 9
    assert err.index("the model is not good enough: macro_f1>=") < err.index("; 300 rows cannot decide macro_f1>=")
    assert evaluated(program, tiny_model, split, tmp_path / "out", *worse, "--on-undecidable", "pass")[0] == 9


@pytest.mark.parametrize(
    "gate", ["f1", "macro_f2>=1", "recall[baik]>=1", "macro_f1>=much", "recall>=0.5", "macro_f1=1"]
)
def test_gates_that_mean_nothing(gate: str, split: Path, tiny_model: Path, tmp_path: Path, program: Program) -> None:
    code, err = evaluated(program, tiny_model, split, tmp_path / "out", "--gate", gate)
    assert code == 2
    assert "--gate" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("a\tneutral\nb\tneutral\n", "all 2 rows are labelled 'neutral'; a split with one class"),
        ("a\tneutral\nb\tbaik\n", "row 1: the label 'baik' in 'label'; the model knows positive, neutral, negative"),
        ("a\tneutral\nb\t\n", "row 1: no label in 'label'"),
        ("a\tneutral\nb\n", "row 1: field_count (1 fields, expected 2)"),
        ("", "no rows to measure the model on"),
    ],
)
def test_splits_that_cannot_measure_a_model(
    rows: str, said: str, tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    (tmp_path / "split.tsv").write_text("text\tlabel\n" + rows)
    code, err = evaluated(program, tiny_model, tmp_path / "split.tsv", tmp_path / "out")
    assert code == 3
    assert said in err
    assert not (tmp_path / "out").exists()


def test_rows_without_a_text_are_counted_and_not_measured(tiny_model: Path, tmp_path: Path, program: Program) -> None:
    texts = ["bagus", None, "", "jelek"]
    pq.write_table(pa.table({"t": texts, "y": ["positive", "neutral", "neutral", "negative"]}), tmp_path / "a.parquet")
    columns = ("--text-column", "t", "--label-column", "y")
    assert evaluated(program, tiny_model, tmp_path / "a.parquet", tmp_path / "out", *columns)[0] == 0
    metrics = metrics_of(tmp_path / "out")
    assert metrics["evaluation"]["rows"] == metrics["rows"]["scored"] == 2
    assert (metrics["rows"]["in"], metrics["rows"]["empty"], metrics["rows"]["null"]) == (4, 1, 1)


def test_another_split_is_another_job(split: Path, tiny_model: Path, tmp_path: Path, program: Program) -> None:
    assert evaluated(program, tiny_model, split, tmp_path / "out")[0] == 0
    before = (tmp_path / "out" / "metrics.json").read_bytes()
    assert evaluated(program, tiny_model, split, tmp_path / "out")[0] == 0
    assert (tmp_path / "out" / "metrics.json").read_bytes() == before
    code, err = evaluated(program, tiny_model, split, tmp_path / "out", "--limit-rows", 100)
    assert code == 4
    assert "--limit-rows none there, 100 here" in err
    assert evaluated(program, tiny_model, split, tmp_path / "out", "--limit-rows", 100, "--overwrite")[0] == 0


def test_a_text_that_comes_again_in_a_split_is_labelled_once(
    split: Path, tiny_model: Path, tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a run that is killed in its middle leaves nothing to the next one that could change a bit."""
    header, *lines = split.read_text(encoding="utf-8").splitlines()
    split.write_text("\n".join([header, *lines, *lines[::3]]) + "\n", encoding="utf-8")
    monkeypatch.setattr(evaluate, "_CHUNK_ROWS", 64)
    assert evaluated(program, tiny_model, split, tmp_path / "whole")[0] == 0
    rows = metrics_of(tmp_path / "whole")["rows"]
    assert rows["cached_texts"] >= len(lines) // 3
    assert rows["distinct_texts"] - rows["cached_texts"] == len({line.split("\t")[0] for line in lines})
    write = PartWriter.write

    def in_the_middle(self: PartWriter, *given: Any) -> None:
        if self.rows > 200:
            raise Stopped(15)
        write(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(PartWriter, "write", in_the_middle)
        assert evaluated(program, tiny_model, split, tmp_path / "out")[0] == 143
    assert evaluated(program, tiny_model, split, tmp_path / "out")[0] == 0
    assert metrics_of(tmp_path / "out")["rows"] == rows
    made = [(tmp_path / name / "predictions.parquet").read_bytes() for name in ("whole", "out")]
    assert made[0] == made[1]
    code, err = evaluated(program, tiny_model, split, tmp_path / "out", "--cache-rows", 0)
    assert (code, "--cache-rows 100000 there, 0 here" in err) == (4, True)


@needs_smsa
def test_the_masked_smsa_test_split_is_refused(tiny_model: Path, tmp_path: Path, program: Program) -> None:
    from conftest import SMSA

    masked = SMSA / "test_preprocess_masked_label.tsv"
    code, err = evaluated(program, tiny_model, masked, tmp_path / "out", "--columns", "text,label")
    assert code == 3
    assert "all 500 rows are labelled 'neutral'" in err
    assert "masked" in err


def test_a_model_without_finite_scores_is_refused(
    split: Path, tiny_model: Path, tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows that are left would make it look perfect."""
    from sentiment_batch.model import torch_engine

    engine_of = torch_engine.engine_of

    def broken(*arguments: object) -> object:
        engine = engine_of(*arguments)  # type: ignore[arg-type]

        def nearly_all(ids: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
            logits = engine(ids, mask)
            logits[1:] = np.nan
            return logits

        return nearly_all

    monkeypatch.setattr(torch_engine, "engine_of", broken)
    code, err = evaluated(program, tiny_model, split, tmp_path / "out", "--gate", "accuracy>=0")
    assert code == 8
    assert "gives no finite score for" in err
    assert not (tmp_path / "out").exists()


def test_predictions_of_a_killed_run_with_another_dtype_are_not_given_out_as_this_ones(
    split: Path, tiny_model: Path, tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one on an old GPU makes them, where `auto` is float16, and one without goes on."""
    import torch

    from sentiment_batch.model import torch_engine

    def killed(*_: object, **__: object) -> None:
        raise Stopped(15)

    with monkeypatch.context() as patch:
        patch.setattr(torch_engine, "resolve_dtype", lambda *_: torch.float16)
        patch.setattr("sentiment_batch.evaluate.settle_json", killed)
        assert evaluated(program, tiny_model, split, tmp_path / "out")[0] == 143
    made = tmp_path / ".out.wip" / "predictions.parquet"
    before = made.read_bytes()
    code, err = evaluated(program, tiny_model, split, tmp_path / "out")
    assert code == 4
    assert "predictions.parquet was made with torch cpu float16 auto, this run would go on with torch cpu " in err
    assert made.read_bytes() == before
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(torch_engine, "resolve_dtype", lambda *_: torch.float16)
    assert evaluated(program, tiny_model, split, tmp_path / "out")[0] == 0
    assert metrics_of(tmp_path / "out")["model"]["dtype"] == "float16"


def test_metrics_that_come_late_announce_no_predictions_of_another_evaluation(
    split: Path, tiny_model: Path, bucket: str, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a bucket: its run was overtaken, and killed behind that request; and ours is killed behind its predictions."""
    store, create, swap = Bucket(bucket), Bucket.create, Bucket.swap
    assert evaluated(program, tiny_model, split, bucket, "--prefix", "theirs_")[0] == 0
    (late := split.with_name("late")).write_bytes(store.read("metrics.json") or b"")
    check_split = evaluate._check_split

    def comes(*rest: Any) -> None:
        check_split(*rest)
        assert create(store, "metrics.json", late)

    def swapped(self: Bucket, name: str, scratch: Path, version: Version) -> bool:
        done = swap(self, name, scratch, version)
        if name == "predictions.parquet":
            raise Stopped(15)
        return done

    monkeypatch.setattr(evaluate, "_check_split", comes)
    monkeypatch.setattr(Bucket, "swap", swapped)
    assert evaluated(program, tiny_model, split, bucket, "--overwrite")[0] == 143
    assert sorted(store.sizes()) == [CLAIM, "predictions.parquet", "report.html"]


def test_long_labels_are_not_shown(tiny_model: Path, tmp_path: Path, program: Program) -> None:
    (tmp_path / "swapped.tsv").write_text("label\ttext\n" + "rahasia pelanggan yang panjang sekali\tpositive\n" * 2)
    code, err = evaluated(program, tiny_model, tmp_path / "swapped.tsv", tmp_path / "out")
    assert code == 3
    assert "row 0: the label (a long text) in 'label'" in err
    assert "rahasia" not in err


def test_labels_that_are_lists(tiny_model: Path, tmp_path: Path, program: Program) -> None:
    pq.write_table(pa.table({"text": ["a"], "label": [["positive"]]}), tmp_path / "a.parquet")
    code, err = evaluated(program, tiny_model, tmp_path / "a.parquet", tmp_path / "out")
    assert code == 3
    assert "'label' holds list<element: string>, not single values" in err


def test_a_label_that_is_no_utf8_is_named(tiny_model: Path, tmp_path: Path, program: Program) -> None:
    labels = pa.array([b"positive", b"negative", b"\xff\xfe"])
    pq.write_table(pa.table({"text": ["a", "b", "c"], "label": labels}), tmp_path / "a.parquet")
    code, err = evaluated(program, tiny_model, tmp_path / "a.parquet", tmp_path / "out")
    assert code == 3
    assert "a.parquet, row 2: the column 'label' holds no label name" in err
    assert not (tmp_path / "out").exists()
