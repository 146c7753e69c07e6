"""The other sections of a metrics JSON -> what a page shows of them. Each is None if the document has none."""

from typing import Any

from sentiment_batch.measure.plots import Bar, bars, curves, histogram, matrix
from sentiment_batch.measure.verdict import DRIFTS, better_in_words
from sentiment_batch.measure.words import about, figure, number, share

Document = dict[str, Any]

_DRAWN = 20
_DRAWN_CELLS = 12
_SIGNIFICANT, _TINY = 0.05, 0.0001
_INPUTS = 50


def training(metrics: Document) -> Document | None:
    epochs = metrics.get("epochs")
    if not epochs:
        return None
    title = "Quality on the validation split and loss on the training texts, by epoch"
    plot = curves("curves", title, epochs, metrics["best_epoch"])
    return {"epochs": epochs, "best": metrics["best_epoch"], "plot": plot, "data": metrics.get("data")}


def comparison(metrics: Document) -> Document | None:
    found = metrics.get("comparison")
    if not found:
        return None
    labels, cells = list(found["labels"]), found["matrix"]
    by_label = sorted(found["by_label"].items(), key=lambda each: -(each[1]["flip_rate"] or 0))
    drawn = [
        Bar(label, each["flip_rate"], each.get("interval"), f"{share(each['flip_rate'])} of {about(each['rows'])}")
        for label, each in by_label[:_DRAWN]
    ]
    made = {**found, "by_label": by_label, "matrix": None}
    made["by_label_plot"] = bars(
        "flips", "Share of each old label that changes, with its interval", drawn, "share that changes"
    )
    if len(labels) <= _DRAWN_CELLS:
        title = "What the old one said, and what the new one says"
        made["matrix"] = matrix("flip-matrix", title, labels, cells, ("old", "new"))
    pairs = [
        (old, new, cells[row][column])
        for row, old in enumerate(labels)
        for column, new in enumerate(labels)
        if row != column and cells[row][column]
    ]
    made["pairs"] = sorted(pairs, key=lambda each: -each[2])[:10]
    quality = found.get("quality")
    made["better"] = better_in_words(quality) if quality else None
    made["mcnemar"] = _mcnemar(quality["mcnemar"]) if quality and quality.get("mcnemar") else None
    return made


def _mcnemar(test: Document) -> str:
    """McNemar's test in words."""
    only_old, only_new, chance = test["only_old_right"], test["only_new_right"], test["p_value"]
    said = f"The old one alone is right in {only_old:,} rows, the new one alone in {only_new:,}. "
    if only_old + only_new == 0:
        return said + "There is no row in which only one of them is right, so nothing tells them apart."
    kind = "McNemar's test, exact" if test.get("exact") else "McNemar's test"
    verdict = (
        "chance alone would hardly make them so different"
        if chance < _SIGNIFICANT
        else "chance alone could make them so different"
    )
    by_chance = f"p < {_TINY}" if chance < _TINY else f"p = {figure(chance)}"
    return said + f"If they were equally good, {verdict} ({by_chance}; {kind})."


def profile(metrics: Document) -> Document | None:
    """What the texts are like, and what was said of them."""
    found, predictions = metrics.get("profile"), metrics.get("predictions")
    if not found and not predictions:
        return None
    made: Document = {"labels": None, "plots": [], "profile": found, "predictions": predictions}
    if predictions:
        ordered = sorted(predictions["counts"].items(), key=lambda each: -each[1])
        rows = [
            Bar(label, predictions["share"][label], None, f"{share(predictions['share'][label])}, {about(count)}")
            for label, count in ordered[:_DRAWN]
        ]
        title = "Share of the texts that got each label"
        made["labels"] = bars("labels", title, rows, "share of the texts")
        made["labels_left"] = len(ordered) - len(rows)
    for name, title, axis, last in _HISTOGRAMS if found and found["rows"] else ():
        if found and found.get(name):
            edges, counts = found[name]["edges"], found[name]["counts"]
            if name == "tokens" and (used := max(place for place, count in enumerate(counts, 1) if count)) < len(edges):
                edges, counts, last = edges[:used], counts[:used], f"{edges[used]:g}"
            made["plots"].append((title, histogram(name.replace("_", "-"), title, edges, counts, axis, last)))
    return made


_HISTOGRAMS = (
    ("tokens", "How long the texts are", "tokens in a text", "…"),
    ("unknown_share", "How much of a text the model does not know", "unknown share of a text's tokens", "1"),
    ("confidence", "How sure the model is", "confidence", "1"),
)


def drift(metrics: Document) -> Document | None:
    found = metrics.get("drift")
    return {**found, "names": DRIFTS} if found else None


def origin(metrics: Document) -> Document:
    """What it was made from, as pairs of a name and a value."""
    models = [(name, metrics[name]) for name in ("model", "old", "new") if isinstance(metrics.get(name), dict)]
    inputs = (metrics.get("input") or {}).get("files") or []
    identity = metrics.get("identity") or {}
    options = {**identity.get("options", {})} if isinstance(identity, dict) else {}
    return {
        "models": [(name, [(key, _plain(value)) for key, value in model.items()]) for name, model in models],
        "inputs": inputs[:_INPUTS],
        "inputs_left": max(0, len(inputs) - _INPUTS),
        "options": [(name, _plain(value)) for name, value in options.items() if value not in (None, [], "")],
    }


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value[:100])) + (f" and {number(len(value) - 100)} more" if len(value) > 100 else "")
    return "none" if value is None else str(value)
