"""Rows in, the same rows with labels out: the heart of every command, and the door for Python callers."""

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import compress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sentiment_batch.ahead import beforehand
from sentiment_batch.config import LabelOptions
from sentiment_batch.errors import InputError, ModelRefused, UsageError
from sentiment_batch.measure.temperature import softmax
from sentiment_batch.model.cache import Cache, Kept, Places, answers_of, said_type
from sentiment_batch.model.classifier import Classifier, Effort
from sentiment_batch.model.compute import Compute, load_engine, resolve_compute
from sentiment_batch.model.folder import TOKENIZER, TRAINING, ModelFolder, read_model_folder
from sentiment_batch.model.graphs import Graphs, digest_with_graphs, find_graphs
from sentiment_batch.model.tokens import TokenIds, chosen, count_token, load_tokenizer, tokenise
from sentiment_batch.read.columns import shown_columns
from sentiment_batch.read.split import same_but_for_case
from sentiment_batch.read.texts import as_strings, is_text

STATUSES = ("ok", "empty_text", "null_text", "nonfinite_score")
_OK, _EMPTY, _NULL, _NONFINITE = range(4)


@dataclass(frozen=True)
class Prepared:
    """A batch of rows with the tokens of those of its distinct texts that are to be labelled."""

    batch: pa.RecordBatch
    cache: Cache
    places: Places  # of the distinct texts that are not blank
    tokens: TokenIds  # of those that the cache does not know
    given: np.ndarray  # of these, as `said_type` has it: what an earlier output says
    asked: np.ndarray  # bool: of which of these none says anything, so that the model has to
    text_numbers: np.ndarray  # int64 [rows]: which of the distinct texts the row has, or -1
    status: np.ndarray  # int8 [rows]
    kept: Kept | None = None  # of which rows an earlier output says what


class Labeller:
    """A model with its options. The model is loaded when it is first needed, and once.

    Options are those of `sentiment-batch score` that decide a label (`config.LabelOptions`), as keywords. Pickles as
    its options, so that each worker of Spark's `mapInArrow` or Ray Data's `map_batches` loads a model of its own.
    Not safe in two threads at once.
    """

    def __init__(self, model: str, *, text_column: str = "text", **options: Any):
        """Read the folder, and nothing of it into memory that is large: `load` does that.

        Raises `ModelRefused` for a folder that is not a whole model, and `UsageError` for an unknown option.
        """
        started = time.perf_counter()
        try:
            self.options = LabelOptions(model=str(model), **options)
        except TypeError as error:
            raise UsageError(f"Labeller: {error}") from None
        self.text_column = text_column
        self.folder: ModelFolder = read_model_folder(self.options.model)
        self.labels = self.folder.labels
        self.effort = Effort()
        self.max_length = self.options.max_length or self.folder.max_length
        if self.max_length > self.folder.max_length:
            raise UsageError(f"--max-length {self.max_length}: the model takes {self.folder.max_length} tokens at most")
        if self.options.calibrated and self.folder.temperature is None:
            raise UsageError(
                f"--calibrated: {self.folder.path} has no temperature in a {TRAINING}; train it again, into another "
                "folder, or leave --calibrated off"
            )
        self._opening_seconds = time.perf_counter() - started

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.text_column, {**asdict(self.options), "model": os.path.abspath(self.options.model)})

    def __call__(self, rows: pa.Table | pa.RecordBatch) -> pa.Table | pa.RecordBatch:
        """The same rows in the same order, with the added columns; a Table for a Table.

        What a batch gets follows from that batch alone: no text is remembered from one to the next.
        Raises `InputError` if there is no text column, and `UsageError` if an added column is there already.
        """
        self.check_columns(rows.schema)
        if isinstance(rows, pa.RecordBatch):
            return self.label(self.prepare(rows))
        labelled = [self.label(self.prepare(batch)) for batch in rows.to_batches()]
        return pa.Table.from_batches(labelled, self.labelled_schema(rows.schema))

    def predict(self, texts: list[str]) -> list[dict[str, Any]]:
        """One dict for each text: label (None for a blank text), confidence, probabilities by label."""
        batch = pa.record_batch({self.text_column: pa.array(texts, pa.string())})
        names = [field.name for field in self.added_fields()]
        rows = self.label(self.prepare(batch)).select(names).to_pylist()
        prefix = self.options.prefix
        return [
            {
                "label": row[f"{prefix}predicted_label"],
                "confidence": row[f"{prefix}confidence"],
                "probabilities": {label: row[f"{prefix}prob_{label}"] for label in self.labels},
            }
            for row in rows
        ]

    def check_columns(self, schema: pa.Schema) -> None:
        """Raise if the rows lack the text column, or have one that is to be added.

        DuckDB and Spark do not tell `Status` from `status`: two such columns are one name too many for them.
        """
        if self.text_column not in schema.names:
            raise InputError(f"no column {self.text_column!r}; there are: {shown_columns(schema.names, sure=True)}")
        if not is_text(schema.field(self.text_column).type):
            kind = schema.field(self.text_column).type
            raise InputError(f"the column {self.text_column!r} holds {kind}, not strings; cast it")
        there = {name.lower(): name for name in schema.names}
        for field in self.added_fields():
            if found := there.get(field.name.lower()):
                raise UsageError(
                    f"the input has a column {found!r} already; give --prefix, such as --prefix sb_, "
                    "to name the added columns otherwise"
                )
        if pair := same_but_for_case(self.labels):
            raise ModelRefused(
                f"{self.folder.path}: the labels {pair[0]!r} and {pair[1]!r} differ in case alone, and so would their "
                "columns, which DuckDB and Spark take for one; give one another name in its config.json"
            )

    def added_fields(self) -> list[pa.Field]:
        """The columns that labelling adds, in their order."""
        return [
            pa.field(self.options.prefix + name, type)
            for name, type in (
                ("predicted_label", pa.string()),
                ("confidence", pa.float32()),
                *((f"prob_{label}", pa.float32()) for label in self.labels),
                ("n_tokens", pa.int32()),
                ("truncated", pa.bool_()),
                ("status", pa.string()),
            )
        ]

    def labelled_schema(self, schema: pa.Schema) -> pa.Schema:
        """The schema of labelled rows whose own columns are these."""
        return pa.schema([*schema, *self.added_fields()], metadata=schema.metadata)

    @property
    def temperature(self) -> float | None:
        """What the logits are divided by; None if they are not."""
        return self.folder.temperature if self.options.calibrated else None

    def load(self, meanwhile: Callable[[], object] = lambda: None) -> float:
        """Load tokenizer and model now, not with the first rows; the seconds that this and opening the folder took.

        While OpenVINO compiles a graph, cores have nothing to do: `meanwhile` is called in a thread that nobody waits
        for, to import what is needed later (with PyTorch, its own imports take turns with that). If it raises, whoever
        needs the same then finds out.
        """
        _ = self.compute
        started = time.perf_counter()
        arrays = beforehand(_first_array)

        def behind_it() -> None:
            arrays.join()
            meanwhile()

        beforehand(behind_it)
        _ = self.tokenizer, self.classifier
        arrays.join()
        return round(self._opening_seconds + time.perf_counter() - started, 3)

    @cached_property
    def tokenizer(self) -> Any:
        folder = self.folder
        return load_tokenizer(folder.path, folder.vocab_size, folder.inspected.hashes[TOKENIZER])

    @cached_property
    def classifier(self) -> Classifier:
        compute = self.compute
        batch_tokens = self.options.batch_tokens or compute.batch_tokens
        engine = load_engine(self.folder, compute)
        classifier = Classifier(
            engine, len(self.labels), batch_tokens, self.folder.pad_token_id, self.effort, compute.streams
        )
        if compute.device_kind == "cuda" and not self.options.batch_tokens:
            classifier.fit_budget(self.max_length)
        return classifier

    @cached_property
    def compute(self) -> Compute:
        """What runs the model. Choosing it may load PyTorch, which counts as loading whoever asks for it first."""
        started, options = time.perf_counter(), self.options
        found = resolve_compute(self.folder, self.graphs, options.engine, options.device, options.dtype)
        self._opening_seconds += time.perf_counter() - started
        return found

    @cached_property
    def graphs(self) -> Graphs:
        """Those that an engine may take. Looked at once: an `optimize` may end at any moment."""
        return {} if self.options.engine == "torch" else find_graphs(self.folder)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the contents of all files that decide a label: what is another model is another job."""
        return digest_with_graphs(self.folder, self.graphs)

    def prepare(self, batch: pa.RecordBatch, cache: Cache | None = None, kept: Kept | None = None) -> Prepared:
        """The tokens of the batch's distinct texts: each is labelled once, however many rows have it.

        Not those that the cache knows from earlier batches. And the model is not asked for one that a row has which is
        `kept`: what is said of that row is said of all others with the text, but for those that are kept themselves.
        """
        cache = cache or Cache(0, len(self.labels))
        encoded = pc.dictionary_encode(as_strings(batch.column(self.text_column)))
        texts = encoded.dictionary.to_pylist()
        number_of = pc.fill_null(encoded.indices, len(texts)).to_numpy(zero_copy_only=False)
        blank = np.fromiter((not text.strip() for text in texts), bool, len(texts))
        numbers = np.append(np.where(blank, -1, np.cumsum(~blank) - 1), -1)
        status = np.append(np.where(blank, _EMPTY, _OK), _NULL).astype(np.int8)
        scored = [text for text, skip in zip(texts, blank, strict=True) if not skip]
        places = cache.places(scored)
        tokens = tokenise(self.tokenizer, list(compress(scored, ~places.known)), self.max_length)
        text_numbers = numbers[number_of]
        given, asked = np.zeros(len(scored), said_type(len(self.labels))), np.ones(len(scored), bool)
        if kept:
            of_kept = text_numbers[kept.rows]
            given[of_kept[::-1]], asked[of_kept] = kept.said[::-1], False  # of a text that comes twice the first
        fresh = ~places.known
        return Prepared(batch, cache, places, tokens, given[fresh], asked[fresh], text_numbers, status[number_of], kept)

    def label(self, prepared: Prepared, done: Callable[[int], None] = lambda _: None) -> pa.RecordBatch:
        """The rows with the added columns behind their own. Null where there is nothing to predict.

        With a cache batches are labelled in the order in which they were prepared. `done` is told the number of
        distinct texts behind each batch of the model.
        """
        return self.label_and_count(prepared, done)[0]

    def label_and_count(
        self, prepared: Prepared, done: Callable[[int], None] = lambda _: None
    ) -> tuple[pa.RecordBatch, np.ndarray]:
        """As `label`, with how many of each row's tokens the vocabulary does not know: int32 [rows]."""
        tokens, said, asked = prepared.tokens, prepared.given.copy(), prepared.asked
        said[asked] = self._said(self.classifier.logits(chosen(tokens, asked), done))
        unknown_tokens = count_token(tokens, self.folder.unknown_id)
        fresh = answers_of(said, tokens.lengths, unknown_tokens, tokens.truncated)
        answers = prepared.cache.answers(prepared.places, fresh)
        if not len(answers):
            answers = np.zeros(1, answers.dtype)  # of a text that no row has
        batch, numbers, status = prepared.batch, prepared.text_numbers, prepared.status.copy()
        lengths, truncated = answers["length"], answers["truncated"]
        of_rows = answers["said"][numbers]
        if prepared.kept:
            of_rows[prepared.kept.rows] = prepared.kept.said
        status[(numbers >= 0) & (of_rows["label"] < 0)] = _NONFINITE
        best, unknown = np.maximum(of_rows["label"], 0), status != _OK
        probabilities = np.ascontiguousarray(of_rows["probabilities"])
        values = [
            pa.DictionaryArray.from_arrays(pa.array(best, mask=unknown), list(self.labels)).cast(pa.string()),
            pa.array(probabilities[np.arange(len(best)), best], mask=unknown),
            *(pa.array(column, mask=unknown) for column in probabilities.T),
            pa.array(np.where(numbers < 0, 0, lengths[numbers]).astype(np.int32)),
            pa.array(np.where(numbers < 0, False, truncated[numbers])),
            pa.DictionaryArray.from_arrays(pa.array(status), list(STATUSES)).cast(pa.string()),
        ]
        labelled = pa.RecordBatch.from_arrays([*batch.columns, *values], schema=self.labelled_schema(batch.schema))
        return labelled, np.where(numbers < 0, 0, answers["unknown"][numbers])

    def _said(self, logits: np.ndarray) -> np.ndarray:
        """What the logits of each text say of it, as `said_type` has it."""
        said, finite = np.empty(len(logits), said_type(len(self.labels))), np.isfinite(logits).all(axis=1)
        usable = np.where(finite[:, None], logits, 0)
        said["label"] = np.where(finite, usable.argmax(axis=1), -1)  # the same whatever they are divided by
        said["probabilities"] = softmax(usable, self.temperature or 1.0)
        return said


def _first_array() -> None:
    """With its first array PyArrow imports pandas, where that is installed: .2 s."""
    pa.array([0])


def _again(text_column: str, options: dict[str, Any]) -> Labeller:
    return Labeller(text_column=text_column, **options)
