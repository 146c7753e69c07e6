"""A metrics JSON -> one page for people: how good it is, where it fails, whether it may go live.

The page holds all that it shows: no script, no request, the figures as SVG. The same metrics and texts give the same
bytes. Sections that the document has nothing for are not there.
"""

import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from sentiment_batch import __version__
from sentiment_batch.measure import words
from sentiment_batch.measure.drift import MOVED, SHIFTED, in_a_word
from sentiment_batch.measure.long_labels import with_plain_labels
from sentiment_batch.measure.page import comparison, drift, origin, profile, training
from sentiment_batch.measure.quality import quality
from sentiment_batch.measure.stamp import NAME as STAMP
from sentiment_batch.measure.stamp import stamp
from sentiment_batch.measure.verdict import Document, gates_in_words, verdict

_TITLES = {
    "train": "Training report",
    "evaluate": "Evaluation report",
    "score": "Labelling report",
    "compare": "Comparison report",
    "drift": "Drift report",
}
_TEMPLATE = "report.html.j2"
_TEXT_LETTERS, _LABEL_LETTERS = 2_000, 60


def report_html(metrics: Document, texts: Mapping[int, str] | None = None) -> str:
    """The page. `texts` are those of the mistakes, by their rows; without them the page has no text of a review.

    Raises `KeyError`, `TypeError` or `ValueError` for what is no metrics JSON.
    """
    metrics = json.loads(json.dumps(metrics))  # as it comes from its file, and as it would be drawn later
    marked = stamp(metrics, texts)
    metrics = with_plain_labels(metrics)
    command = metrics["command"]
    return page_template().render(
        title=_TITLES.get(command, f"Report of {command}"),
        stamp_name=STAMP,
        stamp=marked,
        version=__version__,
        command=command,
        metrics=metrics,
        texts=texts,
        verdict=verdict(metrics),
        gates=gates_in_words(metrics),
        quality=quality(metrics),
        comparison=comparison(metrics),
        training=training(metrics),
        profile=profile(metrics),
        drift=drift(metrics),
        origin=origin(metrics),
    )


@cache
def page_template() -> jinja2.Template:
    """What all pages are made by; compiled with the first of them."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    named = ("between", "duration", "figure", "moment", "number", "quoted", "share", "signed", "size")
    filters = {name: getattr(words, name) for name in named}
    filters |= {"label": _label, "line": _line, "gate": _gate}
    environment.globals |= {"in_a_word": in_a_word, "moved": MOVED, "shifted": SHIFTED}
    environment.filters |= {name: _of_what_is_there(each) for name, each in filters.items()}
    return environment.from_string(files(__package__).joinpath(_TEMPLATE).read_text(encoding="utf-8"))


def _of_what_is_there(filter: Callable[[Any], str]) -> Callable[[Any], str]:
    """A filter that takes what a document lacks, as an older one may, for what is null in it."""
    return lambda value: filter(None if isinstance(value, jinja2.Undefined) else value)


def _label(label: object) -> Markup:
    """A label of the data in a cell, whichever way it is written."""
    return Markup("<bdi>{}</bdi>").format(words.cut(label, _LABEL_LETTERS))


def _line(text: object) -> Markup:
    """A text of the data in one line."""
    return Markup("<bdi>{}</bdi>").format(words.cut(" ".join(str(text).split()), _TEXT_LETTERS))


def _gate(value: float | None) -> str:
    """What was measured: a share, or a number of rows."""
    return words.number(value) if isinstance(value, int) else words.figure(value)
