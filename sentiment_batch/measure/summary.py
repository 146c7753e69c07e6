"""A metrics JSON -> the few lines that a person reads at the end of a run."""

from collections.abc import Callable
from typing import Any

from sentiment_batch.logs import one_line, shown
from sentiment_batch.measure.gates import IN_ORDER, LEVEL

Summary = Callable[[dict[str, Any], str | None], str]

_CELLS = 3  # of the matrix of flips, the largest of which are named


def summary(metrics: dict[str, Any], output: str | None) -> str:
    """One line for each thing worth knowing; the rest is in the metrics JSON."""
    if "steps" in metrics:
        outputs = metrics.get("outputs", {})
        return "\n\n".join(f"{step}\n{summary(each, outputs.get(step))}" for step, each in metrics["steps"].items())
    status = metrics["status"].replace("_", " ")
    if metrics.get("already_done"):
        status = f"done already, at {metrics['run']['ended_at']}"  # its figures are those of that time
        status += "; its gates failed now" if metrics["status"] == "gate_failed" else ""
    if (mine := metrics.get("slice")) and not mine["published"]:
        status = f"slice {mine['index']}/{mine['of']} is done, and the job is not published yet"
    lines = [("status", status + (f": {output}" if output else ""))]
    if mine and not mine["published"]:
        there = f"{mine['parts_there']:,} of {mine['parts']:,} of the job are there"
        lines.append(("parts", f"{mine['shards']:,} of this slice are sealed; {there}"))
    if "rows" in metrics:
        rows = metrics["rows"]
        lines.append(("rows", f"{rows['in']:,} in = {rows['out']:,} out + {rows['rejected']:,} rejected"))
        without = [f"{rows[name]:,} {name}" for name in ("empty", "null", "nonfinite") if rows.get(name)]
        if without:
            lines.append(("no label", ", ".join(without)))
    if since := metrics.get("since"):
        why = f": {since['why_none_kept']}" if since.get("why_none_kept") else ""
        kept = f"{since['rows_kept']:,} rows kept of {since['path']}, {since['rows_scored']:,} scored{why}"
        lines.append(("since", kept))
    if "predictions" in metrics:
        shares = metrics["predictions"]["share"].items()
        lines.append(("labels", ", ".join(f"{shown(label)} {share or 0:.1%}" for label, share in shares)))
    if "evaluation" in metrics:
        evaluation = metrics["evaluation"]
        figures = [_with_interval(evaluation, name) for name in ("macro_f1", "accuracy")]
        lines.append(("quality", ", ".join(figures) + f" on {_measured(metrics)}"))
    if "comparison" in metrics:
        lines += [("old", metrics["old"]["path"]), ("new", metrics["new"]["path"])]
        lines += _compared(metrics["comparison"])
    if "graphs" in metrics:
        lines.append(("graphs", ", ".join(metrics["graphs"])))
        lines += [("int8", in_words(metrics["measured"]))] if metrics["measured"] else []
    for gate in metrics.get("gates", ()):
        figure_of = "" if gate["condition"] == IN_ORDER else f" at {gate_figure(gate)}"
        lines.append(("gate", f"{gate['condition']}: {verdict_in_a_word(gate)}{figure_of}"))
    if not metrics.get("already_done") and metrics.get("performance", {}).get("rows_per_second"):
        performance = metrics["performance"]
        memory = performance["peak_rss_bytes"] / 2**20
        rate = f"{performance['rows_per_second']:,.0f} rows/s"
        made_by = " with {engine} in {dtype} on {device}".format(**metrics["model"]) if "model" in metrics else ""
        lines.append(("speed", f"{rate}{made_by}, peak memory {memory:,.0f} MiB"))
    return "\n".join(f"{name:<10}{one_line(text)}" for name, text in lines)


def in_one_line(summary: Summary, metrics: dict[str, Any], output: str | None) -> str:
    """The summary as one line of a mail, with how long it took; of a run with several steps that of the last."""
    last, place = metrics, output
    if "steps" in metrics:
        step, last = list(metrics["steps"].items())[-1]
        place = metrics.get("outputs", {}).get(step)
    pieces = [" ".join(line.split()) for line in summary(last, place).splitlines()]
    return "; ".join([*pieces, f"{metrics['run']['seconds']:,.0f} s"]).removeprefix("status ")


def _compared(comparison: dict[str, Any]) -> list[tuple[str, str]]:
    """How many labels flipped, between which labels most did, and what it does to the quality."""
    rate, interval, rows = comparison["flip_rate"], comparison["intervals"], comparison["rows"]
    shares = f"{rate:.2%}, {LEVEL:.0%}: {interval['flip_rate'][0]:.2%} to {interval['flip_rate'][1]:.2%}"
    lines = [("flips", f"{comparison['flips']:,} of {rows:,} rows ({shares})")]
    names = [shown(label) for label in comparison["labels"]]
    cells = [
        (-count, old, new)
        for old, counts in enumerate(comparison["matrix"])
        for new, count in enumerate(counts)
        if count and old != new
    ]
    if cells:
        shown_cells = sorted(cells)[:_CELLS]
        lines.append(("most", ", ".join(f"{names[old]} to {names[new]} {-count:,}" for count, old, new in shown_cells)))
    without = comparison["without_label"]
    if any(without.values()):
        lines.append(("no label", f"{without['old']:,} rows in the old, {without['new']:,} in the new"))
    if quality := comparison["quality"]:
        for name in ("accuracy", "macro_f1"):
            sides, difference = (quality[side][name] for side in ("old", "new")), quality["difference"][name]
            ends = quality["intervals"] and quality["intervals"][name]
            by = f"{difference:+.4f}, {LEVEL:.0%}: {ends[0]:+.4f} to {ends[1]:+.4f}" if ends else "undefined"
            lines.append((name.replace("_", " "), f"{' to '.join(map(figure, sides))} ({by})"))
        test = quality["mcnemar"]
        lines.append(
            (
                "right",
                f"of {quality['rows']:,} rows {test['only_old_right']:,} by the old alone, "
                f"{test['only_new_right']:,} by the new alone; McNemar's p = {test['p_value']:.2g}",
            )
        )
    return lines


def unheld(gates: list[dict[str, Any]], rows: int, judgement: str) -> str:
    """Which gates did not hold, and what helps against it; "" if all did."""
    failed, unsure = (
        [
            f"{gate['condition']} (it is {gate_figure(gate)})"
            for gate in gates
            if not gate["holds"] and (gate["verdict"] == "fails") == fails
        ]
        for fails in (True, False)
    )
    said = [f"{judgement}: {', '.join(failed)}"] if failed else []
    if unsure:
        said.append(
            f"{rows:,} rows cannot decide {', '.join(unsure)}: measure on more of them (of the class, if it is one's "
            "figure), or give --on-undecidable pass"
        )
    return "; ".join(said)


def _with_interval(evaluation: dict[str, Any], name: str) -> str:
    """A figure, and between which ends it is sure to 95 %, if that is known."""
    text, intervals = f"{name.replace('_', ' ')} {figure(evaluation[name])}", evaluation.get("intervals")
    return f"{text} ({_between(intervals[name])})" if intervals else text


def gate_figure(gate: dict[str, Any]) -> str:
    """The figure of a gate, with its interval."""
    text = figure(gate["value"])
    return f"{text}, {_between(gate['interval'])}" if gate.get("interval") else text


def verdict_in_a_word(gate: dict[str, Any]) -> str:
    if gate.get("verdict") == "undecidable":
        return "undecidable, let pass," if gate["holds"] else "UNDECIDABLE"
    return "holds" if gate["holds"] else "FAILS"


def _between(interval: list[float]) -> str:
    return f"{LEVEL:.0%}: {figure(interval[0])} to {figure(interval[1])}"


def _measured(metrics: dict[str, Any]) -> str:
    """How many of the rows the figures are of: those with a score and a label that the model knows."""
    measured = metrics["evaluation"].get("rows", 0)
    total = metrics.get("rows", {}).get("in", measured)
    return f"{measured:,} rows" if measured == total else f"{measured:,} of {total:,} rows"


def in_words(measured: dict[str, Any]) -> str:
    """What `optimize` found of int8."""
    theirs, ours, best = (measured[name] for name in ("torch_float32", "openvino_int8", "float_dtype"))
    verdict = "kept" if measured["int8_kept"] else "NOT kept"
    return (
        f"{verdict}: macro F1 {figure(ours['macro_f1'])}, {figure(theirs['macro_f1'])} in float32 (it may drop by "
        f"{measured['max_drop']:g}); {ours['agreement']:.2%} of the labels the same; {measured['int8_speedup']:.2f} x "
        f"as fast as {best}"
    )


def figure(value: float | None) -> str:
    """A figure as people read it; there is none for no rows."""
    return "undefined" if value is None else f"{value:.4f}"
