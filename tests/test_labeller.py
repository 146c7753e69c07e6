import pickle
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from conftest import LABELS, random_texts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sentiment_batch import Labeller
from sentiment_batch import labeller as labeller_module
from sentiment_batch.errors import InputError, ModelRefused, UsageError
from sentiment_batch.model.cache import Cache, Kept, said_type
from sentiment_batch.model.compute import resolve_compute
from sentiment_batch.row_findings import _wrong_label

TEXTS = random_texts(80)


@pytest.fixture(scope="module")
def labeller(tiny_model: Path) -> Labeller:
    return Labeller(str(tiny_model), dtype="float32")


def expected(tiny_model: Path, texts: list[str]) -> np.ndarray:
    """float64 [texts, labels]: the probabilities by transformers alone, one text at a time."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    model = AutoModelForSequenceClassification.from_pretrained(tiny_model).eval()
    rows = []
    with torch.no_grad():
        for text in texts:
            inputs = tokenizer(text, truncation=True, max_length=64, return_tensors="pt")
            rows.append(model(**inputs).logits.double().softmax(dim=1)[0].numpy())
    return np.array(rows)


def probabilities(rows: pa.Table | pa.RecordBatch, prefix: str = "") -> np.ndarray:
    return np.column_stack([rows.column(f"{prefix}prob_{label}").to_numpy() for label in LABELS])


def test_labels_are_those_of_transformers_in_the_order_of_the_rows(labeller: Labeller, tiny_model: Path) -> None:
    labelled = labeller(pa.table({"id": range(len(TEXTS)), "text": TEXTS}))
    truth = expected(tiny_model, TEXTS)
    np.testing.assert_allclose(probabilities(labelled), truth, atol=1e-5)
    assert labelled.column("predicted_label").to_pylist() == [LABELS[best] for best in truth.argmax(axis=1)]
    np.testing.assert_allclose(labelled.column("confidence").to_numpy(), truth.max(axis=1), atol=1e-5)
    assert labelled.column("id").to_pylist() == list(range(len(TEXTS)))
    assert len(set(labelled.column("predicted_label").to_pylist())) == 3, "a test of one label would prove little"


def test_added_columns_are_those_of_the_interface(labeller: Labeller) -> None:
    labelled = labeller(pa.table({"text": ["enak"]}))
    assert labelled.schema.names[1:] == [
        *("predicted_label", "confidence"),
        *(f"prob_{label}" for label in LABELS),
        *("n_tokens", "truncated", "status"),
    ]
    types = [str(field.type) for field in labelled.schema][1:]
    assert types == ["string", "float", "float", "float", "float", "int32", "bool", "string"]


def test_rows_without_a_text_stay_and_say_so(labeller: Labeller) -> None:
    labelled = labeller(pa.table({"text": ["enak", "", None, " \t\n", "enak", None]}))
    assert labelled.column("status").to_pylist() == [
        *("ok", "empty_text", "null_text"),
        *("empty_text", "ok", "null_text"),
    ]
    first, *_ = rows = labelled.to_pylist()
    for row in (rows[1], rows[2], rows[3], rows[5]):
        assert row["predicted_label"] is row["confidence"] is row["prob_neutral"] is None
        assert (row["n_tokens"], row["truncated"]) == (0, False)
    assert rows[4] == first
    assert sum(first[f"prob_{label}"] for label in LABELS) == pytest.approx(1, abs=1e-6)


def test_only_rows_without_a_text(labeller: Labeller) -> None:
    labelled = labeller(pa.table({"text": pa.array([None, "", " "], pa.string())}))
    assert labelled.column("status").to_pylist() == ["null_text", "empty_text", "empty_text"]


def test_no_rows(labeller: Labeller) -> None:
    empty = pa.table({"text": pa.array([], pa.string())})
    assert labeller(empty).num_rows == 0
    assert labeller(empty).schema == labeller(pa.table({"text": ["enak"]})).schema
    assert labeller(pa.RecordBatch.from_pylist([], schema=empty.schema)).num_rows == 0


def test_truncation_is_seen_and_said(labeller: Labeller) -> None:
    short, long = "enak " * 10, "enak " * 100
    rows = labeller(pa.table({"text": [long, short]})).to_pylist()
    assert [row["truncated"] for row in rows] == [True, False]
    assert rows[0]["n_tokens"] == 64
    assert rows[1]["n_tokens"] < 64


def test_distinct_texts_are_scored_once(labeller: Labeller, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    engine = labeller.classifier.engine
    monkeypatch.setattr(labeller.classifier, "engine", lambda ids, mask: seen.append(len(ids)) or engine(ids, mask))
    labelled = labeller(pa.table({"text": ["bagus", "jelek", "bagus", "bagus", "jelek"]}))
    assert sum(seen) == 2
    rows = labelled.to_pylist()
    assert rows[0] == rows[2] == rows[3]
    assert rows[1] == rows[4]
    assert rows[0]["prob_neutral"] != rows[1]["prob_neutral"]


def test_unknown_tokens_are_told_of_every_row_also_of_those_that_the_cache_answers(labeller: Labeller) -> None:
    strange = "\U0010ffff"
    chunks = [[strange, "enak", None, f"{strange} enak {strange}"], ["enak", strange, " ", f"{strange} enak {strange}"]]
    cache = Cache(10, len(labeller.labels))
    found = []
    for texts in chunks:
        rows = pa.record_batch({"text": pa.array(texts, pa.string())})
        labelled, unknown = labeller.label_and_count(labeller.prepare(rows, cache))
        assert labelled.column("text").to_pylist() == texts
        found.append(unknown.tolist())
    assert found == [[1, 0, 0, 2], [0, 1, 0, 2]]


def test_a_row_that_is_kept_has_its_own_whatever_others_with_its_text_have(labeller: Labeller) -> None:
    """Be the text known from an earlier chunk, or kept of two rows that say two things of it."""
    cache = Cache(10, len(LABELS))
    said = np.zeros(2, said_type(len(LABELS)))
    said["label"], said["probabilities"] = [2, 1], [[0.1, 0.2, 0.7], [0.2, 0.6, 0.2]]

    def rows_of(texts: list[str], kept: Kept | None) -> list[tuple[str, list[float]]]:
        batch = pa.record_batch({"text": texts})
        labelled = labeller.label(labeller.prepare(batch, cache, kept))
        return list(zip(labelled.column("predicted_label").to_pylist(), probabilities(labelled).tolist(), strict=True))

    [scored] = rows_of(["bagus"], None)
    own = [(LABELS[one["label"]], one["probabilities"].tolist()) for one in said]
    texts = ["bagus", "bagus", "bagus", "lambat", "lambat"]
    found = rows_of(texts, Kept(np.array([1, 3]), said))
    assert found == [scored, own[0], scored, own[1], own[1]]
    found = rows_of(["kotor", "kotor"], Kept(np.array([0, 1]), said))
    assert found == own


def test_a_batch_has_nothing_of_the_batches_before(labeller: Labeller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever calls for one batch again, as Spark does after a fault, gets the same bits."""
    seen = []
    engine = labeller.classifier.engine
    monkeypatch.setattr(labeller.classifier, "engine", lambda ids, mask: seen.append(len(ids)) or engine(ids, mask))
    batch = pa.record_batch({"text": TEXTS[:10]})
    once, again = labeller(pa.Table.from_batches([batch, batch])).to_batches()
    assert once == again == labeller(batch)
    assert sum(seen) == 30


def test_a_score_that_is_not_finite_is_that_rows_status(labeller: Labeller, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = labeller.classifier.engine

    def broken(ids: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        logits = engine(ids, mask)
        lengths = np.full(len(ids), ids.shape[1]) if mask is None else mask.sum(axis=1)
        logits[lengths > 20, 1] = np.nan
        return logits

    monkeypatch.setattr(labeller.classifier, "engine", broken)
    monkeypatch.setattr(labeller.classifier, "batch_tokens", 1)  # each text alone
    rows = labeller(pa.table({"text": ["enak " * 30, "enak", "enak " * 40]})).to_pylist()
    assert [row["status"] for row in rows] == ["nonfinite_score", "ok", "nonfinite_score"]
    assert rows[0]["predicted_label"] is rows[0]["prob_positive"] is None
    assert rows[0]["n_tokens"] > 20
    assert rows[1]["predicted_label"] is not None


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())])
def test_every_kind_of_string_column(labeller: Labeller, kind: pa.DataType) -> None:
    texts = ["bagus", None, "jelek sekali", "", "bagus"]
    plain = labeller(pa.table({"text": texts})).drop_columns("text")
    other = labeller(pa.table({"text": pa.array(texts, pa.string()).cast(kind)}))
    assert other.drop_columns("text") == plain
    assert other.schema.field("text").type == kind


def test_a_table_of_many_batches_keeps_its_order(labeller: Labeller) -> None:
    table = pa.table({"text": TEXTS})
    cut = pa.concat_tables([table.slice(0, 7), table.slice(7, 1), table.slice(8)])
    np.testing.assert_allclose(probabilities(labeller(cut)), probabilities(labeller(table)), atol=1e-5)


def test_predict(labeller: Labeller, tiny_model: Path) -> None:
    first, blank = labeller.predict(["enak sekali", " "])
    truth = expected(tiny_model, ["enak sekali"])[0]
    assert first["label"] == LABELS[truth.argmax()]
    assert first["probabilities"] == pytest.approx(dict(zip(LABELS, truth, strict=True)), abs=1e-5)
    assert blank == {"label": None, "confidence": None, "probabilities": dict.fromkeys(LABELS)}


def test_it_pickles_as_its_options(labeller: Labeller, tiny_model: Path) -> None:
    original = Labeller(str(tiny_model), text_column="review", prefix="p_", dtype="float32")
    table = pa.table({"review": TEXTS[:5]})
    before = original(table)
    data = pickle.dumps(original)
    assert len(data) < 2_000, "the weights are not in it"
    assert pickle.loads(data)(table) == before
    assert before.schema.names[1] == "p_predicted_label"


def test_calibrated_probabilities_are_those_of_divided_logits(labeller: Labeller, warm_model: Path) -> None:
    calibrated = Labeller(str(warm_model), dtype="float32", calibrated=True)
    rows, before = calibrated(pa.table({"text": TEXTS})), labeller(pa.table({"text": TEXTS}))
    softened = probabilities(before).astype(np.float64) ** (1 / 2.5)
    np.testing.assert_allclose(probabilities(rows), softened / softened.sum(axis=1, keepdims=True), atol=1e-5)
    assert rows.column("predicted_label") == before.column("predicted_label")
    assert rows.column("confidence").to_numpy().mean() < before.column("confidence").to_numpy().mean() - 0.1
    names = [name for name in rows.schema.names if name != "confidence" and not name.startswith("prob_")]
    assert rows.select(names) == before.select(names)
    assert Labeller(str(warm_model), dtype="float32")(pa.table({"text": TEXTS})) == before, "nobody asked for it"
    assert pickle.loads(pickle.dumps(calibrated))(pa.table({"text": TEXTS})) == rows


_NEAR = st.floats(-200, 200, width=32).flatmap(
    lambda value: st.sampled_from([value, *map(float, np.nextafter(np.float32(value), np.float32([-300, 300])))])
)
_LOGIT = _NEAR | st.sampled_from([0.0, 1e-30, -1e-30, 1e-12, 3e38, -3e38])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(_LOGIT, min_size=3, max_size=3), min_size=1, max_size=8), st.floats(0.01, 100))
def test_no_label_is_another_for_being_calibrated(
    warm_model: Path, rows: list[list[float]], temperature: float
) -> None:
    """However near two logits are, the label is that of the highest probability, in float32 too."""
    logits = np.array([*rows, [rows[0][1], rows[0][0], rows[0][1]]], np.float32)
    tables = []
    for calibrated in (False, True):
        labeller = Labeller(str(warm_model), dtype="float32", calibrated=calibrated)
        labeller.folder = replace(labeller.folder, temperature=temperature)
        labeller.classifier = SimpleNamespace(logits=lambda *_: logits)
        tables.append(labeller(pa.table({"text": [f"kata{row}" for row in range(len(logits))]})))
    assert tables[0].column("predicted_label") == tables[1].column("predicted_label")
    for table in tables:
        labels, confidences = (table.column(name).to_pylist() for name in ("predicted_label", "confidence"))
        for label, confidence, chances in zip(labels, confidences, probabilities(table).astype(float), strict=True):
            assert list(_wrong_label(label, confidence, chances, list(LABELS))) == []


def test_what_it_refuses(labeller: Labeller, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column 'text'; there are: 'review'"):
        labeller(pa.table({"review": ["a"]}))
    with pytest.raises(UsageError, match=r"column 'status' already; give --prefix"):
        labeller(pa.table({"text": ["a"], "status": [1]}))
    with pytest.raises(UsageError, match=r"column 'STATUS' already; give --prefix"):
        labeller(pa.table({"text": ["a"], "STATUS": [1]}))
    with pytest.raises(UsageError, match="colour"):
        Labeller(str(tiny_model), colour="red")
    with pytest.raises(UsageError, match="takes 64 tokens at most"):
        Labeller(str(tiny_model), max_length=65)
    with pytest.raises(UsageError, match=r"has no temperature in a training.json; train it again, into another folder"):
        Labeller(str(tiny_model), calibrated=True)
    with pytest.raises(ModelRefused, match="no model folder"):
        Labeller(str(tmp_path / "none"))


def test_labels_that_differ_in_case_alone_have_no_columns_of_their_own(
    labeller: Labeller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labeller, "labels", ("bad", "Good", "good"))
    with pytest.raises(ModelRefused, match=r"labels 'Good' and 'good' differ in case .*config\.json"):
        labeller(pa.table({"text": ["a"]}))
    assert labeller.predict(["a"])[0]["label"] in labeller.labels


def test_columns_of_the_input_that_differ_in_case_alone_are_the_inputs(labeller: Labeller) -> None:
    rows = pa.table({"text": ["a"], "Text": ["b"], "id": [1], "ID": [2]})
    assert labeller(rows).select(rows.schema.names).equals(rows)


@pytest.mark.parametrize("options", [{"engine": "other"}, {"dtype": "float8"}, {"max_length": 0}, {"batch_tokens": -1}])
def test_options_from_python_are_checked_too(options: dict[str, object], tiny_model: Path) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        Labeller(str(tiny_model), **options)


def test_numbers_are_no_texts(labeller: Labeller) -> None:
    with pytest.raises(InputError, match="'text' holds int64, not strings"):
        labeller(pa.table({"text": [1]}))


def test_a_model_that_is_replaced_while_it_is_loaded(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    labeller = Labeller(str(folder))
    (folder / "config.json").write_bytes((folder / "config.json").read_bytes() + b" ")
    with pytest.raises(ModelRefused, match="changed while it was loaded"):
        labeller.predict(["a"])


def test_choosing_what_computes_counts_as_loading(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may load PyTorch, whoever asks for it first."""

    def slow(*given: Any) -> Any:
        time.sleep(0.3)
        return resolve_compute(*given)

    monkeypatch.setattr(labeller_module, "resolve_compute", slow)
    found = Labeller(str(tiny_model), dtype="float32")
    before = Labeller(str(tiny_model), dtype="float32")
    started = time.perf_counter()
    seconds = found.load()
    assert 0.3 <= seconds <= time.perf_counter() - started + 0.1, "once"
    assert before.compute
    assert before.load() >= 0.3


@pytest.mark.parametrize("fails", [False, True])
def test_something_else_is_done_while_a_model_is_loaded(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    called = threading.Event()

    def load_engine(*given: Any) -> Any:
        assert called.wait(10), "the engine is loaded by now, and nothing was called"
        return loaded(*given)

    def meanwhile() -> None:
        called.set()
        assert not fails, "whoever needs it finds out"

    loaded = labeller_module.load_engine
    monkeypatch.setattr(labeller_module, "load_engine", load_engine)
    found = Labeller(str(tiny_model), dtype="float32")
    found.load(meanwhile)
    assert found.predict(["bagus sekali"])[0]["label"] in found.labels
