"""What is wrong with one published part: held against its seal, its entry in the manifest and the rows of its input."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sentiment_batch.errors import is_passing
from sentiment_batch.logs import shown
from sentiment_batch.measure.profile import CONFIDENCE, TOKENS
from sentiment_batch.published import part_name, read_rejects
from sentiment_batch.read.chunk import Shard
from sentiment_batch.recount import Row
from sentiment_batch.row_findings import KINDS, Counts, Expected, wrong_rows
from sentiment_batch.shapes import SEAL_SHAPE, misfits
from sentiment_batch.write.manifest import MARKER, METRICS
from sentiment_batch.write.part import Seal, hashed, read_part
from sentiment_batch.write.store import Store

_SEALED = ("file", "range", "input_sha256", "rows_in", "rows_out", "rejected", "rejects")
ROWS = ("rows_in", "rows_out", "rejected")
_COUNTED = (*KINDS.values(), "truncated", "tokens", "confidence_millionths")
_HOW: dict[str, Any] = {"arrow_extensions_enabled": False}  # of reading: an extension type is its storage


def wrong_part(
    store: Store,
    part: dict[str, Any],
    expected: Expected,
    input_name: str,
    rows: Iterator[Row] | None,
    total: Counts,
) -> Iterator[str]:
    """What is wrong with the part, in words; `total` gets what it has.

    `rows` are those of the input that it was made from, each with its text behind the kept columns; None if they are
    not looked at.
    """
    name, shard, counts = part["name"], Shard(*part["range"]), Counts()
    whole = read_part(store, name)
    if whole is None or hashed(store, whole) is None:
        yield f"{name}: its seal is missing, or not true of its bytes"
        return
    if fault := next(misfits(whole.seal, SEAL_SHAPE), None):
        yield f"{name}: its seal is none: {fault}"
        return
    yield from _wrong_seal(whole.seal, part, expected)
    rejected, faults = read_rejects(store, part, input_name)
    yield from faults
    try:
        with store.open(name) as raw, pq.ParquetFile(pa.PythonFile(raw, mode="r"), **_HOW) as file:
            if fault := _wrong_schema(file.schema_arrow, expected):
                yield f"{name}: {fault}"
                return
            groups = (file.read_row_group(number) for number in range(file.num_row_groups))
            found = wrong_rows(groups, expected, rows, shard.first_row, rejected, counts)
            yield from (f"{name}, {fault}" for fault in found)
    except (pa.ArrowException, OSError, ValueError) as error:
        if is_passing(error):
            raise
        yield f"{name} cannot be read: {error}"
        return
    out = counts.rows["rows_out"]
    if out + len(rejected) != shard.rows:
        yield f"{name}: {out} rows and {len(rejected)} rejects of a shard of {shard.rows}"
    counts.rows.update({"rows_in": shard.rows, "rejected": len(rejected)})
    yield from wrong_counts(f"{MARKER} of {name}", part, counts.rows, ROWS)
    sealed = whole.seal["counts"]
    yield from wrong_counts(f"the seal of {name}", sealed, counts.rows, (*ROWS, *_COUNTED))
    yield from wrong_counts(f"the seal of {name}", sealed["predicted"], counts.predicted, expected.labels)
    yield from wrong_histograms(f"the seal of {name}", sealed["profile"], counts)
    kept, labelled = sealed.get("rows_kept", 0), counts.rows["scored"]  # without --since there are none
    if type(kept) is not int or not 0 <= kept <= labelled:
        yield f"the seal of {name} says {shown(repr(kept))} rows kept, {labelled} have a label"
        kept = 0
    counts.rows["rows_kept"] = kept
    for tally in fields(counts):
        getattr(total, tally.name).update(getattr(counts, tally.name))


def wrong_histograms(where: str, told: Mapping[str, list[int]], counts: Counts) -> Iterator[str]:
    """The histograms of the profile that are not what was counted, of those that follow from the rows."""
    for name, edges in (("tokens", TOKENS), ("confidence", CONFIDENCE)):
        counted = [getattr(counts, name)[number] for number in range(len(edges))]
        if told[name] != counted:
            yield f"{where} has another histogram of {name} than was counted"


def wrong_counts(
    where: str, told: Mapping[str, int], counted: Mapping[str, int], names: Iterable[str]
) -> Iterator[str]:
    """The counts of these names that are not what was counted."""
    for name in names:
        if told.get(name) != counted[name]:
            yield f"{where} says {told.get(name)} {shown(name)}, {counted[name]} were counted"


def _wrong_seal(seal: Seal, part: dict[str, Any], expected: Expected) -> Iterator[str]:
    name, compute = part["name"], expected.compute
    for key in _SEALED:
        if seal[key] != part[key]:
            yield f"{name}: its seal has {key} = {shown(seal[key])}, {MARKER} has {shown(part[key])}"
    if (seal["job_id"], part_name(seal["shard"], expected.job_id)) != (expected.job_id, name):
        yield f"{name}: its seal is of another job or shard"
    if any(seal["compute"].get(key) != compute[key] for key in compute):
        made, told = (
            " ".join(shown(each[key]) for key in compute if each.get(key)) for each in (seal["compute"], compute)
        )
        yield f"{name} was made with {made}, {METRICS} says {told}: an output has one"


def _wrong_schema(schema: pa.Schema, expected: Expected) -> str | None:
    """Which column is not what it should be."""
    added = expected.added()
    if expected.kept is None:
        expected.kept = pa.schema(list(schema)[: max(0, len(schema) - len(added))])
    wanted = [*expected.kept, *added]
    for place, column in enumerate(wanted):
        if place >= len(schema) or schema.field(place).name != column.name:
            return f"its column {place} is not {shown(column.name)!r}"
        if schema.field(place).type != column.type:
            return f"the column {shown(column.name)!r} holds {schema.field(place).type}, not {column.type}"
    return f"it has {len(schema)} columns, not {len(wanted)}" if len(schema) != len(wanted) else None
