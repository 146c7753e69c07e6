"""Input files -> shards: the whole job, cut into pieces that can be done in any order, before a row is labelled."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa

from sentiment_batch.errors import InputError, UsageError
from sentiment_batch.read import delimited, parquet
from sentiment_batch.read.chunk import Chunk, Shard
from sentiment_batch.read.columns import is_name, shown_columns
from sentiment_batch.read.inputs import InputFile, check_unchanged, find_inputs, range_sha256, read_each
from sentiment_batch.read.objects import first_few
from sentiment_batch.read.texts import is_text

Recall = Callable[[tuple[InputFile, ...]], dict[str, Any] | None]

_SEPARATORS = {"\t": "give --format tsv", ",": "give --format csv", ";": "", "|": ""}

Header = tuple[tuple[str, ...], int]  # of a file: its field names, and where its rows begin

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    """The files of a job and the columns that all of them have."""

    files: tuple[InputFile, ...]
    schema: pa.Schema  # of the first file; the others may have its columns in another order
    headers: tuple[Header, ...]
    groups: tuple[list[parquet.RowGroup], ...] = ()  # of each Parquet file, if its footer was read

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickled schema has other names inside of a map, and parts would have other bytes."""
        return _inputs, (self.files, _written(self.schema), self.headers, self.groups)

    def rows_of(self, shards: "list[PlannedShard]") -> list[int]:
        """How many rows of each file the shards have."""
        rows = [0] * len(self.files)
        for planned in shards:
            rows[planned.file] += planned.shard.rows
        return rows

    def noted(self) -> dict[str, Any]:
        """What `open_inputs` can open the same files by without looking into each of them, as JSON."""
        if self.files[0].format == "parquet":
            return {"nullable": {field.name: field.nullable for field in self.schema}}
        kinds = list(dict.fromkeys(names for names, _ in self.headers))
        number_of = {names: number for number, names in enumerate(kinds)}
        return {"names": kinds, "headers": [[number_of[names], start] for names, start in self.headers]}

    def section(self, rows: list[int]) -> dict[str, Any]:
        """The `input` of the metrics JSON; `rows` are those of each file."""
        files = zip(self.files, rows, strict=True)
        return {"files": [{"path": file.path, "bytes": file.size, "rows": count} for file, count in files]}


def _inputs(files: tuple[InputFile, ...], schema: bytes, *rest: Any) -> Inputs:
    return Inputs(files, _as_written(schema), *rest)


def _written(schema: pa.Schema) -> bytes:
    return schema.serialize().to_pybytes()  # type: ignore[no-any-return]


def _as_written(schema: bytes) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(schema))


@dataclass(frozen=True)
class PlannedShard:
    """A shard and its place in the job; `index` is the number of its part."""

    index: int
    file: int
    shard: Shard


def nothing_noted(files: tuple[InputFile, ...]) -> None:
    """No earlier run is asked."""


def open_inputs(
    paths: tuple[str, ...],
    format: str,
    columns: tuple[str, ...],
    required: tuple[str, ...],
    recall: Recall = nothing_noted,
) -> Inputs:
    """The files behind the paths, with one schema; `required` names the columns that the job reads.

    `recall` may know what was `Inputs.noted` of these very files, by their identity. Then the first is opened alone:
    with thousands of them that is the difference between a moment and minutes. All else is checked when it is read.

    Raises `InputError` for a column that is missing, for files whose columns differ, and for a text column that
    holds no strings.
    """
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise UsageError(f"--columns: {twice[0]!r} is there twice; every column needs a name of its own")
    files = tuple(find_inputs(paths, format))
    if noted := recall(files):
        inputs = _as_noted(files, noted)
    else:
        inputs = (_open_parquet if files[0].format == "parquet" else _open_text)(files, columns, required)
    if columns:
        _say_of_columns(files[0], columns)
    return inputs


def _say_of_columns(first: InputFile, columns: tuple[str, ...]) -> None:
    if first.format == "parquet":
        log.warning("--columns is left aside: a Parquet file has the names of its columns in it")
    elif delimited.begins_with_names(first, columns):
        log.warning(
            "%s: its first line is the names that --columns gives, and is taken for a row; leave --columns out if "
            "it is a header line",
            first.path,
        )


def _open_parquet(files: tuple[InputFile, ...], columns: tuple[str, ...], required: tuple[str, ...]) -> Inputs:
    """The footer of every file is read, once; of thousands of schemas those are kept that differ."""
    first: pa.Schema | None = None
    nullable: dict[str, bool] = {}
    seen: set[tuple[Any, ...]] = set()
    groups = []
    for file, (schema, found) in read_each(parquet.outline, files):
        first = schema if first is None else first
        groups.append(found)
        kind = tuple((field.name, field.type, field.nullable) for field in schema)
        if kind not in seen:
            _check_columns(file, schema, files[0], first, required, bool(columns))
            nullable |= {field.name: field.nullable or nullable.get(field.name, False) for field in schema}
            seen.add(kind)
    assert first is not None
    schema = _with_nullable(first, nullable)
    return Inputs(files, schema, _same_header(files, schema), tuple(groups))


def _open_text(files: tuple[InputFile, ...], columns: tuple[str, ...], required: tuple[str, ...]) -> Inputs:
    headers: list[Header] = []
    kinds: dict[tuple[str, ...], tuple[str, ...]] = {}  # thousands of files have one and the same
    for file, (names, start) in read_each(partial(delimited.header, columns=columns), files):
        if names not in kinds:
            kinds[names] = names
            _check_columns(file, _of_strings(names), files[0], _of_strings(next(iter(kinds))), required, bool(columns))
        headers.append((kinds[names], start))
    return Inputs(files, _of_strings(headers[0][0]), tuple(headers))


def _as_noted(files: tuple[InputFile, ...], noted: dict[str, Any]) -> Inputs:
    if files[0].format == "parquet":
        schema = _with_nullable(parquet.schema(files[0]), noted["nullable"])
        return Inputs(files, schema, _same_header(files, schema))
    kinds = [tuple(names) for names in noted["names"]]
    headers = tuple((kinds[number], start) for number, start in noted["headers"])
    return Inputs(files, _of_strings(headers[0][0]), headers)


def _with_nullable(schema: pa.Schema, nullable: dict[str, bool]) -> pa.Schema:
    """The schema of rows that are from any of the files, with the names inside of maps that Arrow writes anywhere."""
    schema = pa.schema([field.with_nullable(nullable[field.name]) for field in schema], schema.metadata)
    return _as_written(_written(schema))


def _same_header(files: tuple[InputFile, ...], schema: pa.Schema) -> tuple[Header, ...]:
    return ((tuple(schema.names), 0),) * len(files)


def _of_strings(names: tuple[str, ...]) -> pa.Schema:
    return pa.schema([(name, pa.string()) for name in names])


def rows_of(shards: Iterable[PlannedShard]) -> int:
    """How many they have together."""
    return sum(planned.shard.rows for planned in shards)


def say_if_empty(inputs: Inputs, shards: list[PlannedShard]) -> None:
    """Warn of a dump without any row: it may be right, and it may be that something before this job failed."""
    if not rows_of(shards):
        log.warning("no rows in %s", first_few([file.path for file in inputs.files]))


def plan(inputs: Inputs, shard_rows: int, shard_bytes: int, limit_rows: int | None = None) -> list[PlannedShard]:
    """The shards of every file in order. A pure function of the inputs and the options.

    An input without rows is one shard without rows, so that every output has a part that shows its columns.
    """
    planned: list[PlannedShard] = []
    left = limit_rows
    for number, file in enumerate(inputs.files):
        if file.format == "parquet":
            groups = inputs.groups[number] if inputs.groups else None
            shards = parquet.shards(file, shard_rows, shard_bytes, groups)
        else:
            shards = delimited.shards(file, inputs.headers[number][1], shard_rows, shard_bytes)
        for shard in shards:
            if left is not None:
                if left == 0:
                    return planned
                shard = _first_rows(shard, left, file)
                left -= shard.rows
            planned.append(PlannedShard(len(planned), number, shard))
    if not planned:
        planned.append(PlannedShard(0, 0, Shard(0, 0, 0, 0)))
    return planned


def read_chunks(
    inputs: Inputs, planned: PlannedShard, columns: tuple[str, ...], text_column: str, chunk_rows: int
) -> Iterator[Chunk]:
    """The shard's rows, in order and each once, with the columns asked for; then a check that the file is the same.

    Raises `InputError` when the file changed or does not hold the rows that were planned.
    """
    file, shard = inputs.files[planned.file], planned.shard
    check_unchanged(file)
    rows = 0
    if file.format == "parquet":
        chunks = parquet.chunks(file, shard, columns, text_column, chunk_rows)
    else:
        chunks = delimited.chunks(file, shard, inputs.headers[planned.file][0], columns, chunk_rows)
    schema = pa.schema([inputs.schema.field(name) for name in columns])  # the files may differ in what may be null
    for chunk in chunks:
        _check_types(file, chunk.batch, schema)
        chunk = replace(chunk, batch=pa.RecordBatch.from_arrays(chunk.batch.columns, schema=schema))
        rows += chunk.rows
        yield chunk
    check_unchanged(file)
    if rows != shard.rows:
        raise InputError(f"{file.path} gave {rows} rows where {shard.rows} were planned; it changed during the run")


def _check_types(file: InputFile, rows: pa.RecordBatch, schema: pa.Schema) -> None:
    """A job that goes on looks into the first file alone; another one may have been edited in its middle since."""
    for column, field in zip(rows.columns, schema, strict=True):
        if column.type != field.type:
            what = f"the column {field.name!r} is {column.type} where {field.type} was planned"
            raise InputError(f"{file.path}: {what}; it changed; nothing was published")


def shard_sha256(inputs: Inputs, planned: PlannedShard) -> str:
    """The SHA-256 of the bytes that the shard was read from: what tells later that the input is still the same."""
    file, shard = inputs.files[planned.file], planned.shard
    if file.format == "parquet":
        return range_sha256(file, *parquet.byte_range(file, shard))
    if file.compression:
        return range_sha256(file, 0, file.size)
    return range_sha256(file, shard.start, shard.stop)


def _first_rows(shard: Shard, limit: int, file: InputFile) -> Shard:
    if shard.rows <= limit:
        return shard
    stop = shard.start + limit if file.format == "parquet" else shard.stop
    return replace(shard, stop=stop, rows=limit)


def _no_column(file: InputFile, schema: pa.Schema, name: str, columns_given: bool) -> str:
    """What to say. Names that are no words are left out: without a header, the first review was taken for one."""
    sure = file.format == "parquet" or columns_given
    if not sure and (separator := _separator(schema.names, name)):
        what = _SEPARATORS[separator] or "write it with tabs or commas, or as Parquet"
        return f"{file.path} is read as {file.format.upper()}, but has {separator!r} between its columns; {what}"
    if sure or all(map(is_name, schema.names)):
        return f"{file.path} has no column {name!r}; it has: {shown_columns(schema.names, sure)}"
    return (
        f"{file.path} has no column {name!r} in its first line; name the right one with --text-column or "
        f"--label-column, or, if the file has no header line, its {len(schema.names)} columns with --columns"
    )


def _separator(names: list[str], name: str) -> str | None:
    """What stands between the columns of a file whose first line was taken for one name."""
    if len(names) > 1:
        return None
    fields = {separator: [field.strip(' "') for field in names[0].split(separator)] for separator in _SEPARATORS}
    return next((separator for separator in fields if len(fields[separator]) > 1 and name in fields[separator]), None)


def _check_columns(
    file: InputFile,
    schema: pa.Schema,
    first: InputFile,
    first_schema: pa.Schema,
    required: tuple[str, ...],
    columns_given: bool,
) -> None:
    for name in required:
        if name not in schema.names:
            raise InputError(_no_column(file, schema, name, columns_given))
        if name != required[0] and pa.types.is_nested(schema.field(name).type):
            raise InputError(f"{file.path}: the column {name!r} holds {schema.field(name).type}, not single values")
    text = required[0]
    if not is_text(schema.field(text).type):
        raise InputError(f"{file.path}: the column {text!r} holds {schema.field(text).type}, not strings; cast it")
    for name in sorted({*schema.names, *first_schema.names}):
        if name not in schema.names or name not in first_schema.names:
            lacks, has = (file, first) if name not in schema.names else (first, file)
            shown = f"the column {name!r}" if file.format == "parquet" or is_name(name) else "a column"
            raise InputError(f"{lacks.path} lacks {shown} that {has.path} has; label them apart")
        if schema.field(name).type != first_schema.field(name).type:
            types = f"{schema.field(name).type} in {file.path} and {first_schema.field(name).type} in {first.path}"
            raise InputError(f"the column {name!r} is {types}; label them apart")
