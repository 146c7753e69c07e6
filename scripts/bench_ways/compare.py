"""Every way on one dump, in turn, and what follows from the runs."""

import logging
from typing import Any

import numpy as np
import pyarrow as pa

from bench_ways.child import Failed
from bench_ways.figures import agreement, medians, rates, ratios, roof_shares, stage_shares
from bench_ways.flops import read_shape
from bench_ways.models import Model
from bench_ways.ways import BASELINES, REFERENCE, Place, Way, measured, measured_roof, measured_stages
from sentiment_batch import Labeller

Figures = dict[str, Any]

log = logging.getLogger(__name__)


def compare(
    ways: list[Way], place: Place, rounds: int, roofline_seconds: float
) -> tuple[dict[str, Figures], dict[str, str]]:
    """(for each way its runs, the runs of its stages and its labels; why the others could not be run).

    Each run has the roof of its dtype beside it, if there are `roofline_seconds`: on a machine that is not ours alone
    a minute is not like the next. A way that fails once is not run again.
    """
    found: dict[str, Figures] = {way.name: {"runs": [], "stage_runs": []} for way in ways}
    failed: dict[str, str] = {}
    for turn in range(rounds):
        for way in ways:
            if way.name in failed:
                continue
            of_way = found[way.name]
            try:
                figures, of_way["labels"] = measured(way, place)
                figures["roof"] = measured_roof(way.dtype, place, roofline_seconds) if roofline_seconds else None
                of_way["runs"].append(figures)
                if way.engine:
                    of_way["stage_runs"].append(measured_stages(way, place))
            except Failed as error:
                failed[way.name] = str(error)
                log.error("%s failed: %s", way.name, error)
                continue
            rate = len(of_way["labels"]) / figures["label_seconds"]
            log.info("round %d of %d: %s, %.1f rows/s", turn + 1, rounds, way.name, rate)
    return {name: each for name, each in found.items() if name not in failed}, failed


def add_medians(ways: list[Way], found: dict[str, Figures], model: Model, lengths: np.ndarray) -> None:
    """Give each way that was found its `median`: that of every figure of its runs, and all that follows from them.

    `lengths` are the tokens of each row. The labels are compared, and let go.
    """
    shape = read_shape(model.folder)
    labels = {name: each.pop("labels") for name, each in found.items()}
    reference = labels.get(REFERENCE) if model.trained else None
    ways = [way for way in ways if way.name in found]
    for way in ways:
        runs = found[way.name]["runs"]
        for each in runs:
            each["roofline_share"] = roof_shares(each["label_seconds"], lengths, None, shape, each["roof"])["nominal"]
        median = found[way.name]["median"] = medians(runs)
        median |= rates(median, len(lengths), int(lengths.sum()))
        median["agreement"] = agreement(labels[way.name], reference)
    ratios({name: each["median"] for name, each in found.items()}, BASELINES)
    for way in ways:
        median, runs = found[way.name]["median"], found[way.name]["stage_runs"]
        if runs:
            computed, *_ = [np.array(each.pop("computed_lengths")) for each in runs]  # the same in each
            stages = median["stages"] = medians(runs)["stages"]
            seconds = stages["engine"]["seconds"]
            ratio = median["ratio"] and median["ratio"] * median["label_seconds"] / seconds
            roofs = [each["roof"] for each in found[way.name]["runs"]]
            shares = medians(
                [
                    roof_shares(each["stages"]["engine"]["seconds"], lengths, computed, shape, roof)
                    for each, roof in zip(runs, roofs, strict=True)
                ]
            )
            median["engine_alone"] = {"rows_per_second": len(lengths) / seconds, "ratio": ratio, **shares}
            median["stage_shares"] = stage_shares(stages, median["label_seconds"])


def lengths_of(texts: list[str], model: Model) -> np.ndarray:
    """Tokens of each text, as the model sees it."""
    rows = Labeller(str(model.folder)).prepare(pa.record_batch({"text": pa.array(texts, pa.string())}))
    lengths: np.ndarray = rows.tokens.lengths[rows.text_numbers]
    return lengths
