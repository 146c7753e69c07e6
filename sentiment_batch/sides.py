"""What is compared: two models with the data that they are to label, or two outputs in which that is done."""

import os
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any, Protocol

import pyarrow as pa

from sentiment_batch.config import CacheOptions, CompareOptions, ComputeOptions, ReadOptions
from sentiment_batch.errors import InputError, UsageError
from sentiment_batch.finished import open_finished
from sentiment_batch.measure.metrics import Metrics
from sentiment_batch.measure.progress import Tally
from sentiment_batch.remote import is_url, lies_in
from sentiment_batch.two_models import open_models
from sentiment_batch.two_outputs import open_outputs
from sentiment_batch.write.claim import Identity

# The options that say what two models label, and how.
OF_MODELS = {"data", *(each.name for kind in (ReadOptions, CacheOptions, ComputeOptions) for each in fields(kind))}


class Sides(Protocol):
    """Two models, or two outputs."""

    @property
    def labels(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Those of OLD, and those of NEW."""

    @property
    def rows(self) -> int:
        """How many rows the data has, rejected ones included."""

    def identity(self) -> Identity:
        """What of the job's identity they are."""

    def account(self) -> dict[str, Any]:
        """What a seal says of the run: what another run made is only taken if it says the same."""

    def true_labels(self) -> Iterator[pa.Array]:
        """The column of the true labels."""

    def load(self, meanwhile: Callable[[], object]) -> float:
        """Be ready for `pairs`, and call `meanwhile` in a thread if a model is loaded; how many seconds that took."""

    def pairs(self, progress: Tally) -> Iterator[pa.RecordBatch]:
        """The rows in order, with what both say of each: `row`, `true` and `text` if they are known, and the columns of
        a label under the prefixes `OLD` and `NEW`. The progress counts each row once for either.
        """

    def effort(self) -> dict[str, int]:
        """What it cost, for the performance section."""

    def sections(self) -> Metrics:
        """`old`, `new` and `input` of the metrics JSON."""


def open_sides(options: CompareOptions) -> Sides:
    """Raises `UsageError` for a model beside an output, and `InputError` for what is neither."""
    paths = {"OLD": options.old, "NEW": options.new}
    for name, path in paths.items():
        if lies_in(options.output, path) or lies_in(path, options.output):
            raise UsageError(f"--output {options.output} and {name}, {path}, lie in each other; put it elsewhere")
    outputs = {name: None if _is_model(path) else open_finished(path) for name, path in paths.items()}
    for name, path in paths.items():
        if outputs[name] is None and not _is_model(path):
            raise InputError(
                f"{name}, {path}, is neither a model folder nor a finished output of `score` or `evaluate`; name one"
            )
    old, new = outputs.values()
    if old and new:
        _check_no_data(options)
        return open_outputs(old, new, options.label_column, options.show_texts)
    if old or new:
        kinds = ["an output" if each else "a model" for each in (old, new)]
        raise UsageError(f"OLD is {kinds[0]} and NEW {kinds[1]}: compare two models, or two outputs of the same inputs")
    if not options.data:
        raise UsageError("OLD and NEW are models: give --data, the rows that they are to label")
    return open_models(options)


def _is_model(path: str) -> bool:
    return not is_url(path) and os.path.isfile(os.path.join(path, "config.json"))


def _check_no_data(options: CompareOptions) -> None:
    """Raise `UsageError` for an option that says how models label data, where two outputs have it done."""
    for each in fields(options):
        if each.name in OF_MODELS and getattr(options, each.name) != each.default:
            flag = f"--{each.name.replace('_', '-')}"
            raise UsageError(f"{flag} is of models that label data; OLD and NEW are outputs, in which that is done")
