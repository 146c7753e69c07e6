"""How a command ends: a summary, or one line that says why not; the metrics where they are wanted; and an exit code."""

import io
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import click

from sentiment_batch import stop
from sentiment_batch.errors import GateFailed, SentimentBatchError, Stopped
from sentiment_batch.failures import Failure, attempt, failure_of
from sentiment_batch.logs import say_error, set_up_logging
from sentiment_batch.measure.summary import Summary, in_one_line, summary
from sentiment_batch.parameters import unknown_variables

log = logging.getLogger(__name__)

_STDERR = 2


def run_job(
    command: str,
    options: Any,
    job: Callable[[Any], dict[str, Any]],
    summary: Summary = summary,
) -> None:
    """Run a job, print its summary, and write its metrics where asked to, on failure too. Exits if it failed."""
    from sentiment_batch.account import LOG_FILE, UnfitFile, check_files, metrics_of, write_files
    from sentiment_batch.measure.metrics import Clock

    output, clock = getattr(options, "output", None), Clock()

    def work() -> dict[str, Any]:
        if isinstance(checked, Failure):
            raise checked.error
        return job(options)

    def tell_overdue(stopped: Stopped) -> None:
        overdue = failure_of(stopped)
        write_files(options, metrics_of(command, clock, overdue), overdue)

    checked = attempt(partial(check_files, options, [output]))
    unfit = checked.error.names if isinstance(checked, Failure) and isinstance(checked.error, UnfitFile) else ()
    log_file = None if LOG_FILE in unfit else options.log_file  # a line in it would be in an input, or an output
    _begin(options, log_file)
    stop.install(tell_overdue)
    ended = attempt(work)
    metrics = metrics_of(command, clock, ended)
    unwritten = write_files(options, metrics, ended)
    if not isinstance(ended, Failure) or isinstance(ended.error, GateFailed):
        told = attempt(partial(_tell, options, summary, metrics, log_file))
        if isinstance(told, Failure) and not isinstance(ended, Failure):
            ended = replace(told, text=f"what was asked for could not be printed: {told.text}")
    if unwritten and not isinstance(ended, Failure):
        ended = replace(unwritten, text=f"all is done but {unwritten.text}")
    exit_if_failed(ended, options.debug)


def run_command(options: Any, work: Callable[[], None]) -> None:
    """Run what leaves nothing behind. Exits if it failed."""
    from sentiment_batch.account import LOG_FILE, check_files

    checked = attempt(partial(check_files, options, [], [LOG_FILE]))
    _begin(options, None if isinstance(checked, Failure) else options.log_file)
    exit_if_failed(checked if isinstance(checked, Failure) else attempt(work), options.debug)


def _begin(options: Any, log_file: str | None) -> None:
    set_up_logging(options.log_format, log_file)
    warn_of_variables()


def _tell(options: Any, summary: Summary, metrics: dict[str, Any], log_file: str | None) -> None:
    """Print the summary; with a log file it goes there, and what is printed is one line, of what is new.

    JSON was asked for by whoever reads it: it is printed in any case. Raises `OSError` if it cannot be, of a command
    that may be asked for it: that one does nothing but tell.
    """
    output, tells = getattr(options, "output", None), hasattr(options, "json")
    if log_file is None or (tells and options.json):
        (print_product if tells else print_text)(summary(metrics, output))
        return
    for line in filter(None, summary(metrics, output).splitlines()):
        log.info("%s", line)
    steps = metrics.get("steps", {"": metrics})
    if not all(each.get("already_done") and each["status"] == "done" for each in steps.values()):
        print_text(in_one_line(summary, metrics, output))


def warn_of_variables() -> None:
    """Say which variables look like options and are none: a misspelt one would be ignored in silence."""
    for name, near in unknown_variables(os.environ):
        hint = f"; did you mean {near}?" if near else ""
        log.warning("the variable %s sets no option of this version, and is ignored%s", name, hint)


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


def print_product(text: str) -> None:
    """Print what the command is there for. Raises `OSError` if it cannot be, but for a reader who has seen enough."""
    try:
        click.echo(text)
    except BrokenPipeError:
        _print_no_more()


def print_text(text: str) -> None:
    """Print to whoever listens. The job is done by now: a reader that has gone away does not undo it."""
    try:
        click.echo(text)
    except OSError:
        _print_no_more()


def _print_no_more() -> None:
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
