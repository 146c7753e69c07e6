"""drift.py, profiled.py, measure/drift.py and drift_gates.py: how far a night has moved, and what is no night."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Program
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial import distance
from scipy.special import rel_entr

from sentiment_batch.config import DriftOptions
from sentiment_batch.drift import drift
from sentiment_batch.errors import GateFailed, InputError, ModelRefused, UsageError
from sentiment_batch.measure.drift import HISTOGRAMS, chance, compare, in_a_word, jensen_shannon, pool, psi
from sentiment_batch.measure.drift_gates import parse_drift_gate
from sentiment_batch.profiled import read_night

# ---------------------------------------------------------------- figures


def two_histograms(largest: int = 10**6) -> st.SearchStrategy[tuple[list[int], list[int]]]:
    """Two of the same number of bins, many of them empty, each with a row at least."""
    counts = st.one_of(st.just(0), st.integers(0, largest))
    pairs = st.lists(st.tuples(counts, counts), min_size=1, max_size=30)
    return pairs.map(lambda each: ([one for one, _ in each], [other for _, other in each])).filter(
        lambda each: all(map(sum, each))
    )


@settings(deadline=None)
@given(two_histograms())
def test_the_divergence_is_scipys_distance_squared(pair: tuple[list[int], list[int]]) -> None:
    found = jensen_shannon(*pair)
    assert found == pytest.approx(distance.jensenshannon(*pair, base=2) ** 2, abs=1e-9)
    assert found is not None
    assert 0 <= found <= 1


@settings(deadline=None)
@given(two_histograms())
def test_psi_is_the_relative_entropy_both_ways(pair: tuple[list[int], list[int]]) -> None:
    """Of the shares, half a row of the smaller side added to each; an empty bin of both is none."""
    kept = np.array(pair, float)[:, np.sum(pair, axis=0) > 0]
    shares = kept / kept.sum(axis=1, keepdims=True) + 0.5 / kept.sum(axis=1).min()
    one, other = shares / shares.sum(axis=1, keepdims=True)
    assert psi(*pair) == pytest.approx(float((rel_entr(one, other) + rel_entr(other, one)).sum()), abs=1e-9)


def test_psi_by_hand() -> None:
    """One bin goes from a half to a quarter, two others gain it; of many rows the half row is nothing."""
    by_hand = (0.5 - 0.25) * math.log(0.5 / 0.25) + 2 * (0.375 - 0.25) * math.log(0.375 / 0.25)
    assert psi([2 * 10**9, 10**9, 10**9], [2 * 10**9, 3 * 10**9, 3 * 10**9]) == pytest.approx(by_hand, abs=1e-8)
    assert psi([10, 0], [0, 10]) == pytest.approx(2 * (10 / 11) * math.log(21))
    assert psi([10, 0, 0], [0, 10, 0]) == psi([10, 0], [0, 10])


@settings(deadline=None)
@given(two_histograms(2**53))
def test_both_are_finite_symmetric_and_not_below_zero(pair: tuple[list[int], list[int]]) -> None:
    for of in (psi, jensen_shannon, chance):
        found = of(*pair)
        assert found is not None
        assert math.isfinite(found)
        assert found >= 0
        assert found == pytest.approx(of(*reversed(pair)), abs=1e-12)


@settings(deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=1, max_size=30), st.integers(1, 10**6))
def test_the_same_shares_are_no_drift(counts: list[int], times: int) -> None:
    assume(sum(counts))
    for of in (psi, jensen_shannon):
        assert of(counts, [times * count for count in counts]) == pytest.approx(0, abs=1e-12)


def test_nothing_has_no_distance() -> None:
    for of in (psi, jensen_shannon, chance):
        assert of([0, 0], [1, 2]) is of([1, 2], [0, 0]) is None


def test_a_single_bin_leaves_nothing_to_chance() -> None:
    assert psi([5, 0], [7, 0]) == chance([5, 0], [7, 0]) == 0


LIKELY = {
    "tokens": [1e-6, 1e-5, 0.001, 0.03, 0.2, 0.4, 0.25, 0.1, 0.018, 0.001],
    "unknown share": [0.85, 0.08, 0.04, 0.015, 0.008, 0.004, 0.002, 7e-4, 2e-4, 1e-4],
    "confidence": [*[1e-6] * 6, *[1e-4, 0.001], *[0.01] * 8, *[0.025, 0.05, 0.1, 0.74]],
    "labels": [0.6, 0.2, 0.2],
    "a rare label": [0.9, 0.099, 0.001],
}
SIZES = [(5, 5), (50, 50), (20, 1260), (1260, 200), (1260, 20_000), (10**6, 50), (10**6, 1000), (10**6, 10**6)]


@pytest.mark.parametrize("shares", LIKELY.values(), ids=LIKELY)
@pytest.mark.parametrize(("rows", "rows_of_night"), SIZES)
def test_of_one_distribution_one_night_in_twenty_is_above_chance(
    shares: list[float], rows: int, rows_of_night: int
) -> None:
    """Never more, but for what 2,000 draws are off by; and not far less where the bins have rows."""
    draw, draws = np.random.default_rng(5), 2000
    every = np.array(shares) / sum(shares)
    before, after = (draw.multinomial(each, every, draws).tolist() for each in (rows, rows_of_night))
    pairs = zip(before, after, strict=True)
    above = sum(psi(*pair) > chance(*pair) for pair in pairs) / draws  # type: ignore[operator]
    assert above <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / draws)
    if min(every) * min(rows, rows_of_night) >= 5:
        assert above >= 0.05 - 3 * math.sqrt(0.05 * 0.95 / draws)


def test_what_has_moved_is_above_chance() -> None:
    draw = np.random.default_rng(0)
    before, after = np.array([0.1, 0.2, 0.4, 0.2, 0.1]), np.array([0.05, 0.1, 0.3, 0.3, 0.25])
    pairs = [(draw.multinomial(1260, before).tolist(), draw.multinomial(500, after).tolist()) for _ in range(100)]
    assert all(psi(*pair) > chance(*pair) for pair in pairs)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("index", "by_chance", "word"),
    [
        (0.0, 0.0, "stable"),
        (0.0999, 0.0, "stable"),
        (0.1, 0.01, "moved"),
        (0.25, 0.01, "moved"),
        (0.2501, 0.01, "shifted"),
        (0.3, 0.3, "within chance"),
        (0.3, 0.29, "shifted"),
        (None, None, "not compared"),
    ],
)
def test_words(index: float | None, by_chance: float | None, word: str) -> None:
    assert in_a_word(index, by_chance) == word


# ---------------------------------------------------------------- profiles

EDGES = {"tokens": [0, 4, 8, 16], "unknown_share": [0, 0.02, 0.5], "confidence": [0, 0.5, 0.95]}
USUAL = {
    "tokens": [100, 300, 500, 100],
    "unknown_share": [900, 90, 10],
    "confidence": [50, 150, 800],
    "labels": {"good": 700, "bad": 300},
}


def profile(times: int = 1, **counts: Any) -> dict[str, Any]:
    found = {**USUAL, **counts}
    labels = {label: times * rows for label, rows in found["labels"].items()}
    histograms = {name: {"edges": EDGES[name], "counts": [times * n for n in found[name]]} for name in EDGES}
    return {"rows": sum(labels.values()), **histograms, "labels": labels, "unknown_tokens": 1, "all_tokens": 9}


def test_labels_are_compared_by_name() -> None:
    other = profile(labels={"bad": 300, "good": 700})
    assert compare(profile(), other)["psi"] == dict.fromkeys(HISTOGRAMS, 0)
    renamed = compare(profile(), profile(labels={"gut": 700, "schlecht": 300}))
    assert renamed["jensen_shannon"]["labels"] == pytest.approx(1)
    assert renamed["psi"]["labels"] == psi([700, 300, 0, 0], [0, 0, 700, 300])


def test_other_bins_are_not_compared() -> None:
    other = profile()
    other["tokens"] = {"edges": [0, 4, 8, 17], "counts": USUAL["tokens"]}
    for figures in compare(profile(), other).values():
        assert figures["tokens"] is None
        assert None not in [figures[name] for name in HISTOGRAMS if name != "tokens"]


def test_a_pool_is_the_rows_of_all() -> None:
    pooled = pool([profile(), profile(2, labels={"good": 600, "odd": 400})])
    assert pooled["rows"] == 3000
    assert pooled["tokens"] == {"edges": EDGES["tokens"], "counts": [300, 900, 1500, 300]}
    assert pooled["labels"] == {"good": 1900, "bad": 300, "odd": 800}
    other = profile()
    other["confidence"] = {"edges": [0, 0.4, 0.95], "counts": USUAL["confidence"]}
    assert pool([profile(), other])["confidence"] is None
    assert compare(pool([profile(), other]), profile())["psi"]["confidence"] is None


# ---------------------------------------------------------------- gates


def reference(name: str, index: float | None, by_chance: float = 0.01, divergence: float = 0.0) -> dict[str, Any]:
    figures = {"psi": index, "jensen_shannon": divergence, "chance": by_chance}
    return {"name": name, **{figure: dict.fromkeys(HISTOGRAMS, value) for figure, value in figures.items()}}


@pytest.mark.parametrize(
    ("condition", "references", "verdict", "value", "of"),
    [
        ("psi[tokens]<=0.2", [reference("a", 0.2)], "passes", 0.2, "a"),
        ("psi[tokens]<0.2", [reference("a", 0.2)], "fails", 0.2, "a"),
        ("psi[tokens]<=0.2", [reference("a", 0.1), reference("b", 0.15)], "passes", 0.15, "b"),
        ("psi[labels]<=0.2", [reference("a", 0.3), reference("b", 0.1)], "fails", 0.3, "a"),
        ("psi[labels]<=0.2", [reference("a", 0.3, 0.3), reference("b", 0.1)], "undecidable", 0.3, "a"),
        ("psi[labels]<=0.2", [reference("a", 0.9, 1.0), reference("b", 0.3)], "fails", 0.3, "b"),
        ("psi[labels]<=0.2", [reference("a", None), reference("b", 0.3)], "fails", None, "a"),
        (" jensen_shannon[labels] <= .05 ", [reference("a", 0.3, 0.01, 0.06)], "fails", 0.06, "a"),
        ("jensen_shannon[labels]<=0.05", [reference("a", 0.3, 0.4, 0.06)], "undecidable", 0.06, "a"),
    ],
)
def test_gates(condition: str, references: list[Any], verdict: str, value: float | None, of: str) -> None:
    [gate] = parse_drift_gate(condition)
    for on_undecidable in ("fail", "pass"):
        assert gate.outcome(references, on_undecidable) == {
            "condition": condition,
            "value": value,
            "interval": None,
            "verdict": verdict,
            "holds": verdict == "passes" or (verdict, on_undecidable) == ("undecidable", "pass"),
            "reference": of,
        }


def test_a_gate_without_a_histogram_is_one_for_each() -> None:
    assert [gate.condition for gate in parse_drift_gate("psi <= 0.25")] == [f"psi[{name}]<=0.25" for name in HISTOGRAMS]


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("psi[tokens]>=0.2", r'write it as "psi\[tokens\]<=0.2", or "psi<=0.25" for all'),
        ("psi[words]<=0.2", "of tokens, unknown_share, confidence, labels, with <= or <"),
        ("kl[tokens]<=0.2", "figures are psi and jensen_shannon"),
        ("psi[tokens]", "write it as"),
        ("", "write it as"),
        ("psi<=x", "psi is 0 or more, so x decides nothing"),
        ("psi<=-1", "decides nothing"),
        ("psi<=nan", "decides nothing"),
        ("psi<=inf", "decides nothing"),
        ("jensen_shannon<=1.5", "jensen_shannon is from 0 to 1, so 1.5 decides nothing"),
    ],
)
def test_what_is_no_gate(condition: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_drift_gate(condition)


# ---------------------------------------------------------------- the command

DIGEST = "d" * 64
MOVED = {"tokens": [500, 300, 100, 100], "labels": {"good": 300, "bad": 700}}


def metrics_of(run: str, profile: Any, command: str = "score", **changes: Any) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "command": command,
        "status": "done",
        "exit_code": 0,
        "run": {"id": run, "ended_at": f"2026-01-{run}T02:10:00+00:00"},
        "model": {"digest": DIGEST},
        "profile": profile,
        **changes,
    }


@pytest.fixture
def nights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """`nights("31", profile())` writes 31.json in the working folder, and returns its name."""
    monkeypatch.chdir(tmp_path)

    def write(run: str, profile: Any, command: str = "score", **changes: Any) -> str:
        Path(f"{run}.json").write_text(json.dumps(metrics_of(run, profile, command, **changes)))
        return f"{run}.json"

    return write


def test_a_night_like_those_before(nights: Callable[..., str], program: Program) -> None:
    before = [nights("29", profile(3)), nights("30", profile())]
    ended = program("drift", nights("31", profile(2)), *before, "--gate", "psi<=0.1", "--metrics", "drift/31.json")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0] == "status          done: 31.json, 2,000 rows"
    assert lines[1] == "nights          2 nights, 4,000 rows"
    by_chance = chance([400, 1200, 2000, 400], [200, 600, 1000, 200])
    assert lines[2] == f"  tokens        PSI 0.0000    by chance {by_chance:.4f}    Jensen-Shannon 0.0000    stable"
    assert lines[-1] == "gate            psi[labels]<=0.1: holds at 0.0000 from 2 nights"
    found = json.loads(Path("drift/31.json").read_text())
    assert (found["command"], found["status"], found["exit_code"]) == ("drift", "done", 0)
    assert found["drift"]["night"] == {"path": "31.json", "ended_at": "2026-01-31T02:10:00+00:00", "rows": 2000}
    [compared] = found["drift"]["references"]
    assert (compared["kind"], compared["name"], compared["rows"]) == ("nights", "2 nights", 4000)
    assert compared["psi"] == compared["jensen_shannon"] == dict.fromkeys(HISTOGRAMS, 0)
    assert compared["chance"]["tokens"] == by_chance
    assert [(each["name"], each["rows"]) for each in compared["each"]] == [("29.json", 3000), ("30.json", 1000)]
    assert found["drift"]["worst"] == dict.fromkeys(HISTOGRAMS, 0)
    assert found["headline"] == {f"psi_{name}": 0 for name in HISTOGRAMS}
    assert [gate["holds"] for gate in found["gates"]] == [True] * 4


def test_a_night_that_moved_is_exit_9_with_everything_written(nights: Callable[..., str], program: Program) -> None:
    tonight, before = nights("31", profile(**MOVED)), nights("30", profile())
    gates = ("--gate", "psi[tokens]<=0.2", "--gate", "jensen_shannon[labels]<=0.05", "--gate", "psi[confidence]<=0.1")
    ended = program("drift", tonight, before, *gates, "--metrics", "out.json")
    assert ended.code == 9
    tokens = psi(USUAL["tokens"], MOVED["tokens"])
    labels = jensen_shannon([700, 300], [300, 700])
    assert ended.err.startswith(
        f"error: 31.json is not like what it is compared with: psi[tokens]<=0.2 (it is {tokens:.4f} from 30.json), "
        f"jensen_shannon[labels]<=0.05 (it is {labels:.4f} from 30.json); look at"
    )
    assert "tokens        PSI 1.2" in ended.out
    assert f"gate            psi[tokens]<=0.2: FAILS at {tokens:.4f} from 30.json" in ended.out
    found = json.loads(Path("out.json").read_text())
    assert (found["status"], found["exit_code"]) == ("gate_failed", 9)
    assert [gate["verdict"] for gate in found["gates"]] == ["fails", "fails", "passes"]
    assert program("drift", tonight, before).code == 0  # without a gate it only says so


def test_a_small_night_is_not_blamed_for_chance(nights: Callable[..., str], program: Program) -> None:
    few = profile(tokens=[2, 1, 3, 0], unknown_share=[6, 0, 0], confidence=[0, 1, 5], labels={"good": 4, "bad": 2})
    arguments = ("drift", nights("31", few), nights("30", profile()), "--gate", "psi[tokens]<=0.1")
    ended = program(*arguments)
    assert ended.code == 9
    assert "so few rows may differ as much by chance: psi[tokens]<=0.1 (it is 0." in ended.err
    assert "within chance" in ended.out
    assert "psi[tokens]<=0.1: UNDECIDABLE at" in ended.out
    ended = program(*arguments, "--on-undecidable", "pass")
    assert ended.code == 0
    assert "psi[tokens]<=0.1: undecidable, let pass, at" in ended.out


def test_evaluations_and_nights_are_two_references(nights: Callable[..., str]) -> None:
    """A split that was measured is not one night more; a gate holds against both, or not at all."""
    before = (nights("29", profile()), nights("28", profile(**MOVED), "evaluate", status="gate_failed"))
    options = DriftOptions(night=nights("31", profile()), before=before)
    found = drift(options)["drift"]
    assert [(each["kind"], each["name"]) for each in found["references"]] == [
        ("evaluations", "28.json"),
        ("nights", "29.json"),
    ]
    assert found["worst"]["tokens"] == found["references"][0]["psi"]["tokens"] > 0.2
    with pytest.raises(GateFailed, match=r"from 28.json"):
        drift(DriftOptions(**{**vars(options), "gate": ("psi[tokens]<=0.2",)}))


def test_the_night_itself_and_copies_are_no_other_nights(
    nights: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    """`labelled/*` has tonight in it, and a folder of metrics the copies of what lies in the outputs."""
    tonight, before = nights("31", profile(**MOVED)), nights("30", profile())
    Path("copy.json").write_text(Path(before).read_text())
    caplog.set_level("INFO")
    found = drift(DriftOptions(night=tonight, before=(before, tonight, "copy.json")))["drift"]
    assert [each["rows"] for each in found["references"]] == [1000]
    assert [record.getMessage() for record in caplog.records] == [
        "left out: 31.json is the same run as 31.json",
        "left out: copy.json is the same run as 30.json",
    ]
    with pytest.raises(UsageError, match="all of them are the night itself; give earlier ones, or --model"):
        drift(DriftOptions(night=tonight, before=(tonight,)))


def test_another_model_is_said(nights: Callable[..., str], caplog: pytest.LogCaptureFixture) -> None:
    before = (nights("29", profile(), model={"digest": "another"}), nights("30", profile()))
    drift(DriftOptions(night=nights("31", profile()), before=before))
    assert [record.getMessage() for record in caplog.records] == [
        "29.json is of another model than 31.json, or of another --calibrated: two models are compared, not two nights "
        "alone"
    ]


def test_other_bins_are_said_and_never_compared(nights: Callable[..., str], caplog: pytest.LogCaptureFixture) -> None:
    older = profile()
    older["tokens"] = {"edges": [0, 4, 8], "counts": [100, 300, 600]}
    before = (nights("29", older), nights("30", profile()))
    options = DriftOptions(night=nights("31", profile()), before=before)
    found = drift(options)["drift"]
    assert found["worst"] == {"tokens": None, "unknown_share": 0, "confidence": 0, "labels": 0}
    [record] = caplog.records
    assert record.getMessage().startswith("tokens of 29.json cannot be compared with 31.json: other bins")
    with pytest.raises(GateFailed, match=r"psi\[tokens\]<=0.2 \(it is undefined from 2 nights\)"):
        drift(DriftOptions(**{**vars(options), "gate": ("psi[tokens]<=0.2",)}))


def test_a_night_without_rows(nights: Callable[..., str], caplog: pytest.LogCaptureFixture) -> None:
    found = drift(DriftOptions(night=nights("31", profile(0)), before=(nights("30", profile()),)))
    assert found["drift"]["worst"] == dict.fromkeys(HISTOGRAMS)
    assert "31.json has no scored row" in caplog.text


# ---------------------------------------------------------------- where nights lie


def test_outputs_are_found_by_their_folders(nights: Callable[..., str], tmp_path: Path) -> None:
    for name, marker, file, command in (
        ("labelled", "_SUCCESS", "_metrics.json", "score"),
        ("evaluation", "metrics.json", "metrics.json", "evaluate"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / marker).write_text("{}")
        (tmp_path / name / file).write_text(json.dumps(metrics_of(name, profile(), command)))
        assert read_night(name).command == command
        assert read_night(f"{tmp_path / name}/") == read_night(f"{tmp_path / name / file}")._replace(
            path=f"{tmp_path / name}/"
        )


def test_what_is_not_published_is_no_night(nights: Callable[..., str], tmp_path: Path) -> None:
    """In a bucket the metrics of the job before may lie there until the next one has written its own."""
    (tmp_path / "labelled").mkdir()
    (tmp_path / "labelled" / "_metrics.json").write_text(json.dumps(metrics_of("31", profile())))
    with pytest.raises(InputError, match="labelled is no finished output of `score` or `evaluate`"):
        read_night("labelled")


def test_a_run_is_what_its_score_says(nights: Callable[..., str]) -> None:
    of_night = metrics_of("31", profile())
    for steps, fits in (({"evaluate": {}, "score": of_night}, True), ({"evaluate": of_night}, False), ([], False)):
        Path("run.json").write_text(
            json.dumps({"schema_version": 1, "command": "run", "status": "done", "steps": steps})
        )
        if fits:
            assert read_night("run.json").profile == profile()
        else:
            with pytest.raises(InputError, match=r"run.json is of a `run` that labelled no dump"):
                read_night("run.json")


def test_nights_of_a_bucket(bucket: str, nights: Callable[..., str], program: Program) -> None:
    import boto3

    client, prefix = boto3.client("s3"), bucket.removeprefix("s3://bucket/")
    for run in ("30", "31"):
        client.put_object(
            Bucket="bucket", Key=f"{prefix}/{run}/_metrics.json", Body=json.dumps(metrics_of(run, profile()))
        )
    client.put_object(Bucket="bucket", Key=f"{prefix}/31/_SUCCESS", Body=b"{}")
    ended = program("drift", f"{bucket}/31", f"{bucket}/30/_metrics.json")
    assert (ended.code, ended.err) == (0, "")
    assert f"status          done: {bucket}/31, 1,000 rows" in ended.out
    for there, said in ((f"{bucket}/30", "is no finished output"), (f"{bucket}/9.json", "is not there")):
        ended = program("drift", f"{bucket}/31", there)
        assert (ended.code, there in ended.err, said in ended.err) == (3, True, True)


# ---------------------------------------------------------------- what is refused


def hostile(**changes: Any) -> dict[str, Any]:
    return metrics_of("30", {**profile(), **changes})


def counts_of(*counts: Any) -> dict[str, Any]:
    return hostile(tokens={"edges": EDGES["tokens"], "counts": list(counts)})


DEEP = "[" * 100_000 + "]" * 100_000
NO_NIGHTS: dict[str, tuple[Any, str]] = {
    "nothing": ("", "cannot be read as JSON"),
    "bytes": (b"\xff\xfe\x00", "cannot be read as JSON"),
    "a list": ([], "is not a JSON object"),
    "deep nesting": (DEEP, "cannot be read as JSON|nested deeper"),
    "nesting in a part that is not looked at": ('{"a": ' * 40 + "1" + "}" * 40, "nested deeper than 32 levels"),
    "NaN": (json.dumps(counts_of(1, 2, 3, math.nan)), "NaN is no JSON number"),
    "infinity": ('{"a": 1e999}', "is not a finite number"),
    "a number of 10,000 digits": ('{"a": ' + "1" * 10_000 + "}", "cannot be read as JSON"),
    "a key twice": ('{"command": "score", "command": "score"}', "is in one object twice"),
    "another program's": ({"accuracy": 0.9}, "no metrics JSON of `score` or `evaluate`"),
    "of verify": (metrics_of("30", profile(), "verify"), "no metrics JSON of `score` or `evaluate`"),
    "of drift": (metrics_of("30", profile(), "drift"), "no metrics JSON of `score` or `evaluate`"),
    "a later schema": ({**hostile(), "schema_version": 2}, "that this version knows"),
    "a failed job": ({**hostile(), "status": "failed"}, "did not end well \\(failed\\)"),
    "an odd status": ({**hostile(), "status": ["done"]}, "did not end well"),
    "an older version": ({key: of for key, of in hostile().items() if key != "profile"}, "has no profile: an older"),
    "no profile": ({**hostile(), "profile": None}, "profile is no object"),
    "no model": ({**hostile(), "model": {}}, "model has no digest"),
    "no run": ({**hostile(), "run": 7}, "run is no object"),
    "no labels": (hostile(labels=None), "profile.labels is None"),
    "a negative count": (counts_of(-1, 301, 600, 100), r"profile.tokens.counts\[0\] is -1"),
    "a count that is none": (counts_of(0.5, 299.5, 600, 100), r"profile.tokens.counts\[0\] is 0.5"),
    "a count that is a truth": (counts_of(True, 299, 600, 100), r"profile.tokens.counts\[0\] is True"),
    "more rows than there are": (counts_of(10**30, 0, 0, 0), r"profile.tokens.counts\[0\] is 1000"),
    "more labels than there are": (hostile(labels={"good": 10**30}), "profile.labels is "),
    "fewer counts than bins": (counts_of(500, 500), "has 2 counts for 4 bins"),
    "more counts than bins": (counts_of(500, 500, 0, 0, 0), "has 5 counts for 4 bins"),
    "rows that are not there": (counts_of(0, 0, 0, 1), "profile.tokens counts 1 rows, of 1,000"),
    "labels that are not there": (hostile(labels={"good": 1}), "profile.labels counts 1 rows, of 1,000"),
    "edges out of order": (hostile(tokens={"edges": [0, 8, 4, 16], "counts": USUAL["tokens"]}), "profile.tokens.edges"),
    "edges that are no numbers": (hostile(tokens={"edges": [0, "4"], "counts": [500, 500]}), "profile.tokens.edges"),
    "an endless edge": (hostile(tokens={"edges": [0, 10**400], "counts": [500, 500]}), "profile.tokens.edges"),
    "no bins": (hostile(tokens={"edges": [], "counts": []}), "profile.tokens.edges"),
}


@pytest.mark.parametrize("name", NO_NIGHTS)
def test_what_is_no_night_is_exit_3_with_its_name(name: str, nights: Callable[..., str], program: Program) -> None:
    content, said = NO_NIGHTS[name]
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    Path("30.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    for arguments in ((nights("31", profile()), "30.json"), ("30.json", "31.json")):
        ended = program("drift", *arguments, "--metrics", "out.json")
        assert ended.code == 3
        [line] = ended.err.splitlines()
        assert line.startswith("error: 30.json")
        assert len(line) < 400
    with pytest.raises(InputError, match=said):
        read_night("30.json")
    assert json.loads(Path("out.json").read_text())["status"] == "failed"


def test_what_is_no_file_is_exit_3(nights: Callable[..., str], program: Program, tmp_path: Path) -> None:
    os.mkfifo("pipe")
    (tmp_path / "empty").mkdir()
    tonight = nights("31", profile())
    for path, said in (
        ("none.json", "No such file"),
        ("pipe", "is not an ordinary file"),
        ("empty", "no finished output"),
    ):
        ended = program("drift", tonight, path)
        assert (ended.code, said in ended.err, path in ended.err) == (3, True, True)


def test_what_is_said_of_a_hostile_night_is_one_line(nights: Callable[..., str], program: Program) -> None:
    ended_at = "\x1b[2J\n" + "x" * 10_000
    before = metrics_of("30", profile(labels={"\x1b[31mred\n": 1000})) | {"run": {"id": "30", "ended_at": ended_at}}
    Path("30.json").write_text(json.dumps(before))
    ended = program("drift", nights("31", profile()), "30.json")
    assert ended.code == 0
    assert "\x1b" not in ended.out + ended.err
    assert len(ended.out.splitlines()) == 6


def test_nothing_to_compare_with_is_exit_2(nights: Callable[..., str], program: Program) -> None:
    ended = program("drift", nights("31", profile()))
    assert ended.code == 2
    assert "nothing to compare the night with; give earlier nights behind it, or --model" in ended.err


def test_the_metrics_of_a_night_are_not_written_over(nights: Callable[..., str], program: Program) -> None:
    tonight, before = nights("31", profile()), nights("30", profile())
    for path in (tonight, before, f"./{before}"):
        ended = program("drift", tonight, before, "--metrics", path)
        assert (ended.code, "which is read; put it elsewhere" in ended.err) == (2, True)
    assert read_night(before).profile == profile()


# ---------------------------------------------------------------- the training


def with_profile(model: Path, training: Any) -> str:
    """A folder with the model's files and what its training says."""
    folder = Path("model")
    folder.mkdir(exist_ok=True)
    for file in model.iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    (folder / "training.json").write_text(training if isinstance(training, str) else json.dumps(training))
    return "model"


def trained(confidence_calibrated: list[int] | None = None) -> dict[str, Any]:
    """What a training says of its validation split: confidences also as --calibrated gives them."""
    found = profile()
    counts = confidence_calibrated or found["confidence"]["counts"]
    return {**found, "confidence_calibrated": {**found["confidence"], "counts": counts}}


def test_a_calibrated_night_is_held_against_calibrated_confidences(
    nights: Callable[..., str], tiny_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from sentiment_batch.model.folder import read_model_folder

    sure = list(reversed(USUAL["confidence"]))
    model = with_profile(tiny_model, {"profile": trained(sure)})
    digest = read_model_folder(model).digest
    plain = nights("30", profile(), model={"digest": digest, "temperature": None})
    calibrated = nights("31", profile(confidence=sure), model={"digest": digest, "temperature": 2.5})
    for night in (plain, calibrated):
        assert drift(DriftOptions(night=night, model=model))["drift"]["worst"]["confidence"] == 0
    assert caplog.records == []
    drift(DriftOptions(night=calibrated, before=(plain,)))
    assert "30.json is of another model than 31.json, or of another --calibrated" in caplog.text


def test_the_training_is_a_reference(
    nights: Callable[..., str], tiny_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from sentiment_batch.model.folder import read_model_folder

    model = with_profile(tiny_model, {"profile": trained()})
    digest = read_model_folder(model).digest
    tonight = nights("31", profile(**MOVED), model={"digest": digest})
    found = drift(
        DriftOptions(night=tonight, before=(nights("30", profile(5), model={"digest": digest}),), model=model)
    )
    assert [(each["kind"], each["name"]) for each in found["drift"]["references"]] == [
        ("training", "model"),
        ("nights", "30.json"),
    ]
    assert found["drift"]["references"][0]["psi"]["tokens"] == psi(USUAL["tokens"], MOVED["tokens"])
    assert caplog.records == []
    drift(DriftOptions(night=nights("29", profile()), model=model))
    assert "model is of another model than 29.json" in caplog.text


def test_graphs_make_no_other_training(
    nights: Callable[..., str], optimized_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from sentiment_batch.labeller import Labeller

    model = with_profile(optimized_model, {"profile": trained()})
    for engine in ("torch", "auto"):
        digest = Labeller(model, engine=engine).digest
        drift(DriftOptions(night=nights("31", profile(), model={"digest": digest}), model=model))
    assert caplog.records == []


@pytest.mark.parametrize(
    ("training", "error", "said"),
    [
        ({"labels": []}, InputError, "training.json has no profile, as models have that this version trained; train"),
        ({"profile": trained() | {"rows": 9}}, ModelRefused, "training.json is damaged: profile.tokens counts 1,000"),
        (
            {"profile": {**trained(), **counts_of(-1, 1, 900, 100)["profile"]}},
            ModelRefused,
            r"damaged: profile.tokens.counts\[0\] is -1",
        ),
        ({"profile": []}, ModelRefused, "damaged: profile is no object"),
        (DEEP, ModelRefused, "cannot be read as JSON|not a JSON object|nested deeper"),
        ('{"profile": {"rows": NaN}}', ModelRefused, "NaN is no JSON number"),
    ],
)
def test_a_training_that_says_nothing(
    training: Any, error: type[Exception], said: str, nights: Callable[..., str], tiny_model: Path
) -> None:
    model = with_profile(tiny_model, training)
    with pytest.raises(error, match=said):
        drift(DriftOptions(night=nights("31", profile()), model=model))


def test_a_model_without_a_training(nights: Callable[..., str], tiny_model: Path, program: Program) -> None:
    ended = program("drift", nights("31", profile()), "--model", tiny_model)
    assert (ended.code, "training.json is not there; train the model again" in ended.err) == (3, True)
    assert program("drift", "31.json", "--model", "nowhere").code == 8
