"""model/classifier.py: the same logits in the same rows, however little memory there is."""

import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest
from conftest import time_limit
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment_batch import stop
from sentiment_batch.errors import EnvironmentFailure, Stopped
from sentiment_batch.model.batches import plan_batches
from sentiment_batch.model.classifier import Classifier
from sentiment_batch.model.tokens import TokenIds

PAD = 7
LABELS = 3

some_texts = st.lists(st.lists(st.integers(1, 1000), min_size=1, max_size=12), max_size=40)


def token_ids(texts: list[list[int]]) -> TokenIds:
    lengths = np.array([len(ids) for ids in texts], np.int32)
    flat = np.array([token for ids in texts for token in ids], np.int32)
    starts = np.cumsum(lengths, dtype=np.int64) - lengths
    return TokenIds(flat, starts, lengths, np.zeros(len(texts), bool))


def expected(texts: list[list[int]]) -> list[list[float]]:
    """What the stub engine gives for each text alone."""
    return [[len(ids), sum(ids), sum(place * token for place, token in enumerate(ids))] for ids in texts]


class StubEngine:
    """Logits that tell every text from every other; out of memory when `full(rows, width)` says so."""

    def __init__(self, full: Callable[[int, int], bool] = lambda rows, width: False) -> None:
        self.full = full
        self.shapes: list[tuple[int, int]] = []
        self.failed = 0

    def __call__(self, input_ids: np.ndarray, attention_mask: np.ndarray | None) -> np.ndarray:
        assert sys.exc_info()[0] is None  # a retry inside `except` would keep the failed batch's tensors alive
        rows, width = input_ids.shape
        if self.full(rows, width):
            self.failed += 1
            raise MemoryError
        self.shapes.append((rows, width))
        mask = np.ones_like(input_ids) if attention_mask is None else attention_mask
        assert (input_ids[mask == 0] == PAD).all()
        ids = input_ids * mask
        return np.stack([mask.sum(1), ids.sum(1), (ids * np.arange(width)).sum(1)], 1).astype(np.float32)


def classifier(engine: StubEngine, batch_tokens: int, streams: int = 1) -> Classifier:
    return Classifier(engine, LABELS, batch_tokens, PAD, streams=streams)


@settings(max_examples=60, deadline=None)
@given(some_texts, st.integers(1, 300))
def test_logits_are_those_of_each_text_alone_in_the_order_of_the_texts(texts: list[list[int]], budget: int) -> None:
    engine = StubEngine()
    model = classifier(engine, budget)
    logits = model.logits(token_ids(texts))
    assert logits.dtype == np.float32
    assert logits.shape == (len(texts), LABELS)
    assert logits.tolist() == expected(texts)
    assert model.effort.oom_retries == 0
    assert model.effort.tokens == sum(map(len, texts))
    assert model.effort.padded_tokens == sum(rows * width for rows, width in engine.shapes)
    lengths = np.array([len(ids) for ids in texts], np.int32)
    assert engine.shapes == [(len(rows), width) for rows, width in plan_batches(lengths, budget)]


@settings(max_examples=100, deadline=None)
@given(some_texts, st.integers(1, 500), st.integers(12, 200))
def test_a_device_of_any_size_gives_the_same_logits(texts: list[list[int]], budget: int, size: int) -> None:
    engine = StubEngine(lambda rows, width: rows * width > size)
    model = classifier(engine, budget)
    for _ in range(2):
        assert model.logits(token_ids(texts)).tolist() == expected(texts)
    assert model.effort.oom_retries == engine.failed
    assert model.effort.tokens == 2 * sum(map(len, texts))
    assert model.batch_tokens <= budget


@settings(max_examples=100, deadline=None)
@given(some_texts, st.integers(1, 500), st.lists(st.booleans(), max_size=20))
def test_any_schedule_of_failures_gives_the_same_logits(
    texts: list[list[int]], budget: int, schedule: list[bool]
) -> None:
    """As on a device that others use too: what fails now may fit later."""
    engine = StubEngine(lambda rows, width: bool(schedule) and schedule.pop() and rows > 1)
    model = classifier(engine, budget)
    assert model.logits(token_ids(texts)).tolist() == expected(texts)
    assert model.effort.oom_retries == engine.failed


@settings(max_examples=50, deadline=None)
@given(some_texts, st.integers(1, 300), st.integers(12, 200), st.integers(2, 4))
def test_several_streams_give_the_same_logits(texts: list[list[int]], budget: int, size: int, streams: int) -> None:
    engine = StubEngine(lambda rows, width: rows * width > size)
    model = classifier(engine, budget, streams)
    assert model.logits(token_ids(texts)).tolist() == expected(texts)
    assert model.effort.oom_retries == engine.failed
    assert model.effort.padded_tokens == sum(rows * width for rows, width in engine.shapes)


def test_streams_are_at_work_at_the_same_time() -> None:
    together = threading.Barrier(2, timeout=10)
    engine = StubEngine(lambda rows, width: together.wait() < 0)
    classifier(engine, 4, streams=2).logits(token_ids([[1, 2]] * 8))
    assert len(engine.shapes) == 4


class SharedDevice(StubEngine):
    """Has room for so many tokens of all batches that are computed at the moment."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.used = size, 0
        self.lock, self.meeting = threading.Lock(), threading.Barrier(2)

    def __call__(self, input_ids: np.ndarray, attention_mask: np.ndarray | None) -> np.ndarray:
        with self.lock:
            fits = self.used + input_ids.size <= self.size
            self.used += input_ids.size * fits
            self.failed += not fits
        with suppress(threading.BrokenBarrierError):
            self.meeting.wait(0.2)  # for as long as another batch may come
        if not fits:
            raise MemoryError
        try:
            return super().__call__(input_ids, attention_mask)
        finally:
            with self.lock:
                self.used -= input_ids.size


def test_texts_that_only_fit_alone_are_labelled_alone() -> None:
    texts = [[1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 6], [7]]
    engine = SharedDevice(5)
    model = classifier(engine, 4, streams=2)
    assert model.logits(token_ids(texts)).tolist() == expected(texts)
    assert model.effort.oom_retries == engine.failed > 0
    assert model.batch_tokens == 4, "not lower than one text"


@pytest.mark.parametrize(("size", "budget"), [(256, 128), (255, 64), (128, 64), (127, 32), (64, 32), (9, 8)])
def test_the_budget_is_what_fits_into_all_streams_at_once(size: int, budget: int) -> None:
    engine = SharedDevice(size)
    model = classifier(engine, 128, streams=2)
    model.fit_budget(8)
    assert model.batch_tokens == budget
    assert (model.effort.oom_retries, model.effort.padded_tokens) == (0, 0)
    tried = engine.failed
    engine.meeting.abort()
    texts = [[number] * 8 for number in range(1, 100)]
    assert model.logits(token_ids(texts)).tolist() == expected(texts)
    assert engine.failed == tried or budget == 8


def test_the_budget_is_tried_with_padding_which_takes_a_mask() -> None:
    masks = []

    def engine(input_ids: np.ndarray, attention_mask: np.ndarray | None) -> np.ndarray:
        masks.append(attention_mask)
        return np.zeros((len(input_ids), LABELS), np.float32)

    Classifier(engine, LABELS, 64, PAD).fit_budget(16)
    assert [mask is not None and mask.shape for mask in masks] == [(4, 16)]


def test_the_lower_budget_is_remembered() -> None:
    tokens = token_ids([[number] * 8 for number in range(1, 65)])
    engine = StubEngine(lambda rows, width: rows * width > 100)
    model = classifier(engine, 512)
    model.logits(tokens)
    assert engine.failed == model.effort.oom_retries == 3  # 64 rows, 32, 16
    assert model.batch_tokens == 64
    assert set(engine.shapes) == {(8, 8)}
    model.logits(tokens)
    assert engine.failed == 3


def test_half_of_a_failed_batch_is_tried_and_not_less() -> None:
    engine = StubEngine(lambda rows, width: rows > 5)
    model = classifier(engine, 1000)
    model.logits(token_ids([[1, 2]] * 10))
    assert engine.shapes == [(5, 2), (5, 2)]


def test_no_batch_is_larger_than_the_budget() -> None:
    engine = StubEngine()
    classifier(engine, 20).logits(token_ids([[1] * length for length in (30, 3, 7, 7, 7, 1, 1, 12, 21)]))
    assert all(rows == 1 or rows * width <= 20 for rows, width in engine.shapes)


@pytest.mark.parametrize("streams", [1, 2])
@pytest.mark.parametrize("texts", [[[1, 2, 3]], [[1, 2, 3], [4]], [[1, 2, 3]] * 9])
def test_one_text_that_does_not_fit_ends_the_job(texts: list[list[int]], streams: int) -> None:
    engine = StubEngine(lambda rows, width: width == 3)
    says = r"out of memory on one text of 3 tokens; give --max-length or more"
    with time_limit(20), pytest.raises(EnvironmentFailure, match=says):
        classifier(engine, 1000, streams).logits(token_ids(texts))


def test_other_errors_are_not_taken_for_memory() -> None:
    def broken(rows: int, width: int) -> bool:
        raise RuntimeError("the device failed")

    with pytest.raises(RuntimeError, match="the device failed"):
        classifier(StubEngine(broken), 1000).logits(token_ids([[1, 2]]))


def test_scores_that_are_not_finite_are_handed_on_in_their_row() -> None:
    def engine(input_ids: np.ndarray, _mask: np.ndarray | None) -> np.ndarray:
        logits = np.zeros((len(input_ids), LABELS), np.float32)
        logits[(input_ids == 13).any(axis=1)] = np.nan
        return logits

    logits = Classifier(engine, LABELS, 8, PAD).logits(token_ids([[1], [2, 3], [13], [4]]))
    assert np.isnan(logits).all(axis=1).tolist() == [False, False, True, False]


def test_no_texts_need_no_engine() -> None:
    engine = StubEngine()
    assert classifier(engine, 100).logits(token_ids([])).shape == (0, LABELS)
    assert engine.shapes == []


def test_a_signal_stops_between_two_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop, "_noted", None)
    engine = StubEngine(lambda rows, width: bool(monkeypatch.setattr(stop, "_noted", int(signal.SIGTERM))))
    with pytest.raises(Stopped):
        classifier(engine, 4).logits(token_ids([[1, 2]] * 10))
    assert len(engine.shapes) == 1
