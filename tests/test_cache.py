"""model/cache.py: what was answered before is not asked again, and every text gets its own answer."""

import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment_batch.model.cache import Cache, Places, answers_of, said_type

LABELS = 3
Chunks = list[list[str]]

some_chunks = st.lists(st.lists(st.sampled_from("abcdefghijkl"), unique=True, max_size=9), max_size=12)


def answer(text: str, chunk: int) -> np.ndarray:
    """As a model gives it that says when it was asked, and of which text."""
    number = ord(text[0])
    said = np.array([(number % LABELS, (number, chunk, number * chunk))], said_type(LABELS))
    length, unknown = np.array([len(text)], np.int32), np.array([number], np.int32)
    return answers_of(said, length, unknown, np.array([number % 2 == 0]))


def all_answers(given: Iterable[tuple[str, int]]) -> np.ndarray:
    return np.concatenate([answer("none", 0)[:0], *(answer(*each) for each in given)])


def run(cache: Cache, chunks: Chunks, ahead: int = 0) -> Iterator[tuple[list[str], np.ndarray]]:
    """For each chunk the texts that were asked for, and the answers; places are up to `ahead` chunks before these."""
    waiting = deque(enumerate(chunks))
    placed: deque[tuple[int, list[str], Places]] = deque()
    while waiting or placed:
        while waiting and len(placed) <= ahead:
            number, texts = waiting.popleft()
            placed.append((number, texts, cache.places(texts)))
        number, texts, places = placed.popleft()
        asked = [text for text, known in zip(texts, places.known, strict=True) if not known]
        yield asked, cache.answers(places, all_answers((text, number) for text in asked))


def asked_by_hand(chunks: Chunks, size: int) -> Iterator[list[str]]:
    """The plainest way to remember the texts that were seen last."""
    seen: list[str] = []
    for texts in chunks:
        asked = [text for text in texts if text not in seen]
        again = [text for text in texts if text in seen]
        seen = [text for text in seen if text not in again] + again + asked
        seen = seen[len(seen) - min(size, len(seen)) :]
        yield asked


@settings(max_examples=400, deadline=None, derandomize=True)
@given(chunks=some_chunks, size=st.integers(0, 14), ahead=st.integers(0, 4))
def test_every_text_gets_its_own_answer_of_when_it_was_asked_last(chunks: Chunks, size: int, ahead: int) -> None:
    when: dict[str, int] = {}
    found = list(run(Cache(size, LABELS), chunks, ahead))
    assert [asked for asked, _ in found] == list(asked_by_hand(chunks, size))
    for number, (texts, (asked, answers)) in enumerate(zip(chunks, found, strict=True)):
        when |= dict.fromkeys(asked, number)
        assert answers.tobytes() == all_answers((text, when[text]) for text in texts).tobytes()


def test_what_is_seen_again_is_kept_longer() -> None:
    chunks = [["a", "b"], ["a"], ["c"], ["a", "b", "c"]]
    assert [asked for asked, _ in run(Cache(2, LABELS), chunks)] == [["a", "b"], [], ["c"], ["b"]]


def test_what_was_forgotten_is_asked_again_and_then_known_again() -> None:
    chunks = [["a"], ["b", "c"], ["a"], ["a"]]
    assert [asked for asked, _ in run(Cache(2, LABELS), chunks)] == [["a"], ["b", "c"], ["a"], []]


def test_of_a_chunk_that_is_larger_the_last_texts_are_kept() -> None:
    chunks = [list("abcdef"), list("fedcba")]
    assert [asked for asked, _ in run(Cache(2, LABELS), chunks)] == [list("abcdef"), list("dcba")]


def test_no_more_is_kept_than_it_is_told() -> None:
    cache = Cache(5, LABELS)
    for _ in run(cache, [[f"{number} {each}" for each in range(7)] for number in range(20)]):
        assert len(cache._rows) <= len(cache._kept) == 5
    assert sorted(cache._rows.values()) == list(range(5)), "each with a row of its own"


def test_long_texts_that_begin_alike_are_told_apart() -> None:
    long = "x" * 100_000
    chunks = [[f"{long}1", f"{long}2"], [f"{long}2", f"{long}3", f"{long}1"]]
    assert [asked for asked, _ in run(Cache(9, LABELS), chunks)] == [chunks[0], [f"{long}3"]]


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_forgotten_is_the_same_in_every_process(seed: int) -> None:
    """Whose hashes of strings are others."""
    code = (
        "from sentiment_batch.model.cache import Cache\n"
        "cache = Cache(40, 3)\n"
        "print([cache.places([str(n * n % 97) for n in range(first, first + 30)]).rows.tolist() for first in range(9)])"
    )
    command = [sys.executable, "-c", code]
    environment = {"PYTHONHASHSEED": str(seed), "PYTHONPATH": os.pathsep.join(sys.path)}
    made = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    cache = Cache(40, 3)
    ours = [cache.places([str(n * n % 97) for n in range(first, first + 30)]).rows.tolist() for first in range(9)]
    assert made.stdout.strip() == str(ours)
