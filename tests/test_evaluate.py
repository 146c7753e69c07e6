import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import LABELS, Program, needs_smsa, random_texts, sample_rows
from sklearn.metrics import accuracy_score, classification_report, confusion_matrix

from sentiment_batch import Labeller, evaluate
from sentiment_batch.errors import Stopped
from sentiment_batch.measure.counts import count_rows
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
    monkeypatch.setattr(evaluate, "CHUNK_ROWS", 64)
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


def test_calibrated(split: Path, warm_model: Path, tmp_path: Path, program: Program) -> None:
    for name, others in (("plain", ()), ("calibrated", ("--calibrated",))):
        assert evaluated(program, warm_model, split, tmp_path / name, *others)[0] == 0
    plain, calibrated = (metrics_of(tmp_path / name) for name in ("plain", "calibrated"))
    assert (plain["model"]["temperature"], calibrated["model"]["temperature"]) == (None, 2.5)
    assert plain["evaluation"]["confusion"] == calibrated["evaluation"]["confusion"]
    means = [each["predictions"]["mean_confidence"] for each in (plain, calibrated)]
    assert means[1] < means[0] - 0.1
    frames = [pd.read_parquet(tmp_path / name / "predictions.parquet") for name in ("plain", "calibrated")]
    assert frames[1]["confidence"].mean() == pytest.approx(means[1], abs=1e-6)
    assert "calibrated" not in plain["identity"]["options"], "jobs that were begun without it are the same"
    code, err = evaluated(program, warm_model, split, tmp_path / "calibrated")
    assert (code, "--calibrated 2.5 there, none here" in err) == (4, True)


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
    check_split = evaluate.check_split

    def comes(*rest: Any) -> None:
        check_split(*rest)
        assert create(store, "metrics.json", late)

    def swapped(self: Bucket, name: str, scratch: Path, version: Version) -> bool:
        done = swap(self, name, scratch, version)
        if name == "predictions.parquet":
            raise Stopped(15)
        return done

    monkeypatch.setattr(evaluate, "check_split", comes)
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


def test_calibration_slices_and_mistakes_are_those_of_the_predictions(
    tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    texts = random_texts(400)
    countries = [("id", "my", None)[row % 3] for row in range(len(texts))]
    labels = [LABELS[(row // 2) % 3] for row in range(len(texts))]
    pq.write_table(pa.table({"text": texts, "label": labels, "country": countries}), tmp_path / "a.parquet")
    code, _ = evaluated(program, tiny_model, tmp_path / "a.parquet", tmp_path / "out", "--slice", "country")
    assert code == 0
    frame = pd.read_parquet(tmp_path / "out" / "predictions.parquet")
    evaluation: Any = metrics_of(tmp_path / "out")["evaluation"]
    chances = frame[[f"prob_{label}" for label in LABELS]].to_numpy()
    truth = frame["label"].map(LABELS.index).to_numpy()
    right = frame["label"] == frame["predicted_label"]
    assert evaluation["calibration"]["log_loss"] == pytest.approx(
        -np.log(np.clip(chances[np.arange(len(frame)), truth], 2**-23, 1)).mean(), abs=1e-5
    )
    bins = evaluation["calibration"]["bins"]
    assert sum(each["rows"] for each in bins) == len(frame)
    assert sum(round(each["accuracy"] * each["rows"]) for each in bins if each["rows"]) == right.sum()
    by_country = {each["value"]: each for each in evaluation["slices"] if each["column"] == "country"}
    assert list(by_country) == ["(none)", "id", "my"]
    for value, each in by_country.items():
        rows = frame["country"].isna() if value == "(none)" else frame["country"] == value
        assert (each["rows"], each["accuracy"]) == (rows.sum(), pytest.approx(right[rows].mean()))
    cut = {each["value"]: each["rows"] for each in evaluation["slices"] if each["column"] == "truncated"}
    assert cut == frame["truncated"].map({True: "yes", False: "no"}).value_counts().to_dict()
    worst = frame[~right].sort_values("confidence", ascending=False, kind="stable")[:20]
    mistakes = evaluation["mistakes"]
    assert [each["confidence"] for each in mistakes] == worst["confidence"].tolist()
    for each in mistakes:
        row = frame.iloc[each["row"]]
        assert (row["label"], row["predicted_label"], row["confidence"]) == (
            *(each["true"], each["predicted"]),
            each["confidence"],
        )
    published = (tmp_path / "out" / "metrics.json").read_text()
    assert not any(text in published for text in texts if len(text) > 20)
    again, _ = evaluated(program, tiny_model, tmp_path / "a.parquet", tmp_path / "out")
    assert again == 4, "other slices are another job"


def test_a_column_that_cannot_be_sliced_by(split: Path, tiny_model: Path, tmp_path: Path, program: Program) -> None:
    code, err = evaluated(program, tiny_model, split, tmp_path / "out", "--slice", "text")
    assert code == 2
    assert "--slice text is the column of the texts; slice by one of few short values" in err
    columns = {"text": ["a", "b"] * 80, "label": LABELS[:2] * 80, "id": range(160), "copy": ["rahasia " * 9] * 160}
    pq.write_table(pa.table(columns), tmp_path / "b.parquet")
    code, err = evaluated(program, tiny_model, tmp_path / "b.parquet", tmp_path / "out", "--slice", "id")
    assert code == 3
    assert "the column 'id' has more than 100 values, the most that --slice takes" in err
    code, err = evaluated(program, tiny_model, tmp_path / "b.parquet", tmp_path / "out", "--slice", "copy")
    assert code == 3
    assert "b.parquet, row 0: 'copy' has 72 characters, as a text has" in err
    assert "rahasia" not in err
    code, err = evaluated(program, tiny_model, split, tmp_path / "out", "--slice", "country")
    assert code == 3
    assert "country" in err
    pq.write_table(pa.table({"text": ["a", "b"], "label": LABELS[:2], "tags": [["x"], []]}), tmp_path / "a.parquet")
    code, err = evaluated(program, tiny_model, tmp_path / "a.parquet", tmp_path / "out", "--slice", "tags")
    assert code == 3
    assert "the column 'tags' holds list<element: string>, not single values" in err


def test_swapped_labels_are_caught(tiny_model: Path, tmp_path: Path, program: Program) -> None:
    """The split is what the model says itself: once by its names, once with two of them swapped."""
    texts = random_texts(300)
    labelled = Labeller(str(tiny_model)).predict(texts)
    swapped = {"positive": "negative", "negative": "positive", "neutral": "neutral"}
    for name, names in (("true", {}), ("swapped", swapped)):
        true = [names.get(said["label"], said["label"]) for said in labelled]
        rows = (f"{text}\t{label}\n" for text, label in zip(texts, true, strict=True))
        (tmp_path / f"{name}.tsv").write_text("text\tlabel\n" + "".join(rows), encoding="utf-8")
    assert evaluated(program, tiny_model, tmp_path / "true.tsv", tmp_path / "out")[0] == 0
    order: Any = metrics_of(tmp_path / "out")["evaluation"]["label_order"]  # type: ignore[index]
    assert order == {"suspicious": False, "reading": None, "accuracy": None}
    copy = tmp_path / "copy.json"
    code, err = evaluated(
        *(program, tiny_model, tmp_path / "swapped.tsv", tmp_path / "swapped", "--metrics", copy),
        *("--on-undecidable", "pass", "--gate", "rows>=3"),
    )
    assert code == 9
    assert "error: the labels of the model look swapped (it says positive for negative, negative for positive)" in err
    assert "and 1.0000 if they are read so; mend id2label in its config.json" in err
    metrics = json.loads(copy.read_text())
    assert metrics["evaluation"]["label_order"]["reading"] == swapped
    assert [(gate["condition"], gate["holds"]) for gate in metrics["gates"]] == [
        *[("rows>=3", True), ("labels in order", False)]
    ]
    assert evaluated(program, tiny_model, tmp_path / "swapped.tsv", tmp_path / "swapped")[0] == 9, "done, and no better"


def test_predictions_that_another_version_counted_are_not_taken(
    split: Path, tiny_model: Path, tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(*given: Any) -> dict[str, Any]:
        return {name: value for name, value in count_rows(*given).items() if name != "calibration"}

    def killed(*_: Any) -> None:
        raise Stopped(15)

    with monkeypatch.context() as of_before:
        of_before.setattr(evaluate, "count_rows", without)
        of_before.setattr(evaluate, "check_compute", killed)
        assert evaluated(program, tiny_model, split, tmp_path / "out")[0] == 143
    code, err = evaluated(program, tiny_model, split, tmp_path / "out")
    assert code == 4
    assert "predictions.parquet was made by another version of the program, which counted otherwise; remove " in err


def test_memory_does_not_grow_with_rows() -> None:
    """Of ten million simulated predictions it is the same: 91 MB, what a chunk takes and what is kept of all."""
    script = str(Path(__file__).with_name("simulated_predictions.py"))
    grown = []
    for rows in (66_000, 660_000):
        printed = subprocess.run([sys.executable, script, str(rows)], check=True, capture_output=True, text=True)
        found = json.loads(printed.stdout)
        assert found["rows"] == rows
        grown.append(found["grown"])
    assert max(grown) < 200 * 10**6
    assert abs(grown[1] - grown[0]) < 20 * 10**6
