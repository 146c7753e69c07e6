"""labelling.py: chunk by chunk, with what is known from the chunks before."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
from conftest import LABELS, random_texts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sentiment_batch.labeller import Labeller
from sentiment_batch.labelling import Labelled, labelled_chunks, labelled_in_turn
from sentiment_batch.measure.counts import Counts, add
from sentiment_batch.measure.progress import Progress
from sentiment_batch.model.classifier import Classifier
from sentiment_batch.read.chunk import Chunk

Texts = Sequence[str | None]
PLENTY = 1_000


class StubEngine:
    """Exact logits that follow from a text's ids alone, whatever batch it is in; out of memory when `full` says so."""

    def __init__(self, full: Callable[[int, int], bool] = lambda rows, width: False) -> None:
        self.full = full
        self.asked = 0  # texts that were answered

    def __call__(self, input_ids: np.ndarray, attention_mask: np.ndarray | None) -> np.ndarray:
        rows, width = input_ids.shape
        if self.full(rows, width):
            raise MemoryError
        self.asked += rows
        ids = input_ids if attention_mask is None else input_ids * attention_mask
        sums = (ids * (1 + np.arange(width) % 11)).sum(1)
        return np.stack([sums % prime / 4 for prime in (7, 11, 13)], 1).astype(np.float32)


def stubbed(model: Path, engine: StubEngine, batch_tokens: int = 200) -> Labeller:
    labeller = Labeller(str(model))
    labeller.classifier = Classifier(engine, len(LABELS), batch_tokens, labeller.folder.pad_token_id, labeller.effort)
    return labeller


def labelled(labeller: Labeller, chunks: Sequence[Texts], cache_rows: int) -> list[Labelled]:
    batches = (Chunk(pa.record_batch({"text": pa.array(texts, pa.string())}), []) for texts in chunks)
    rows = sum(map(len, chunks))
    with Progress(rows, "none") as progress:
        found = list(labelled_chunks(batches, labeller, progress, cache_rows))
    assert progress.done == rows
    return found


def table(found: list[Labelled]) -> pa.Table:
    return pa.Table.from_batches([each.batch for each in found])


def totals(found: list[Labelled]) -> Counts:
    counts: Counts = {}
    for each in found:
        counts = add(counts, each.texts)
    return counts


def test_a_text_of_an_earlier_chunk_is_asked_of_the_engine_once(tiny_model: Path) -> None:
    chunks: list[Texts] = [["ok", "bagus", "ok"], ["bagus", "jelek", None], ["ok", "jelek", ""], ["ok", "ok"]]
    engine = StubEngine()
    found = labelled(stubbed(tiny_model, engine), chunks, PLENTY)
    assert engine.asked == 3
    assert [each.texts["distinct_texts"] for each in found] == [2, 2, 2, 1]
    assert [each.texts["cached_texts"] for each in found] == [0, 1, 2, 1]
    rows = table(found).to_pylist()
    for text in ("ok", "bagus", "jelek"):
        first, *others = [row for row in rows if row["text"] == text]
        assert others == [first] * len(others)
    assert len({row["prob_neutral"] for row in rows if row["text"]}) == 3


def test_without_a_cache_each_chunk_is_on_its_own(tiny_model: Path) -> None:
    engine = StubEngine()
    found = labelled(stubbed(tiny_model, engine), [["ok", "bagus"], ["bagus", "ok"]], 0)
    assert engine.asked == 4
    assert totals(found) == {"distinct_texts": 4, "cached_texts": 0}


def test_no_more_texts_are_kept_than_asked_for(tiny_model: Path) -> None:
    texts = random_texts(10)
    engine = StubEngine()
    found = labelled(stubbed(tiny_model, engine), [texts, texts], 4)
    assert totals(found) == {"distinct_texts": 20, "cached_texts": 4}
    assert engine.asked == 16


def test_a_text_that_was_forgotten_is_known_again_when_it_came_again(tiny_model: Path) -> None:
    engine = StubEngine()
    found = labelled(stubbed(tiny_model, engine), [["a"], ["b", "c"], ["a", "b"], ["a", "b"]], 2)
    assert [each.texts["cached_texts"] for each in found] == [0, 0, 1, 2]
    assert engine.asked == 4


def test_each_piece_of_work_begins_with_nothing(tiny_model: Path) -> None:
    """Else the bytes of a part would tell of what was done before it."""
    engine = StubEngine()
    labeller = stubbed(tiny_model, engine)
    for _ in range(2):
        assert totals(labelled(labeller, [["ok"], ["ok"]], PLENTY)) == {"distinct_texts": 2, "cached_texts": 1}
    assert engine.asked == 2


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    picks=st.lists(st.integers(0, 30), max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=8),
    cache_rows=st.integers(0, 35),
)
def test_a_cache_changes_no_label_of_an_engine_that_goes_by_the_text_alone(
    tiny_model: Path, picks: list[int], cuts: list[int], cache_rows: int
) -> None:
    pool: Texts = [*random_texts(28), "enak " * 100, "", None]
    texts = [pool[pick] for pick in picks]
    bounds = [0, *sorted(cut for cut in cuts if cut < len(texts)), len(texts)]
    chunks = [texts[first:last] for first, last in pairwise(bounds)]
    engine, plain = StubEngine(), StubEngine()
    found, expected = (
        labelled(stubbed(tiny_model, each), chunks, rows) for each, rows in ((engine, cache_rows), (plain, 0))
    )
    assert table(found).equals(table(expected))
    cached = totals(found)["cached_texts"]
    assert totals(found)["distinct_texts"] == totals(expected)["distinct_texts"] == plain.asked == engine.asked + cached
    if cache_rows > len(pool):
        assert engine.asked == len({text for text in texts if text})


def test_a_batch_that_does_not_fit_in_between(tiny_model: Path) -> None:
    texts = random_texts(60)
    chunks = [texts[:30], texts[10:45], texts[::-1]]
    expected = table(labelled(stubbed(tiny_model, StubEngine()), chunks, 0))
    engine = StubEngine(lambda rows, width: engine.asked >= 30 and rows * width > 70)
    labeller = stubbed(tiny_model, engine, 600)
    found = labelled(labeller, chunks, PLENTY)
    assert labeller.effort.oom_retries > 0
    assert engine.asked == 60
    assert table(found).equals(expected)


def test_a_score_that_is_not_finite_is_that_of_the_text_wherever_it_comes_again(tiny_model: Path) -> None:
    class Broken(StubEngine):
        def __call__(self, input_ids: np.ndarray, attention_mask: np.ndarray | None) -> np.ndarray:
            logits = super().__call__(input_ids, attention_mask)
            mask = np.ones_like(input_ids) if attention_mask is None else attention_mask
            logits[mask.sum(axis=1) > 20, 1] = np.nan
            return logits

    rows = table(labelled(stubbed(tiny_model, Broken(), 1), [["enak " * 30, "enak"]] * 2, PLENTY)).to_pylist()
    assert [row["status"] for row in rows] == ["nonfinite_score", "ok"] * 2
    assert rows[0] == rows[2]


def test_probabilities_of_a_real_model_are_those_without_a_cache_but_for_their_last_bits(tiny_model: Path) -> None:
    texts = random_texts(80)
    chunks = [texts[:40], texts[20:60], texts[::2], texts]
    labeller = Labeller(str(tiny_model), dtype="float32", batch_tokens=300)
    found, expected = (table(labelled(labeller, chunks, rows)) for rows in (PLENTY, 0))
    exact = [name for name in found.column_names if not name.startswith(("prob_", "confidence"))]
    assert found.select(exact).equals(expected.select(exact))
    for label in LABELS:
        np.testing.assert_allclose(found.column(f"prob_{label}"), expected.column(f"prob_{label}"), atol=1e-5)


def test_two_in_turn_give_what_each_gives_alone(tiny_model: Path) -> None:
    """And each remembers its own texts of the chunks before."""
    chunks: list[Texts] = [["ok", "bagus", "ok"], ["bagus", None], [""], ["jelek", "ok"]]
    engines = (StubEngine(), StubEngine())
    both = tuple(stubbed(tiny_model, engine) for engine in engines)
    for labeller, prefix in zip(both, ("a_", "b_"), strict=True):
        labeller.options = replace(labeller.options, prefix=prefix)
    batches = (Chunk(pa.record_batch({"text": pa.array(texts, pa.string())}), []) for texts in chunks)
    with Progress(16, "none") as progress:
        found = list(labelled_in_turn(batches, both, progress, PLENTY))
    assert progress.done == 16
    assert [engine.asked for engine in engines] == [3, 3]
    alone = table(labelled(stubbed(tiny_model, StubEngine()), chunks, PLENTY))
    rows = pa.Table.from_batches([each.batch for each in found])
    names = alone.schema.names[1:]
    assert rows.schema.names == ["text", *(prefix + name for prefix in ("a_", "b_") for name in names)]
    for prefix in ("a_", "b_"):
        assert rows.select([prefix + name for name in names]).rename_columns(names) == alone.select(names)
