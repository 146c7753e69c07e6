"""measure/verdict.py: what it comes to, in words that nobody takes amiss."""

from typing import Any

import pytest
from documents import compared, drifted, evaluated, scored, swapped, trained

from sentiment_batch.measure.verdict import gates_in_words, verdict


@pytest.mark.parametrize(
    ("gates", "kind", "headline"),
    [
        ((), "plain", "No verdict: no condition (“gate”) was set that could pass or fail."),
        (("macro_f1>=0.8",), "good", "It may go live: its one condition passes."),
        (("macro_f1>=0.8", "rows>=100"), "good", "It may go live: all 2 conditions pass."),
        (("macro_f1>=0.95",), "bad", "It may not go live: its one condition fails."),
        (("macro_f1>=0.95", "rows>=1"), "bad", "It may not go live: 1 of 2 conditions fails."),
        (("macro_f1>=0.95", "accuracy<0.5"), "bad", "It may not go live: 2 of 2 conditions fail."),
        (("accuracy>=0.9",), "unsure", "It may not go live yet: its one condition cannot be decided."),
        (("accuracy>=0.9", "macro_f1>=0.8"), "unsure", "It may not go live yet: 1 of 2 conditions cannot be decided."),
        (("accuracy>=0.9", "macro_f1>=0.95"), "bad", "It may not go live: 1 of 2 conditions fails."),
    ],
)
def test_of_an_evaluation(gates: tuple[str, ...], kind: str, headline: str) -> None:
    said = verdict(evaluated(gates=gates))
    assert (said.kind, said.headline) == (kind, headline)
    if kind == "good":
        assert said.reasons == []


def test_what_was_let_pass_is_said() -> None:
    metrics = evaluated(gates=("accuracy>=0.9",))
    metrics["gates"][0]["holds"] = True
    assert verdict(metrics).headline == "It may go live, by your choice: its one condition cannot be decided."
    assert gates_in_words(metrics)[0].verdict == "undecidable, let pass as was asked for"


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("macro_f1>=0.85", "macro F1 is to be at least 0.85"),
        (" recall[neutral] < 0.8 ", "recall of “\u2068neutral\u2069” is to be less than 0.8"),
        ("psi[unknown_share]<=0.2", "PSI of the unknown words is to be at most 0.2"),
        ("jensen_shannon[labels]>0.1", "Jensen-Shannon divergence of the label mix is to be more than 0.1"),
        ("flip_rate<=0.05", "share of changed labels is to be at most 0.05"),
        ("something else", "something else"),
    ],
)
def test_conditions_in_words(condition: str, words: str) -> None:
    gate = {"condition": condition, "value": None, "interval": None, "verdict": "fails", "holds": False}
    assert gates_in_words({"gates": [gate]})[0].condition == words
    said = verdict({"command": "evaluate", "gates": [gate]})
    assert said.reasons == [f"{words}: there is nothing to measure it by."]


def test_swapped_labels_come_before_all_else() -> None:
    said = verdict(swapped())
    assert said.kind == "bad"
    assert said.headline == "It may not go live: its labels look swapped."
    assert "Whatever else is said here does not count" in said.reasons[0]


@pytest.mark.parametrize(
    ("rows", "kind", "said"),
    [
        ({}, "good", "Whether the labels are right is not measured here"),
        ({"out": 1250, "rejected": 10}, "good", "10 rows (0.79%) could not be read; the files in _rejects say where"),
        ({"scored": 1256, "empty": 3, "null": 1}, "good", "4 rows have no text, and so no label."),
        ({"scored": 1258, "nonfinite": 2}, "good", "2 rows have no label because the model gave no finite score"),
        ({"truncated": 1250}, "unsure", "1,250 of 1,260 texts were cut to --max-length, 512 tokens"),
        ({"out": 1259}, "bad", "1,260 rows in = 1,259 out + 0 rejected does not hold"),
    ],
)
def test_of_labels(rows: dict[str, int], kind: str, said: str) -> None:
    found = verdict(scored(**rows))
    assert found.kind == kind
    assert said in " ".join(found.reasons)


def test_of_a_training() -> None:
    said = verdict(trained())
    assert said.kind == "plain"
    assert "Epoch 5 of 5 is kept" in said.reasons[0]
    assert said.reasons[-2:] == [
        "14 texts of the validation split are in the training data too.",
        "2 repeated texts of the training data have several labels.",
    ]


@pytest.mark.parametrize(
    ("ends", "kind"), [([0.003, 0.046], "good"), ([-0.01, 0.046], "unsure"), ([-0.04, -0.001], "bad"), (None, "unsure")]
)
def test_of_a_comparison(ends: list[float] | None, kind: str) -> None:
    metrics = compared()
    metrics["comparison"]["quality"]["intervals"] = ends and {"macro_f1": ends, "accuracy": ends}
    said = verdict(metrics)
    assert said.kind == kind
    assert said.reasons[0] == "The label changes in 86 of 1,260 rows (6.8%)."


def test_of_a_comparison_without_true_labels() -> None:
    said = verdict(compared(with_labels=False))
    assert (said.kind, said.reasons[0][:27]) == ("plain", "Which of the two is right i")
    metrics = compared(with_labels=False)
    metrics["gates"] = [
        {"condition": "flip_rate<=0.01", "value": 0.07, "interval": [0.05, 0.08], "verdict": "fails", "holds": False}
    ]
    assert verdict(metrics).headline == "It may not go live: its one condition fails."


def test_of_drift() -> None:
    said = verdict(drifted())
    assert said.headline == "The texts have drifted: its one condition fails."
    metrics = drifted()
    without: dict[str, Any] = {**metrics, "gates": []}
    of_training = metrics["drift"]["references"][0]
    for psi, chance, kind in ((0.31, 0.02, "bad"), (0.15, 0.02, "unsure"), (0.02, 0.01, "good"), (0.31, 0.4, "good")):
        of_training["psi"] = {**dict.fromkeys(of_training["psi"], 0.01), "tokens": psi}
        of_training["chance"] = {**dict.fromkeys(of_training["psi"], 0.02), "tokens": chance}
        assert verdict(without).kind == kind
    of_training["psi"]["labels"], of_training["chance"]["labels"] = 0.2, 0.1
    assert verdict(without).reasons == ["label mix has moved."]


def test_what_could_not_be_compared_is_not_as_before() -> None:
    without: dict[str, Any] = {**drifted(), "gates": []}
    for reference in without["drift"]["references"]:
        for name in ("psi", "chance"):
            reference[name] = {**dict.fromkeys(reference[name], 0.01), "tokens": None}
    assert verdict(without)[:2] == ("unsure", "Not all of it could be compared.")
    assert verdict(without).reasons == ["Not compared: length."]


def test_of_a_failure() -> None:
    said = verdict({"command": "score", "status": "failed", "error": "disk full"})
    assert (said.kind, said.reasons) == ("bad", ["disk full"])
