"""measure/progress.py: a log line at the start and every 30 seconds, or a bar, or nothing."""

import logging
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from sentiment_batch.measure import progress
from sentiment_batch.measure.progress import Progress


class FakeClock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """The messages logged, however a test before this one set logging up."""
    messages: list[str] = []
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    level = progress.log.level
    progress.log.addHandler(handler)
    progress.log.setLevel(logging.INFO)
    yield messages
    progress.log.removeHandler(handler)
    progress.log.setLevel(level)


def advance(shown: Progress, clock: FakeClock, seconds: float, rows: int) -> None:
    clock.now += seconds
    shown.add(rows)


def test_a_line_at_the_start_and_every_thirty_seconds(clock: FakeClock, lines: list[str]) -> None:
    with Progress(1_000, "log") as shown:
        advance(shown, clock, 29.9, 50)
        assert lines == ["0 of 1000 rows (0 %)"], "nobody waits half a minute for the first sign of life"
        advance(shown, clock, 0.1, 50)
        assert lines[1:] == ["100 of 1000 rows (10 %), 3 rows/s, 4 min 30 s left"]
        advance(shown, clock, 29.0, 100)
        assert len(lines) == 2
        advance(shown, clock, 1.0, 400)
        assert lines[2:] == ["600 of 1000 rows (60 %), 10 rows/s, 0 min 40 s left"]


def test_a_run_that_goes_on_is_as_fast_as_it_is_itself(clock: FakeClock, lines: list[str]) -> None:
    with Progress(1_000_000, "log", done=500_000) as shown:
        advance(shown, clock, 100.0, 10_000)
        assert (shown.done, shown.done_here) == (510_000, 10_000)
    assert lines == ["500000 of 1000000 rows (50 %)", "510000 of 1000000 rows (51 %), 100 rows/s, 1 h 21 min left"]


def test_lines_name_the_unit(clock: FakeClock, lines: list[str]) -> None:
    with Progress(4, "log", unit="step") as shown:
        advance(shown, clock, 60.0, 3)
    assert lines == ["0 of 4 steps (0 %)", "3 of 4 steps (75 %), 0 steps/s, 0 min 20 s left"]


def test_nothing_to_do_and_nothing_done_are_no_division_by_zero(clock: FakeClock, lines: list[str]) -> None:
    with Progress(0, "log") as shown:
        advance(shown, clock, 60.0, 0)
    assert lines == ["0 of 0 rows (100 %)", "0 of 0 rows (100 %), 0 rows/s, 0 min 00 s left"]


@pytest.mark.parametrize("style", ["bar", "none"])
def test_no_lines_unless_asked_for(clock: FakeClock, lines: list[str], style: str) -> None:
    with Progress(10, style) as shown:
        advance(shown, clock, 60.0, 5)
    assert lines == []


@pytest.mark.parametrize(("style", "visible"), [("bar", True), ("none", False), ("log", False)])
def test_a_bar_is_drawn_on_standard_error_where_asked_for(
    capsys: pytest.CaptureFixture[str], style: str, visible: bool
) -> None:
    with Progress(10, style) as shown:
        shown.add(5)
    out, err = capsys.readouterr()
    assert bool(err) is visible
    assert out == ""


@pytest.mark.parametrize(("terminal", "style"), [(True, "bar"), (False, "log")])
def test_auto_goes_by_the_terminal(monkeypatch: pytest.MonkeyPatch, terminal: bool, style: str) -> None:
    stderr = SimpleNamespace(isatty=lambda: terminal, write=len, flush=lambda: None, encoding="utf-8")
    monkeypatch.setattr(sys, "stderr", stderr)
    with Progress(10, "auto") as shown:
        assert shown.style == style
