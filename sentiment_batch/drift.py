"""The job that says whether a night looks like what the model was trained on, and like the nights before.

It reads what `score`, `evaluate` and `train` noted of their rows in small histograms: no text, and no reference data.
"""

import logging
from typing import Any

from sentiment_batch.config import DriftOptions
from sentiment_batch.errors import GateFailed, UsageError
from sentiment_batch.logs import one_line, shown
from sentiment_batch.measure.drift import HISTOGRAMS, Profile, compare, in_a_word, in_other_bins, pool
from sentiment_batch.measure.drift_gates import parse_drift_gate
from sentiment_batch.measure.gates import judged_by
from sentiment_batch.measure.metrics import Clock, Metrics, document
from sentiment_batch.measure.summary import figure, verdict_in_a_word
from sentiment_batch.profiled import Night, Training, read_night, read_training

_POOLED = (("evaluations", "evaluate"), ("nights", "score"))  # the kind of a reference, and which command's it is
_NAMED = 3

log = logging.getLogger(__name__)


def drift(options: DriftOptions) -> Metrics:
    """Compare the night with the training and with what came before it, and return by how much they differ.

    Raises `InputError` for what is no metrics JSON with a profile, `ModelRefused` for a model that is none, and
    `GateFailed` if a gate does not hold.
    """
    clock = Clock()
    gates = [gate for condition in options.gate for gate in parse_drift_gate(condition)]
    night = read_night(options.night)
    before = _others(night, [read_night(path) for path in options.before])
    calibrated = night.temperature is not None
    training = read_training(options.model, calibrated) if options.model is not None else None
    _warn_of_models(night, before, training)
    references = [_reference("training", training.path, {training.path: training.profile}, night)] if training else []
    for kind, command in _POOLED:
        if of_kind := [each for each in before if each.command == command]:
            references.append(_pooled(kind, of_kind, night))
    if not references:
        raise UsageError(
            f"{', '.join(options.before)}: all of them are the night itself; give earlier ones, or --model"
        )
    if not night.profile["rows"]:
        log.warning("%s has no scored row: there is nothing to compare", night.path)
    worst = {name: _worst([each["psi"][name] for each in references]) for name in HISTOGRAMS}
    of_night = {"path": night.path, "ended_at": night.ended_at, "rows": night.profile["rows"]}
    metrics = document(
        "drift",
        clock,
        drift={"night": of_night, "references": references, "worst": worst},
        headline={f"psi_{name}": value for name, value in worst.items()},
    )
    metrics |= judged_by([gate.outcome(references, options.on_undecidable) for gate in gates])
    return _judged(metrics)


def summary(metrics: Metrics, output: str | None) -> str:
    """What was compared with what, and how far each histogram has moved, in a few lines for a person."""
    night = metrics["drift"]["night"]
    lines = [("status", f"{metrics['status'].replace('_', ' ')}: {night['path']}, {night['rows']:,} rows")]
    for reference in metrics["drift"]["references"]:
        lines.append((reference["kind"], f"{reference['name']}, {reference['rows']:,} rows"))
        figures = (reference["psi"], reference["jensen_shannon"], reference["chance"])
        for name in HISTOGRAMS:
            index, divergence, chance = (each[name] for each in figures)
            lines.append(
                (
                    f"  {name}",
                    f"PSI {figure(index):<9} by chance {figure(chance):<9} Jensen-Shannon {figure(divergence):<9} "
                    f"{in_a_word(index, chance)}",
                )
            )
    for gate in metrics["gates"]:
        lines.append(("gate", f"{gate['condition']}: {verdict_in_a_word(gate)} at {_figure(gate)}"))
    return "\n".join(f"{name:<16}{one_line(text)}" for name, text in lines)


def _others(night: Night, before: list[Night]) -> list[Night]:
    """The nights before it, each once: `labelled/*` has the night itself in it, and a copy is no other night."""
    others: dict[str, Night] = {}
    for each in before:
        if each.run == night.run or each.run in others:
            first = night if each.run == night.run else others[each.run]
            log.info("left out: %s is the same run as %s", each.path, first.path)
        else:
            others[each.run] = each
    return list(others.values())


def _warn_of_models(night: Night, before: list[Night], training: Training | None) -> None:
    """Say so where two models are compared, not two nights."""
    made_by = (night.model, night.temperature)
    others = [each.path for each in before if (each.model, each.temperature) != made_by]
    if training and night.model not in training.digests:
        others.append(training.path)
    if others:
        log.warning(
            "%s is of another model than %s, or of another --calibrated: two models are compared, not two nights alone",
            *(_in_words(others), shown(night.path)),
        )


def _reference(kind: str, name: str, profiles: dict[str, Profile], night: Night) -> Metrics:
    """How far the night is from the rows of all of the profiles, which are named by where they are from."""
    for path, profile in profiles.items():
        if other := in_other_bins(profile, night.profile):
            log.warning(
                "%s of %s cannot be compared with %s: other bins, as another version makes them; leave it out",
                *(" and ".join(other), shown(path), shown(night.path)),
            )
    profile = pool(list(profiles.values()))
    return {"kind": kind, "name": name, "rows": profile["rows"], **compare(profile, night.profile)}


def _pooled(kind: str, before: list[Night], night: Night) -> Metrics:
    """One reference of them all; `each` says how far the night is from each, for a look: no gate looks at it."""
    name = before[0].path if len(before) == 1 else f"{len(before):,} {kind}"
    each = [
        {"name": one.path, "ended_at": one.ended_at, "rows": one.profile["rows"], **compare(one.profile, night.profile)}
        for one in before
    ]
    return {**_reference(kind, name, {one.path: one.profile for one in before}, night), "each": each}


def _worst(values: list[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _judged(metrics: Metrics) -> Metrics:
    """The metrics. Raises `GateFailed` with them if a gate does not hold."""
    held = [gate for gate in metrics["gates"] if not gate["holds"]]
    if not held:
        return metrics
    night = metrics["drift"]["night"]
    failed = [f"{gate['condition']} (it is {_figure(gate)})" for gate in held if gate["verdict"] == "fails"]
    unsure = [f"{gate['condition']} (it is {_figure(gate)})" for gate in held if gate["verdict"] != "fails"]
    said = [f"{night['path']} is not like what it is compared with: {', '.join(failed)}"] if failed else []
    if unsure:
        said.append(
            f"so few rows may differ as much by chance: {', '.join(unsure)}; compare more of them, or give "
            "--on-undecidable pass"
        )
    raise GateFailed(f"{'; '.join(said)}; look at the night's texts before its labels are used", metrics)


def _figure(gate: dict[str, Any]) -> str:
    return f"{figure(gate['value'])} from {gate['reference']}"


def _in_words(paths: list[str]) -> str:
    more = f" and {len(paths) - _NAMED:,} more" if len(paths) > _NAMED else ""
    return ", ".join(map(shown, paths[:_NAMED])) + more
