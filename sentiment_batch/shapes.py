"""What JSON of a published output looks like: its manifest, its metrics, a part's seal, a row of its rejects.

`misfits` holds JSON against a shape: a dict of shapes by key, a list of one shape for each element, or a function that
says whether a value will do. Keys beside those of the shape are nobody's business here.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from sentiment_batch.errors import UsageError
from sentiment_batch.logs import shown
from sentiment_batch.read.inputs import FORMATS
from sentiment_batch.remote import is_url, split_url

Shape = dict[str, Any] | list[Any] | Callable[[Any], bool]

_LARGEST = 2**53  # a place in a file or a number of rows beyond it is none
_RANGE_NUMBERS = 4


def misfits(value: Any, shape: Shape, where: str = "") -> Iterator[str]:
    """What the value lacks of the shape, or has otherwise."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            yield f"{where or 'it'} is no object"
            return
        for key, inner in shape.items():
            if key in value:
                yield from misfits(value[key], inner, f"{where}.{key}" if where else key)
            else:
                yield f"{where or 'it'} has no {key}"
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield f"{where} is no list"
            return
        for number, each in enumerate(value):
            yield from misfits(each, shape[0], f"{where}[{number}]")
    elif not shape(value):
        yield f"{where} is {shown(repr(value))}"


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _LARGEST


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value)) and len(set(value)) == len(value)


def _is_tally(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_count, value.values()))


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_count, value))


def _are_edges(value: Any) -> bool:
    """Of the bins of a histogram: numbers, each larger than the one before."""
    if not isinstance(value, list) or not value or not all(type(each) in (int, float) for each in value):
        return False
    return all(one < next for one, next in pairwise([-_LARGEST, *value, _LARGEST]))  # of nan nothing is true


def _is_range(value: Any) -> bool:
    return isinstance(value, list) and len(value) == _RANGE_NUMBERS and all(map(_is_count, value))


def _is_format(value: Any) -> bool:
    return value in FORMATS.values()


def is_path(value: Any) -> bool:
    """Whether it can be the name of a file, or a URL of a known store."""
    if not _is_text(value) or "\0" in value:
        return False
    try:
        return not is_url(value) or bool(split_url(value))
    except UsageError:
        return False


def _may_be_null(shape: Shape) -> Shape:
    return lambda value: value is None or not any(misfits(value, shape))


FILE_SHAPE: dict[str, Shape] = {"name": _is_text, "bytes": _is_count, "sha256": _is_text}
_ROWS = dict.fromkeys(("rows_in", "rows_out", "rejected"), _is_count)
_SHARD = {"file": _is_count, "range": _is_range, "input_sha256": _is_text, "rejects": _may_be_null(FILE_SHAPE), **_ROWS}
_INPUT: Shape = {"name": _is_text, "format": _is_format, "size": _is_count, "edges_sha256": _is_text}
_OPTIONS: dict[str, Shape] = {
    **dict.fromkeys(("text_column", "prefix"), _is_text),
    **dict.fromkeys(("columns", "keep_columns"), _are_names),
    "max_length": _is_count,
    "limit_rows": _may_be_null(_is_count),
}
MANIFEST_SHAPE: Shape = {
    "job_id": _is_text,
    "identity": {"inputs": [_INPUT], "options": _OPTIONS},
    "inputs": [{"path": is_path}],
    "rows": _ROWS,
    "parts": [{**FILE_SHAPE, **_SHARD}],
    "metrics": FILE_SHAPE,
}
_COMPUTE = dict.fromkeys(("engine", "device", "dtype"), _is_text)
_KINDS = ("scored", "empty", "null", "nonfinite", "truncated")
_METRICS: dict[str, Shape] = {
    "model": {"labels": lambda value: bool(value) and _are_names(value), **_COMPUTE},
    "rows": dict.fromkeys(("in", "out", "rejected", *_KINDS), _is_count),
    "predictions": {"counts": _is_tally},
    "profile": {name: {"counts": _are_counts} for name in ("tokens", "confidence")},
}
METRICS_SHAPE: Shape = _METRICS
SEAL_SHAPE: Shape = {
    **_SHARD,
    "job_id": _is_text,
    "shard": _is_count,
    "compute": _COMPUTE,
    "counts": {
        **_ROWS,
        **dict.fromkeys((*_KINDS, "tokens", "confidence_millionths"), _is_count),
        "predicted": _is_tally,
        "profile": dict.fromkeys(("tokens", "confidence"), _are_counts),
    },
}
EVALUATION_SHAPE: Shape = {  # of its metrics
    **_METRICS,
    "job_id": _is_text,
    "identity": {"inputs": [_INPUT], "options": dict.fromkeys(("text_column", "prefix"), _is_text)},
}
REJECT_SHAPE: Shape = {"file": _is_text, "row": _is_count, "reason": _is_text, "detail": _is_text, "sha256": _is_text}
_HISTOGRAM: Shape = {"edges": _are_edges, "counts": [_is_count]}
PROFILE_SHAPE: dict[str, Shape] = {
    "rows": _is_count,
    **dict.fromkeys(("tokens", "unknown_share", "confidence"), _HISTOGRAM),
    "labels": _is_tally,
}
TRAINING_SHAPE: Shape = {**PROFILE_SHAPE, "confidence_calibrated": _HISTOGRAM}
PROFILED_SHAPE: Shape = {
    "run": {"id": _is_text, "ended_at": _is_text},
    "model": {"digest": _is_text},
    "profile": PROFILE_SHAPE,
}
