"""What the program says on standard error: lines of text for a person, JSON lines for a collector.

Whoever speaks, this program, a library's logger, a warning or an exception that nobody caught, it becomes a record of
`logging`, and every record is made safe where it is made (`_record`): no secret is left in it, nothing in it can end
its line, move the cursor or turn the text around, and no review's text is in it.
"""

import errno
import json
import logging
import os
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from sentiment_batch.errors import SentimentBatchError

log = logging.getLogger(__name__)

_EXIT_CODE = "exit_code"  # of a record: it says why the process ends
_OURS = "sentiment_batch"
_LONGEST_CHAIN = 10
_LINE_CHARACTERS = 4_096  # a path may have as many
_SHOWN_CHARACTERS = 120
_LOOKED_AT = 2 * _LINE_CHARACTERS  # the patterns take quadratic time at worst

# Control characters (C0 with CR, LF and ESC; C1), what ends a line or turns its direction, and halves of surrogates,
# which stand for bytes that are not UTF-8.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_HIDDEN = "***"
_SECRETS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?P<kept>\b(?:proxy-)?authorization['\"]?\s*[:=]\s*['\"]?)[^\n'\"]+",
        r"(?P<kept>\bbearer\s+)[\w.~+/=-]{8,}",
        r"(?P<kept>\bx-(?:amz|goog)-[\w-]+['\"]?\s*[:=]\s*['\"]?)[^\s&'\"<>,;]+",
        r"(?P<kept>(?<![a-z0-9])(?:sig|signature|awsaccesskeyid|accountkey|sharedaccesssignature)=)[^\s&'\"<>,;]+",
        r"(?P<kept>(?<![a-z0-9])(?:\w{1,40}_)?(?:token|secret|password|passwd|api_?key|access_?key)=)[^\s&'\"<>,;]+",
        r"(?P<kept><[\w-]{0,40}(?:token|secret|accesskeyid|signature)[\w-]{0,40}>)[^<]+",
        r"(?P<kept>(?<![a-z0-9+.-])[a-z][a-z0-9+.-]*://)(?:[^\s/'\"<>]*|[^\s/:@'\"<>]*:[^\s'\"<>]*)(?=@)",
        r"(?P<kept>\b)(?:hf|api_org)_[a-z0-9]{20,}",
        r"(?P<kept>\b)(?:AKIA|ASIA)[A-Z0-9]{12,}",
        r"(?P<kept>\b)eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*",  # a JSON web token
        r"(?P<kept>\b)ya29\.[\w-]+",  # a token of Google's
    )
]
_SECRET_NAMES = re.compile(
    r"(?!SENTIMENT_BATCH_)(?!.*_(?:FILE|PATH|DIR)$)"  # our options, and where a secret lies
    r".*(?:SECRET|TOKEN(?!IZER)|PASSWORD|PASSWD|ACCESS_KEY|ACCOUNT_KEY|API_KEY|SAS)"
)
_SHORTEST_SECRET = 6  # "test" and "1" are in too many words

# Their messages speak of names in the code. What others quote may come from the data.
_OF_THE_CODE = (
    AssertionError,
    AttributeError,
    ImportError,
    ModuleNotFoundError,
    NameError,
    UnboundLocalError,
    TypeError,
)
_QUOTED = re.compile(r"(['\"`]).*['\"`]", re.DOTALL)


def plain(text: str) -> str:
    """The text as a piece of one line, with what could do harm there as Python writes it: a line feed as \\n."""
    return _UNSAFE.sub(lambda found: ascii(found[0])[1:-1], text)


def shown(value: object) -> str:
    """A value of the data (a label, a column's name), fit for a line and not longer than one can read."""
    text = plain(redacted(str(value)[:_LOOKED_AT]))
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."


def one_line(text: str) -> str:
    """The text without secrets, in one line; cut if no path could be that long."""
    line = plain(redacted(text.strip()[:_LOOKED_AT]))
    return line if len(line) <= _LINE_CHARACTERS else f"{line[: _LINE_CHARACTERS - 3]}..."


def redacted(value: Any) -> Any:
    """A text, or every text in lists and dicts, with *** for what looks like a secret or is one of the environment."""
    if isinstance(value, dict):
        return {key: redacted(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(each) for each in value]
    if not isinstance(value, str):
        return value
    for secret in sorted(_environment(), key=len, reverse=True):
        value = value.replace(secret, _HIDDEN)
    for pattern in _SECRETS:
        value = pattern.sub(rf"\g<kept>{_HIDDEN}", value)
    return value


def _environment() -> Iterator[str]:
    """The values of variables with a secret's name, as they are and as a URL has them; each line if there are many."""
    for name in list(os.environ):
        value = os.environ.get(name, "")  # another thread may have taken it away
        if _SECRET_NAMES.match(name.upper()):
            for line in value.splitlines():
                if len(line) >= _SHORTEST_SECRET:
                    yield from (line, quote(line, safe=""), quote(line))


class Elsewhere(Exception):
    """The traceback of an error in the process where it happened, as its cause in this one."""


def message_of(error: BaseException) -> str:
    """What an exception that we did not expect says, without what it quotes: that may be a review."""
    try:
        text = str(error)
    except Exception:
        text = ""
    if isinstance(error, SentimentBatchError | OSError):  # it says where, and nothing of a row
        text = one_line(text)
    else:
        text = shown(text if type(error) in _OF_THE_CODE else _QUOTED.sub(r"\1...\1", text))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def traceback_of(error: BaseException) -> str:
    """The error and those behind it, with their places, as Python shows them but for the messages (`message_of`)."""
    sections: list[str] = []
    behind: BaseException | None = error
    link = ""
    while behind is not None and len(sections) < _LONGEST_CHAIN:
        places = traceback.format_list(traceback.extract_tb(behind.__traceback__))
        lines = [plain(redacted(line)) for place in places for line in place.splitlines()]
        here = ["Traceback (most recent call last):", *lines, message_of(behind)]
        sections.insert(0, str(behind) + link if isinstance(behind, Elsewhere) else "\n".join(here) + link)
        if behind.__cause__ is not None:
            behind, link = (
                behind.__cause__,
                "\n\nThe above exception was the direct cause of the following exception:\n",
            )
        else:
            behind = None if behind.__suppress_context__ else behind.__context__
            link = "\n\nDuring handling of the above exception, another exception occurred:\n"
    return "\n".join(sections)


def _record(*arguments: Any, **named: Any) -> logging.LogRecord:
    """Any logger's record, made safe. A library with a handler of its own would write around ours: it loses that."""
    record = logging.LogRecord(*arguments, **named)
    try:
        message = record.getMessage()
    except Exception:  # the mistake of whoever logs is not ours to die of
        message = str(record.msg)
    record.msg, record.args = one_line(message), ()
    if record.exc_info and record.exc_info[1]:
        record.exc_text = traceback_of(record.exc_info[1])
    record.exc_info = None
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger and logger.parent:
        if any(type(handler) is logging.StreamHandler for handler in logger.handlers):
            logger.handlers, logger.propagate = [], True
        logger = logger.parent
    return record


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] == _OURS


class _TextLines(logging.Formatter):
    """In a file, which has many nights, the line that says why the process ended has its time, too, and its code."""

    def __init__(self, of_file: bool) -> None:
        super().__init__(datefmt="%Y-%m-%d %H:%M:%S")
        self.of_file = of_file

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging calls it so
        code = getattr(record, _EXIT_CODE, None)
        if code is not None and not self.of_file:
            return f"error: {record.message}"
        who = "" if _is_ours(record) else f"{record.name}: "
        end = "" if code is None else f" (exit {code})"
        return f"{self.formatTime(record, self.datefmt)} {record.levelname} {who}{record.message}{end}"


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if hasattr(record, _EXIT_CODE):
            line[_EXIT_CODE] = getattr(record, _EXIT_CODE)
        if record.exc_text:
            line["traceback"] = record.exc_text
        return json.dumps(line)


class _Lines(logging.StreamHandler[Any]):
    """Everything of ours, and of others what is at least a warning."""

    def filter(self, record: logging.LogRecord) -> bool:
        return _is_ours(record) or record.levelno >= logging.WARNING


class _FileLines(logging.FileHandler):
    """The same, at the end of a file. A pipe that nobody reads is no file: to open it, one would wait for a reader."""

    filter = _Lines.filter
    is_whole = True

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging calls it so
        """The first line that could not be written is told where it can be; the job goes on."""
        error = sys.exc_info()[1]
        if self.is_whole and isinstance(error, OSError):
            self.is_whole = False
            log.warning("the log file %s cannot be written, and lacks lines: %s", self.baseFilename, error.strerror)

    def close(self) -> None:
        """What is left to write has been tried, and told."""
        with suppress(OSError):
            super().close()

    def _open(self) -> Any:
        return open(self.baseFilename, self.mode, encoding=self.encoding, errors=self.errors, opener=_without_waiting)


def _without_waiting(path: str, flags: int) -> int:
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "nobody reads this pipe", path) from None
        raise
    os.set_blocking(descriptor, True)
    return descriptor


class _Passed(logging.Handler):
    """Everything, to be said by another process."""

    def __init__(self, tell: Callable[[logging.LogRecord], None]):
        super().__init__()
        self.tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.tell(record)
        except Exception:
            self.handleError(record)


def set_up_logging(format: str, file: str | None = None) -> None:
    """Send all that is said in this process to standard error. A reader that goes away does not stop the job.

    With a file, all of it is appended there, and only warnings and errors go to standard error, too. Warnings of
    Python's, and exceptions that end the process or a thread, are said in the same way, unless somebody has set a hook
    for them already. Raises `OSError` if the file cannot be written.
    """
    handlers: list[logging.Handler] = [_Lines(sys.stderr)]
    if file:
        handlers[0].setLevel(logging.WARNING)
        os.makedirs(os.path.dirname(os.path.abspath(file)), exist_ok=True)
        handlers.append(_FileLines(file, encoding="utf-8", errors="backslashreplace"))
    for handler in handlers:
        of_file = isinstance(handler, _FileLines)
        handler.setFormatter(_JsonLines() if format == "json" else _TextLines(of_file))
    _speak_through(handlers, logging.INFO)


def pass_on(tell: Callable[[logging.LogRecord], None], level: int) -> None:
    """Have all that is said in this process, of ours from that level on, said by another one, with `say_again`."""
    _speak_through([_Passed(tell)], level)


def say_again(record: logging.LogRecord) -> None:
    """Say what another process has passed on, as if it had been said here."""
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


def _speak_through(handlers: Iterable[logging.Handler], level: int) -> None:
    root = logging.getLogger()
    for before in [each for each in root.handlers if isinstance(each, _Lines | _FileLines | _Passed)]:
        root.removeHandler(before)
        before.close()
    root.handlers += handlers
    logging.getLogger(_OURS).setLevel(level)
    logging.setLogRecordFactory(_record)
    logging.raiseExceptions = False
    warnings.showwarning = _warned
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = lambda kind, error, at: _uncaught("the program", error)
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = lambda of: _uncaught(f"the thread {of.thread.name if of.thread else '?'}", of.exc_value)
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = lambda of: _uncaught(of.err_msg or "cleaning up", of.exc_value)


def say_error(text: str, exit_code: int) -> None:
    """The one line of a failure: `error: what, where, what to do`."""
    log.error("%s", text, extra={_EXIT_CODE: exit_code})


def _uncaught(where: str, error: BaseException | None) -> None:
    log.error("unexpected error in %s; please report it", where, exc_info=error)


def _warned(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any, **__: Any) -> None:
    logging.getLogger("py.warnings").warning("%s: %s (%s:%d)", category.__name__, message, filename, lineno)
