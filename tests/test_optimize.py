"""optimize.py, optimizing.py, conversion.py, read/sample.py: graphs that label as the model does, int8 where good."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import LABELS, random_texts, save_random_model
from test_first_token import random_model

from sentiment_batch import Labeller, optimizing
from sentiment_batch.config import OptimizeOptions, ReadOptions
from sentiment_batch.errors import Busy, InputError, ModelRefused, UsageError
from sentiment_batch.model import openvino_engine
from sentiment_batch.model.configuration import MODEL_TYPES
from sentiment_batch.model.conversion import convert, quantise
from sentiment_batch.model.folder import read_model_folder
from sentiment_batch.model.graphs import find_graphs
from sentiment_batch.optimize import optimize
from sentiment_batch.read.sample import sample_texts
from sentiment_batch.write.lock import lock

FILES = {"openvino.json", "openvino_model.xml", "openvino_model.bin", "openvino_int8.xml", "openvino_int8.bin"}
Job = Callable[..., dict[str, Any]]


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    """A model, texts, and a split with the labels that the model itself gives in float32."""
    shutil.copytree(tiny_model, tmp_path / "model")
    texts = random_texts(90)
    (tmp_path / "texts.tsv").write_text("\n".join(["text", *texts]) + "\n")
    labels = [each["label"] for each in Labeller(str(tiny_model), engine="torch", dtype="float32").predict(texts)]
    rows = (f"{text}\t{label}" for text, label in zip(texts, labels, strict=True))
    (tmp_path / "valid.tsv").write_text("\n".join(["text\tlabel", *rows]) + "\n")
    return tmp_path


def options(folder: Path, **others: Any) -> OptimizeOptions:
    given = {"calibration": (str(folder / "texts.tsv"),), "valid": str(folder / "valid.tsv"), "max_drop": 1.0}
    return OptimizeOptions(model=str(folder / "model"), progress="none", **{**given, **others})


def as_fast_as(monkeypatch: pytest.MonkeyPatch, float_rate: float, int8_rate: float) -> None:
    """The machine's noise is no part of these tests."""
    rates = optimizing._rates

    def timed(*arguments: Any) -> np.ndarray:
        found = rates(*arguments)
        assert found.shape[1] == 2
        assert (found > 0).all()
        return np.full_like(found, (float_rate, int8_rate))

    monkeypatch.setattr(optimizing, "_rates", timed)


def test_int8_is_kept_where_it_is_good_enough_and_faster(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_fast_as(monkeypatch, 100, 150)
    before = {path.name for path in (folder / "model").iterdir()}
    metrics = optimize(options(folder))
    measured = metrics["measured"]
    assert metrics["headline"] == {
        "int8_kept": True,
        "int8_drop": measured["torch_float32"]["macro_f1"] - measured["openvino_int8"]["macro_f1"],
        "int8_speedup": 1.5,
    }
    assert measured["torch_float32"]["macro_f1"] == 1, "the labels are those of the model in float32"
    assert measured["openvino_float"]["agreement"] > 0.8, "of a model with random weights, in bfloat16 perhaps"
    assert {path.name for path in (folder / "model").iterdir()} == before | FILES
    assert set(find_graphs(read_model_folder(str(folder / "model")))) == {"float", "int8"}
    found = Labeller(str(folder / "model"))
    found.predict(["bagus"])
    assert str(found.compute).startswith("openvino in int8 on ")


def test_a_busy_moment_is_that_of_both_graphs() -> None:
    found = {name: {"macro_f1": 0.5, "agreement": 1.0} for name in ("float32", "float", "int8")}
    rates = np.array([[100, 110], [10, 11], [200, 220], [20, 22], [500, 100]])
    measured = optimizing._verdict(found, rates, 0.005, "float32")
    assert (measured["int8_speedup"], measured["int8_kept"]) == (1.1, True)
    assert [measured[name]["rows_per_second"] for name in ("openvino_float", "openvino_int8")] == [100, 100]
    assert optimizing._verdict(found, np.array([[100, 104]]), 0.005, "float32")["int8_kept"] is False


@pytest.mark.parametrize(("rates", "max_drop"), [((150, 100), 1.0), ((100, 150), 0.0)], ids=["slower", "worse"])
def test_int8_is_not_kept_where_it_is_slower_or_worse(
    folder: Path, rates: tuple[float, float], max_drop: float, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    as_fast_as(monkeypatch, *rates)
    if max_drop == 0:
        quantise = optimizing.quantise
        monkeypatch.setattr(optimizing, "quantise", lambda *given, **how: _upside_down(quantise(*given, **how)))
    metrics = optimize(options(folder, max_drop=max_drop))
    assert metrics["measured"]["int8_kept"] is False
    assert list(metrics["graphs"]) == ["float"]
    assert "int8 is NOT kept: macro F1" in caplog.text
    assert {path.name for path in (folder / "model").iterdir()} & FILES == FILES - {
        "openvino_int8.xml",
        "openvino_int8.bin",
    }
    assert Labeller(str(folder / "model")).compute.dtype != "int8"


def _upside_down(graph: Any) -> Any:
    """The graph with every logit negated: the best label becomes the worst."""
    from openvino import opset8

    result = graph.get_results()[0]
    source = result.input_value(0)
    negated = opset8.negative(source)
    result.input(0).replace_source_output(negated.output(0))
    return graph


def test_without_a_split_there_is_the_float_graph_alone(folder: Path) -> None:
    metrics = optimize(options(folder, calibration=(), valid=None))
    assert (list(metrics["graphs"]), metrics["measured"], metrics["headline"]) == (["float"], {}, {})
    texts = random_texts(40, seed=5)
    ours = Labeller(str(folder / "model"), engine="openvino", dtype="float32").predict(texts)
    theirs = Labeller(str(folder / "model"), engine="torch", dtype="float32").predict(texts)
    assert [each["label"] for each in ours] == [each["label"] for each in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


@pytest.mark.parametrize("given", [{"calibration": ()}, {"valid": None}])
def test_one_file_alone_is_refused(folder: Path, given: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="--calibration and --valid go together"):
        optimize(options(folder, **given))


def test_the_same_again_is_done_already_and_other_options_are_not(folder: Path, caplog: Any) -> None:
    first = optimize(options(folder, calibration=(), valid=None))
    stamp = (folder / "model" / "openvino.json").stat().st_mtime_ns
    again = optimize(options(folder, calibration=(), valid=None))
    assert again["already_done"] is True
    assert again["run"] == first["run"]
    assert (folder / "model" / "openvino.json").stat().st_mtime_ns == stamp
    (folder / "model" / "openvino_model.bin").unlink()
    assert "already_done" not in optimize(options(folder, calibration=(), valid=None)), "a graph was gone"
    assert "already_done" not in optimize(options(folder, calibration=(), valid=None, overwrite=True))
    assert "already_done" not in optimize(options(folder)), "now with int8"


@pytest.mark.parametrize("name", ["openvino_model.xml", "openvino_model.bin"])
def test_a_damaged_graph_is_made_again_by_the_same_command(folder: Path, name: str) -> None:
    path = folder / "model" / name
    optimize(options(folder, calibration=(), valid=None))
    whole = path.read_bytes()
    path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    assert "already_done" not in optimize(options(folder, calibration=(), valid=None))
    assert Labeller(str(folder / "model"), engine="openvino").predict(["bagus"])[0]["label"] in LABELS


@pytest.mark.parametrize("amx", [True, False])
def test_the_ranges_of_int8_are_those_for_this_cpu(folder: Path, amx: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that was made on another kind of CPU is made again."""
    asked = []

    def noted(*given: Any, symmetric: bool) -> Any:
        asked.append(symmetric)
        return quantise(*given, symmetric=symmetric)

    monkeypatch.setattr(optimizing, "quantise", noted)
    monkeypatch.setattr(openvino_engine, "has_amx", lambda: amx)
    optimize(options(folder))
    assert asked == [amx]
    assert optimize(options(folder))["already_done"] is True
    monkeypatch.setattr(openvino_engine, "has_amx", lambda: not amx)
    optimize(options(folder))
    assert asked == [amx, not amx]
    optimize(options(folder, calibration=(), valid=None))
    monkeypatch.setattr(openvino_engine, "has_amx", lambda: amx)
    assert optimize(options(folder, calibration=(), valid=None))["already_done"] is True, "no int8, no matter"


def test_graphs_are_the_same_bytes_in_another_process(folder: Path) -> None:
    """The one as the model is: the same on each machine of a fleet."""
    hashes = []
    for name in ("a", "b"):
        shutil.copytree(folder / "model", folder / name)
        given = ["--calibration", folder / "texts.tsv", "--valid", folder / "valid.tsv", "--max-drop", "1"]
        subprocess.run(
            [sys.executable, "-m", "sentiment_batch", "optimize", "--model", folder / name, *given], check=True
        )
        hashes.append(json.loads((folder / name / "openvino.json").read_text())["graphs"]["float"])
    assert hashes[0] == hashes[1]


def test_a_kill_leaves_a_model_that_labels(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record goes first and comes last: between two files of a new graph there is none."""
    from sentiment_batch import optimize as module

    optimize(options(folder, calibration=(), valid=None))
    replace_file, calls = module.replace_file, []

    def killed(*arguments: Any) -> None:
        if calls:
            raise KeyboardInterrupt
        calls.append(replace_file(*arguments))

    monkeypatch.setattr(module, "replace_file", killed)
    with pytest.raises(KeyboardInterrupt):
        optimize(options(folder))
    assert find_graphs(read_model_folder(str(folder / "model"))) == {}
    assert Labeller(str(folder / "model")).predict(["bagus"])[0]["label"] in LABELS
    monkeypatch.undo()
    assert set(optimize(options(folder))["graphs"]) >= {"float"}


def test_two_at_a_time(folder: Path) -> None:
    held = lock(folder / "model")
    with pytest.raises(Busy):
        optimize(options(folder))
    held.leave()


def test_a_missing_package_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sentiment_batch import optimize as module

    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "nncf" else object())
    with pytest.raises(UsageError, match=r"needs nncf: pip install 'sentiment-batch\[cpu\]'"):
        optimize(options(folder))


def test_a_graph_with_other_logits_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizing, "convert", lambda folder: _upside_down(convert(folder)))
    with pytest.raises(ModelRefused, match="logits differ from PyTorch's by up to"):
        optimize(options(folder))
    assert not {path.name for path in (folder / "model").iterdir()} & FILES


def test_another_model_is_another_job(folder: Path) -> None:
    """An evaluation of what PyTorch gave would be no figure of what int8 gives."""
    before = Labeller(str(folder / "model"))
    assert before.digest == before.folder.digest
    optimize(options(folder, calibration=(), valid=None))
    after, torch = Labeller(str(folder / "model")), Labeller(str(folder / "model"), engine="torch")
    assert torch.digest == before.digest
    assert after.digest != before.digest


@pytest.mark.parametrize("kind", MODEL_TYPES)
def test_every_kind_of_model_is_converted(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its logits: make_graphs compares them with PyTorch's, with and without padding."""
    model = random_model(kind)
    model.config.id2label = dict(enumerate(LABELS))
    model.config.label2id = {label: number for number, label in enumerate(LABELS)}
    save_random_model(tmp_path, model.config)
    folder = read_model_folder(str(tmp_path))
    (tmp_path / "scratch").mkdir()
    made = optimizing.make_graphs(folder, [], None, 0, tmp_path / "scratch")
    assert list(made["graphs"]) == ["float"]


@pytest.mark.parametrize("symmetric", [True, False])
def test_int8_leaves_attention_as_it_is(tiny_model: Path, symmetric: bool) -> None:
    """By the ranges of what a product of matrices is given; around zero where they shall be symmetric."""
    graph = convert(read_model_folder(str(tiny_model)))
    batches = [(np.full((1, width), width), np.ones((1, width), np.int64)) for width in (3, 9, 20)]
    kinds, around_zero = Counter[str](), []
    for op in quantise(graph, batches, symmetric=symmetric).get_ordered_ops():
        kinds[op.get_type_name()] += 1
        if op.get_type_name() == "FakeQuantize":
            low, high = (op.input_value(number).get_node().get_data().item() for number in (1, 2))
            around_zero.append(low == pytest.approx(-high * 128 / 127, rel=1e-3))
            behind = {each.get_node().get_type_name() for each in op.output(0).get_target_inputs()}
            assert behind == {"MatMul"}
    assert all(around_zero) is symmetric
    assert kinds["ScaledDotProductAttention"] == 2
    assert kinds["FakeQuantize"] == 10, "of 2 layers: behind both norms, attention, and GELU; and the pooled token"


def test_sampled_texts_are_distinct_and_always_the_same(tmp_path: Path) -> None:
    texts = random_texts(50)
    rows = [*texts, *texts[:20], "", "  "]
    (tmp_path / "a.tsv").write_text("\n".join(["text", *rows]) + "\n")
    (tmp_path / "b.tsv").write_text("text\tmore\na\tb\nno second field\n")
    paths = (str(tmp_path / "a.tsv"),)
    found = sample_texts(paths, ReadOptions(), 30)
    assert len(set(found)) == 30
    assert set(found) <= set(texts)
    assert sample_texts(paths, ReadOptions(), 30) == found
    assert sorted(sample_texts(paths, ReadOptions(), 300)) == sorted(texts)
    assert len(sample_texts(paths, ReadOptions(limit_rows=5), 300)) == 5
    assert sample_texts((str(tmp_path / "b.tsv"),), ReadOptions(), 3) == ["a"]
    (tmp_path / "c.tsv").write_text("text\n\n")
    with pytest.raises(InputError, match="no rows with a text"):
        sample_texts((str(tmp_path / "c.tsv"),), ReadOptions(), 3)


@pytest.mark.parametrize("module", ["openvino_engine", "conversion"])
def test_nothing_is_told_to_anybody(module: str) -> None:
    """OpenVINO and NNCF report their use over the network, unless there is nothing to do it with."""
    code = (
        "import sys\n"
        f"from sentiment_batch.model import {module}\n"
        "import nncf.telemetry, openvino.tools.ovc.telemetry_utils\n"
        "loaded = [name for name in sys.modules if name.startswith('openvino_telemetry.')]\n"
        "sys.exit(bool(loaded) or sys.modules['openvino_telemetry'] is not None)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
