"""Two finished outputs of the same inputs -> their rows, side by side."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from sentiment_batch.errors import InputError, UsageError
from sentiment_batch.finished import Finished, result_names
from sentiment_batch.logs import shown
from sentiment_batch.measure.changes import NEW, OLD, ROW, TEXT, TRUE
from sentiment_batch.measure.metrics import Metrics
from sentiment_batch.measure.progress import Tally
from sentiment_batch.write.claim import Identity

Numbered = tuple[np.ndarray, pa.RecordBatch]


@dataclass(frozen=True)
class TwoOutputs:
    """What was labelled already; `extra` says which of the two has the column of the texts and that of the true labels,
    and under which name, by the name that it gets here.
    """

    old: Finished
    new: Finished
    extra: dict[str, tuple[Finished, str]]
    label_of_both: str | None = None  # the column of the true labels, if both outputs have it

    @property
    def labels(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return self.old.labels, self.new.labels

    @property
    def rows(self) -> int:
        return self.old.rows()["rows_in"]

    def identity(self) -> Identity:
        return {"old": self.old.sha256, "new": self.new.sha256}

    def account(self) -> dict[str, Any]:
        return {}

    def load(self, meanwhile: Callable[[], object]) -> float:
        return 0.0

    def effort(self) -> dict[str, int]:
        return {"tokens": 0, "padded_tokens": 0, "oom_retries": 0}

    def true_labels(self) -> Iterator[pa.Array]:
        """The column of the true labels, piece by piece."""
        output, name = self.extra[TRUE]
        return (batch.column(name) for _, batch in output.batches([name]))

    def pairs(self, progress: Tally) -> Iterator[pa.RecordBatch]:
        """The rows that both have, with the columns of both. Raises `InputError` if one lacks rows of the other."""
        columns = {
            id(output): [*output.added(), *(name for there, name in self.extra.values() if there is output)]
            for output in (self.old, self.new)
        }
        if self.label_of_both is not None:
            columns = {each: list(dict.fromkeys([*names, self.label_of_both])) for each, names in columns.items()}
        sides = (output.batches(columns[id(output)]) for output in (self.old, self.new))
        for (rows, old), (others, new) in _in_step(*sides):
            if not np.array_equal(rows, others):
                row = int(np.minimum(rows, others)[rows != others][0])
                raise InputError(
                    f"row {row} of the data is rejected in one of {self.old.path} and {self.new.path}, and not in the "
                    "other: they were read in different ways; score the same inputs with the same --columns"
                )
            if self.label_of_both and not _same(old.column(self.label_of_both), new.column(self.label_of_both)):
                raise InputError(
                    f"{self.old.path} and {self.new.path} differ in {shown(self.label_of_both)!r}, the true labels, "
                    f"from row {int(rows[0]):,} on: the data was edited between them; make both of the same inputs"
                )
            progress.add(2 * len(rows))
            yield self._paired(rows, old, new)

    def sections(self) -> Metrics:
        return {
            "old": self.old.section(),
            "new": self.new.section(),
            "input": self.old.metrics.get("input", {"files": []}),
        }

    def _paired(self, rows: np.ndarray, old: pa.RecordBatch, new: pa.RecordBatch) -> pa.RecordBatch:
        columns: dict[str, Any] = {ROW: pa.array(rows)}
        for prefix, output, batch in ((OLD, self.old, old), (NEW, self.new, new)):
            for name, added in zip(result_names(output.labels), output.added(), strict=True):
                columns[prefix + name] = batch.column(added)
            columns |= {key: batch.column(name) for key, (there, name) in self.extra.items() if there is output}
        return pa.RecordBatch.from_pydict(columns)


def open_outputs(old: Finished, new: Finished, label_column: str | None, show_texts: bool) -> TwoOutputs:
    """Raises `InputError` unless they are of the same inputs, and `UsageError` for a column that neither has."""
    if (what := differing_inputs(old, new)) is not None:
        raise InputError(
            f"{old.path} and {new.path} are not of the same rows: {what}; compare outputs of the same inputs, or give "
            "the two models and --data"
        )
    schemas = [(output, output.schema()) for output in (old, new)]
    wanted = {TRUE: ("--label-column", label_column), TEXT: ("--show-texts", old.text_column if show_texts else None)}
    both = label_column if all(label_column in schema.names for _, schema in schemas) else None
    extra = {}
    for key, (flag, name) in wanted.items():
        if name is None:
            continue
        there = next((output for output, schema in schemas if name in schema.names), None)
        if there is None:
            raise UsageError(f"{flag}: neither {old.path} nor {new.path} has the column {shown(name)!r}")
        kind = there.schema().field(name).type
        if pa.types.is_nested(kind):
            raise InputError(f"{there.path}: the column {shown(name)!r} holds {kind}, not single values")
        extra[key] = (there, name)
    return TwoOutputs(old, new, extra, both)


def _same(one: pa.Array, other: pa.Array) -> bool:
    """Whether two columns hold the same values, be it in another type of Arrow's."""
    return bool(one.equals(other) or one.to_pylist() == other.to_pylist())


def differing_inputs(old: Finished, new: Finished) -> str | None:
    """What says that the two are not of the same rows. Where an input lies, and when it came there, does not."""
    return next(_differences(old, new), None)


def _differences(old: Finished, new: Finished) -> Iterator[str]:
    if old.text_column != new.text_column:
        yield f"the texts are in {shown(old.text_column)!r} in the one, in {shown(new.text_column)!r} in the other"
    files = [output.identity["inputs"] for output in (old, new)]
    if len(files[0]) != len(files[1]):
        yield f"{len(files[0])} input files and {len(files[1])}"
        return
    for one, other in zip(*files, strict=True):
        if one["name"] != other["name"]:
            yield f"the input {shown(one['name'])} and {shown(other['name'])}"
        if one["size"] != other["size"]:
            yield f"{shown(one['name'])} had {one['size']:,} bytes and {other['size']:,}"
        if one["edges_sha256"] != other["edges_sha256"]:
            yield f"the content of {shown(one['name'])} was another one"
    rows = [output.rows() for output in (old, new)]
    for name, words in (("rows_in", "rows"), ("rejected", "rejected rows")):
        if rows[0][name] != rows[1][name]:
            yield f"{rows[0][name]:,} {words} and {rows[1][name]:,}"
    if old.command == new.command and old.input_sha256() != new.input_sha256():
        yield "an input was edited between the two, though its size and its ends are the same"
    hashes = [
        {(part["file"], *part["range"]): part["input_sha256"] for part in output.parts if "range" in part}
        for output in (old, new)
    ]
    if any(hashes[1].get(place, sha256) != sha256 for place, sha256 in hashes[0].items()):
        yield "an input was edited between the two, though its size and its ends are the same"


def _in_step(left: Iterator[Numbered], right: Iterator[Numbered]) -> Iterator[tuple[Numbered, Numbered]]:
    """As many rows of the one as of the other at a time, whatever pieces they come in; they have as many in all."""
    one, other = next(left, None), next(right, None)
    while one is not None and other is not None:
        rows = min(len(one[0]), len(other[0]))
        yield _piece(one, 0, rows), _piece(other, 0, rows)
        one = _piece(one, rows, len(one[0])) if rows < len(one[0]) else next(left, None)
        other = _piece(other, rows, len(other[0])) if rows < len(other[0]) else next(right, None)


def _piece(numbered: Numbered, start: int, stop: int) -> Numbered:
    return numbered[0][start:stop], numbered[1].slice(start, stop - start)
