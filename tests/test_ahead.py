"""ahead.py: the order, the bound, the errors and the end of a generator that runs ahead."""

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from typing import Any

import pytest

from sentiment_batch.ahead import ahead, beforehand, in_threads


def in_time(task: Callable[[], Any]) -> Any:
    """What the task returns or raises; a deadlock is a failure and not a hang."""
    results: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(task())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "deadlock"
    if errors:
        raise errors[0]
    return results[0]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.001)


class Source:
    """A generator of numbers that notes what becomes of it."""

    def __init__(self, count: int = 10**9, error: BaseException | None = None) -> None:
        self.count, self.error = count, error
        self.made = 0
        self.closed = False
        self.threads: set[threading.Thread] = set()

    def numbers(self) -> Generator[int, None, None]:
        self.threads.add(threading.current_thread())
        try:
            for number in range(self.count):
                self.made += 1
                yield number
            if self.error:
                raise self.error
        finally:
            self.threads.add(threading.current_thread())
            self.closed = True

    @property
    def over(self) -> bool:
        return self.closed and not any(thread.is_alive() for thread in self.threads)


@pytest.mark.parametrize("depth", [1, 2, 7])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 500])
def test_every_item_in_order(count: int, depth: int) -> None:
    source = Source(count)
    assert in_time(lambda: list(ahead(source.numbers(), depth))) == list(range(count))
    assert source.over


@pytest.mark.parametrize("items", [[None, 0, "", [], None], (None,), {1: 2}, "abc"])
def test_items_of_every_kind(items: Any) -> None:
    assert in_time(lambda: list(ahead(items))) == list(items)


def test_the_source_runs_in_one_thread_that_is_not_the_callers() -> None:
    source = Source(50)
    assert list(ahead(source.numbers())) == list(range(50))
    assert len(source.threads) == 1
    assert threading.current_thread() not in source.threads


@pytest.mark.parametrize("error", [ValueError("row 3"), KeyboardInterrupt(), SystemExit(3)])
@pytest.mark.parametrize("place", [0, 1, 3, 40])
def test_an_error_is_raised_at_its_place(error: BaseException, place: int) -> None:
    source = Source(place, error)
    seen: list[int] = []

    def consume() -> None:
        for item in ahead(source.numbers()):
            seen.append(item)

    with pytest.raises(type(error)) as raised:
        in_time(consume)
    assert raised.value is error
    assert seen == list(range(place))
    assert source.over


def test_an_error_of_a_plain_iterator_is_raised_too() -> None:
    class Broken:
        def __iter__(self) -> Iterator[int]:
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        in_time(lambda: list(ahead(Broken())))


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_it_runs_ahead_but_no_further_than_its_depth(depth: int) -> None:
    asked = 0
    furthest = 0

    def source() -> Generator[int, None, None]:
        nonlocal furthest
        for made in range(1, 60):
            furthest = max(furthest, made - asked)
            yield made

    with closing(ahead(source(), depth)) as items:
        for asked in range(1, 20):  # the source looks at it
            next(items)
            if asked in (1, 10):
                until(lambda: furthest >= depth)  # without being asked
                time.sleep(0.02)  # time to go too far in
    assert depth <= furthest <= depth + 1


def test_nothing_is_made_before_the_first_is_asked_for() -> None:
    source = Source()
    ahead(source.numbers()).close()
    assert source.made == 0


@pytest.mark.parametrize("taken", [1, 2, 5])
def test_a_consumer_that_stops_early_ends_the_thread_and_closes_the_source(taken: int) -> None:
    source = Source()

    def take() -> None:
        with closing(ahead(source.numbers())) as items:
            for _ in range(taken):
                next(items)
        assert source.over  # already: nothing runs on behind the consumer's back

    in_time(take)
    assert taken <= source.made <= taken + 3


def test_a_consumer_that_fails_ends_the_thread() -> None:
    source = Source()

    def consume() -> None:
        with closing(ahead(source.numbers())) as items:
            for item in items:
                if item == 3:
                    raise RuntimeError("full disk")

    with pytest.raises(RuntimeError, match="full disk"):
        in_time(consume)
    assert source.over


def test_the_close_waits_for_an_item_that_is_being_made() -> None:
    working, finish = threading.Event(), threading.Event()

    def source() -> Generator[int, None, None]:
        yield 0
        working.set()
        finish.wait(10)
        done.append("made")
        yield 1

    done: list[str] = []
    items = ahead(source())
    next(items)
    working.wait(10)
    threading.Timer(0.05, finish.set).start()
    in_time(items.close)
    assert done == ["made"]


def slowly(items: Iterable[int]) -> Iterator[int]:
    """With more time between two of them than the queue waits for."""
    for item in items:
        time.sleep(0.15)
        yield item


def test_a_slow_source_does_not_lose_the_consumer() -> None:
    assert in_time(lambda: list(ahead(slowly(range(2)), 1))) == [0, 1]


def test_a_slow_consumer_does_not_lose_the_source() -> None:
    assert in_time(lambda: list(slowly(ahead(range(4), 1)))) == [0, 1, 2, 3]


def test_one_behind_the_other_in_order_and_closed_together() -> None:
    """As reading, the model and writing are chained."""
    source = Source()

    def take() -> list[int]:
        with closing(ahead(source.numbers())) as read:
            doubled = (2 * number for number in read)
            with closing(ahead(doubled)) as items:
                return [next(items) for _ in range(20)]

    assert in_time(take) == [2 * number for number in range(20)]
    assert source.over


def test_an_error_passes_through_two() -> None:
    source = Source(7, ValueError("row 7"))

    def take() -> None:
        with closing(ahead(source.numbers())) as read, closing(ahead(number for number in read)) as items:
            assert [next(items) for _ in range(7)] == list(range(7))
            next(items)

    with pytest.raises(ValueError, match="row 7"):
        in_time(take)
    assert source.over


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_give_every_item_with_its_result_in_order(threads: int) -> None:
    def square(number: int) -> int:
        time.sleep(0.001 * (number % 3))
        return number * number

    found = in_time(lambda: list(in_threads(square, iter(range(40)), threads)))
    assert found == [(number, number * number) for number in range(40)]


def test_as_many_items_are_at_work_as_there_are_threads() -> None:
    together = threading.Barrier(3)
    assert len(in_time(lambda: list(in_threads(lambda _: together.wait(10), range(9), 3)))) == 9


def test_one_thread_is_the_callers() -> None:
    assert dict(in_threads(lambda _: threading.current_thread(), [1], 1)) == {1: threading.current_thread()}


def test_items_are_asked_for_shortly_before_their_turn() -> None:
    """So that a batch that is cut to a budget knows the budget that the ones before it left."""
    source = Source()
    with closing(in_threads(abs, source.numbers(), 2)) as results:
        for _ in range(10):
            next(results)
        assert source.made <= 10 + 3


@pytest.mark.parametrize("threads", [1, 3])
def test_a_failure_comes_in_its_place_and_ends_the_threads(threads: int) -> None:
    def fail_at_5(number: int) -> int:
        if number == 5:
            raise ValueError("five")
        return number

    found = []

    def collect() -> None:
        for item, _ in in_threads(fail_at_5, range(100), threads):
            found.append(item)

    with pytest.raises(ValueError, match="five"):
        in_time(collect)
    assert found == [0, 1, 2, 3, 4]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fail_at_5")]


def test_nothing_is_begun_when_the_consumer_has_stopped() -> None:
    begun = []
    with closing(in_threads(begun.append, range(100), 2)) as results:
        next(results)
    ended = len(begun)
    assert ended <= 4
    time.sleep(0.05)
    assert len(begun) == ended


def test_nobody_waits_for_what_is_done_beforehand() -> None:
    going, called = threading.Event(), []
    thread = beforehand(lambda: called.append(going.wait(20)))
    assert not called
    going.set()
    thread.join(20)
    assert called == [True]
    assert thread.daemon, "it holds up no interpreter that ends"


def test_what_fails_beforehand_is_noted(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ModuleNotFoundError("no module")

    with caplog.at_level("DEBUG", "sentiment_batch.ahead"):
        beforehand(fail).join(20)
    assert "beforehand: fail: ModuleNotFoundError" in caplog.text
