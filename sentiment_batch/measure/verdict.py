"""A metrics JSON -> what it comes to, in plain words, for a reader who has never seen the project."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sentiment_batch.measure.doubts import doubts
from sentiment_batch.measure.drift import in_a_word
from sentiment_batch.measure.gates import CONDITION, LEVEL
from sentiment_batch.measure.words import between, cut, figure, quoted

Document = dict[str, Any]

_FIGURES = {
    "rows": "rows measured",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "flip_rate": "share of changed labels",
    "accuracy_difference": "the difference of accuracy",
    "macro_f1_difference": "the difference of macro F1",
}
_COMPARISONS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
DRIFTS = {"tokens": "length", "unknown_share": "unknown words", "confidence": "confidence", "labels": "label mix"}
_DRIFT_FIGURES = {"psi": "PSI", "jensen_shannon": "Jensen-Shannon divergence"}
_MOVES = ("moved", "shifted")  # what `in_a_word` says of a histogram that is not as it was
_SAID = ("stable", "within chance", *_MOVES)  # and of any that was compared


class Verdict(NamedTuple):
    """`kind` is good, bad, unsure or plain; `reasons` are sentences."""

    kind: str
    headline: str
    reasons: list[str]


class GateWords(NamedTuple):
    """One gate, for people."""

    kind: str
    condition: str
    value: float | None
    interval: list[float] | None
    verdict: str


def verdict(metrics: Document) -> Verdict:
    """What to do with what was made or measured, and why."""
    if "error" in metrics:
        return Verdict("bad", f"It did not end well: {metrics.get('status', 'failed')}.", [str(metrics["error"])])
    said = _OF_COMMAND.get(metrics.get("command", ""), _by_gates)(metrics)
    order = (metrics.get("evaluation") or {}).get("label_order") or {}
    if order.get("suspicious"):
        why = "The model may name its classes in another order than the split does: its answers fit far better if they "
        why += "are read otherwise. Whatever else is said here does not count before that is cleared up."
        return Verdict("bad", "It may not go live: its labels look swapped.", [why])
    return said


def gates_in_words(metrics: Document) -> list[GateWords]:
    return [_gate_in_words(gate) for gate in metrics.get("gates") or ()]


def _gate_in_words(gate: Document) -> GateWords:
    value, interval = gate.get("value"), gate.get("interval")
    verdict = gate.get("verdict") or ("passes" if gate["holds"] else "fails")
    kind = {"passes": "good", "fails": "bad"}.get(verdict, "unsure")
    if kind == "unsure":
        verdict += ", let pass as was asked for" if gate["holds"] else ", taken as failed"
    return GateWords(kind, _condition_in_words(str(gate["condition"])), value, interval, verdict)


def _condition_in_words(condition: str) -> str:
    match = CONDITION.fullmatch(condition)
    if match is None:
        return cut(condition, 100)
    name, label, comparison, bound = match.groups()
    if name in _DRIFT_FIGURES:
        return f"{_DRIFT_FIGURES[name]} of the {DRIFTS.get(label, label)} is to be {_COMPARISONS[comparison]} {bound}"
    words = _FIGURES.get(name, name.replace("_", " ")) + (f" of {quoted(label)}" if label else "")
    return f"{words} is to be {_COMPARISONS[comparison]} {bound}"


def _measured(gate: GateWords) -> str:
    if gate.value is None:
        return "there is nothing to measure it by"
    value = figure(gate.value) if isinstance(gate.value, float) else f"{gate.value:,}"
    ends = f", and by the interval it may be anything from {between(gate.interval)}" if gate.interval else ""
    return f"it is {value}{ends}"


def _by_gates(
    metrics: Document,
    good: str = "It may go live",
    bad: str = "It may not go live",
    unsure_yet: str = "It may not go live yet",
) -> Verdict:
    gates = metrics.get("gates")
    if not gates:
        nothing = "No verdict: no condition (“gate”) was set that could pass or fail."
        return Verdict("plain", nothing, ["The figures below say how good it is; whether that is enough is for you."])
    said = [_gate_in_words(gate) for gate in gates]
    failed = [gate for gate in said if gate.kind == "bad"]
    unsure = [gate for gate in said if gate.kind == "unsure"]
    reasons = [f"{gate.condition}: {_measured(gate)}." for gate in (*failed, *unsure)]
    total = f"{len(said)} conditions" if len(said) > 1 else "the one condition"
    if failed:
        count = f"{len(failed)} of {total} fails" if len(failed) == 1 else f"{len(failed)} of {total} fail"
        return Verdict("bad", f"{bad}: {count if len(said) > 1 else 'its one condition fails'}.", reasons)
    held = all(gate["holds"] for gate in gates)
    if unsure:
        count = f"{len(unsure)} of {total}" if len(said) > 1 else "its one condition"
        if held:
            return Verdict("unsure", f"{good}, by your choice: {count} cannot be decided.", reasons)
        more = "Measure on more rows (of the class, if it is one's figure), or decide to let it pass."
        return Verdict("unsure", f"{unsure_yet}: {count} cannot be decided.", [*reasons, more])
    count = f"all {total} pass" if len(said) > 1 else "its one condition passes"
    return Verdict("good", f"{good}: {count}.", [])


def _of_score(metrics: Document) -> Verdict:
    rows = metrics["rows"]
    whole = f"{rows['in']:,} rows in = {rows['out']:,} out + {rows['rejected']:,} rejected"
    if rows["in"] != rows["out"] + rows["rejected"]:
        return Verdict("bad", "Rows are missing.", [f"{whole} does not hold: do not use this output."])
    found = doubts(metrics)
    if found:
        return Verdict("unsure", "Every row is accounted for, but look before you use it.", [*found, f"{whole}."])
    reasons = [f"{whole}.", *_without_label(rows)]
    if not metrics.get("evaluation"):
        reasons.append("Whether the labels are right is not measured here: see the evaluation of the model.")
    return Verdict("good", "Every row is accounted for, and nothing looks odd.", reasons)


def _without_label(rows: Document) -> Iterator[str]:
    if rows["rejected"]:
        share = rows["rejected"] / rows["in"]
        count = "1 row" if rows["rejected"] == 1 else f"{rows['rejected']:,} rows"
        yield f"{count} ({share:.2%}) could not be read; the files in _rejects say where and why."
    blank = rows["empty"] + rows["null"]
    if blank:
        yield f"{blank:,} rows have no text, and so no label."
    if rows["nonfinite"]:
        yield f"{rows['nonfinite']:,} rows have no label because the model gave no finite score for them."


def _of_training(metrics: Document) -> Verdict:
    evaluation, data = metrics["evaluation"], metrics.get("data") or {}
    epochs, best = metrics["epochs"], metrics["best_epoch"]
    reasons = [
        f"Epoch {best} of {len(epochs)} is kept: macro F1 {evaluation['macro_f1']:.3f} on {evaluation['rows']:,} rows.",
        "These rows chose the epoch, so the figures flatter a little: measure with “evaluate” on rows that it has not "
        "seen before it goes live.",
    ]
    if data.get("shared_texts"):
        reasons.append(f"{data['shared_texts']:,} texts of the validation split are in the training data too.")
    if data.get("train_contradictions"):
        reasons.append(f"{data['train_contradictions']:,} repeated texts of the training data have several labels.")
    return Verdict("plain", "A model is trained; it is not yet measured on rows of its own.", reasons)


def _of_comparison(metrics: Document) -> Verdict:
    compared, gated = metrics["comparison"], _by_gates(metrics)
    flips = f"The label changes in {compared['flips']:,} of {compared['rows']:,} rows"
    flips += f" ({compared['flip_rate']:.1%})." if compared["flip_rate"] is not None else "."
    quality = compared.get("quality")
    reasons = [flips, *([better_in_words(quality)] if quality else [])]
    if metrics.get("gates"):
        return Verdict(gated.kind, gated.headline, [*gated.reasons, *reasons])
    if not quality:
        return Verdict("plain", flips, ["Which of the two is right is not known: the rows have no true labels."])
    low, high = (quality.get("intervals") or {}).get("macro_f1") or (None, None)
    if low is not None and low > 0:
        return Verdict("good", "The new one is better.", reasons)
    if high is not None and high < 0:
        return Verdict("bad", "The new one is worse.", reasons)
    return Verdict("unsure", "No difference in quality that so many rows can show.", reasons)


def better_in_words(quality: Document) -> str:
    """How far the new one's macro F1 is from the old one's."""
    difference, ends = quality["difference"]["macro_f1"], (quality.get("intervals") or {}).get("macro_f1")
    between = f" ({LEVEL:.0%}: {ends[0]:+.3f} to {ends[1]:+.3f})" if ends else ""
    old, new = quality["old"]["macro_f1"], quality["new"]["macro_f1"]
    return f"Macro F1 goes from {old:.3f} to {new:.3f}: {difference:+.3f}{between}."


def _of_drift(metrics: Document) -> Verdict:
    if metrics.get("gates"):
        return _by_gates(metrics, "The texts are as they should be", "The texts have drifted", "It is not sure")
    found = {
        (name, in_a_word(reference["psi"][name], reference["chance"][name]))
        for reference in metrics["drift"]["references"]
        for name in DRIFTS
    }
    moved = [f"{words} has {word}" for name, words in DRIFTS.items() for word in _MOVES if (name, word) in found]
    reasons = [f"{', '.join(moved)}."] if moved else []
    if any(word == _MOVES[-1] for _, word in found):
        return Verdict("bad", "This night's texts are not like those before.", reasons)
    if moved:
        return Verdict("unsure", "This night's texts have moved a little.", reasons)
    compared = {name for name, word in found if word in _SAID}
    lacking = [words for name, words in DRIFTS.items() if name not in compared]
    if lacking:
        return Verdict("unsure", "Not all of it could be compared.", [f"Not compared: {', '.join(lacking)}."])
    return Verdict("good", "This night's texts are like those before.", [])


_OF_COMMAND = {"score": _of_score, "train": _of_training, "compare": _of_comparison, "drift": _of_drift}
