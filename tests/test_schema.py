"""measure/metrics.schema.json: it describes every document that the program writes, and refuses what is none."""

import copy
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import SCHEMA, Program, faults_of, metrics_schema, sample_rows, strict_json
from jsonschema import Draft202012Validator

from sentiment_batch.errors import Busy, Stopped
from sentiment_batch.write.part import PartWriter

PUBLISHED = json.loads(SCHEMA.read_text(encoding="utf-8"))

JOB = """
[train]
train = "sample:train"
valid = "sample:valid"
output = "model"
base_model = "{base}"
epochs = 1
limit_rows = 90
[optimize]
calibration = ["sample:test"]
valid = "sample:valid"
limit_rows = 60
[evaluate]
data = ["sample:test"]
output = "evaluation"
gate = ["accuracy>=0.0", "rows>=1"]
limit_rows = 60
[score]
input = ["sample:test"]
output = "labelled"
label_column = "label"
limit_rows = 60
"""


def told(path: Path) -> dict[str, Any]:
    metrics = strict_json(path.read_text(encoding="utf-8"))
    assert not faults_of(metrics)
    return dict(metrics)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{text}\t{label}\n" for text, label in sample_rows("test")[:40])
    (tmp_path / "a.tsv").write_text("text\tlabel\n" + rows, encoding="utf-8")
    return tmp_path


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(PUBLISHED)
    assert PUBLISHED["properties"]["schema_version"]["const"] == 1


def test_the_command_prints_it(program: Program) -> None:
    ended = program("schema")
    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out) == PUBLISHED


def test_the_command_loads_no_library() -> None:
    code = (
        "import sys; sys.argv = ['sentiment-batch', 'schema']\n"
        "from sentiment_batch.cli import main\n"
        "main()\n"
        "sys.exit(bool({'pyarrow', 'numpy', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.DEVNULL).returncode == 0


def keys_of(schema: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key that the schema describes, with its place; conditions say nothing new of them."""
    for name, each in schema.get("properties", {}).items():
        yield f"{where}.{name}", each
        yield from keys_of(each, f"{where}.{name}")
    for inner in ("items", "additionalProperties"):
        if isinstance(schema.get(inner), dict):
            yield from keys_of(schema[inner], f"{where}[]")
    for name, each in schema.get("$defs", {}).items():
        yield f"$defs.{name}", each
        yield from keys_of(each, f"$defs.{name}")


@pytest.mark.parametrize(("where", "schema"), [pytest.param(*each, id=each[0]) for each in keys_of(PUBLISHED)])
def test_every_key_is_described(where: str, schema: dict[str, Any]) -> None:
    told = schema.get("description") or PUBLISHED["$defs"].get(schema.get("$ref", "")[8:], {}).get("description")
    assert where.endswith(".command") or where == "$defs.finished.status" or (told and told.endswith("."))


def test_a_later_version_may_have_more_keys() -> None:
    metrics = failure() | {"later": {"more": 1}}
    metrics["run"]["later"] = None
    assert Draft202012Validator(PUBLISHED).is_valid(metrics)
    assert len(faults_of(metrics)) == 2, "but a test that writes them does not pass"


def failure(**others: Any) -> dict[str, Any]:
    run = {
        **{"id": "0" * 32, "started_at": "2026-01-31T02:00:00+00:00", "ended_at": "2026-01-31T02:00:01+00:00"},
        **{"seconds": 1.5, "resumed": False},
    }
    head = {"schema_version": 1, "command": "score", "status": "failed", "exit_code": 3, "error": "no such file"}
    return {**head, "run": run, **others}


@pytest.mark.parametrize(
    "wrong",
    [
        {"exit_code": 0},
        {"exit_code": "3"},
        {"exit_code": 11},
        {"exit_code": 143},
        {"status": "stopped"},
        {"status": "done"},
        {"status": "gate_failed"},
        {"status": "good"},
        {"command": "predict"},
        {"error": ""},
        {"error": None},
        {"run": {}},
        {"schema_version": 2},
    ],
)
def test_a_failure_says_how_and_why(wrong: dict[str, Any]) -> None:
    assert not faults_of(failure())
    assert faults_of(failure(**wrong))
    for name in ("schema_version", "command", "status", "exit_code", "error", "run"):
        assert faults_of({key: value for key, value in failure().items() if key != name}), name


# What the program writes: each is held against the schema by `program`, too


@pytest.fixture
def documents(folder: Path, tiny_model: Path, program: Program) -> dict[str, dict[str, Any]]:
    """One document of each command that the program finished."""
    (folder / "job.toml").write_text(JOB.format(base=tiny_model))
    ended = program("run", "job.toml", "--metrics", "run.json")
    assert ended.code == 0, ended.err
    assert program("verify", "labelled", "--metrics", "verify.json").code == 0
    planned = ("a.tsv", "--model", "model", "--output", "planned", "--seconds", 0.1, "--deadline", "1h")
    assert program("plan", *planned, "--metrics", "plan.json").code == 0
    run = told(folder / "run.json")
    published = {
        "score": told(folder / "labelled" / "_metrics.json"),
        "evaluate": told(folder / "evaluation" / "metrics.json"),
    }
    others = {name: told(folder / f"{name}.json") for name in ("plan", "verify")}
    return {**run["steps"], **published, "run": run, **others}


def test_the_documents_of_every_command(documents: dict[str, dict[str, Any]], folder: Path, program: Program) -> None:
    assert {command: each["command"] for command, each in documents.items()} == {each: each for each in documents}
    assert documents["optimize"]["measured"]["openvino_int8"]["agreement"] <= 1
    assert program("run", "job.toml", "--metrics", "again.json").code == 0
    again = told(folder / "again.json")["steps"]
    assert [each["already_done"] for each in again.values()] == [True] * 4
    for command, document in documents.items():
        mutated(command, document)
    nobodys = copy.deepcopy(documents["evaluate"])
    nobodys["evaluation"] |= {"rows": 0, "accuracy": None, "intervals": None}
    nobodys["predictions"] = {"counts": {"a": 0}, "share": {"a": None}, "mean_confidence": None}
    assert not faults_of(nobodys)


def mutated(command: str, document: dict[str, Any]) -> None:
    """Every value of a document has a type, and what INTERFACE.md promises of it is required."""
    for path, value in leaves(document):
        if path[0] not in ("identity", "steps"):  # the one is free, the others are mutated by themselves
            assert faults_of(changed(document, path, [["wrong"]])), (command, path)
            if isinstance(value, int | float) and not isinstance(value, bool) and "headline" not in path:
                assert faults_of(changed(document, path, "5")), (command, path)
                if path[-1] != "int8_drop" and "gates" not in path:
                    assert faults_of(changed(document, path, -1.5)), (command, path)
    promised = {
        "train": ("model", "evaluation", "headline", "job_id", "data", "epochs"),
        "optimize": ("model", "graphs", "measured", "headline"),
        "score": ("model", "input", "rows", "predictions", "performance", "headline", "job_id"),
        "evaluate": ("model", "input", "rows", "predictions", "performance", "evaluation", "gates", "headline"),
        "plan": ("model", "plan", "headline"),
        "verify": ("rows", "recounted", "findings", "inputs_checked"),
        "run": ("steps", "outputs", "headline"),
    }
    for name in ("schema_version", "command", "status", "exit_code", "run", *promised[command]):
        assert faults_of({key: value for key, value in document.items() if key != name}), (command, name)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The values of a document with their places; of a list, whose elements are alike, those of the first."""
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from leaves(each, (*path, key))
    elif isinstance(value, list) and value:
        yield from leaves(value[0], (*path, 0))
    else:
        yield path, value


def changed(document: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    found: Any = copy.deepcopy(document)
    inner = found
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return dict(found)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("rows", "in"), "500"),
        (("rows", "in"), 0.5),
        (("rows", "in"), -1),
        (("rows", "in"), None),
        (("predictions", "share", "positive"), 1.2),
        (("predictions", "share", "positive"), -0.1),
        (("evaluation", "macro_f1"), 1.0001),
        (("evaluation", "macro_f1"), None),
        (("evaluation", "intervals", "macro_f1"), [0.5]),
        (("evaluation", "confusion", "matrix"), [[1.5]]),
        (("run", "started_at"), "yesterday"),
        (("run", "resumed"), "no"),
        (("model", "labels"), ["a", "a"]),
        (("model", "engine"), "onnx"),
        (("gates", 0, "verdict"), "perhaps"),
        (("gates", 0, "holds"), 1),
        (("command",), "score"),
    ],
)
def test_it_can_fail(
    path: tuple[Any, ...], value: Any, folder: Path, optimized_model: Path, program: Program, cached: dict[str, Any]
) -> None:
    if not cached:
        command = ("evaluate", "--model", optimized_model, "--data", "a.tsv", "--output", "out", "--gate", "rows>=1")
        assert program(*command).code == 0
        cached |= told(folder / "out" / "metrics.json")
    if path == ("command",):
        assert faults_of(changed(cached, path, "train")), "what train promises is not there"
    else:
        assert faults_of(changed(cached, path, value))


@pytest.fixture(scope="module")
def cached() -> dict[str, Any]:
    return {}


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_no_json(word: str) -> None:
    with pytest.raises(ValueError, match="is no JSON"):
        strict_json(json.dumps(failure()).replace("1.5", word))


# Failures


def test_failures_of_score(folder: Path, tiny_model: Path, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(code: int, *command: object) -> dict[str, Any]:
        ended = program("score", *command, "--model", tiny_model, "--progress", "none", "--metrics", "m.json")
        found = told(folder / "m.json")
        assert (ended.code, found["exit_code"], found["command"]) == (code, code, "score"), ended.err
        (folder / "m.json").unlink()
        return found

    ended(3, "none.tsv", "--output", "out")
    ended(2, "a.tsv", "--output", "out", "--text-column", "label", "--label-column", "label")
    ended(2, "a.tsv", "--output", "out", "--keep-columns", "no")
    (folder / "bad.tsv").write_text("text\tlabel\nno tab\n")
    assert "rejected" in ended(6, "bad.tsv", "--output", "out")["error"]
    ended(4, "a.tsv", "--output", "out")
    for error, code in (
        *((Stopped(15), 143), (Stopped(2), 130), (Stopped(1), 129)),
        *((Busy("held"), 5), (MemoryError(), 7), (OSError(5, "Input/output error"), 7), (KeyError("x"), 1)),
    ):

        def fails(*_: Any, error: Exception = error) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(PartWriter, "write", fails)
            found = ended(code, "a.tsv", "--output", f"out{code}")
        assert found["status"] == ("stopped" if code > 128 else "failed")


def test_failures_of_others(folder: Path, tiny_model: Path, program: Program) -> None:
    metrics = ("--metrics", "m.json")
    (folder / "no_model").mkdir()
    (folder / "no_model" / "config.json").write_text("{}")
    measured = ("evaluate", "--data", "a.tsv", *metrics)
    assert program(*measured, "--model", "no_model", "--output", "e").code == told(folder / "m.json")["exit_code"] == 8
    gates = ("--gate", "macro_f1>=0.999", "--gate", "accuracy>=0", "--gate", "rows>=1000")
    assert program(*measured, "--model", tiny_model, "--output", "e", *gates).code == 9
    found = told(folder / "m.json")
    assert (found["status"], [gate["holds"] for gate in found["gates"]]) == ("gate_failed", [False, True, False])
    assert program("optimize", "--model", "none", *metrics).code == told(folder / "m.json")["exit_code"] != 0
    assert program("train", "--train", "none.tsv", "--valid", "a.tsv", "--output", "m", *metrics).code == 3
    assert told(folder / "m.json")["command"] == "train"
    assert program("run", "none.toml", *metrics).code == 2
    assert told(folder / "m.json")["command"] == "run"


def test_findings_of_verify(folder: Path, tiny_model: Path, program: Program) -> None:
    assert program("score", "a.tsv", "--model", tiny_model, "--output", "out").code == 0
    assert program("verify", "out", "--skip-inputs", "--metrics", "m.json").code == 0
    assert told(folder / "m.json")["inputs_checked"] is False
    (folder / "out" / "stranger.parquet").write_text("")
    assert program("verify", "out", "--metrics", "m.json").code == 3
    found = told(folder / "m.json")
    assert len(found["findings"]) == 1
    assert faults_of({**found, "findings": [1]})
    assert faults_of({**found, "findings": "none"})
    assert program("verify", "nowhere", "--metrics", "m.json").code == 3
    assert told(folder / "m.json")["error"]


def test_a_run_that_fails_in_a_step(folder: Path, tiny_model: Path, program: Program) -> None:
    """And what was done before is in its metrics."""
    job = JOB.format(base=tiny_model)
    job = job[: job.index("[optimize]")] + job[job.index("[evaluate]") :]
    (folder / "job.toml").write_text(job)
    assert program("run", "job.toml", "--set", "evaluate.gate=accuracy>=1", "--metrics", "m.json").code == 9
    gated = told(folder / "m.json")
    assert (gated["failed_step"], list(gated["steps"])) == ("evaluate", ["train", "evaluate"])
    assert program("run", "job.toml", "--set", "score.input=none.tsv", "--metrics", "m.json").code == 3
    failed = told(folder / "m.json")
    assert (failed["failed_step"], list(failed["steps"])) == ("score", ["train", "evaluate"])
    assert failed["outputs"] == {"train": "model", "evaluate": "evaluation"}
    assert failed["headline"]["evaluate_rows_in"] == 60
    assert faults_of(changed(failed, ("steps", "train", "command"), "score"))


# compare and drift, as they are agreed on

COMPARISON = {
    "without_label": {"old": 1, "new": 0},
    **{"rows": 10, "flips": 3, "flip_rate": 0.3, "intervals": {"level": 0.95, "flip_rate": [0.1, 0.6]}},
    **{"labels": ["a", "b"], "matrix": [[4, 1], [2, 3]]},
    "by_label": {
        "a": {"rows": 5, "flips": 1, "flip_rate": 0.2, "interval": [0, 0.6]},
        "b": {"rows": 0, "flips": 0, "flip_rate": None, "interval": None},
    },
    "changed": [{"row": 3, "old": "a", "new": "b", "old_confidence": 0.9, "new_confidence": 0.8, "change": 0.7}],
    "quality": {
        "rows_without_known_label": 1,
        **{"rows": 9, "old": {"accuracy": 0.5, "macro_f1": 0.4}, "new": {"accuracy": 0.6, "macro_f1": 0.5}},
        **{"difference": {"accuracy": 0.1, "macro_f1": 0.1}, "intervals": {"accuracy": [-0.1, 0.3]}},
        "mcnemar": {"only_old_right": 1, "only_new_right": 2, "statistic": None, "p_value": 1.0, "exact": True},
    },
}
PSI = {"tokens": 0.3, "unknown_share": 0.0, "confidence": 2.5, "labels": None}
DRIFT = {
    "night": {"path": "a.json", "ended_at": "2026-01-31T02:00:01+00:00", "rows": 5},
    "references": [
        {"kind": "training", "name": "model", "rows": 4, "psi": PSI, "jensen_shannon": PSI, "chance": PSI},
        {
            **{"kind": "nights", "name": "2 nights", "rows": 4, "psi": PSI, "jensen_shannon": PSI, "chance": PSI},
            "each": [
                {
                    **{"name": "b.json", "ended_at": "2026-01-30T02:00:01+00:00", "rows": 2},
                    **{"psi": PSI, "jensen_shannon": PSI, "chance": PSI},
                }
            ],
        },
    ],
    "worst": PSI,
}
SIDE = {"path": "m", "kind": "model", "digest": "0", "base_model": "scratch"}
PERFORMANCE = {
    **{"rows_per_second": 1.5, "tokens_per_second": 30.5, "padding_share": 0.1, "load_seconds": 0.5},
    **{"peak_rss_bytes": 9, "oom_retries": 0},
}
COMPARED = {
    **{"command": "compare", "job_id": "0" * 32, "identity": {}, "input": {"files": []}, "headline": {}, "gates": []},
    **{"rows": {"in": 11, "out": 11, "rejected": 0}, "performance": PERFORMANCE},
}
GATE = {"condition": "psi[tokens]<=0.2", "value": 0.3, "interval": None, "verdict": "fails", "holds": False}


@pytest.mark.parametrize(
    "sections",
    [
        {**COMPARED, "comparison": COMPARISON, "old": SIDE, "new": {**SIDE, "kind": "output", "job_id": "1"}},
        {**COMPARED, "comparison": {**COMPARISON, "quality": None}, "old": SIDE, "new": SIDE},
        {"command": "drift", "drift": DRIFT, "gates": [GATE]},
    ],
)
def test_comparisons_and_drift(sections: dict[str, Any]) -> None:
    document = {**failure(**sections), "status": "done", "exit_code": 0}
    del document["error"]
    assert not faults_of(document)
    assert not faults_of({**document, "gates": [GATE], "status": "gate_failed", "exit_code": 9})
    for path, _ in leaves(document):
        assert faults_of(changed(document, path, [["wrong"]])), path
    for name in sections.keys() - {"gates"}:
        assert faults_of({key: value for key, value in document.items() if key != name}), name


def test_what_is_new_in_an_evaluation() -> None:
    calibration = {
        "bins": [{"low": 0.0, "high": 0.5, "rows": 0, "confidence": None, "accuracy": None}],
        **{"ece": 0.1, "brier": 1.2, "log_loss": 3.4, "temperature": None},
    }
    piece = {"column": "n_tokens", "value": "8 to 15", "rows": 2, "accuracy": 0.5, "macro_f1": 0.5}
    evaluation = {
        "calibration": calibration,
        "slices": [{**piece, "intervals": {"accuracy": [0, 1], "macro_f1": [0, 1]}}],
        "mistakes": [{"row": 4, "true": "a", "predicted": "b", "confidence": 0.9}],
        "label_order": {"suspicious": True, "reading": {"a": "b", "b": "a"}, "accuracy": 0.9},
    }
    schema = metrics_schema().schema
    found = Draft202012Validator({**schema["$defs"]["evaluation"], "$defs": schema["$defs"], "required": []})
    assert found.is_valid(evaluation)
    for path, _ in leaves(evaluation):
        assert not found.is_valid(changed(evaluation, path, [["wrong"]])), path


def test_a_profile() -> None:
    histogram = {"edges": [1, 2, 4], "counts": [0, 3, 1]}
    profile = {
        **{"rows": 4, "tokens": histogram, "unknown_share": histogram, "confidence": histogram},
        **{"labels": {"a": 4}, "unknown_tokens": 1, "all_tokens": 9},
    }
    document = failure(profile=profile)
    assert not faults_of(document)
    for path, _ in leaves(profile):
        assert faults_of(changed(document, ("profile", *path), [["wrong"]])), path
