import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import Program

ROOT = Path(__file__).parents[1]

JOB = """
[train]
train = "sample:train"
valid = ["sample:valid"]
output = "model"
base_model = "{base}"
epochs = 1
limit_rows = 150

[evaluate]
data = ["sample:test"]
output = "evaluation"
gate = "accuracy>=0.0"

[score]
input = ["sample:test"]
output = "labelled"
keep_columns = ["text"]
limit_rows = 40
"""


@pytest.fixture
def job(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "job.toml"
    path.write_text(JOB.format(base=tiny_model).replace('valid = ["sample:valid"]', 'valid = "sample:valid"'))
    return path


def test_the_whole_job_and_again(job: Path, tmp_path: Path, program: Program) -> None:
    ended = program("run", job, "--metrics", "metrics.json")
    assert ended.code == 0, ended.err
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert list(metrics["steps"]) == ["train", "evaluate", "score"]
    assert metrics["headline"]["score_rows_in"] == 40
    assert metrics["headline"]["evaluate_F1"] == metrics["steps"]["evaluate"]["evaluation"]["macro_f1"]
    table = pq.read_table(tmp_path / "labelled")
    assert (table.num_rows, table.schema.names[:2]) == (40, ["text", "predicted_label"])
    again = program("run", job, "--metrics", "again.json")
    assert again.code == 0
    assert again.out.count("done already") == again.err.count("done already") == 3
    for said in (ended.out, again.out):
        ends = [line.rpartition(": ")[2] for line in said.splitlines() if line.startswith("status ")]
        assert ends == ["model", "evaluation", "labelled"]
    first, second = (
        [each["run"] for each in json.loads((tmp_path / name).read_text())["steps"].values()]
        for name in ("metrics.json", "again.json")
    )
    assert [each["id"] for each in first] == [each["id"] for each in second], "of the run that did it"
    assert all(f"done already, at {each['ended_at']}: " in again.out for each in second)


def test_a_gate_that_the_split_cannot_decide_is_left_to_the_job(job: Path, program: Program) -> None:
    measured = program("run", job, "--metrics", "run.json")
    assert measured.code == 0
    evaluation = json.loads((job.parent / "run.json").read_text())["steps"]["evaluate"]["evaluation"]
    low, high = evaluation["intervals"]["accuracy"]
    gate = ("--set", f"evaluate.gate=accuracy>={(low + high) / 2:.6f}")
    assert program("run", job, *gate).code == 9
    assert program("run", job, *gate, "--set", "evaluate.on_undecidable=pass").code == 0


def test_a_baseline_that_is_none_costs_no_training(job: Path, tmp_path: Path, program: Program) -> None:
    ended = program("run", job, "--set", "evaluate.gate_baseline=nowhere")
    assert ended.code == 3
    assert "--gate-baseline nowhere is no finished evaluation" in ended.err
    assert not (tmp_path / "model").exists()


def test_a_failed_gate_labels_nothing(job: Path, tmp_path: Path, program: Program) -> None:
    ended = program("run", job, "--set", "evaluate.gate=accuracy>=0.999", "--metrics", "metrics.json")
    assert ended.code == 9
    assert (tmp_path / "evaluation" / "metrics.json").exists()
    assert not (tmp_path / "labelled").exists()
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["command"], metrics["status"], metrics["exit_code"]) == ("run", "gate_failed", 9)
    assert list(metrics["steps"]) == ["train", "evaluate"]


def test_a_flag_beats_the_variable_beats_the_file_beats_the_default(
    job: Path, tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTIMENT_BATCH_SCORE_LIMIT_ROWS", "30")
    monkeypatch.setenv("SENTIMENT_BATCH_SCORE_INPUT", "sample:valid")
    assert program("run", job).code == 0
    assert pq.read_table(tmp_path / "labelled").num_rows == 30
    assert program("run", job, "--set", "score.limit-rows=20", "--set", "score.output=twenty").code == 0
    assert pq.read_table(tmp_path / "twenty").num_rows == 20
    inputs = json.loads((tmp_path / "twenty" / "_metrics.json").read_text())["input"]["files"]
    assert inputs[0]["path"].endswith("valid.tsv")
    assert program("run", job, "--set", "score.overwrite=true", "--set", "score.limit-rows=10").code == 0
    assert pq.read_table(tmp_path / "labelled").num_rows == 10


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[score]", "[scores]"), "[scores] is not a table of a job"),
        (("keep_columns", "keep_column"), "has no key 'keep_column'; did you mean keep_columns?"),
        (("limit_rows = 40", 'limit_rows = "many"'), "'many' is not a whole number"),
        (("epochs = 1", "epochs ="), "is not valid TOML"),
        (('output = "labelled"', 'output = "labelled"\nmetrics = "labelled/x.json"'), "lies in --output"),
        (('gate = "accuracy>=0.0"', 'gate = "accuracy=0.0"'), "[evaluate]: --gate 'accuracy=0.0': write it as"),
        (('gate = "accuracy>=0.0"', 'gate = "auc>=0.0"'), "figures are accuracy, macro_f1"),
        (('gate = "accuracy>=0.0"', 'gate = "recall[negatif]>=0.1"'), "the model has no label 'negatif'; it has pos"),
        (('output = "labelled"', 'output = "labelled"\nlabel_column = "text"'), "job.toml: [score]: --text-column and"),
    ],
)
def test_a_mistake_in_the_file_costs_no_training(
    change: tuple[str, str], said: str, job: Path, tmp_path: Path, program: Program
) -> None:
    job.write_text(job.read_text().replace(*change))
    ended = program("run", job)
    assert ended.code == 2
    assert said in ended.err
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("score", "write it as TABLE.KEY=VALUE"),
        ("x.y=1", "no such table"),
        ("score.x=1", "no such option; see sentiment-batch score --help"),
        ("score.outptu=x", "no such option; did you mean output?"),
        ("score.max-reject-rat=1", "no such option; did you mean max_reject_rate?"),
        ("evaluate.gate=['rows>=1'", "is not a list of texts"),
    ],
)
def test_a_setting_that_sets_nothing(setting: str, said: str, job: Path, program: Program) -> None:
    ended = program("run", job, "--set", setting)
    assert ended.code == 2
    assert said in ended.err


def test_a_setting_that_is_given_twice_is_not_halved(job: Path, program: Program) -> None:
    ended = program("run", job, "--set", "score.limit-rows=1", "--set", "score.limit_rows=2")
    assert ended.code == 2
    assert "--set score.limit_rows is given twice; give one" in ended.err


def test_a_setting_with_several_values(job: Path, program: Program) -> None:
    gates = "evaluate.gate=['rows>=1', 'macro_f1 > 1']"
    ended = program("run", job, "--set", gates, "--set", "train.output=other")
    assert ended.code == 9
    assert "rows>=1: holds" in ended.out
    assert "macro_f1 > 1: FAILS" in ended.out


def test_gates_of_another_model_are_not_held_against_the_labels_of_this_one(
    job: Path, tmp_path: Path, tiny_model: Path, program: Program
) -> None:
    (tmp_path / "two.tsv").write_text("text\tlabel\n" + "bagus\tpositive\nburuk\tnegative\n" * 3)
    job.write_text(job.read_text().replace("sample:train", "two.tsv").replace("sample:valid", "two.tsv"))
    gate = ("--set", "evaluate.gate=recall[neutral]>=0")
    ended = program("run", job, *gate)
    assert ended.code == 2
    assert "the model has no label 'neutral'; it has positive, negative" in ended.err
    assert not (tmp_path / "model").exists()
    assert program("run", job, *gate, "--set", f"evaluate.model={tiny_model}").code == 0


def test_no_such_file(program: Program) -> None:
    ended = program("run", "none.toml")
    assert ended.code == 2
    assert "no such file: none.toml" in ended.err


def test_the_example_job_works_on_the_sample(
    tmp_path: Path, tiny_model: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = program("run", ROOT / "jobs" / "nightly.toml")
    assert ended.code == 0, ended.err
    assert pq.read_table(tmp_path / "out" / "labelled").num_rows == 500
    assert "gate      macro_f1>=0.70: holds" in ended.out
    assert "making the vocabulary and the model from the texts" in ended.err


def test_each_step_writes_its_own_metrics_too(job: Path, tmp_path: Path, program: Program) -> None:
    job.write_text(job.read_text() + 'metrics = "score.json"\n')
    assert program("run", job, "--metrics", "run.json").code == 0
    score, run = (json.loads((tmp_path / name).read_text()) for name in ("score.json", "run.json"))
    assert run["steps"]["score"] == score


def test_a_slice_is_no_output_yet(job: Path, tmp_path: Path, program: Program) -> None:
    """A machine that waits for the labels is not told that they are there."""
    files = ("--metrics", "run.json", "--xcom", "x.json", "--prometheus", "p.prom")
    for number, published in enumerate((False, True), 1):
        setting = ("--set", f"score.shard_slice={number}/2", "--set", "score.shard_rows=20")
        assert program("run", job, *setting, *files).code == 0
        metrics, told = (json.loads((tmp_path / name).read_text()) for name in ("run.json", "x.json"))
        assert ("score" in metrics["outputs"]) is ("score" in told["outputs"]) is published
        assert told["slice"]["published"] is published
        [line] = re.findall(r"^sentiment_batch_published\{.*", (tmp_path / "p.prom").read_text(), re.MULTILINE)
        assert line.endswith(f" {int(published)}")


def test_what_was_done_before_a_failure_is_in_its_metrics(job: Path, tmp_path: Path, program: Program) -> None:
    ended = program("run", job, "--set", "score.input=none.tsv", "--metrics", "run.json")
    assert ended.code == 3
    metrics = json.loads((tmp_path / "run.json").read_text())
    assert (metrics["status"], metrics["exit_code"], list(metrics["steps"])) == ("failed", 3, ["train", "evaluate"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('output = "labelled"', 'output = "labelled"\nlog_format = "json"'), "log_format, which is of the whole run"),
        (('input = ["sample:test"]', ""), "[score]: Missing argument 'INPUT...'"),
        (("epochs = 1", "epochs = 1.5"), "[train]: Invalid value for '--epochs': 1.5 is not a whole number"),
        (("epochs = 1", "epochs = true"), "True is not a whole number"),
        (("epochs = 1", "epochs = []"), "[] is not a whole number"),
        (('keep_columns = ["text"]', "keep_columns = 5"), "5 is not a list of names"),
    ],
)
def test_values_of_the_wrong_kind(change: tuple[str, str], said: str, job: Path, program: Program) -> None:
    job.write_text(job.read_text().replace(*change))
    ended = program("run", job)
    assert ended.code == 2
    assert said in ended.err
    assert ended.err.count("\n") == 1


def test_several_values_in_a_variable_stand_on_lines(
    job: Path, tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTIMENT_BATCH_EVALUATE_GATE", "accuracy >= 0.0\nmacro_f1 >= 0.0")
    assert program("run", job, "--metrics", "run.json").code == 0
    gates = json.loads((tmp_path / "run.json").read_text())["steps"]["evaluate"]["gates"]
    assert [gate["condition"] for gate in gates] == ["accuracy >= 0.0", "macro_f1 >= 0.0"]
