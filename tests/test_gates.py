"""measure/gates.py: what a gate compares, and what is no gate."""

from typing import Any

import pytest

from sentiment_batch.errors import UsageError
from sentiment_batch.measure.gates import COMPARISON, gated, parse_gate

LABELS = ("positif", "sangat negatif")
EVALUATION: dict[str, Any] = {
    "rows": 200,
    "accuracy": 0.9,
    "macro_f1": 0.8,
    "macro_precision": 0.7,
    "macro_recall": 0.6,
    "per_class": {
        "positif": {"precision": 0.5, "recall": 0.4, "f1": 0.3, "rows": 150},
        "sangat negatif": {"precision": 0.2, "recall": 0.1, "f1": 0.05, "rows": 50},
    },
}


@pytest.mark.parametrize(
    ("comparison", "below", "equal", "above"),
    [(">=", False, True, True), (">", False, False, True), ("<=", True, True, False), ("<", True, False, False)],
)
def test_every_comparison(comparison: str, below: bool, equal: bool, above: bool) -> None:
    gate = parse_gate(f"accuracy{comparison}0.9", LABELS)
    outcomes = [gate.outcome({**EVALUATION, "accuracy": value})["holds"] for value in (0.899, 0.9, 0.901)]
    assert outcomes == [below, equal, above]


@pytest.mark.parametrize(
    ("condition", "value"),
    [
        ("accuracy>0", 0.9),
        ("macro_f1>0", 0.8),
        ("macro_precision>0", 0.7),
        ("macro_recall>0", 0.6),
        ("rows>=200", 200),
        ("precision[positif]>0", 0.5),
        ("recall[positif]>0", 0.4),
        ("f1[positif]>0", 0.3),
        ("f1[sangat negatif]>=5e-2", 0.05),
        (" macro_f1 >= .8 ", 0.8),
        ("recall[positif] > 0", 0.4),
    ],
)
def test_every_figure(condition: str, value: float) -> None:
    outcome = parse_gate(condition, LABELS).outcome(EVALUATION)
    assert outcome == {"condition": condition, "value": value, "interval": None, "verdict": "passes", "holds": True}


def test_a_figure_that_is_undefined_never_holds() -> None:
    evaluation = {**EVALUATION, "accuracy": None}
    for condition in ("accuracy>=0", "accuracy<=1"):
        outcome = parse_gate(condition, LABELS).outcome(evaluation)
        assert outcome == {
            "condition": condition,
            "value": None,
            "interval": None,
            "verdict": "fails",
            "holds": False,
        }


INTERVALS = {
    "accuracy": [0.85, 0.94],
    **{name: [0.0, 1.0] for name in ("macro_f1", "macro_precision", "macro_recall")},
    "per_class": {
        "positif": {"precision": [0.4, 0.6], "recall": [0.3, 0.5], "f1": [0.2, 0.4]},
        "sangat negatif": {name: [0.0, 0.3] for name in ("precision", "recall", "f1")},
    },
}


@pytest.mark.parametrize(
    ("condition", "verdict"),
    [
        ("accuracy>=0.85", "passes"),
        ("accuracy>0.85", "undecidable"),
        ("accuracy>=0.9", "undecidable"),
        ("accuracy>=0.94", "undecidable"),
        ("accuracy>0.94", "fails"),
        ("accuracy<=0.94", "passes"),
        ("accuracy<0.94", "undecidable"),
        ("accuracy<0.85", "fails"),
        ("recall[positif]>=0.3", "passes"),
        ("recall[positif]>=0.4", "undecidable"),
        ("recall[positif]>=0.51", "fails"),
        ("rows>=200", "passes"),
        ("rows>=201", "fails"),
    ],
)
def test_a_bound_within_the_interval_is_not_decided(condition: str, verdict: str) -> None:
    evaluation = {**EVALUATION, "intervals": INTERVALS}
    gate = parse_gate(condition, LABELS)
    for on_undecidable in ("pass", "fail"):
        outcome = gate.outcome(evaluation, on_undecidable)
        assert outcome["verdict"] == verdict
        assert outcome["holds"] is (verdict == "passes" or (verdict, on_undecidable) == ("undecidable", "pass"))
    assert outcome["interval"] == (None if "rows" in condition else gate._of(INTERVALS))


@pytest.mark.parametrize(
    "condition",
    [
        "",
        "macro_f1",
        "macro_f1>=",
        ">=0.8",
        "macro_f1=0.8",
        "macro_f1==0.8",
        "macro_f1=>0.8",
        "macro_f1>=0.8 and",
        "a b>1",
    ],
)
def test_what_is_no_condition_is_shown_how_to_write_one(condition: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_gate(condition, LABELS)
    message = str(refused.value)
    assert repr(condition) in message
    assert 'write it as "macro_f1>=0.85" or "recall[sangat negatif]>=0.8"' in message


@pytest.mark.parametrize("condition", ["f1>=0.8", "f_beta>=0.8", "macro_f1[positif]>=0.8", "rows[positif]>=0.8"])
def test_an_unknown_figure_is_answered_with_the_known_ones(condition: str) -> None:
    with pytest.raises(UsageError, match=r"figures are accuracy, macro_f1, .*, and of one class precision, recall, f1"):
        parse_gate(condition, LABELS)


@pytest.mark.parametrize("label", ["negatif", "Positif", " positif"])
def test_an_unknown_label_is_answered_with_the_known_ones(label: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_gate(f"recall[{label}]>=0.8", LABELS)
    assert f"the model has no label {label!r}; it has positif, sangat negatif" in str(refused.value)


def test_a_gate_can_be_looked_at_before_there_is_a_model() -> None:
    assert parse_gate("recall[anything]>=0.8").label == "anything"
    with pytest.raises(UsageError, match=r'write it as "macro_f1>=0.85" or "recall\[LABEL\]>=0.8"'):
        parse_gate("recall>=0.8")


@pytest.mark.parametrize("bound", ["high", "0,85", "85%", "nan"])
def test_a_bound_that_is_no_number_is_refused(bound: str) -> None:
    with pytest.raises(UsageError, match="is not a number"):
        parse_gate(f"macro_f1>={bound}", LABELS)


@pytest.mark.parametrize("condition", ["macro_f1>=85", "accuracy<=-0.1", "recall[positif]>=80"])
def test_a_percentage_is_no_share(condition: str) -> None:
    with pytest.raises(UsageError, match="is between 0 and 1"):
        parse_gate(condition, ("positif", "negatif"))


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (
            "accuracy>=0.8",
            r"figures are flip_rate, accuracy_difference, macro_f1_difference, rows, and of one class flip_",
        ),
        ("flip_rate[x]<=0.1", "OLD has no label 'x'; it has positif, sangat negatif"),
        ("flip", r'write it as "flip_rate<=0.05" or "flip_rate\[sangat negatif\]<=0.1"'),
        ("flip_rate<=-0.1", "flip_rate is between 0 and 1, so -0.1 decides nothing"),
        ("accuracy_difference>=-1.5", "accuracy_difference is between -1 and 1, so -1.5 decides nothing"),
    ],
)
def test_a_command_has_gates_of_its_own(condition: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_gate(condition, LABELS, COMPARISON)
    assert parse_gate("accuracy_difference>=-0.01", LABELS, COMPARISON).bound == -0.01


def test_one_gate_that_does_not_hold_decides() -> None:
    gates = [parse_gate(condition, LABELS) for condition in ("accuracy>=0.85", "macro_f1>=0.9")]
    found = gated(EVALUATION, gates, "fail")
    assert ([gate["holds"] for gate in found["gates"]], found["status"], found["exit_code"]) == (
        [True, False],
        "gate_failed",
        9,
    )
    assert gated(EVALUATION, gates[:1], "fail")["exit_code"] == 0
