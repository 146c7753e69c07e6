"""How a job ended, told to machines: the metrics JSON, and the files that are asked for.

These are --metrics, --prometheus and --xcom. Each is written whole or not at all, and on failure too: who waits for one
learns of a failure from it, not from its absence.
"""

import glob
import logging
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import takewhile
from typing import Any

from sentiment_batch.errors import GateFailed, UsageError
from sentiment_batch.failures import Failure, attempt, failure_of
from sentiment_batch.finished import EVALUATION
from sentiment_batch.logs import one_line, redacted
from sentiment_batch.measure.metrics import Clock, Metrics, failure
from sentiment_batch.measure.prometheus import prometheus_text
from sentiment_batch.measure.xcom import xcom_text
from sentiment_batch.read.inputs import is_named_as_data
from sentiment_batch.read.objects import fits, is_data
from sentiment_batch.remote import is_url, lies_in
from sentiment_batch.write.store import is_earlier, why_not_replaced, write_file, write_metrics_copy

LOG_FILE = "log_file"
_FILES = ("metrics", "prometheus", "xcom")  # the metrics first: what is asked for since long must not wait

_READ = ("input", "data", "train", "valid", "calibration", "job")  # options whose files must not be written over
# and those to which nothing may be added
_FOLDERS = ("night", "before", "old", "new", "model", "gate_baseline", "since")

_KINDS = {  # what an earlier one has near its beginning: what is there without it is something else, named by mistake
    "metrics": (rb'"schema_version"', "no metrics JSON"),
    "xcom": (rb'"status"', "none that this program wrote"),
    "prometheus": (rb"sentiment_batch_", "no textfile of this program"),
    LOG_FILE: (rb'(?m)^(?:\[?\d{4}-\d\d-\d\d[ T]\d\d:\d\d|error: |\{"time": ")', "no log"),
}

log = logging.getLogger(__name__)


class UnfitFile(UsageError):
    """One of the files cannot be where the options say; `names` are those of all such files."""

    names: tuple[str, ...] = ()


def check_files(options: Any, outputs: Iterable[str | None], names: Iterable[str] = (*_FILES, LOG_FILE)) -> None:
    """Raise `UnfitFile` if a file cannot be written there: said at once, not when the night is over.

    That of the log is one of them, though it is written all the while.
    """
    paths, faults = _paths(options, names), {}
    for name, path in paths.items():
        same = next((each for each in takewhile(name.__ne__, paths) if _same(paths[each], path)), None)
        if is_url(path):
            faults[name] = f"--{name} {path}: only a local file can be written"
        elif any(output and lies_in(path, output) for output in outputs):
            faults[name] = f"--{name} {path} lies in --output, which has its own; put the copy elsewhere"
        elif read := next((each for each in _given(options, _READ) if _same(each, path)), None):
            faults[name] = f"--{name} {path} is the input {read}; name another file"
        elif read := next((each for each in _given(options, _READ) if _is_found_by(each, path)), None):
            faults[name] = f"--{name} {path} is one of the inputs {read}, or would be in the next run; put it elsewhere"
        elif read := next((each for each in _given(options, _FOLDERS) if _lies_beside(path, each)), None):
            faults[name] = f"--{name} {path} lies in {read}, which is read; put it elsewhere"
        elif os.path.isdir(path):
            faults[name] = f"--{name} {path} is a folder; name a file"
        elif name != LOG_FILE and (special := why_not_replaced(path)):
            faults[name] = f"--{name} {path} {special}"
        elif is_named_as_data(path):
            faults[name] = f"--{name} {path} has a name of data, and may be an input; name it otherwise"
        elif same:
            faults[name] = f"--{name} {path} is the file of --{same}, too; name another one"
            if name == LOG_FILE:  # whose lines would be written over
                faults.setdefault(same, faults[name])
        elif not is_earlier(path, _KINDS[name][0]):
            what = _KINDS[name][1]
            faults[name] = f"--{name} {path} is there, and is {what}; name another file, or take that one away"
        elif held := _what_is_held(name, path):
            faults[name] = f"--{name} {path} cannot be written: {held}; name a file where you may write"
    if faults:
        error = UnfitFile(next(iter(faults.values())).replace(LOG_FILE, "log-file"))
        error.names = tuple(faults)
        raise error


def metrics_of(command: str, clock: Clock, ended: Metrics | Failure) -> Metrics:
    """The metrics JSON of a job that ended so."""
    if not isinstance(ended, Failure):
        return ended
    done: Metrics = getattr(ended.error, "metrics", None) or {}
    if isinstance(ended.error, GateFailed):
        return done
    told: Metrics = redacted({**failure(command, clock, ended.code, one_line(ended.text)), **done})
    return told


def write_files(options: Any, metrics: Metrics, ended: Metrics | Failure) -> Failure | None:
    """Write the files of the options, each though another one could not be, and return the first failure to write.

    Files for which the job was refused are left out. A file that is written behind one that could not be tells that.
    """
    unfit = ended.error.names if isinstance(ended, Failure) and isinstance(ended.error, UnfitFile) else ()
    first = None
    for name, path in _paths(options).items():
        if name in unfit:
            continue
        written = attempt(partial(_write, name, path, options, metrics, ended))
        if isinstance(written, Failure):
            first = first or replace(written, text=f"--{name}, which could not be written: {written.text}")
            if isinstance(ended, Failure):
                log.error("the %s file could not be written: %s", name, written.text)
            else:
                ended = replace(first, text=f"all is done but {first.text}")
    return first


def write_refusal(command: str, options: Any, error: UsageError) -> None:
    """Write the files of options with which the command cannot begin."""
    clock = Clock()
    ended = attempt(partial(check_files, options, [getattr(options, "output", None)]))
    ended = replace(failure_of(error), error=ended.error) if isinstance(ended, Failure) else failure_of(error)
    write_files(options, metrics_of(command, clock, ended), ended)


def _paths(options: Any, names: Iterable[str] = _FILES) -> dict[str, str]:
    """Where the files are to be that were asked for."""
    return {name: path for name in names if (path := getattr(options, name, None))}


def _given(options: Any, names: Iterable[str]) -> Iterator[str]:
    """The values of those of the options that the command has."""
    for name in names:
        value = getattr(options, name, None) or ()
        yield from (value,) if isinstance(value, str) else value


def _same(path: str | None, other: str) -> bool:
    """Whether both name one file, be it by a link."""
    if path is None or is_url(path):
        return False
    both_there = os.path.exists(path) and os.path.exists(other)
    return os.path.realpath(path) == os.path.realpath(other) or (both_there and os.path.samefile(path, other))


def _is_found_by(given: str, path: str) -> bool:
    """Whether an input that is a folder or a pattern has the file among its data, or would have it in the next run.

    Hidden names are no data. Links to folders below are not followed.
    """
    if is_url(given) or os.path.isfile(given) or not (os.path.isdir(given) or glob.has_magic(given)):
        return False
    names = given.split(os.sep) if not os.path.isdir(given) else [given, "**", "*"]
    magic = next((place for place, name in enumerate(names) if glob.has_magic(name)), len(names))
    folder, pattern = os.sep.join(names[:magic]) or (os.sep if given.startswith(os.sep) else "."), names[magic:]
    real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    below = os.path.relpath(real, os.path.realpath(folder)).split(os.sep)
    return is_data("/".join(below)) and fits(below, pattern)


def _what_is_held(name: str, path: str) -> str | None:
    """Why the file could not be written, be there ever so much room: it is made anew, in place of an older one.

    Only that of the log is added to where it lies.
    """
    if name == LOG_FILE and os.path.exists(path):
        return None if os.access(path, os.W_OK) else "you may not write it"
    folder = os.path.dirname(os.path.abspath(path))
    while not os.path.lexists(folder):  # folders are made
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder):
        return f"{folder} is no folder"
    return None if os.access(folder, os.W_OK | os.X_OK) else f"you may not write in {folder}"


def _lies_beside(path: str, read: str) -> bool:
    """Whether the file lies in what is read, or is it; of an evaluation that is named by its metrics, in its folder."""
    folder = os.path.dirname(read) if os.path.basename(read) == EVALUATION else ""
    return lies_in(path, read) or bool(folder and lies_in(path, folder))


def _write(name: str, path: str, options: Any, metrics: Metrics, ended: Metrics | Failure) -> None:
    if name == "metrics":
        write_metrics_copy(path, metrics)
        return
    told = metrics
    if isinstance(ended, Failure):  # the code of the process, be it that only the metrics file could not be written
        told = {**metrics, "exit_code": ended.code, "error": one_line(ended.text)}
    if name == "prometheus":
        text = prometheus_text(told, _place(options), time.time())
    else:
        text = xcom_text(told, redacted(getattr(options, "output", None)))
    write_file(path, text.encode(errors="backslashreplace"))  # paths that are not UTF-8


def _place(options: Any) -> dict[str, str]:
    """What tells the series of one job from those of another."""
    if night := getattr(options, "night", None):
        return {"night": one_line(night), **({"model": one_line(options.model)} if options.model else {})}
    for label, name in (("output", "output"), ("job_file", "job"), ("model", "model")):
        if found := getattr(options, name, None):
            return {label: one_line(found)}
    return {}
