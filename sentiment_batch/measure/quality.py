"""The evaluation of a metrics JSON -> what a page shows of it: how good, where it fails, whether to believe it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from sentiment_batch.measure.evaluation import intervals_section, wilson
from sentiment_batch.measure.plots import Bar, bars, matrix, reliability
from sentiment_batch.measure.words import about, figure, quoted, share

Document = dict[str, Any]

_DRAWN_CLASSES, _DRAWN_CELLS = 20, 12
_NUMBERED_CELLS = 6  # labels up to which the matrix has room for its numbers
_LISTED_PAIRS = 10
_SLICES = 60
_SURE_ENOUGH = 0.02  # how far what it says may be from what is right, for one to say that it is about right


class Card(NamedTuple):
    """A figure that is looked at first."""

    name: str
    value: str
    interval: Sequence[float] | None
    meaning: str


class Pair(NamedTuple):
    """Rows of one label that were taken for another one's."""

    true: str
    predicted: str
    rows: int
    of_true: float


def quality(metrics: Document) -> Document | None:
    """None if no row has a true label."""
    evaluation = metrics.get("evaluation")
    if not evaluation or not evaluation.get("rows"):
        return None
    confusion = evaluation["confusion"]
    labels, cells = confusion["labels"], confusion["matrix"]
    intervals = evaluation.get("intervals") or intervals_section(cells, tuple(labels)) or {}
    pairs = _pairs(labels, cells)
    return {
        "rows": evaluation["rows"],
        "wrong": evaluation["rows"] - sum(cells[each][each] for each in range(len(labels))),
        "unlabelled": evaluation.get("rows_without_known_label"),
        "cards": _cards(evaluation, intervals, metrics.get("command", "")),
        "pairs": pairs[:_LISTED_PAIRS] if len(labels) > _NUMBERED_CELLS else [],
        "worst_pair": pairs[0] if pairs else None,
        "matrix": _matrix(labels, cells),
        "whole_matrix": len(labels) <= _DRAWN_CELLS,
        **_classes(evaluation["per_class"], intervals.get("per_class", {})),
        **_slices(evaluation, _prefix(metrics)),
        "mistakes": evaluation.get("mistakes") or [],
        "trust": _trust(evaluation),
        "label_order": evaluation.get("label_order"),
    }


def _cards(evaluation: Document, intervals: Document, command: str) -> list[Card]:
    per_class, rows = evaluation["per_class"], evaluation["rows"]
    common = max(per_class, key=lambda label: per_class[label]["rows"])
    there = [label for label in per_class if per_class[label]["rows"]]
    worst = min(there, key=lambda label: per_class[label]["f1"])
    ends = intervals.get("per_class", {}).get(worst, {}).get("f1")
    always = share(per_class[common]["rows"] / rows)
    right = share(evaluation["accuracy"])
    return [
        Card(
            *("macro F1", figure(evaluation["macro_f1"]), intervals.get("macro_f1")),
            "The mean of the labels' F1, each counted alike however rare it is. 1 is faultless.",
        ),
        Card(
            *("accuracy", figure(evaluation["accuracy"]), intervals.get("accuracy")),
            f"It is right in {right} of the rows. Always saying {quoted(common)} would be right in {always}.",
        ),
        Card(
            *("weakest label", figure(per_class[worst]["f1"]), ends),
            f"The F1 of {quoted(worst)}, which it does worst; {per_class[worst]['rows']:,} rows are of it.",
        ),
        Card("rows measured", f"{rows:,}", None, _ROWS_MEANING.get(command, _ROWS_MEANING[""])),
    ]


_ROWS_MEANING = {
    "": "Labelled texts by which this was measured. The more there are, the narrower are the intervals.",
    "train": "Labelled texts of the validation split, by which the epoch was chosen.",
}


def _pairs(labels: list[str], cells: list[list[int]]) -> list[Pair]:
    """Every kind of mistake, the most frequent first."""
    found = [
        Pair(true, predicted, cells[row][column], cells[row][column] / sum(cells[row]))
        for row, true in enumerate(labels)
        for column, predicted in enumerate(labels)
        if row != column and cells[row][column]
    ]
    return sorted(found, key=lambda pair: -pair.rows)


def _matrix(labels: list[str], cells: list[list[int]]) -> Markup:
    """Of many labels those with the most mistakes, with all others in one more column."""
    names, shown, title = list(labels), cells, "What is true, and what the model said of it"
    if len(labels) > _DRAWN_CELLS:
        wrong = [sum(row) + sum(each[place] for each in cells) - 2 * row[place] for place, row in enumerate(cells)]
        kept = sorted(sorted(range(len(labels)), key=lambda place: -wrong[place])[: _DRAWN_CELLS - 1])
        others = [sum(cells[row]) - sum(cells[row][place] for place in kept) for row in kept]
        shown = [[*(cells[row][place] for place in kept), other] for row, other in zip(kept, others, strict=True)]
        names = [*(labels[place] for place in kept), "all others"]
    return matrix("confusion", title, names, shown, ("true", "predicted"))


def _classes(per_class: Document, intervals: Document) -> Document:
    """The labels, the worst first."""
    order = sorted(per_class, key=lambda label: (per_class[label]["f1"], label))
    classes = [{"label": label, **per_class[label], "intervals": intervals.get(label, {})} for label in order]
    drawn = [
        Bar(each["label"], each["f1"], each["intervals"].get("f1"), f"{figure(each['f1'])}, {about(each['rows'])} rows")
        for each in classes[:_DRAWN_CLASSES]
    ]
    title = "F1 of each label, with its interval"
    plot = bars("classes", title, drawn, "F1")
    return {"classes": classes, "classes_plot": plot, "classes_drawn": len(drawn)}


def _prefix(metrics: Document) -> str:
    """What is before the names of the added columns."""
    return str(((metrics.get("identity") or {}).get("options") or {}).get("prefix", ""))


def _slices(evaluation: Document, prefix: str) -> Document:
    found = evaluation.get("slices") or []
    slices = [
        {**each, "name": _slice_name(each, prefix), "ends": each.get("intervals") or {}} for each in found[:_SLICES]
    ]
    if not slices:
        return {"slices": []}
    drawn = [
        Bar(each["name"], each["accuracy"], each["ends"].get("accuracy"), _slice_note(each)) for each in _worst(slices)
    ]
    title = "Accuracy of each part of the rows, with its interval"
    plot = bars("slices", title, drawn, "accuracy", line=evaluation["accuracy"])
    return {"slices": slices, "slices_plot": plot, "slices_left": len(found) - len(slices), "slices_drawn": len(drawn)}


def _worst(slices: list[Document]) -> list[Document]:
    """In their order, if all of them can be drawn; else the worst of them, first."""
    if len(slices) <= _DRAWN_CLASSES:
        return slices
    return sorted(slices, key=lambda each: each["accuracy"])[:_DRAWN_CLASSES]


def _slice_name(slice: Document, prefix: str) -> str:
    column, value = slice["column"], slice["value"]
    if column == f"{prefix}n_tokens":
        return f"{value.replace(' to ', '-').replace(' up', '+')} tokens"
    if column == f"{prefix}truncated":
        return "cut" if value == "yes" else "not cut"
    return f"{column}: {value}"


def _slice_note(slice: Document) -> str:
    return f"{figure(slice['accuracy'])}, {about(slice['rows'])} rows" if slice["rows"] else "no rows"


def _trust(evaluation: Document) -> Document | None:
    """What comes of its calibration, with the figure."""
    calibration = evaluation.get("calibration")
    bins = [each for each in calibration["bins"] if each["rows"]] if calibration else []
    if not calibration or not bins:
        return None
    rows = sum(each["rows"] for each in bins)
    says = sum(each["confidence"] * each["rows"] for each in bins) / rows
    right = sum(each["accuracy"] * each["rows"] for each in bins) / rows
    title = "How often the model is right where it is so sure"
    plot = reliability("reliability", title, calibration["bins"], lambda part, whole: wilson(part, whole).tolist())
    return {
        **calibration,
        "says": says,
        "right": right,
        "words": _too_sure(says - right),
        "plot": plot,
    }


def _too_sure(gap: float) -> str:
    if abs(gap) < _SURE_ENOUGH:
        return "On the whole, yes"
    return "Not quite: it is surer than it should be" if gap > 0 else "Not quite: it is less sure than it could be"
