"""Runs of several rounds -> one figure each: medians, ratios, shares. Nothing here measures anything."""

import statistics
from typing import Any

import numpy as np

from bench_ways.flops import Shape, flops

Figures = dict[str, Any]


def medians(runs: list[Figures]) -> Figures:
    """The median of each figure over the runs, and of those that are figures in turn the medians of theirs.

    What is not known of a run is not known of them.
    """
    found: Figures = {}
    for name, first in runs[0].items():
        values = [each[name] for each in runs]
        if isinstance(first, dict):
            found[name] = medians(values)
        else:
            found[name] = None if None in values else statistics.median(values)
    return found


def agreement(labels: list[str | None], reference: list[str | None] | None) -> float | None:
    """The share of rows with the reference's label."""
    if reference is None:
        return None
    return sum(map(str.__eq__, map(str, labels), map(str, reference))) / len(labels)


def rates(figures: Figures, rows: int, tokens: int) -> Figures:
    """Rows and tokens a second while it labels, and rows a second with the start of the process."""
    return {
        "rows_per_second": rows / figures["label_seconds"],
        "tokens_per_second": tokens / figures["label_seconds"],
        "rows_per_second_with_start": rows / figures["seconds"],
    }


def ratios(ways: dict[str, Figures], baselines: tuple[str, ...]) -> None:
    """Add to each way how many times as fast as the fastest baseline it is, while it labels and with its start."""
    for figure in ("rows_per_second", "rows_per_second_with_start"):
        there = [ways[name][figure] for name in baselines if name in ways]
        for figures in ways.values():
            figures[figure.replace("rows_per_second", "ratio")] = figures[figure] / max(there) if there else None


def roof_shares(
    seconds: float, lengths: np.ndarray, computed: np.ndarray | None, shape: Shape | None, roof: float | None
) -> Figures:
    """How much of the roof the model's operations fill in the time.

    `nominal` counts every row as if all of its last layer were computed; `performed`, for our engines alone, the
    distinct texts, and of the last layer what is needed.
    """
    if shape is None or roof is None:
        return {"nominal": None, "performed": None}
    nominal = flops(lengths, shape, first_token_only=False) / seconds / roof
    performed = None if computed is None else flops(computed, shape, shape.first_token_only) / seconds / roof
    return {"nominal": nominal, "performed": performed}


def stage_shares(stages: Figures, label_seconds: float) -> Figures:
    """Each stage alone as a share of the time that `score` takes for all of them, which overlap; and who waits.

    `besides_engine` is what reading, tokenising and writing cost together, `engine_waits` the share of the time in
    which the engine had nothing to do.
    """
    shares = {name: stage["seconds"] / label_seconds for name, stage in stages.items()}
    besides = shares["read"] + shares["tokenise"] + shares["write"]
    return {**shares, "besides_engine": besides, "engine_waits": max(0.0, 1 - shares["engine"])}
