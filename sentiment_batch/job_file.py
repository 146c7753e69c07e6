"""`.job.json`: what the first slice of a job leaves beside the parts, for whoever publishes them.

It has the options of the job, so that nobody has to give them again, and what runs its model: slices may be on machines
of several kinds, and the parts of an output are made by one.
"""

import os
import types
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from sentiment_batch.config import LogOptions, MetricsOptions, ScoreOptions
from sentiment_batch.errors import InputError, UsageError
from sentiment_batch.read.inputs import SAMPLE_SPLITS
from sentiment_batch.remote import is_url
from sentiment_batch.shapes import Shape, is_path, misfits
from sentiment_batch.write.claim import CLAIM, JOB, JOB_ID, is_claim
from sentiment_batch.write.store import Store, parsed, read_json

FORMAT = 1
_OF_A_RUN = {
    *("output", "shard_slice", "workers", "ray", "deadline"),
    *(each.name for kind in (LogOptions, MetricsOptions) for each in fields(kind)),
}
_KINDS = {each.name: each.type for each in fields(ScoreOptions) if each.name not in _OF_A_RUN}


class JobFile(NamedTuple):
    """What the file says."""

    job_id: str
    options: ScoreOptions
    slices: int  # of how many the slice was that made it
    compute: dict[str, Any]


def job_file(job_id: str, options: ScoreOptions, slices: int, compute: dict[str, Any]) -> dict[str, Any]:
    """Its content: local paths as they are from anywhere on the machine."""
    kept = {name: value for name, value in asdict(options).items() if name in _KINDS}
    kept |= {"input": [_absolute(path) for path in options.input], "model": os.path.abspath(options.model)}
    kept |= {"since": _absolute(options.since)} if options.since else {}
    return {JOB_ID: job_id, "format": FORMAT, "slices": slices, "compute": compute, "options": kept}


def read_job_file(store: Store, output: str) -> JobFile | None:
    """The file in the place where an output grows; None if there is none.

    Nothing is taken on trust. Raises `InputError` for one that is damaged, of another version or of another job than
    the claim there.
    """
    data = store.read(JOB)
    if data is None:
        return None
    found = parsed(data)
    fault = next(misfits(found, _SHAPE), None)
    if not fault and found["options"].keys() != _KINDS.keys():
        fault = "its options are those of another version"
    claimed = read_json(store, CLAIM)
    if not fault and is_claim(claimed) and claimed[JOB_ID] != found[JOB_ID]:
        fault = f"it is of another job than {CLAIM}"
    try:
        if not fault:
            given = found["options"].items()
            options: Any = {name: tuple(value) if isinstance(value, list) else value for name, value in given}
            return JobFile(found[JOB_ID], ScoreOptions(output=output, **options), found["slices"], found["compute"])
    except UsageError as error:
        fault = str(error)
    raise InputError(
        f"{store.url}/{JOB} cannot be used: {fault}; run `score` with the options of its slices, without "
        "--shard-slice: it goes on behind all that they have done, and publishes"
    )


def fits(found: dict[str, Any]) -> bool:
    """Whether a file that was found can be used; else another one takes its place."""
    return not any(misfits(found, _SHAPE)) and found["options"].keys() == _KINDS.keys()


def _absolute(path: str) -> str:
    sample = any(path == f"sample:{split}" for split in SAMPLE_SPLITS)
    return path if sample or is_url(path) else os.path.abspath(path)


def _is_absolute(value: Any) -> bool:
    return is_path(value) and _absolute(value) == value


def _is_of(kind: Any) -> Callable[[Any], bool]:
    """Whether a value of JSON is one of the option's type."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return lambda value: isinstance(value, str) and value in inner
    if origin is tuple:
        return lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value)
    if origin in (Union, types.UnionType):
        checks = [_is_of(each) for each in inner]
        return lambda value: any(check(value) for check in checks)
    if kind is float:
        return lambda value: type(value) in (int, float)
    return lambda value: type(value) is kind


_TEXT = _is_of(str)
_SHAPE: Shape = {
    JOB_ID: _TEXT,
    "format": lambda value: type(value) is int and value == FORMAT,
    "slices": lambda value: type(value) is int and value > 0,
    "compute": {
        **dict.fromkeys(("engine", "device", "dtype"), _TEXT),
        "batch_tokens": lambda value: type(value) in (int, str),
    },
    "options": {
        **{name: _is_of(kind) for name, kind in _KINDS.items()},
        "input": lambda value: isinstance(value, list) and value and all(map(_is_absolute, value)),
        "model": _is_absolute,
    },
}
