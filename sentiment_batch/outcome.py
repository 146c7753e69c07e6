"""How a command ends: a summary, or one line that says why not; the metrics where they are wanted; and an exit code."""

import io
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import click

from sentiment_batch import stop
from sentiment_batch.errors import EnvironmentFailure, GateFailed, SentimentBatchError, UsageError
from sentiment_batch.logs import message_of, one_line, redacted, say_error, set_up_logging
from sentiment_batch.measure.summary import summary
from sentiment_batch.parameters import unknown_variables
from sentiment_batch.remote import is_url, lies_in

Result = TypeVar("Result")

log = logging.getLogger(__name__)

_STDERR = 2
_NO_MEMORY = "out of memory; give smaller --chunk-rows or --batch-tokens, or more memory, and run again"
_SHORT = {  # what Python and the loader say where memory or threads are short -> what to say of it
    "can't start new thread": "the system allows this process no more threads; raise the limit and run again",
    "cannot allocate memory": _NO_MEMORY,
    "failed to map segment": _NO_MEMORY,
}


@dataclass(frozen=True)
class Failure:
    """Why a command did not do what it was asked for."""

    error: BaseException
    code: int
    text: str


def run_job(
    command: str,
    options: Any,
    job: Callable[[Any], dict[str, Any]],
    summary: Callable[[dict[str, Any], str | None], str] = summary,
) -> None:
    """Run a job, print its summary, and write its metrics where asked to, on failure too. Exits if it failed."""
    from sentiment_batch.measure.metrics import Clock, failure
    from sentiment_batch.write.store import write_metrics_copy

    output = getattr(options, "output", None)
    check_metrics(options.metrics, output)
    clock = Clock()
    _begin(options)
    stop.install()
    ended = attempt(lambda: job(options))
    metrics = getattr(ended.error, "metrics", None) or {} if isinstance(ended, Failure) else ended
    if isinstance(ended, Failure) and not isinstance(ended.error, GateFailed):
        metrics = redacted({**failure(command, clock, ended.code, one_line(ended.text)), **metrics})
    else:
        _print(summary(metrics, output))
    copied = attempt(lambda: write_metrics_copy(options.metrics, metrics))
    if isinstance(copied, Failure) and isinstance(ended, Failure):
        log.error("the metrics file could not be written: %s", copied.text)
    elif isinstance(copied, Failure):
        ended = replace(copied, text=f"all is done but --metrics, which could not be written: {copied.text}")
    exit_if_failed(ended, options.debug)


def check_metrics(path: str | None, output: str | None) -> None:
    """Raise `UsageError` if the metrics cannot be copied there: said at once, not when the night is over."""
    if path and is_url(path):
        raise UsageError(f"--metrics {path}: only a local file can be written")
    if path and output and lies_in(path, output):
        raise UsageError(f"--metrics {path} lies in --output, which has its own; put the copy elsewhere")
    if path and os.path.isdir(path):
        raise UsageError(f"--metrics {path} is a folder; name a file")


def run_command(options: Any, work: Callable[[], None]) -> None:
    """Run what leaves nothing behind. Exits if it failed."""
    _begin(options)
    exit_if_failed(attempt(work), options.debug)


def _begin(options: Any) -> None:
    set_up_logging(options.log_format)
    warn_of_variables()


def warn_of_variables() -> None:
    """Say which variables look like options and are none: a misspelt one would be ignored in silence."""
    for name, near in unknown_variables(os.environ):
        hint = f"; did you mean {near}?" if near else ""
        log.warning("the variable %s sets no option of this version, and is ignored%s", name, hint)


def attempt(work: Callable[[], Result]) -> Result | Failure:
    """What the work returns, or why it did not. The command line's own errors pass as they are."""
    try:
        return work()
    except (click.ClickException, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of a library in Rust is no Exception
        return _failure(error)


def _failure(error: BaseException) -> Failure:
    code = EnvironmentFailure.exit_code
    if isinstance(error, SentimentBatchError):
        return Failure(error, error.exit_code, str(error))
    if isinstance(error, MemoryError):
        return Failure(error, code, _NO_MEMORY)
    if isinstance(error, OSError):
        return Failure(error, code, f"{_where_and_why(error)}; mend it and run again: what is finished is kept")
    for said, text in _SHORT.items():
        if isinstance(error, RuntimeError | ImportError) and said in str(error).lower():
            return Failure(error, code, text)
    return Failure(error, SentimentBatchError.exit_code, f"unexpected: {message_of(error)}")


def _where_and_why(error: OSError) -> str:
    """`path: reason`, without the number and the quotes that Python adds."""
    paths = [os.fsdecode(each) for each in (error.filename, error.filename2) if isinstance(each, str | bytes)]
    return f"{' -> '.join(paths)}: {error.strerror}" if paths and error.strerror else str(error)


def exit_if_failed(ended: Any, debug: bool = False) -> None:
    """Say why and exit with its code, if it is a failure; with a traceback for a bug, or where one is asked for."""
    if not isinstance(ended, Failure):
        return
    if ended.code == SentimentBatchError.exit_code:
        log.error("unexpected error; please report it", exc_info=ended.error)
    elif debug:
        log.error("the traceback that --debug asks for", exc_info=ended.error)
    say_error(ended.text, ended.code)
    sys.exit(ended.code)


def _print(text: str) -> None:
    """Print to whoever listens. The job is done by now: a reader that has gone away does not undo it."""
    try:
        click.echo(text)
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - else Python fails once more, when it flushes at the end


def open_standard_streams() -> None:
    """Have the descriptors 0, 1 and 2 open, and standard output take every character.

    Of a process that was started with `>&-` they are closed: the next files to be opened, an output's parts, would get
    these numbers, and with them whatever a library says.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        continue
    os.close(descriptor)
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a label that the locale lacks is no reason to fail
