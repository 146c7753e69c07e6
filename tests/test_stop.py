"""stop.py: a first signal is noted and taken at a safe place, a second one ends the process."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sentiment_batch import stop
from sentiment_batch.errors import Stopped

CHECKING = """
import time
from sentiment_batch import stop
from sentiment_batch.errors import Stopped
stop.install()
print("ready", flush=True)
try:
    for _ in range(2000):
        stop.check()
        time.sleep(0.005)
except Stopped as stopped:
    print(stopped, flush=True)
    raise SystemExit(stopped.exit_code)
"""

BUSY = """
import time
from sentiment_batch import stop
stop.install()
print("ready", flush=True)
for _ in range(2000):
    time.sleep(0.005)
    if stop._noted is not None:
        break
print("noted", flush=True)
time.sleep(10)
"""


@contextmanager
def running(code: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has said that it is ready; not there afterwards."""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_at_the_next_check(number: signal.Signals) -> None:
    with running(CHECKING) as process:
        process.send_signal(number)
        out, _ = process.communicate(timeout=10)
    assert process.returncode == 128 + number
    assert f"stopped by signal {int(number)}: " in out
    assert "run the same command to go on" in out


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_process_at_once(second: signal.Signals) -> None:
    with running(BUSY) as process:
        assert process.stdout is not None
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "noted\n"  # and goes on
        process.send_signal(second)
        process.wait(timeout=5)
    assert process.returncode == -second


def test_without_a_signal_nothing_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop, "_noted", None)
    stop.check()


def test_every_check_after_a_signal_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that swallows the first must not go on for hours."""
    monkeypatch.setattr(stop, "_noted", int(signal.SIGTERM))
    for _ in range(3):
        with pytest.raises(Stopped) as stopped:
            stop.check()
        assert stopped.value.exit_code == 143
