import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import LABELS, Outcome, Program, random_texts, sample_rows, save_random_model

from sentiment_batch import compare as module
from sentiment_batch import two_models
from sentiment_batch.errors import Stopped
from sentiment_batch.labeller import Labeller
from sentiment_batch.write.bucket import Bucket

SAME_BITS = ("--dtype", "float32", "--batch-tokens", 64)  # however rows are cut into batches, or nearly


def random_model(folder: Path, labels: tuple[str, ...], seed: int) -> Path:
    from transformers import BertConfig

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    names = {"id2label": dict(enumerate(labels)), "label2id": {label: each for each, label in enumerate(labels)}}
    save_random_model(folder, BertConfig(**sizes, **names, max_position_embeddings=64, initializer_range=0.5), seed)
    return folder


@pytest.fixture(scope="session")
def new_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the labels of the tiny model in another order."""
    return random_model(tmp_path_factory.mktemp("new_model"), LABELS[::-1], 1)


@pytest.fixture(scope="session")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a label that the tiny model lacks, and without one that it has."""
    return random_model(tmp_path_factory.mktemp("other_model"), ("positive", "mixed", "negative"), 2)


BLANK, REJECTED = 20, (0, 7, 180, 230)  # rows without a text, and those that cannot be read
WITHOUT = (BLANK, *REJECTED)
ROWS = [*sample_rows("test")[:100], *((text, LABELS[row % 3]) for row, text in enumerate(random_texts(150)))]


@pytest.fixture
def data(tmp_path: Path) -> list[Path]:
    """Two files, with rows that cannot be read and one without a text among them."""
    lines = [f"{text}\t{label}" for text, label in ROWS]
    for place in REJECTED:
        lines[place] += "\tone field too many"
    lines[BLANK] = "\tneutral"
    paths = [tmp_path / "a.tsv", tmp_path / "b.tsv"]
    for path, part in zip(paths, (lines[:160], lines[160:]), strict=True):
        path.write_text("text\tlabel\n" + "".join(f"{line}\n" for line in part), encoding="utf-8")
    return paths


def compared(program: Program, old: object, new: object, output: object, *others: object) -> Outcome:
    return program("compare", old, new, "--output", output, "--progress", "none", *others)


def of_data(data: list[Path]) -> list[object]:
    return [argument for path in data for argument in ("--data", path)]


def scored(program: Program, model: Path, data: list[Path], output: Path, *others: object) -> Path:
    options = ("--model", model, "--output", output, "--max-reject-rate", 1, "--progress", "none")
    assert program("score", *data, *options, *SAME_BITS, *others).code == 0
    return output


def metrics_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "metrics.json").read_text()))


def expected(old: Path, new: Path, chunk_rows: int = 160, without: tuple[int, ...] = WITHOUT) -> pd.DataFrame:
    """What both models say of the rows, labelled in the same chunks; `row` is the number among all of them."""
    frame = pd.DataFrame(ROWS, columns=["text", "true"]).drop(index=list(without)).rename_axis("row").reset_index()
    for side, folder in (("old", old), ("new", new)):
        labeller = Labeller(str(folder), dtype="float32", batch_tokens=64)
        chunks = [pa.table({"text": texts.tolist()}) for _, texts in frame["text"].groupby(frame["row"] // chunk_rows)]
        table = pa.concat_tables([labeller(chunk) for chunk in chunks]).to_pandas().drop(columns="text")
        frame = frame.join(table.rename(columns=lambda name, side=side: f"{side}_{name}"))
    return frame


def outputs_said(old: Path, new: Path, prefix: str) -> pd.DataFrame:
    """The same of two outputs, the new one of which has the prefix."""
    frame = pd.DataFrame(ROWS, columns=["text", "true"]).rename_axis("row").reset_index()
    frame = frame.drop(index=[row for row in WITHOUT if row != BLANK]).reset_index(drop=True)
    for side, folder, before in (("old", old, ""), ("new", new, prefix)):
        table = pd.read_parquet(folder)
        table = table[[name for name in table.columns if name.startswith(before) and name not in ("text", "label")]]
        frame = frame.join(table.rename(columns=lambda name, side=side, before=before: f"{side}_{name[len(before) :]}"))
    return frame[frame["row"] != BLANK]


def check_figures(folder: Path, frame: pd.DataFrame, labels: tuple[str, ...], same_labels: bool = True) -> None:
    comparison, changes = metrics_of(folder)["comparison"], pd.read_parquet(folder / "changes.parquet")
    names = ("old_predicted_label", "new_predicted_label")
    matrix = pd.crosstab(*(frame[name] for name in names)).reindex(index=labels, columns=labels, fill_value=0)
    assert comparison["labels"] == list(labels)
    assert comparison["matrix"] == matrix.to_numpy().tolist()
    flipped = frame[frame[names[0]] != frame[names[1]]]
    probabilities = [f"prob_{label}" for label in labels] if same_labels else ["confidence"]
    change = np.max([(flipped[f"old_{name}"] - flipped[f"new_{name}"]).abs() for name in probabilities], axis=0)
    flipped = flipped.assign(change=change).set_index("row").loc[changes["row"]]
    assert len(changes) == comparison["flips"] > 50
    assert changes["change"].is_monotonic_decreasing
    np.testing.assert_allclose(changes["change"], flipped["change"], atol=1e-4)
    assert changes["old"].tolist() == flipped[names[0]].tolist()
    assert changes["new"].tolist() == flipped[names[1]].tolist()
    np.testing.assert_allclose(changes["new_confidence"], flipped["new_confidence"], atol=1e-4)
    assert changes["true"].tolist() == flipped["true"].tolist()
    assert changes["text"].tolist() == flipped["text"].tolist()
    rows = pq.read_table(folder / "changes.parquet").drop_columns(["text"]).to_pylist()
    assert comparison["changed"] == rows[:20]


def test_two_models_on_data(
    data: list[Path], tiny_model: Path, new_model: Path, tmp_path: Path, program: Program
) -> None:
    """And what two outputs of theirs say is the same, though these are cut otherwise and named otherwise."""
    options = ("--label-column", "label", "--show-texts")
    ended = compared(program, tiny_model, new_model, tmp_path / "out", *of_data(data), *SAME_BITS, *options)
    assert ended.code == 0
    frame = expected(tiny_model, new_model)
    check_figures(tmp_path / "out", frame, LABELS)
    metrics = metrics_of(tmp_path / "out")
    assert (metrics["command"], metrics["status"], metrics["gates"]) == ("compare", "done", [])
    assert metrics["rows"] == {"in": 250, "out": 246, "rejected": 4}
    assert [file["rows"] for file in metrics["input"]["files"]] == [160, 90]
    assert metrics["comparison"]["without_label"] == {"old": 1, "new": 1}
    quality = metrics["comparison"]["quality"]
    assert quality["rows"] == len(frame) == metrics["comparison"]["rows"] == metrics["headline"]["rows"]
    for side in ("old", "new"):
        right = (frame[f"{side}_predicted_label"] == frame["true"]).mean()
        assert quality[side]["accuracy"] == pytest.approx(right, abs=1e-12)
    assert metrics["headline"]["accuracy_difference"] == quality["difference"]["accuracy"]
    for side, model in (("old", tiny_model), ("new", new_model)):
        assert (metrics[side]["kind"], metrics[side]["path"]) == ("model", str(model))
        assert metrics[side]["digest"] == Labeller(str(model)).digest
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["changes.parquet", "metrics.json", "report.html"]
    old = scored(program, tiny_model, data, tmp_path / "old", "--shard-rows", 70)
    new = scored(program, new_model, data, tmp_path / "new", "--shard-rows", 45, "--prefix", "sb_")
    assert compared(program, old, new, tmp_path / "again", *options).code == 0
    check_figures(tmp_path / "again", outputs_said(old, new, "sb_"), LABELS)
    again = metrics_of(tmp_path / "again")
    assert again["rows"] == metrics["rows"]
    assert again["comparison"]["without_label"] == {"old": 1, "new": 1}
    assert again["old"]["kind"] == "output"
    assert again["old"]["job_id"] == json.loads((old / "_SUCCESS").read_text())["job_id"]
    assert again["new"]["digest"] == metrics["new"]["digest"]


def test_models_with_other_labels(
    data: list[Path], tiny_model: Path, other_model: Path, tmp_path: Path, program: Program, monkeypatch: Any
) -> None:
    """On data of which one file is packed: it is one shard, in several chunks."""
    monkeypatch.setattr(two_models, "CHUNK_ROWS", 32)
    data[1] = data[1].with_name("b.tsv.gz")
    data[1].write_bytes(gzip.compress((tmp_path / "b.tsv").read_bytes()))
    options = ("--label-column", "label", "--show-texts")
    ended = compared(program, tiny_model, other_model, tmp_path / "out", *of_data(data), *SAME_BITS, *options)
    assert ended.code == 0
    assert "1 of OLD's are not NEW's, 1 of NEW's not OLD's; `change` is that of the confidence" in ended.err
    check_figures(tmp_path / "out", expected(tiny_model, other_model, 32), (*LABELS, "mixed"), same_labels=False)
    by_label = metrics_of(tmp_path / "out")["comparison"]["by_label"]
    assert by_label["neutral"]["flip_rate"] == 1
    assert by_label["mixed"] == {"rows": 0, "flips": 0, "flip_rate": None, "interval": None}


def test_a_dump_without_labels_and_the_largest_changes_alone(
    tiny_model: Path, new_model: Path, tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(two_models, "CHUNK_ROWS", 64)
    pq.write_table(pa.table({"t": [text for text, _ in ROWS]}), tmp_path / "dump.parquet")
    options = ("--data", tmp_path / "dump.parquet", "--text-column", "t", "--changes", 7, *SAME_BITS)
    ended = compared(program, tiny_model, new_model, tmp_path / "out", *options)
    assert ended.code == 0
    comparison, changes = metrics_of(tmp_path / "out")["comparison"], pd.read_parquet(tmp_path / "out/changes.parquet")
    assert comparison["quality"] is None
    assert list(changes.columns) == ["row", "old", "new", "old_confidence", "new_confidence", "change"]
    frame = expected(tiny_model, new_model, 64, without=())
    names = [f"prob_{label}" for label in LABELS]
    change = np.max([(frame[f"old_{name}"] - frame[f"new_{name}"]).abs() for name in names], axis=0)
    flipped = frame.assign(change=change)[frame["old_predicted_label"] != frame["new_predicted_label"]]
    assert len(changes) == len(comparison["changed"]) == 7
    np.testing.assert_allclose(changes["change"], flipped["change"].nlargest(7), atol=1e-4)
    assert "flips" in ended.out
    assert "quality" not in ended.out


def test_texts_stay_where_they_are(
    data: list[Path], tiny_model: Path, new_model: Path, tmp_path: Path, program: Program
) -> None:
    ended = compared(program, tiny_model, new_model, tmp_path / "out", *of_data(data), "--label-column", "label")
    assert ended.code == 0
    made = ended.out + ended.err + (tmp_path / "out" / "metrics.json").read_text()
    changes = pd.read_parquet(tmp_path / "out" / "changes.parquet")
    assert "text" not in changes.columns
    assert not [text for text, _ in ROWS if len(text) > 20 and text in made + changes.to_string()]


def test_gates(data: list[Path], tiny_model: Path, new_model: Path, tmp_path: Path, program: Program) -> None:
    arguments = (tiny_model, new_model, tmp_path / "out", *of_data(data), "--label-column", "label")
    assert compared(program, *arguments).code == 0
    comparison = metrics_of(tmp_path / "out")["comparison"]
    by_label = comparison["by_label"][LABELS[0]]
    holds = f"flip_rate<={comparison['intervals']['flip_rate'][1]}"
    fails = f"flip_rate[{LABELS[0]}]<{by_label['interval'][0]}"
    unsure = f"accuracy_difference>={comparison['quality']['difference']['accuracy']}"
    (tmp_path / "out").rename(tmp_path / "first")
    ended = compared(program, *arguments, "--gate", holds, "--gate", fails, "--metrics", tmp_path / "copy.json")
    assert ended.code == 9
    assert f"error: NEW is not fit to take the place of OLD: {fails} (it is 0." in ended.err
    assert f"all figures are in {tmp_path / 'out'}" in ended.err
    metrics = metrics_of(tmp_path / "out")
    assert metrics == json.loads((tmp_path / "copy.json").read_text()), "everything is written"
    assert (metrics["status"], metrics["exit_code"]) == ("gate_failed", 9)
    assert [gate["verdict"] for gate in metrics["gates"]] == ["passes", "fails"]
    published = (tmp_path / "out" / "metrics.json").read_bytes()
    ended = compared(program, *arguments, "--gate", unsure)
    assert ended.code == 9
    assert f"245 rows cannot decide {unsure} (it is " in ended.err
    assert compared(program, *arguments, "--gate", unsure, "--on-undecidable", "pass").code == 0
    assert compared(program, *arguments).code == 0
    assert compared(program, *arguments, "--gate", fails).code == 9, "done already, but not good enough"
    assert (tmp_path / "out" / "metrics.json").read_bytes() == published, "what is visible never changes"


def test_the_same_again_is_done_and_another_is_refused(
    data: list[Path], tiny_model: Path, new_model: Path, tmp_path: Path, program: Program
) -> None:
    arguments = (tiny_model, new_model, tmp_path / "out", *of_data(data))
    assert compared(program, *arguments).code == 0
    before = (tmp_path / "out" / "metrics.json").read_bytes()
    ended = compared(program, *arguments)
    assert (ended.code, "done already" in ended.out) == (0, True)
    assert (tmp_path / "out" / "metrics.json").read_bytes() == before
    ended = compared(program, *arguments, "--changes", 5)
    assert (ended.code, "--changes 1000 there, 5 here" in ended.err) == (4, True)
    ended = compared(program, new_model, tiny_model, tmp_path / "out", *of_data(data))
    assert (ended.code, "another NEW (" in ended.err) == (4, True)
    assert compared(program, *arguments, "--changes", 5, "--overwrite").code == 0
    assert len(pd.read_parquet(tmp_path / "out" / "changes.parquet")) == 5
    ended = program("verify", tmp_path / "out")
    assert (ended.code, "is a comparison; verify is for the outputs of `score`" in ended.err) == (3, True)


def test_a_killed_run_goes_on_with_what_it_wrote(
    data: list[Path], tiny_model: Path, new_model: Path, tmp_path: Path, program: Program, monkeypatch: Any
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise Stopped(15)

    arguments = (tiny_model, new_model, tmp_path / "out", *of_data(data))
    with monkeypatch.context() as patch:
        patch.setattr(module, "settle_json", killed)
        assert compared(program, *arguments).code == 143
    made = tmp_path / ".out.wip" / "changes.parquet"
    before = made.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(two_models, "compute_of", lambda _: {"engine": "another"})
        ended = compared(program, *arguments)
    assert ended.code == 4
    assert "changes.parquet was made by a run on another device or precision" in ended.err
    assert made.read_bytes() == before
    assert compared(program, *arguments).code == 0
    assert (tmp_path / "out" / "changes.parquet").read_bytes() == before
    assert metrics_of(tmp_path / "out")["run"]["resumed"] is True


def test_what_cannot_be_compared(
    data: list[Path], tiny_model: Path, new_model: Path, tmp_path: Path, program: Program
) -> None:
    scores = scored(program, tiny_model, data, tmp_path / "scores")
    a, cases = of_data(data), tmp_path / "out"
    for arguments, code, said in (
        ((tiny_model, new_model, cases), 2, "OLD and NEW are models: give --data"),
        ((tiny_model, scores, cases, *a), 2, "OLD is a model and NEW an output: compare two models, or two outputs"),
        ((scores, scores, cases, *a), 2, "--data is of models that label data; OLD and NEW are outputs"),
        ((scores, scores, cases, "--limit-rows", 5), 2, "--limit-rows is of models that label data"),
        ((scores, scores, cases, "--dtype", "float32"), 2, "--dtype is of models that label data"),
        ((scores, scores, scores / "out"), 2, "lie in each other"),
        ((scores, scores, tmp_path), 2, "lie in each other"),
        ((scores, tmp_path / "missing", cases), 3, "missing, is neither a model folder nor a finished output"),
        ((data[0], scores, cases), 3, "a.tsv, is neither a model folder nor a finished output"),
        ((scores, scores, cases, "--label-column", "truth"), 2, "has the column 'truth'"),
        ((tiny_model, new_model, cases, *a, "--label-column", "truth"), 3, "has no column 'truth'"),
        ((tiny_model, new_model, cases, *a, "--gate", "macro_f1_difference>=0"), 2, "needs the true labels: give --la"),
        ((tiny_model, new_model, cases, *a, "--gate", "flip_rate[baik]<=0"), 2, "OLD has no label 'baik'; it has pos"),
        ((tiny_model, new_model, cases, *a, "--gate", "accuracy>=0"), 2, "figures are flip_rate, accuracy_difference"),
    ):
        ended = compared(program, *arguments)
        assert (ended.code, said in ended.err) == (code, True), ended.err
        assert not cases.exists()


def test_outputs_of_other_rows_are_refused(
    data: list[Path], tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    first = scored(program, tiny_model, data, tmp_path / "first")
    more = tmp_path / "more"
    more.mkdir()
    for path in data:
        (more / path.name).write_bytes(path.read_bytes())
    same = scored(program, tiny_model, [more / "a.tsv", more / "b.tsv"], tmp_path / "same")
    assert compared(program, first, same, tmp_path / "out").code == 0, "wherever they lie, and whenever written"
    whole = (more / "a.tsv").read_bytes()
    others: dict[str, tuple[Path, str]] = {}

    def add(name: str, said: str, *options: object, inputs: tuple[str, ...] = ("a.tsv", "b.tsv")) -> None:
        paths = [more / each for each in inputs]
        others[name] = (scored(program, tiny_model, paths, tmp_path / name, *options), said)

    add("fewer", "250 rows and 249", "--limit-rows", 249)
    add("half", "2 input files and 1", inputs=("a.tsv",))
    add("turned", "the input a.tsv and b.tsv", inputs=("b.tsv", "a.tsv"))
    add("texts", "the texts are in 'text' in the one, in 'label' in the other", "--text-column", "label")
    (more / "a.tsv").write_bytes(whole + b"one more\tneutral\n")
    add("longer", f"a.tsv had {len(whole):,} bytes and {len(whole) + 17:,}")
    (more / "a.tsv").write_bytes(whole[:-3] + b"xx\n")
    add("edited", "the content of a.tsv was another one")
    for name, (output, said) in others.items():
        ended = compared(program, first, output, tmp_path / "none")
        assert ended.code == 3, name
        assert f"are not of the same rows: {said}" in ended.err, name
        assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("shard_rows", "said"),
    [
        ((9, 9), "an input was edited between the two, though its size and its ends are the same"),
        ((9, 8), "row 4 of the data is rejected in one of"),
    ],
)
def test_outputs_whose_rejects_are_others_are_refused(
    shard_rows: tuple[int, int], said: str, tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    """As many of as many rows, of files that differ in their middle alone."""
    path, long, texts = tmp_path / "a.tsv", f"{'x' * 2**17}\tneutral\n", random_texts(20)
    outputs = []
    for place, rows in zip((4, 6), shard_rows, strict=True):
        lines = [f"{text}\tneutral{chr(9) if row == place else 's'}\n" for row, text in enumerate(texts, 1)]
        path.write_text("text\tlabel\n" + long + "".join(lines) + long, encoding="utf-8")
        outputs.append(scored(program, tiny_model, [path], tmp_path / f"out{place}", "--shard-rows", rows))
    ended = compared(program, *outputs, tmp_path / "out")
    assert (ended.code, said in ended.err) == (3, True), ended.err
    assert not (tmp_path / "out").exists()


def test_labels_that_say_nothing_are_refused_before_a_model_runs(
    tiny_model: Path, new_model: Path, tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = {"text": ["a", "b", "c"], "masked": ["neutral"] * 3, "other": ["x", "y", None], "list": [["a"]] * 3}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    output = scored(program, tiny_model, [tmp_path / "a.parquet"], tmp_path / "scores")
    monkeypatch.setattr(Labeller, "load", None)
    for name, said in (
        ("masked", "the column 'masked' is 'neutral' in all rows; with it no quality can be measured"),
        ("other", "the column 'other' has no label that OLD or NEW knows"),
        ("list", "'list' holds list<element: string>, not single values"),
    ):
        options = ("--label-column", name)
        for arguments in ((tiny_model, new_model, "--data", tmp_path / "a.parquet"), (output, output)):
            old, new, *rest = arguments
            ended = compared(program, old, new, tmp_path / "out", *rest, *options)
            assert (ended.code, said in ended.err) == (3, True), ended.err
            assert not (tmp_path / "out").exists()


def broken_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every batch but the first row the scores are no numbers."""
    from sentiment_batch.model import torch_engine

    engine_of = torch_engine.engine_of

    def broken(*arguments: object) -> object:
        engine = engine_of(*arguments)  # type: ignore[arg-type]

        def nearly_all(ids: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
            logits = engine(ids, mask)
            logits[1:] = np.nan
            return logits

        return nearly_all

    monkeypatch.setattr(torch_engine, "engine_of", broken)


def test_rows_without_a_score(
    data: list[Path], tiny_model: Path, new_model: Path, tmp_path: Path, program: Program, monkeypatch: Any
) -> None:
    """A model that gives them is refused; in outputs, which were published with them, they are counted apart."""
    old = scored(program, tiny_model, data, tmp_path / "old")
    with monkeypatch.context() as patch:
        broken_engine(patch)
        ended = compared(program, tiny_model, new_model, tmp_path / "out", *of_data(data))
        assert (ended.code, "gives no finite score for some of the rows" in ended.err) == (8, True)
        assert not (tmp_path / "out").exists()
        new = scored(program, new_model, data, tmp_path / "new")
    ended = compared(program, old, new, tmp_path / "out")
    assert ended.code == 0
    comparison = metrics_of(tmp_path / "out")["comparison"]
    without = 246 - pd.read_parquet(new)["predicted_label"].notna().sum()
    assert comparison["without_label"] == {"old": 1, "new": without}
    assert comparison["rows"] == 246 - without < 240
    assert f"no label  1 rows in the old, {without} in the new" in ended.out


def test_no_rows_to_compare(tiny_model: Path, new_model: Path, tmp_path: Path, program: Program) -> None:
    pq.write_table(pa.table({"text": pa.array([None, ""], pa.string())}), tmp_path / "a.parquet")
    ended = compared(program, tiny_model, new_model, tmp_path / "out", "--data", tmp_path / "a.parquet")
    assert (ended.code, "no rows to compare" in ended.err) == (3, True)
    assert not (tmp_path / "out").exists()


def test_an_evaluation_with_a_dump_of_the_same_rows_in_a_bucket(
    tiny_model: Path, new_model: Path, tmp_path: Path, bucket: str, program: Program
) -> None:
    path = tmp_path / "split.tsv"
    path.write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in ROWS), encoding="utf-8")
    shared = ("--progress", "none", *SAME_BITS)
    ended = program("evaluate", "--model", tiny_model, "--data", path, "--output", f"{bucket}/old", *shared)
    assert ended.code == 0
    ended = program("score", path, "--model", new_model, "--output", f"{bucket}/new", "--keep-columns", "none", *shared)
    assert ended.code == 0
    arguments = (f"{bucket}/old", f"{bucket}/new", f"{bucket}/compared", "--label-column", "label", "--show-texts")
    assert compared(program, *arguments).code == 0
    ended = compared(program, *arguments)
    assert (ended.code, "done already" in ended.out) == (0, True)
    store = Bucket(f"{bucket}/compared")
    metrics = json.loads(store.read("metrics.json") or b"")
    assert (metrics["old"]["command"], metrics["new"]["command"]) == ("evaluate", "score")
    assert metrics["comparison"]["quality"]["rows"] == 250
    (tmp_path / "changes.parquet").write_bytes(store.read("changes.parquet") or b"")
    changes = pq.read_table(tmp_path / "changes.parquet").to_pylist()
    assert [each["text"] for each in changes] == [ROWS[each["row"]][0] for each in changes]
    assert [each["true"] for each in changes] == [ROWS[each["row"]][1] for each in changes]


def test_an_output_that_is_its_own_successor(
    data: list[Path], tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    output = scored(program, tiny_model, data, tmp_path / "scores")
    ended = compared(program, output, output, tmp_path / "out", "--label-column", "label", "--gate", "flip_rate<=0.02")
    assert ended.code == 0
    assert "flips     0 of 245 rows (0.00%, 95%: 0.00% to 1.54%)" in ended.out
    assert len(pd.read_parquet(tmp_path / "out" / "changes.parquet")) == 0


def test_labels_that_were_edited_between_two_outputs_are_not_taken_for_both(
    tiny_model: Path, new_model: Path, tmp_path: Path, program: Program
) -> None:
    """In its middle, so that neither size nor ends say so; and the parts, whose hashes would, are cut otherwise."""
    lines = [f"{text} {number}\t{LABELS[number % 3]}\n" for number, text in enumerate(random_texts(600) * 4)]
    path = tmp_path / "a.tsv"
    path.write_text("text\tlabel\n" + "".join(lines), encoding="utf-8")
    old = scored(program, tiny_model, [path], tmp_path / "old", "--shard-rows", 700)
    lines[1_200] = lines[1_200].replace("\tpositive", "\tnegative")
    assert LABELS[0] == "positive"
    path.write_text("text\tlabel\n" + "".join(lines), encoding="utf-8")
    new = scored(program, new_model, [path], tmp_path / "new", "--shard-rows", 900)
    ended = compared(program, old, new, tmp_path / "out", "--label-column", "label")
    assert ended.code == 3
    assert "differ in 'label', the true labels, from row " in ended.err
    assert compared(program, old, new, tmp_path / "out").code == 0, "without them nothing is measured by them"


def test_a_model_that_cuts_texts_otherwise_is_another_job(
    data: list[Path], tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    assert compared(program, tiny_model, model, tmp_path / "out", *of_data(data)).code == 0
    (model / "training.json").write_text(json.dumps({"max_length": 4}))
    assert compared(program, tiny_model, model, tmp_path / "out", *of_data(data)).code == 4
