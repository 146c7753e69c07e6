"""What `score` and `evaluate` share: chunks in, labelled chunks out, and an account of what labelled them."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from sentiment_batch.ahead import ahead
from sentiment_batch.config import LabelOptions
from sentiment_batch.errors import EnvironmentFailure, OutputConflict
from sentiment_batch.labeller import Labeller, Prepared
from sentiment_batch.measure.counts import Counts
from sentiment_batch.measure.progress import Tally
from sentiment_batch.model.cache import Cache, Kept
from sentiment_batch.read.chunk import Chunk, Reject
from sentiment_batch.write.part import Part
from sentiment_batch.write.store import Store

CHUNK_ROWS = 32_768  # that are labelled together, where no option says otherwise: batches are cut from them
_REJECTS_LOOKED_AT = 10_000
_COMPUTE = ("engine", "device", "dtype", "float_dtype", "batch_tokens")


class Labelled(NamedTuple):
    """A chunk with its labels."""

    batch: pa.RecordBatch
    rejects: list[Reject]
    texts: Counts  # how many it has, how many were known from an earlier chunk, and what is kept of an earlier output
    unknown: np.ndarray  # int32 [rows]: how many tokens of each the vocabulary does not know


def open_labeller(options: LabelOptions, text_column: str) -> Labeller:
    """The labeller of a command's options."""
    names = LabelOptions.__dataclass_fields__
    return Labeller(text_column=text_column, **{name: getattr(options, name) for name in names})


def labelled_chunks(
    chunks: Iterable[Chunk],
    labeller: Labeller,
    progress: Tally,
    cache_rows: int,
    kept_of: Callable[[pa.RecordBatch], Kept] | None = None,
) -> Iterator[Labelled]:
    """The chunks with their labels, in order; reading runs ahead of the model, and the model of the caller.

    A text that comes again in a later chunk is not labelled again, if it is one of the `cache_rows` seen last. The last
    bits of its probabilities are those of the batch that it was in at first. So let the chunks be a piece of work that
    is done as a whole: begun again with its first chunk after a kill, it has the same bytes. A row that is kept, as
    `kept_of` says, has what the earlier output says of it.

    The progress counts rows batch by batch, as if each distinct text stood for as many rows: on a slow machine a chunk
    takes an hour.
    """
    cache = Cache(cache_rows, len(labeller.labels))
    prepared = (_prepared(labeller, chunk, cache, kept_of and kept_of(chunk.batch)) for chunk in chunks)
    with closing(ahead(prepared)) as source, closing(ahead(_labelled(source, labeller, progress))) as finished:
        yield from finished


def _prepared(labeller: Labeller, chunk: Chunk, cache: Cache, kept: Kept | None) -> tuple[Prepared, Chunk, Counts]:
    prepared = labeller.prepare(chunk.batch, cache, kept)
    known = prepared.places.known
    texts = {"distinct_texts": len(known), "cached_texts": int(known.sum())}
    return prepared, chunk, texts if kept is None else {**texts, "rows_kept": len(kept.rows)}


def _labelled(
    source: Iterable[tuple[Prepared, Chunk, Counts]], labeller: Labeller, progress: Tally
) -> Iterator[Labelled]:
    for prepared, chunk, texts in source:
        asked = int(prepared.asked.sum())
        batch, unknown = labeller.label_and_count(prepared, _counter(progress, chunk.rows, asked))
        if not asked:
            progress.add(chunk.rows)
        yield Labelled(batch, chunk.rejects, texts, unknown)


def _counter(progress: Tally, rows: int, texts: int) -> Callable[[int], None]:
    """What counts the rows of a chunk when it is told of its texts: all of them when it was told of all texts."""
    done = 0

    def count(more: int) -> None:
        nonlocal done
        progress.add(rows * (done + more) // texts - rows * done // texts)
        done += more

    return count


def labelled_in_turn(
    chunks: Iterable[Chunk], labellers: tuple[Labeller, ...], progress: Tally, cache_rows: int
) -> Iterator[Chunk]:
    """The chunks with the labels of all labellers, whose prefixes differ, in order, as `labelled_chunks` labels them.

    One labels a chunk at a time, with all cores: two at once would take a fifth more of them. The progress counts a row
    once for each.
    """
    caches = [Cache(cache_rows, len(labeller.labels)) for labeller in labellers]
    with closing(ahead(chunks)) as source:
        for chunk in source:
            batch = chunk.batch
            for labeller, cache in zip(labellers, caches, strict=True):
                prepared = labeller.prepare(batch, cache)
                texts = len(prepared.tokens.lengths)
                batch = labeller.label(prepared, _counter(progress, chunk.rows, texts))
                if not texts:
                    progress.add(chunk.rows)
            yield Chunk(batch, chunk.rejects)


def rejects_in_words(store: Store, parts: Iterable[Part]) -> str:
    """How many rejects have which reason, and the first row with the most frequent one, as the first part has them.

    "" if they cannot be read: it is a help for a message that must come in any case.
    """
    files = [part.seal["rejects"]["name"] for part in parts if part.seal["rejects"]]
    try:
        with store.open(files[0]) as file:
            rejects = [json.loads(line) for line in islice(file, _REJECTS_LOOKED_AT)]
            more = len(files) > 1 or bool(file.read(1))
        (most, count), *others = Counter(reject["reason"] for reject in rejects).most_common()
        first = next(reject for reject in rejects if reject["reason"] == most)
        where = f"{first['file']}, row {first['row']}: {first['detail']}"
    except (OSError, ValueError, LookupError, TypeError, EnvironmentFailure):
        return ""
    counts = [f"{count:,} {most} (first: {where})", *(f"{count:,} {reason}" for reason, count in others)]
    return f"{f'of the first {len(rejects):,} rejects, ' if more else ''}{', '.join(counts)}"


def compute_of(labeller: Labeller) -> dict[str, Any]:
    """What ran the model: two of them may differ in the last bits of a probability, so an output has one."""
    compute = labeller.compute
    return {
        "engine": compute.engine,
        "device": compute.device_kind,
        "dtype": compute.dtype,
        **({"float_dtype": compute.float_dtype} if compute.float_dtype != compute.dtype else {}),
        "batch_tokens": labeller.options.batch_tokens or "auto",
    }


def compute_in_words(compute: dict[str, Any]) -> str:
    """What `compute_of` tells, for a person."""
    return " ".join(str(compute[name]) for name in _COMPUTE if name in compute)


def calibration_of(labeller: Labeller) -> dict[str, Any]:
    """What of a job's identity says how its probabilities are calibrated: nothing if they are not, as it always was.

    The temperature itself, which the digest of the model does not know.
    """
    return {} if labeller.temperature is None else {"calibrated": labeller.temperature}


def check_compute(part: Part, compute: dict[str, Any], output: str) -> None:
    """Raise `OutputConflict` for a part that another run of the job made with another compute than this one has."""
    check_made_with(part.seal["compute"], part.name, compute, output)


def check_made_with(made: dict[str, Any], name: str, compute: dict[str, Any], output: str) -> None:
    """As `check_compute`, for what a file of that name says of other parts."""
    if made != compute:
        theirs, ours = compute_in_words(made), compute_in_words(compute)
        raise OutputConflict(
            f"{output}/{name} was made with {theirs}, this run would go on with {ours}, and an output has one: "
            f"go on where it was begun, or remove {output} to begin again"
        )


def check_alike(parts: Iterable[Part], output: str) -> None:
    """Raise `OutputConflict` if the parts were not all made with one compute: runs on several machines made them."""
    first: Part | None = None
    for part in parts:
        first = first or part
        one, other = first.seal["compute"], part.seal["compute"]
        if one != other:
            theirs, ours = compute_in_words(one), compute_in_words(other)
            raise OutputConflict(
                f"{output}/{first.name} was made with {theirs}, {part.name} with {ours}, and an output has one: "
                f"remove {output} and begin again, on machines of one kind"
            )


def model_section(labeller: Labeller, made_with: dict[str, Any] | None = None) -> dict[str, Any]:
    """The `model` of the metrics JSON; `made_with` is its compute where the parts of other runs say it."""
    folder = labeller.folder
    compute = made_with or compute_of(labeller)
    return {
        "path": folder.path,
        "base_model": folder.base_model,
        "digest": labeller.digest,
        "labels": list(folder.labels),
        "max_length": labeller.max_length,
        "temperature": labeller.temperature,
        **{name: compute[name] for name in _COMPUTE if name in compute},
    }
