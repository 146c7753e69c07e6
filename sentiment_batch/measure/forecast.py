"""Estimates -> the `plan` of a metrics JSON: what a job will read, do and take, each with how far it may be off."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sentiment_batch.measure.estimate import Estimate

Section = dict[str, Any]

_SLICES = (2, 8, 32)


def sample_section(counts: dict[str, int], tokens: np.ndarray, mean: Estimate, is_all: bool) -> Section:
    """What the rows are like that were looked at; `tokens` are those of each of them that has a text."""
    rows, labelled = counts["rows"], counts["labelled"]
    places = {"p50": 50, "p95": 95}
    return {
        "rows": rows,
        "is_all": is_all,
        "tokens": {
            "mean": round(mean.value, 2),
            **_ends(mean, 2),
            **{name: int(np.percentile(tokens, at)) if labelled else 0 for name, at in places.items()},
            "max": int(tokens.max()) if labelled else 0,
        },
        **{f"{name}_share": _share(counts[name], rows) for name in ("empty", "null", "rejected")},
        "truncated_share": _share(counts["truncated"], labelled),
        "distinct_share": _share(counts["distinct"], labelled),
        "unknown_token_share": _share(counts["unknown_tokens"], int(tokens.sum())),
    }


def rows_section(files: Sequence[tuple[int, bool]], rows: Estimate, exact: bool) -> Section:
    """How much there is. Of each file, how many bytes it has, and whether it is compressed."""
    return {
        "files": len(files),
        "compressed_files": sum(packed for _, packed in files),
        "bytes": sum(size for size, _ in files),
        "rows": round(rows.value),
        **({"low": round(rows.value), "high": round(rows.value)} if exact else _ends(rows, 0)),
        "exact": exact,
    }


def time_section(
    rows: Estimate,
    share: Estimate,
    tokens: Estimate,
    pace: Estimate | None,
    load_seconds: float,
    at_once: int,
    of_slices: bool,
) -> Section:
    """How long the rows take: (rows x share that is labelled x tokens of a text) / tokens a second, and the loading.

    The ends are those of all four at once: the fewest and shortest texts in the fastest piece of the calibration, the
    most and longest in the slowest. `at_once` workers have a device each. Told is also, `of_slices`, what one of
    several such machines takes.
    """
    if pace is None or not rows.value or not share.value:
        nothing = dict.fromkeys(("seconds", "low", "high"), load_seconds)
        return {**nothing, "rows_per_second": None, "slices": {}}
    work = rows.times(share).times(tokens)
    each = Estimate(work.value / pace.value, work.low / pace.high, work.high / pace.low)
    seconds = Estimate(*(end / at_once + load_seconds for end in each))
    return {
        "seconds": round(seconds.value, 1),
        **_ends(seconds, 1),
        "rows_per_second": round(rows.value * at_once / each.value, 1) if each.value else None,
        "slices": {
            str(number): round(each.value / at_once / number + load_seconds, 1) for number in _SLICES if of_slices
        },
    }


def calibration_section(
    texts: int, seconds: float, pieces: int, pace: Estimate | None, share: Estimate, load_seconds: float
) -> Section:
    """What the time was computed from: the pace of the model on this machine, and how much there is for it to do."""
    return {
        "texts": texts,
        "seconds": round(seconds, 2),
        "pieces": pieces,
        "tokens_per_second": None if pace is None else {"mean": round(pace.value, 1), **_ends(pace, 1)},
        "share_to_label": {"mean": round(share.value, 4), **_ends(share, 4)},
        "load_seconds": load_seconds,
    }


def disk_section(rows: Estimate, row_bytes: float, shards: Section, footer_bytes: float, free: int | None) -> Section:
    """What the output takes, and beside it the part that is being written."""
    output = rows.value * row_bytes + shards["count"] * footer_bytes
    needed = output + shards["rows_largest"] * row_bytes + footer_bytes
    return {
        "row_bytes": round(row_bytes, 1),
        "output_bytes": round(output),
        "needed_bytes": round(needed),
        "free_bytes": free,
        "enough": None if free is None else needed <= free,
    }


def _ends(estimate: Estimate, digits: int) -> Section:
    """Rounded away from the figure; `high` is null where nothing is known of it."""
    scale = 10**digits
    high = estimate.high
    return {
        "low": _plain(math.floor(estimate.low * scale + 1e-6) / scale, digits),
        "high": None if math.isinf(high) else _plain(math.ceil(high * scale - 1e-6) / scale, digits),
    }


def _plain(value: float, digits: int) -> float:
    return value if digits else int(value)


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
