"""The page of a metrics JSON: beside what a job made of itself, or drawn later from any of them."""

import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import pyarrow as pa
import pyarrow.parquet as pq

from sentiment_batch.config import ReportOptions
from sentiment_batch.errors import InputError, ModelRefused, UsageError
from sentiment_batch.finished import PREDICTIONS
from sentiment_batch.logs import message_of
from sentiment_batch.measure.metrics import Metrics
from sentiment_batch.measure.stamp import MARK, is_stamped, stamp
from sentiment_batch.model.inspection import parse_json
from sentiment_batch.read.inputs import is_named_as_data
from sentiment_batch.remote import is_url
from sentiment_batch.write.commit import Work, open_store, settle_bytes
from sentiment_batch.write.manifest import MARKER
from sentiment_batch.write.store import Store, is_earlier, write_file

REPORT = "report.html"
_NEEDED = ("jinja2", "markupsafe", "matplotlib")
_EXTRA = "pip install 'sentiment-batch[report]'"
_CACHE = "MPLCONFIGDIR"
_BYTES = 2**26
_QUIET = Lock()  # its settings are the whole process's

log = logging.getLogger(__name__)


def report(options: ReportOptions) -> None:
    """Draw the page of a metrics JSON into a local file, in the place of an older one.

    Raises `InputError` for what is no metrics JSON, and `UsageError` without the extra.
    """
    if is_url(options.output):
        raise UsageError(f"--output {options.output}: a page is written to a local file; copy it there afterwards")
    if os.path.realpath(options.output) == os.path.realpath(options.metrics):
        raise UsageError(f"--output {options.output} is the metrics JSON itself; name another file")
    if os.path.isdir(options.output):
        raise UsageError(f"--output {options.output} is a folder; name a file in it")
    if is_named_as_data(options.output):
        raise UsageError(f"--output {options.output} has a name of data; name a page, as report.html")
    if not is_earlier(options.output, re.escape(MARK)):
        raise UsageError(f"--output {options.output} is there, and is no page of this program; name another file")
    folder, _, name = options.metrics.rpartition("/")
    store = open_store(folder or ("/" if options.metrics.startswith("/") else "."))
    metrics = _read_metrics(store, name, options.metrics)
    target = Path(options.output).absolute()
    if published := next((each for each in target.parents if (each / MARKER).exists()), None):
        raise UsageError(f"--output {options.output} lies in {published}, which is published and never changes")
    try:
        texts = texts_of_mistakes(store, metrics) if options.show_texts else None
        page = page_of(metrics, texts)
    except ModuleNotFoundError as error:
        if error.name not in _NEEDED:
            raise
        raise UsageError(f"report needs {error.name}: {_EXTRA}") from None
    except InputError:
        raise
    except Exception as error:
        what = f"{options.metrics} is not a metrics JSON as this program writes them ({message_of(error)})"
        raise InputError(f"{what}; give one that is") from error
    write_file(options.output, page)
    log.info("drawn: %s", options.output)


def _read_metrics(store: Store, name: str, path: str) -> Metrics:
    try:
        data = store.read(name)
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; name the metrics JSON in it") from None
    if data is None:
        raise InputError(f"no such file: {path}")
    try:
        metrics = parse_json(data, path, _BYTES, keys_are_ours=False)  # labels are keys, too
    except ModelRefused as error:
        raise InputError(f"{path} is no metrics JSON: {error}; give one of this program") from None
    if not isinstance(metrics.get("command"), str):
        raise InputError(f"{path} is no metrics JSON: give a metrics.json or _metrics.json of this program")
    if "steps" in metrics:
        raise InputError(f"{path} tells of a whole run; give the metrics JSON of one of its steps")
    return metrics


def settle_report(work: Work, name: str, metrics: Metrics, texts: Mapping[int, str] | None = None) -> None:
    """Make the page of a job, which is about to be published, and keep one that is there and says the same.

    A page is worth no job: if it cannot be drawn that is said, and none is there.
    """
    if work.store.version(work.claim.marker) is not None:
        return  # another run of the job has published it
    marked = stamp(metrics, texts)
    if is_stamped(work.store.read(name), marked):
        return
    try:
        page = page_of(metrics, texts)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name in _NEEDED:
            log.info("no %s was drawn: it needs %s: %s", name, error.name, _EXTRA)
        else:
            log.warning("no %s was drawn; all else is done: %s", name, message_of(error))
        if work.store.version(name) is not None:  # it tells of something else
            work.check_held()
            work.store.delete(name)
        return
    settle_bytes(work, name, page, lambda there: is_stamped(there, marked))


def prepare_page() -> None:
    """Import what draws a page, which takes half a second. Raises `ModuleNotFoundError` without the extra."""
    with _quiet_matplotlib():
        from sentiment_batch.measure.report import page_template

        page_template()


def page_of(metrics: Metrics, texts: Mapping[int, str] | None = None) -> bytes:
    """Raises `ModuleNotFoundError` without the extra."""
    with _quiet_matplotlib():
        from sentiment_batch.measure.report import report_html

        return report_html(metrics, texts).encode(errors="backslashreplace")


def texts_of_mistakes(store: Store, metrics: Metrics) -> dict[int, str]:
    """The texts of the mistakes in the metrics of an evaluation, by their rows in its predictions.

    Raises `InputError` if there are no predictions beside them.
    """
    evaluation, identity = metrics.get("evaluation") or {}, metrics.get("identity") or {}
    rows = {mistake["row"] for mistake in evaluation.get("mistakes") or ()}
    column = identity.get("options", {}).get("text_column", "text")
    texts: dict[int, str] = {}
    try:
        with store.open(PREDICTIONS) as raw, pq.ParquetFile(pa.PythonFile(raw, mode="r")) as file:
            first = 0
            for number in range(file.num_row_groups if rows else 0):
                count = file.metadata.row_group(number).num_rows
                wanted = sorted(row for row in rows if first <= row < first + count)
                if wanted:
                    found = file.read_row_group(number, columns=[column]).column(column)
                    texts |= {row: _as_text(found[row - first].as_py()) for row in wanted}
                first += count
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{store.url} has no {PREDICTIONS}, where the texts are; leave out --show-texts") from None
    except (pa.ArrowException, KeyError) as error:
        raise InputError(f"{store.url}/{PREDICTIONS} has no texts that can be read: {message_of(error)}") from None
    return texts


def _as_text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


@contextmanager
def _quiet_matplotlib() -> Iterator[None]:
    """Without its advice, and without the folder that it makes for itself where it cannot write to the user's.

    It takes that away when the interpreter ends, which ours does without (cli.py).
    """
    logger = logging.getLogger("matplotlib")
    with _QUIET:
        level, chosen = logger.level, os.environ.get(_CACHE)
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
            if chosen is None and (made := os.environ.pop(_CACHE, None)):
                shutil.rmtree(made, ignore_errors=True)
