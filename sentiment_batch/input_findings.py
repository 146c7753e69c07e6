"""What is wrong between an output's manifest and the inputs that it was made of, as they lie now."""

import zlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from sentiment_batch.errors import InputError, UsageError, is_passing
from sentiment_batch.read.chunk import Shard
from sentiment_batch.read.plan import Inputs, PlannedShard, open_inputs, shard_sha256
from sentiment_batch.recount import Row, recount

_LARGEST = 2**53
_ADVICE = "say with --input where it or a copy of it lies, or leave the inputs out with --skip-inputs"


def labelled_inputs(manifest: dict[str, Any], moved: tuple[str, ...]) -> Inputs:
    """The inputs of the job, opened where they lie now: they, or copies of them, of whatever name and time.

    Raises `InputError` for one that is not there or another, and `UsageError` if `moved` are more or fewer.
    """
    options, known = manifest["identity"]["options"], manifest["identity"]["inputs"]
    paths = moved or tuple(file["path"] for file in manifest["inputs"])
    try:
        found = open_inputs(paths, known[0]["format"], tuple(options["columns"]), (options["text_column"],))
    except InputError as error:
        raise InputError(f"{error}; {_ADVICE}") from None
    if len(found.files) != len(known):
        raise (UsageError if moved else InputError)(
            f"{len(found.files)} files are there as inputs, the output was made of {len(known)}: "
            "give --input once for each, in their order, or --skip-inputs"
        )
    for file, wanted in zip(found.files, known, strict=True):
        if file.size != wanted["size"]:
            what = f"it has {file.size} bytes, that one had {wanted['size']}"
        elif file.edges_sha256 != wanted["edges_sha256"]:
            what = "its bytes are others"
        else:
            continue
        raise InputError(f"{file.path} is not the file that was labelled: {what}; {_ADVICE}")
    return found


def wrong_ranges(manifest: dict[str, Any], inputs: Inputs | None) -> Iterator[str]:
    """Parts that are not of the rows, or not of the bytes, behind those of the part before them."""
    limit = manifest["identity"]["options"]["limit_rows"]
    total = sum(Shard(*part["range"]).rows for part in manifest["parts"])
    if limit is not None and total > limit:
        yield f"the parts are of {total} rows, --limit-rows was {limit}"
    file, row, stop = 0, 0, 0
    for part in manifest["parts"]:
        shard = Shard(*part["range"])
        if part["file"] != file:
            file, row, stop = part["file"], 0, 0
        if shard.first_row != row:
            yield f"{part['name']} begins at row {shard.first_row} of its input, the part before it ends at {row}"
        if inputs and not _follows(inputs, file, shard, stop):
            path = inputs.files[file].path
            yield f"{part['name']}: its range {part['range']} is not what follows the part before it in {path}"
        row, stop = row + shard.rows, shard.stop


def _follows(inputs: Inputs, number: int, shard: Shard, stop: int) -> bool:
    """Whether the shard may be the one behind a shard that ends at `stop`; 0 for the first one of a file."""
    file = inputs.files[number]
    if not shard.rows:
        return shard == Shard(0, 0, 0, 0)  # the one part of an input without rows
    if file.format == "parquet":
        return shard.start == shard.first_row and shard.stop - shard.start == shard.rows
    end = _LARGEST if file.compression else file.size + 1
    return shard.start == (stop or inputs.headers[number][1]) and shard.start <= shard.stop <= end


def changed_inputs(manifest: dict[str, Any], inputs: Inputs) -> Iterator[str]:
    """Inputs that were edited in place; their ranges must be right."""
    for part in manifest["parts"]:
        planned = PlannedShard(0, part["file"], Shard(*part["range"]))
        if shard_sha256(inputs, planned) != part["input_sha256"]:
            path = inputs.files[part["file"]].path
            yield f"{path}: the bytes that {part['name']} was made from have changed"


def input_rows(inputs: Inputs, file: int, kept: pa.Schema, options: dict[str, Any]) -> Iterator[Row]:
    """The rows of an input, each with its text behind the kept columns. Raises `InputError` where it is damaged."""
    path, format, text = inputs.files[file].path, inputs.files[file].format, options["text_column"]
    try:
        yield from recount(path, format, tuple(options["columns"]), [*kept.names, text], text)
    except (pa.ArrowException, OSError, EOFError, zlib.error, ValueError) as error:
        if is_passing(error):
            raise
        raise InputError(f"{path} cannot be read to its end: {error}; see --skip-inputs") from None


def left_over(inputs: Inputs, number: int, rows: Iterator[Row], parts: list[dict[str, Any]]) -> Iterator[str]:
    """The rows and bytes of a file behind its last part, though none may be left."""
    file, shards = inputs.files[number], [Shard(*part["range"]) for part in parts]
    row, stop = sum(shard.rows for shard in shards), shards[-1].stop if shards else 0
    if left := sum(1 for _ in rows):
        yield f"{file.path}: {left} rows from row {row} on are in no part"
    elif row and file.format != "parquet" and not file.compression and stop < file.size:
        yield f"{file.path}: the bytes from {stop} on are in the range of no part"


def kept_schema(inputs: Inputs, keep_columns: list[str]) -> pa.Schema:
    """The columns of the inputs that the output has."""
    if keep_columns == ["none"]:
        return pa.schema([])
    return pa.schema([field for field in inputs.schema if keep_columns == ["all"] or field.name in keep_columns])
