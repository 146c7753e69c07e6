"""What was published, read back with nothing taken on trust: the manifest, the names in it, the rejects of a part."""

import json
import os
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from sentiment_batch.errors import InputError
from sentiment_batch.logs import shown
from sentiment_batch.read.chunk import Shard
from sentiment_batch.shapes import FILE_SHAPE, MANIFEST_SHAPE, REJECT_SHAPE, misfits
from sentiment_batch.write.claim import CLAIM, JOB_ID, is_claim, job_id
from sentiment_batch.write.manifest import MARKER, METRICS, REPORT, SCHEMA_VERSION, is_whole
from sentiment_batch.write.store import Store, read_json

# A job that gets an output when it has changed hands has the turn in its id, and in the name of all that it makes.
_JOB = r"([0-9a-f]{32})(?:\.[1-9]\d{0,8})?"
_OF_A_TURN = r"(?:part-\d{5,}(?:-([1-9]\d*))?\.parquet|_rejects/_part-\d{5,}(?:-([1-9]\d*))?-[0-9a-f]{8}\.jsonl)"
_NO_OUTPUT = {
    "a model": {"config.json", "model.safetensors"},
    "an evaluation": {"metrics.json", "predictions.parquet"},
    "a comparison": {"metrics.json", "changes.parquet"},
}


def part_name(shard: int, job: str) -> str:
    """What the part of that shard is called in an output of the job."""
    return f"{_stem(shard, job)}.parquet"


def _rejects_name(shard: int, job: str, sha256: str) -> str:
    return f"_rejects/_{_stem(shard, job)}-{sha256[:8]}.jsonl"


def _stem(shard: int, job: str) -> str:
    turn = _turn(job)
    return f"part-{shard:05d}-{turn}" if turn else f"part-{shard:05d}"


def _turn(job: str) -> int:
    return int(job.partition(".")[2] or 0)


def is_of_an_earlier_turn(name: str, job: str) -> bool:
    """Whether a job made that file which had the output before this one."""
    found = re.fullmatch(_OF_A_TURN, name, re.ASCII)
    return found is not None and int(found[1] or found[2] or 0) < _turn(job)


def check_is_output(store: Store) -> None:
    """Raise `InputError` if nothing is published there, and say what is there instead. No file is read for that."""
    try:
        names = set(store.sizes())
    except NotADirectoryError:
        raise InputError(f"{store.url} is a file; verify is for the folder of an output") from None
    except FileNotFoundError:
        names = set()
    if MARKER in names:
        return
    if not names:
        raise InputError(f"no such output: {store.url}; run its job to make it")
    for kind, files in _NO_OUTPUT.items():
        if files <= names:
            raise InputError(f"{store.url} is {kind}; verify is for the outputs of `score`")
    if CLAIM in names:
        again = "run its job again to finish it"
    elif any(re.fullmatch(_OF_A_TURN, name, re.ASCII) for name in names):  # with this no job goes on
        again = "remove what is there, or move it away, and run its job again"
    else:
        again = "verify is for the outputs of `score`"
    raise InputError(f"{store.url} has no {MARKER}: it is not published; {again}")


def read_manifest(store: Store) -> dict[str, Any]:
    """The manifest of the output. Raises `InputError` for one that was not written by `score`.

    Also if another job has the claim: it is about to replace what the manifest tells of.
    """
    data = store.read(MARKER) or b""
    try:
        manifest = json.loads(data)
    except (ValueError, RecursionError):
        manifest = None
    where, again = f"{store.url}/{MARKER}", "remove the output and run its job again"
    if b'"job_id"' not in data:  # it may be the finished work of another program, which nobody is to remove
        raise InputError(
            f"{where} is no manifest of `score` (Spark and Hadoop write files of this name, too), and only its "
            f"outputs are read here; if this was one, {again}"
        )
    if not isinstance(manifest, dict):
        raise InputError(f"{where} is damaged: it is no JSON object; {again}")
    if not is_whole(manifest, data):
        raise InputError(f"{where} is damaged: its bytes are not those of its own hash; {again}")
    if manifest.get("schema_version") != SCHEMA_VERSION:
        version = shown(repr(manifest.get("schema_version")))
        raise InputError(f"{where} is of the schema version {version}; this program knows {SCHEMA_VERSION} alone")
    fault = next(misfits(manifest, MANIFEST_SHAPE), None) or next(_contradictions(manifest), None)
    if fault:
        raise InputError(f"{where} is not one that `score` writes: {fault}; {again}")
    claimed = read_json(store, CLAIM)
    if is_claim(claimed) and claimed[JOB_ID] != manifest["job_id"]:
        raise InputError(f"{where} is of another job than {CLAIM}, which replaces it: run that one again to finish it")
    return manifest


def _contradictions(manifest: dict[str, Any]) -> Iterator[str]:
    """What no manifest says, though its shape is right."""
    inputs, parts = manifest["identity"]["inputs"], manifest["parts"]
    job = re.fullmatch(_JOB, manifest["job_id"], re.ASCII)
    if job is None or job[1] != job_id(manifest["identity"]):
        yield "job_id is not that of its identity"
        return
    if not inputs or not parts:
        yield "there is no input or no part"
    names = [os.path.basename(file["path"]) for file in manifest["inputs"]]
    if names != [file["name"] for file in inputs]:
        yield "inputs are not those of its identity"
    if len({file["format"] for file in inputs}) > 1:
        yield "inputs are of several formats"
    if manifest["metrics"]["name"] != METRICS:
        yield f"metrics.name is {shown(manifest['metrics']['name'])}"
    report = manifest.get("report")  # there is none without the extra
    if report is not None and (any(misfits(report, FILE_SHAPE)) or report["name"] != REPORT):
        yield "report is none"
    for number, part in enumerate(parts):
        if part["name"] != part_name(number, job[0]):
            yield f"parts[{number}].name is {shown(part['name'])}, which does not number its parts from 0"
        rejects = part["rejects"]
        if rejects and rejects["name"] != _rejects_name(number, job[0], rejects["sha256"]):
            yield f"parts[{number}].rejects.name is {shown(rejects['name'])}"
        if part["file"] >= len(inputs):
            yield f"parts[{number}].file is {part['file']}, of {len(inputs)} inputs"
    for number, (before, after) in enumerate(pairwise(part["file"] for part in parts), 1):
        if after < before:
            yield f"parts[{number}].file is {after}, behind the input {before}"


def read_rejects(store: Store, part: dict[str, Any], input_name: str) -> tuple[set[int], list[str]]:
    """The rows that the rejects file of a part names, and what is wrong with it."""
    if not part["rejects"]:
        return set(), [f"{part['name']} has no rejects, {part['rejected']} are listed"] if part["rejected"] else []
    name, shard = part["rejects"]["name"], Shard(*part["range"])
    rows: list[int] = []
    for number, line in enumerate((store.read(name) or b"").splitlines()):
        try:
            reject = json.loads(line)
        except (ValueError, RecursionError):
            return set(rows), [f"{name}, line {number}: is no JSON"]
        if fault := next(misfits(reject, REJECT_SHAPE), None):
            return set(rows), [f"{name}, line {number}: {fault}"]
        if os.path.basename(reject["file"]) != input_name:
            return set(rows), [f"{name}, line {number}: is of another input than {part['name']}"]
        rows.append(reject["row"])
    faults = []
    if rows != sorted(set(rows)):
        faults.append(f"{name} names rows twice or out of order")
    if len(rows) != part["rejected"]:
        faults.append(f"{name} has {len(rows)} rows, {part['rejected']} are listed")
    if any(not 0 <= row - shard.first_row < shard.rows for row in rows):
        faults.append(f"{name} names rows that are not of its shard")
    return set(rows), faults
