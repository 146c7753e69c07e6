"""The training job: what it refuses, what it writes, and that it is done once."""

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from conftest import LABELS, Program, sample_rows, save_random_model

from sentiment_batch.config import TrainOptions
from sentiment_batch.errors import Stopped
from sentiment_batch.labeller import Labeller
from sentiment_batch.measure.temperature import fit_temperature, log_loss
from sentiment_batch.model import checkpoint
from sentiment_batch.read.split import label_order
from sentiment_batch.train import _balance, recipe_of, train
from sentiment_batch.training import _class_weights


def write(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows), encoding="utf-8")
    return path


@pytest.fixture
def data(tmp_path: Path) -> tuple[Path, Path]:
    return write(tmp_path / "train.tsv", sample_rows()[:120]), write(tmp_path / "valid.tsv", sample_rows("valid")[:40])


def arguments(data: tuple[Path, Path], base: Path | str, output: Path, *others: object) -> tuple[object, ...]:
    named = ("--train", data[0], "--valid", data[1], "--base-model", base, "--output", output)
    return "train", *named, "--epochs", 2, "--dtype", "float32", "--learning-rate", "1e-3", *others


def test_the_folder_is_an_ordinary_model(
    data: tuple[Path, Path], tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    from transformers import pipeline

    ended = program(*arguments(data, tiny_model, tmp_path / "model"))
    assert ended.code == 0, ended.err
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert names == {
        *("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"),
        *("training.json", "README.md", "report.html"),
    }
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["id2label"] == {"0": "positive", "1": "neutral", "2": "negative"}
    assert config["label2id"] == {"positive": 0, "neutral": 1, "negative": 2}
    texts = [text for text, _ in sample_rows("test")[:60]]
    theirs = pipeline("text-classification", model=str(tmp_path / "model"), top_k=None)(texts, truncation=True)
    ours = Labeller(str(tmp_path / "model"), dtype="float32").predict(texts)
    for their, our in zip(theirs, ours, strict=True):
        assert max(their, key=lambda each: each["score"])["label"] == our["label"]
        for each in their:
            assert our["probabilities"][each["label"]] == pytest.approx(each["score"], abs=1e-4)


def test_training_json_tells_what_the_model_was_made_from(
    data: tuple[Path, Path], tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    metrics_file = tmp_path / "metrics" / "train.json"
    assert program(*arguments(data, tiny_model, tmp_path / "model", "--metrics", metrics_file)).code == 0
    training = json.loads((tmp_path / "model" / "training.json").read_text())
    assert training["labels"] == list(LABELS)
    assert training["max_length"] == 64
    assert training["recipe"]["epochs"] == len(training["epochs"]) == 2
    assert training["data"]["train_labels"] == dict(Counter(label for _, label in sample_rows()[:120]))
    best = max(training["epochs"], key=lambda epoch: epoch["macro_f1"])
    assert training["best_epoch"] == best["epoch"]
    metrics = json.loads(metrics_file.read_text())
    assert metrics["headline"]["F1"] == best["macro_f1"]
    assert metrics["temperature"] == training["temperature"]
    assert (metrics["command"], metrics["status"], metrics["exit_code"]) == ("train", "done", 0)


def test_the_saved_model_is_that_of_the_best_epoch(
    data: tuple[Path, Path], tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    """A rate that falls apart after the first epoch: the last model is not the best one."""
    program(*arguments(data, tiny_model, tmp_path / "model", "--epochs", 3, "--learning-rate", "0.3"))
    training = json.loads((tmp_path / "model" / "training.json").read_text())
    evaluated = program(
        *("evaluate", "--model", tmp_path / "model", "--data", data[1], "--output", tmp_path / "evaluation"),
        *("--dtype", "float32"),
    )
    assert evaluated.code == 0, evaluated.err
    measured = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())["evaluation"]
    assert measured["macro_f1"] == pytest.approx(max(epoch["macro_f1"] for epoch in training["epochs"]))


def test_the_temperature_is_that_of_the_best_epoch_on_the_validation_split(
    data: tuple[Path, Path], tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    ended = program(*arguments(data, tiny_model, tmp_path / "model", "--epochs", 5, "--learning-rate", "0.03"))
    training = json.loads((tmp_path / "model" / "training.json").read_text())
    assert training["best_epoch"] < 5, "else it could be that of the last one"
    labeller = Labeller(str(tmp_path / "model"), dtype="float32", calibrated=True)
    assert labeller.temperature == training["temperature"] != 1
    assert f"{training['temperature']:.4g}, the temperature" in (tmp_path / "model" / "README.md").read_text()
    texts, labels = zip(*sample_rows("valid")[:40], strict=True)
    true = np.array([LABELS.index(label) for label in labels])
    logits = labeller.classifier.logits(labeller.prepare(pa.record_batch({"text": texts})).tokens)
    assert len(logits) == len(true), "no text of these comes twice"
    assert training["temperature"] == pytest.approx(fit_temperature(logits, true), rel=1e-4)
    losses = [log_loss(logits, true, each) for each in (1.0, training["temperature"])]
    assert f"valid log loss {losses[0]:.4f}, with --calibrated {losses[1]:.4f}\n" in ended.err
    assert losses[1] < losses[0]


def test_the_profile_is_that_of_the_validation_split_so_that_it_is_no_drift(
    data: tuple[Path, Path], tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    model, night = tmp_path / "model", tmp_path / "night.json"
    assert program(*arguments(data, tiny_model, model)).code == 0
    training = json.loads((model / "training.json").read_text())["profile"]
    assert training["confidence"] != training["confidence_calibrated"]
    for number, calibrated in enumerate(((), ("--calibrated",))):
        out = tmp_path / f"out{number}"
        shown = ("--dtype", "float32", *calibrated, "--metrics", night)
        assert program("score", data[1], "--model", model, "--output", out, *shown).code == 0
        profile = json.loads(night.read_text())["profile"]
        expected = training["confidence_calibrated" if calibrated else "confidence"]
        assert profile == {name: training[name] for name in profile} | {"confidence": expected}
        ended = program("drift", night, "--model", model, "--gate", "psi<=0.001", "--metrics", tmp_path / "drift.json")
        assert ended.code == 0, ended.err
        worst = json.loads((tmp_path / "drift.json").read_text())["drift"]["worst"]
        assert worst == dict.fromkeys(("tokens", "unknown_share", "confidence", "labels"), 0)
    odd = [(f"\U0010ffff {text[:9]} \U0010ffff", "") for text, _ in sample_rows()[:300]]
    broken = write(tmp_path / "broken.tsv", odd)
    assert program("score", broken, "--model", model, "--output", tmp_path / "broken", "--dtype", "float32").code == 0
    ended = program("drift", tmp_path / "broken", "--model", model, "--gate", "psi[unknown_share]<=0.2")
    assert ended.code == 9
    assert "shifted" in ended.out


def test_a_model_of_before_there_was_a_temperature_is_done(
    data: tuple[Path, Path], tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    command = arguments(data, tiny_model, tmp_path / "model", "--metrics", tmp_path / "metrics.json")
    assert program(*command).code == 0
    training = json.loads((tmp_path / "model" / "training.json").read_text())
    del training["temperature"]
    (tmp_path / "model" / "training.json").write_text(json.dumps(training))
    assert program(*command).code == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["temperature"], metrics["best_epoch"]) == (None, training["best_epoch"])
    assert json.loads((tmp_path / "model" / "training.json").read_text()) == training


def test_done_is_done_and_another_model_is_refused(
    data: tuple[Path, Path], tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    command = arguments(data, tiny_model, tmp_path / "model")
    assert program(*command).code == 0
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in (tmp_path / "model").iterdir()}
    again = program(*command)
    assert again.code == 0
    assert "done already" in again.err + again.out
    moved = write(tmp_path / "copy.tsv", sample_rows()[:120])
    assert program(*arguments((moved, data[1]), tiny_model, tmp_path / "model")).code == 0, "the same data elsewhere"
    for change in (("--seed", 7), ("--epochs", 1), ("--class-weights", "balanced")):
        refused = program(*command, *change)
        assert refused.code == 4
        assert change[0].removeprefix("--") in refused.err
    assert before == {
        path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in (tmp_path / "model").iterdir()
    }
    other = write(tmp_path / "train.tsv", sample_rows()[:100])
    assert program(*arguments((other, data[1]), tiny_model, tmp_path / "model")).code == 4
    overwrite = arguments((other, data[1]), tiny_model, tmp_path / "model", "--overwrite")
    for stranger in ("notes.txt", "archive/notes.txt", "train.tsv"):  # the last one might be what is trained on
        (tmp_path / "model" / stranger).parent.mkdir(exist_ok=True)
        (tmp_path / "model" / stranger).write_text("precious")
        refused = program(*overwrite)
        assert (refused.code, f"model/{stranger} is not of such a job; move it" in refused.err) == (4, True)
        (tmp_path / "model" / stranger).unlink()
    assert program(*overwrite).code == 0
    assert not (tmp_path / "model" / "archive").exists()
    assert (tmp_path / "model" / "model.safetensors").read_bytes() != before["model.safetensors"][1]


def options(data: tuple[Path, Path], base: Path | str, output: Path, **others: object) -> TrainOptions:
    settings = {"train": (str(data[0]),), "valid": str(data[1]), "base_model": str(base), "output": str(output)}
    return TrainOptions(**{**settings, "epochs": 3, "dtype": "float32", "progress": "none", **others})  # type: ignore[arg-type]


def temperature(folder: Path) -> float:
    return float(json.loads((folder / "training.json").read_text())["temperature"])


@pytest.mark.parametrize("base", ["tiny", "scratch"])
def test_a_killed_training_ends_with_the_same_bytes(
    base: str, data: tuple[Path, Path], tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tiny_model if base == "tiny" else base
    train(options(data, source, tmp_path / "whole"))
    saves = []
    save = checkpoint.Checkpoint.save

    def killed(self: checkpoint.Checkpoint, *arguments: object) -> None:
        save(self, *arguments)  # type: ignore[arg-type]
        saves.append(1)
        if len(saves) < 3:
            raise Stopped(15)

    monkeypatch.setattr(checkpoint.Checkpoint, "save", killed)
    for _ in range(2):
        with pytest.raises(Stopped):
            train(options(data, source, tmp_path / "killed"))
        assert not (tmp_path / "killed").exists()
    kept = list((tmp_path / ".killed.wip").rglob("*"))
    assert {path.suffix for path in kept if path.is_file()} <= {".json", ".safetensors", ""}, "never a pickle"
    metrics = train(options(data, source, tmp_path / "killed"))
    assert metrics["run"]["resumed"] is True
    assert len(saves) == 3, "two epochs were kept, one was trained"
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert temperature(tmp_path / "killed") == temperature(tmp_path / "whole")


def test_early_stop(data: tuple[Path, Path], tiny_model: Path, tmp_path: Path) -> None:
    """With a learning rate of 0 no epoch is better than the first."""
    metrics = train(options(data, tiny_model, tmp_path / "model", epochs=9, learning_rate=0.0, early_stop=2))
    assert len(metrics["epochs"]) == 3
    assert metrics["best_epoch"] == 1


def test_balanced_class_weights_are_scikit_learns() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    true = np.repeat([0, 1, 2], [110, 10, 3])
    weights = _class_weights(np.eye(3, dtype=np.float32)[true], "balanced")
    np.testing.assert_allclose(weights, compute_class_weight("balanced", classes=np.arange(3), y=true), rtol=1e-6)
    assert (_class_weights(np.eye(3)[true], "none") == 1).all()


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        (["negative", "positive", "neutral"], LABELS),
        (["negative", "positive"], ("positive", "negative")),
        (["5", "1", "10"], ("1", "10", "5")),
        (["positive", "mixed"], ("mixed", "positive")),
    ],
)
def test_label_order(labels: list[str], order: tuple[str, ...]) -> None:
    assert label_order(labels) == order


def test_the_splits_are_reported_before_the_start(tmp_path: Path, tiny_model: Path, program: Program) -> None:
    rows = [("sama", "positive"), ("sama", "negative"), ("sama", "positive"), (" ", "positive"), ("lain", "negative")]
    data = (
        write(tmp_path / "train.tsv", rows),
        write(tmp_path / "valid.tsv", [("lain", "negative"), ("baru", "positive")]),
    )
    ended = program(*arguments(data, tiny_model, tmp_path / "model", "--epochs", 1))
    assert ended.code == 0, ended.err
    assert "train: 4 texts: positive 2 (50%), negative 2 (50%); 1 blank left out" in ended.err
    assert (
        "2 texts of train are repeats, 1 of them with more than one label; 1 texts of valid are in train" in ended.err
    )
    assert "sama" not in ended.err, "no text is in a log"


@pytest.mark.parametrize(
    ("train_rows", "valid_rows", "said"),
    [
        ([("a", "positive"), ("b", "positive")], [("a", "positive")], "every row has the label 'positive'"),
        ([("a", "x"), ("b", "y")], [("a", "z")], "label 'z' is not in the training data"),
        ([("a", "x"), ("b", "")], [("a", "x")], "row 1: no label in the column 'label'"),
        ([("a\tb", "x"), ("b", "y")], [("a", "x")], "row 0: field_count (3 fields, expected 2)"),
        ([], [("a", "x")], "no rows with a text"),
        ([(str(row), f"l{row}") for row in range(101)], [("a", "l1")], "101 labels in the column 'label', at most 100"),
    ],
)
def test_splits_that_cannot_be_learnt_from(
    train_rows: list[tuple[str, str]],
    valid_rows: list[tuple[str, str]],
    said: str,
    tmp_path: Path,
    tiny_model: Path,
    program: Program,
) -> None:
    data = write(tmp_path / "train.tsv", train_rows), write(tmp_path / "valid.tsv", valid_rows)
    ended = program(*arguments(data, tiny_model, tmp_path / "model"))
    assert ended.code == 3
    assert said in ended.err
    assert ended.err.count("\n") == ended.err.count("error: ") == 1, "one line"
    assert not (tmp_path / "model").exists()


def test_two_and_a_hundred_labels(tmp_path: Path, tiny_model: Path) -> None:
    for count in (2, 100):
        rows = [(f"kata{row} teks", f"label{row % count:03}") for row in range(2 * count)]
        data = write(tmp_path / "train.tsv", rows), write(tmp_path / "valid.tsv", rows)
        train(options(data, tiny_model, tmp_path / str(count), epochs=1))
        config = json.loads((tmp_path / str(count) / "config.json").read_text())
        assert list(config["id2label"].values()) == sorted({label for _, label in rows})


ENCODERS = {
    "BertConfig": {},
    "DistilBertConfig": {"dim": 32, "n_layers": 1, "n_heads": 2, "hidden_dim": 64},
    "RobertaConfig": {},
    "XLMRobertaConfig": {},
    "CamembertConfig": {},
    "AlbertConfig": {"embedding_size": 16},
    "ElectraConfig": {"embedding_size": 16},
    "DebertaV2Config": {},
    "ModernBertConfig": {"global_attn_every_n_layers": 1, "cls_token_id": 2, "sep_token_id": 3},
}


@pytest.mark.parametrize("name", ENCODERS)
def test_every_kind_of_encoder_trains_and_labels_like_transformers(
    name: str, data: tuple[Path, Path], tmp_path: Path
) -> None:
    import transformers

    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    size = {} if name == "DistilBertConfig" else size
    settings = {**size, "max_position_embeddings": 80, "pad_token_id": 0, "initializer_range": 0.3, **ENCODERS[name]}
    config = getattr(transformers, name)(**settings, bos_token_id=2, eos_token_id=3)
    save_random_model(tmp_path / "base", config)
    train(options(data, tmp_path / "base", tmp_path / "model", epochs=1, learning_rate=1e-3))
    labeller = Labeller(str(tmp_path / "model"), dtype="float32")
    assert labeller.max_length == (79 if "oberta" in name.lower() or "cam" in name.lower() else 80)
    texts = [*(text for text, _ in sample_rows("test")[:25]), "enak " * 300]
    classify = transformers.pipeline("text-classification", model=str(tmp_path / "model"), top_k=None)
    theirs = [{each["label"]: each["score"] for each in row} for row in classify(texts, truncation=True)]
    for their, our in zip(theirs, labeller.predict(texts), strict=True):
        assert our["probabilities"] == pytest.approx(their, abs=1e-4)


def test_a_base_tokenizer_that_cuts_and_pads_by_itself(
    data: tuple[Path, Path], tiny_model: Path, tmp_path: Path
) -> None:
    """As that of all-MiniLM-L6-v2 does: to 128 tokens, always."""
    from tokenizers import Tokenizer

    base = tmp_path / "base"
    shutil.copytree(tiny_model, base)
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.enable_padding(length=50)
    tokenizer.enable_truncation(5)
    tokenizer.save(str(base / "tokenizer.json"))
    losses = [
        train(options(data, source, tmp_path / f"from-{source.name}", epochs=1))["epochs"][0]["train_loss"]
        for source in (tiny_model, base)
    ]
    assert losses[0] == losses[1]
    saved = Tokenizer.from_file(str(tmp_path / "from-base" / "tokenizer.json"))
    assert saved.padding is saved.truncation is None


def test_nothing_but_our_lines_is_printed(
    data: tuple[Path, Path], tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    ended = program(*arguments(data, tiny_model, tmp_path / "model"))
    assert all(" INFO " in line for line in ended.err.splitlines()), ended.err
    assert f"loading the base model {tiny_model}" in ended.err
    assert ended.out.startswith("status    done")


def test_recipes_are_changed_by_options(data: tuple[Path, Path], tmp_path: Path) -> None:
    chosen = recipe_of(options(data, "base", tmp_path, recipe="indonlu", epochs=2, max_grad_norm=3.0, batch_size=5))
    assert (chosen.optimizer, chosen.epochs, chosen.max_grad_norm, chosen.batch_size) == ("adam", 2, 3.0, 5)
    scratch, default = (recipe_of(options(data, base, tmp_path, epochs=None)) for base in ("scratch", "base"))
    assert scratch.learning_rate > default.learning_rate


def test_base_models_that_are_refused(
    data: tuple[Path, Path], tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    pickled = tmp_path / "pickled"
    shutil.copytree(tiny_model, pickled)
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    ended = program(*arguments(data, pickled, tmp_path / "model"))
    assert ended.code == 8
    assert "pytorch_model.bin is a pickle, which is not read" in ended.err

    decoder = tmp_path / "decoder"
    shutil.copytree(tiny_model, decoder)
    (decoder / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    ended = program(*arguments(data, decoder, tmp_path / "model"))
    assert ended.code == 8
    assert "type 'gpt2'; known: albert, bert" in ended.err


def test_without_a_network_the_error_says_what_to_do(data: tuple[Path, Path], tmp_path: Path, program: Program) -> None:
    ended = program(*arguments(data, "indobenchmark/indobert-base-p1", tmp_path / "model"))
    assert ended.code == 7
    for hint in ("HF_HOME", "local folder", "scratch"):
        assert hint in ended.err
    assert not (tmp_path / "model").exists()


def test_scratch_from_texts_without_words(tmp_path: Path, program: Program) -> None:
    rows = [("\u200b", "positive"), ("\u200b\u200b", "negative")]
    data = write(tmp_path / "train.tsv", rows), write(tmp_path / "valid.tsv", rows)
    ended = program(*arguments(data, "scratch", tmp_path / "model"))
    assert ended.code == 3
    assert "no words" in ended.err


def test_scratch_learns_the_sample(tmp_path: Path) -> None:
    metrics = train(
        TrainOptions(
            train=("sample:train",),
            valid="sample:valid",
            output=str(tmp_path / "model"),
            base_model="scratch",
            epochs=3,
            progress="none",
        )
    )
    shares = np.array([each["rows"] for each in metrics["evaluation"]["per_class"].values()]) / 500
    assert metrics["headline"]["ACC"] > shares.max() + 0.2
    assert metrics["headline"]["F1"] > 0.75


def test_a_head_for_other_labels_is_begun_anew(tmp_path: Path, tiny_model: Path) -> None:
    from safetensors.torch import load_file

    from sentiment_batch.model.base import load_base_model

    kept = load_file(tiny_model / "model.safetensors")["classifier.weight"]
    same = load_base_model(str(tiny_model), None, LABELS).model.classifier.weight
    other = load_base_model(str(tiny_model), None, ("baik", "buruk", "biasa")).model.classifier.weight
    assert (same == kept).all()
    assert not (other == kept).any()


def test_a_loss_that_is_no_number(data: tuple[Path, Path], tiny_model: Path, tmp_path: Path, program: Program) -> None:
    wild = ("--learning-rate", "1e20", "--max-grad-norm", 0)
    ended = program(*arguments(data, tiny_model, tmp_path / "model", *wild))
    assert ended.code == 2
    assert "give a lower --learning-rate" in ended.err
    assert not (tmp_path / ".model.wip").exists()


def test_best_weights_and_best_epoch_survive_a_kill_between_their_files(
    data: tuple[Path, Path], tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights of a later epoch that was never recorded must not stand for those of the best one."""
    from safetensors.torch import load_file

    first = train(options(data, tiny_model, tmp_path / "first", epochs=3, early_stop=0, learning_rate=0.3))
    best = first["best_epoch"]
    save_best = checkpoint.Checkpoint.save_best

    def killed(self: checkpoint.Checkpoint, model: object, epoch: int) -> None:
        save_best(self, model, epoch)  # type: ignore[arg-type]
        raise Stopped(15)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Checkpoint, "save_best", killed)
        with pytest.raises(Stopped):
            train(options(data, tiny_model, tmp_path / "second", epochs=3, early_stop=0, learning_rate=0.3))
    second = train(options(data, tiny_model, tmp_path / "second", epochs=3, early_stop=0, learning_rate=0.3))
    assert second["best_epoch"] == best
    assert temperature(tmp_path / "second") == temperature(tmp_path / "first")
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("first", "second")]
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])


def test_labels_that_look_like_reviews_are_only_counted() -> None:
    """The columns were swapped: no review is in a log line."""
    assert _balance({"good": 3, "bad": 1}) == "good 3 (75%), bad 1 (25%)"
    assert _balance({f"fine {number}": 1 for number in range(21)}) == "21 different labels"
    assert _balance({"good": 3, "the food was cold and the waiter looked away": 1}) == "2 different labels"
