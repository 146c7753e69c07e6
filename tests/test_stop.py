"""stop.py: a first signal is noted and taken at a safe place; a second one, or too long a wait, ends the process."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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

# Not one long sleep: a signal that comes just before it would be seen behind it.
GOES_ON = "for _ in range(2000): time.sleep(0.005)"

BUSY = f"""
import time
from sentiment_batch import stop
stop.install()
print("ready", flush=True)
for _ in range(2000):
    time.sleep(0.005)
    if stop._noted is not None:
        break
print("noted", flush=True)
{GOES_ON}
"""

OTHERS = "import signal; signal.signal(signal.SIGUSR1, lambda *_: None)"

# Minutes outside of Python: no handler of Python's runs, and no check.
OUTSIDE = """
import hashlib
from sentiment_batch import logs, stop
logs.set_up_logging("text")
stop.PATIENCE_SECONDS = 0.5
stop.install()
print("ready", flush=True)
hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
"""

# Standard error takes nothing more, and the lock of the log lines is held.
UNREAD = """
import logging
from sentiment_batch import logs, stop
logs.set_up_logging("text")
stop.PATIENCE_SECONDS = 0.5
stop.install()
print("ready", flush=True)
while True:
    logging.getLogger("sentiment_batch").info("x" * 1000)
"""


@contextmanager
def running(code: str, **streams: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that has said that it is ready; not there afterwards."""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, **streams) as process:
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_that_nobody_takes_ends_the_process(number: signal.Signals) -> None:
    with running(OUTSIDE, stderr=subprocess.PIPE) as process:
        sent = time.monotonic()
        process.send_signal(number)
        _, err = process.communicate(timeout=10)
        assert 0.5 <= time.monotonic() - sent < 5
    assert process.returncode == 128 + number
    assert err.startswith(f"error: stopped by signal {int(number)}: ")
    assert err.count("\n") == 1


def test_nobody_who_reads_does_not_keep_it_either() -> None:
    with running(UNREAD, stderr=subprocess.PIPE) as process:
        time.sleep(0.3)  # by now the pipe is full
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 143


def test_other_signals_do_not_count() -> None:
    code = CHECKING.replace("stop.install()", "stop.PATIENCE_SECONDS = 0.2; stop.install(); " + OTHERS)
    with running(code) as process:
        process.send_signal(signal.SIGUSR1)
        time.sleep(1)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 143


def test_a_process_that_has_ended_by_itself_by_then_ended_so() -> None:
    with running(BUSY.replace(GOES_ON, "raise SystemExit(7)")) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 7


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
