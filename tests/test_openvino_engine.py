"""model/openvino_engine.py: an engine with the logits of the torch engine, in as many threads as it has streams."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
import torch

from sentiment_batch.errors import EnvironmentFailure, ModelRefused
from sentiment_batch.model import openvino_engine, torch_engine
from sentiment_batch.model.classifier import Engine
from sentiment_batch.model.folder import read_model_folder
from sentiment_batch.model.graph_file import Graph, read_graph
from sentiment_batch.model.openvino_engine import computes_in_bfloat16, has_amx, is_out_of_memory, load_engine

Batch = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def graph(optimized_model: Path) -> Graph:
    return read_graph(optimized_model / "openvino_model.xml")


@pytest.fixture(scope="module")
def engine(graph: Graph) -> Engine:
    return load_engine(graph, 3, "float32", 2, 64)


def batches(count: int = 8, seed: int = 0) -> list[Batch]:
    """Of several widths, each text as long as its mask says."""
    chance = np.random.default_rng(seed)
    found = []
    for width in chance.choice([1, 2, 5, 17, 33, 64], count):
        ids = chance.integers(5, 500, (4, width))
        mask = (np.arange(width) < chance.integers(1, width + 1, (4, 1))).astype(np.int64)
        found.append((ids * mask, mask))
    return found


def test_logits_are_those_of_the_torch_engine(optimized_model: Path, engine: Engine) -> None:
    theirs = torch_engine.load_engine(read_model_folder(str(optimized_model)), torch.device("cpu"), torch.float32, 1)
    seen = set()
    for ids, mask in batches():
        for given in (mask, None):
            found = engine(ids, given)
            assert found.dtype == np.float32
            assert found.shape == (4, 3)
            np.testing.assert_allclose(found, theirs(ids, given), atol=1e-4)
            seen |= set(found.argmax(axis=1).tolist())
    assert len(seen) > 1, "texts of several labels"


def test_a_text_has_the_same_logits_without_its_padding(engine: Engine) -> None:
    for ids, mask in batches():
        padded = engine(ids, mask)
        for row, length in enumerate(mask.sum(axis=1)):
            alone = engine(np.ascontiguousarray(ids[row : row + 1, :length]), None)
            np.testing.assert_allclose(padded[row], alone[0], atol=1e-4)


def test_arrays_of_any_layout_are_read_as_they_are(engine: Engine) -> None:
    ids, mask = batches()[0]
    expected = engine(ids, mask)
    wide = np.asfortranarray(ids)
    assert engine(wide, np.asfortranarray(mask)).tobytes() == expected.tobytes()
    assert engine(np.repeat(ids, 2, axis=0)[::2], mask).tobytes() == expected.tobytes()


def test_int8_is_near(optimized_model: Path, engine: Engine) -> None:
    small = load_engine(read_graph(optimized_model / "openvino_int8.xml"), 3, "int8", 1, 64)
    found = np.concatenate([small(*each) for each in batches()])
    exact = np.concatenate([engine(*each) for each in batches()])
    assert not np.allclose(found, exact, atol=1e-4), "it is another graph"
    assert np.corrcoef(found.ravel(), exact.ravel())[0, 1] > 0.5


def attention(query: list[int] | None, width: int = 8, **given: Any) -> openvino.Model:
    """One attention, of four texts of 5 tokens, with whatever else it is given."""
    ops = openvino.opset13
    shapes = (openvino.PartialShape.dynamic() if query is None else query, [4, 2, 5, width], [4, 2, 5, 16])
    inputs = [ops.parameter(shape, np.float32) for shape in shapes]
    options = {name: given.pop(name) for name in ("scale", "causal") if name in given}
    masks = [given["mask"]] if "mask" in given else []
    found = ops.scaled_dot_product_attention(*inputs, *masks, **options)
    return openvino.Model([ops.result(found)], inputs)


def answers(model: openvino.Model, width: int) -> np.ndarray:
    compiled = openvino.Core().compile_model(model, "CPU", {"SNIPPETS_MODE": "DISABLE"})
    chance = np.random.default_rng(0)
    shapes = ((4, 2, 5, width), (4, 2, 5, width), (4, 2, 5, 16))
    return np.array(compiled([chance.normal(size=shape).astype(np.float32) for shape in shapes])[0])


FLAGS = np.random.default_rng(1).random((4, 1, 1, 5)) < 0.6
FLAGS[..., 0] = True


@pytest.mark.parametrize("width", [8, 24])
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"mask": FLAGS},
        {"mask": np.where(FLAGS, 0, -1e9).astype(np.float32)},
        {"mask": np.zeros((4, 2, 5, 5), np.float32), "scale": np.float32(0.3)},
    ],
    ids=["plain", "flags", "numbers", "scale"],
)
def test_attention_in_its_parts_is_the_same_to_the_last_bit(given: dict[str, Any], width: int) -> None:
    ops = openvino.opset13
    given = {name: ops.constant(value) for name, value in given.items()}
    model = attention([4, 2, 5, width], width, **given)
    expected = answers(model, width)
    openvino_engine.separate_attention(model)
    kinds = Counter(op.get_type_name() for op in model.get_ops())
    assert (kinds["ScaledDotProductAttention"], kinds["MatMul"], kinds["Softmax"]) == (0, 2, 1)
    assert answers(model, width).tobytes() == expected.tobytes()
    assert np.isfinite(expected).all()


@pytest.mark.parametrize(("query", "given"), [([4, 2, 5, -1], {}), (None, {}), ([4, 2, 5, 8], {"causal": True})])
def test_attention_that_is_not_known_well_enough_is_left_to_openvino(
    query: list[int] | None, given: dict[str, Any]
) -> None:
    model = attention(query, **given)
    openvino_engine.separate_attention(model)
    assert [op.get_type_name() for op in model.get_ops()].count("ScaledDotProductAttention") == 1


def kernels(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, int]]:
    """A list that gets, of each model that is compiled from now on, how often it has which kernel.

    And how often it had an attention before (`ScaledDotProductAttention`).
    """
    real, found = openvino.Core.compile_model, []

    def compile_model(core: Any, *given: Any) -> Any:
        compiled = real(core, *given)
        run = compiled.get_runtime_model().get_ops()
        whole = [name for op in given[0].get_ops() if (name := op.get_type_name()) == "ScaledDotProductAttention"]
        found.append(Counter([*whole, *(op.get_rt_info()["layerType"].astype(str) for op in run)]))
        return compiled

    monkeypatch.setattr(openvino.Core, "compile_model", compile_model)
    return found


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_attention_is_no_kernel_of_its_own_which_is_slow_for_most_widths(
    graph: Graph, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = kernels(monkeypatch)
    load_engine(graph, 3, dtype, 1)
    assert found[0]["Subgraph"] == found[0]["ScaledDotProductAttention"] == 0
    assert found[0]["Softmax"] == 2, "one for each layer"
    assert found[0]["MatMul"] >= 3


@pytest.mark.parametrize("amx", [True, False], ids=["amx", "without"])
def test_attention_of_int8_is_a_kernel_of_its_own_where_that_is_the_faster(
    optimized_model: Path, amx: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = kernels(monkeypatch)
    monkeypatch.setattr(openvino_engine, "has_amx", lambda: amx)
    load_engine(read_graph(optimized_model / "openvino_int8.xml"), 3, "int8", 1)
    assert (found[0]["Softmax"], found[0]["Subgraph"] > 0) == ((2, False) if amx else (0, True))
    assert found[0]["ScaledDotProductAttention"] == (0 if amx else 2)


def test_an_openvino_without_the_internal_option_does_without_it(
    graph: Graph, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = openvino.Core.compile_model

    def compile_model(core: Any, model: Any, device: str, options: dict[str, str]) -> Any:
        if "SNIPPETS_MODE" in options:
            options = {**options, "SNIPPETS_MODE_OF_OLD": options["SNIPPETS_MODE"]}
        return real(core, model, device, options)

    monkeypatch.setattr(openvino.Core, "compile_model", compile_model)
    found = load_engine(graph, 3, "float32", 1)
    ids, mask = batches()[0]
    np.testing.assert_allclose(found(ids, mask), engine(ids, mask), atol=1e-4)


def test_threads_each_get_the_answer_to_what_they_asked(engine: Engine) -> None:
    """More threads than streams, too: they wait."""
    asked = batches(200)
    expected = [engine(*each).tobytes() for each in asked]
    with ThreadPoolExecutor(5) as pool:
        found = list(pool.map(lambda each: engine(*each).tobytes(), asked))
    assert found == expected


@pytest.mark.parametrize(
    ("dtype", "amx"), [("float32", True), ("bfloat16", True), ("int8", True), ("int8", False)], ids=str
)
def test_the_bits_do_not_depend_on_the_number_of_streams(
    optimized_model: Path, dtype: str, amx: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_engine, "has_amx", lambda: amx)
    graph = read_graph(optimized_model / f"openvino_{'int8' if dtype == 'int8' else 'model'}.xml")
    asked = batches()
    first, *others = [
        [engine(*each).tobytes() for each in asked]
        for engine in (load_engine(graph, 3, dtype, streams, 64) for streams in (1, 2, 5))
    ]
    assert others == [first, first]


def test_the_weights_outlive_all_who_read_them(optimized_model: Path) -> None:
    """OpenVINO computes on the very bytes; where nobody keeps them it labels by what comes to lie there, or crashes."""
    code = f"""
import gc, numpy as np
from pathlib import Path
from sentiment_batch.model import graph_file, openvino_engine
path = Path({str(optimized_model)!r}) / "openvino_model.xml"
ids = np.arange(5, 37).reshape(2, 16)
expected = openvino_engine.load_engine(graph := graph_file.read_graph(path), 3, "float32", 1)(ids, None).tobytes()
size = len(graph.weights)
engine = openvino_engine.load_engine(graph_file.read_graph(path), 3, "float32", 1)
gc.collect()
rubbish = [bytearray(b"\\x7f" * size) for _ in range(200)]
for _ in range(5):
    assert engine(ids, None).tobytes() == expected
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr


class Failing:
    """An infer request that fails when it is told to."""

    error: Exception | None = None

    def __init__(self, request: Any):
        self.request = request

    def infer(self, *given: Any, **options: Any) -> Any:
        if Failing.error:
            raise Failing.error
        return self.request.infer(*given, **options)


@pytest.fixture
def failing(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception | None], Engine]:
    """`failing(error)`: an engine of one stream that fails with the error."""
    real = openvino.CompiledModel.create_infer_request
    monkeypatch.setattr(openvino.CompiledModel, "create_infer_request", lambda model: Failing(real(model)))
    monkeypatch.setattr(Failing, "error", None)
    engine = load_engine(graph, 3, "float32", 1)

    def fail(error: Exception | None) -> Engine:
        monkeypatch.setattr(Failing, "error", error)
        return engine

    return fail


OUT_OF_MEMORY = [
    MemoryError(),
    RuntimeError("Exception from src/inference/src/cpp/infer_request.cpp:224:\nstd::bad_alloc\n"),
    RuntimeError("could not create a memory object: out of memory"),
    RuntimeError("Failed to allocate 8589934592 bytes of memory"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_out_of_memory_in_every_form_is_a_memory_error(
    error: Exception, failing: Callable[[Exception | None], Engine]
) -> None:
    ids, mask = batches()[0]
    expected = failing(None)(ids, mask)
    with pytest.raises(MemoryError) as caught:
        failing(error)(ids, mask)
    assert caught.value is not error, "whose traceback would keep the batch alive"
    assert failing(None)(ids, mask).tobytes() == expected.tobytes(), "and its stream is free for the next batch"


def test_another_fault_is_worth_a_retry_of_the_job(failing: Callable[[Exception | None], Engine]) -> None:
    ids, mask = batches()[0]
    for _ in range(3):
        with pytest.raises(EnvironmentFailure, match=r"openvino_model\.xml: OpenVINO failed: a b; run again to go on"):
            failing(RuntimeError("a\nb"))(ids, mask)
    failing(None)(ids, mask)


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_no_memory_to_load_a_graph_is_no_fault_of_the_graph(
    graph: Graph, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise error

    assert is_out_of_memory(error)
    monkeypatch.setattr(openvino.Core, "compile_model", fails)
    with pytest.raises(MemoryError):
        load_engine(graph, 3, "float32", 1)


def test_a_graph_that_cannot_be_compiled_is_refused_in_one_line(graph: Graph) -> None:
    before, last = graph.xml.rsplit(b'transpose_b="true"', 1)
    broken = Graph(graph.path, before + b'transpose_b="false"' + last, graph.weights)
    with pytest.raises(ModelRefused, match=r"openvino_model\.xml cannot be loaded: .*MatMul") as refused:
        load_engine(broken, 3, "float32", 1)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("labels", [1, 2, 4])
def test_a_graph_with_another_number_of_labels_is_refused(graph: Graph, labels: int) -> None:
    with pytest.raises(ModelRefused, match=rf"gives logits of \(2, 3\) for 2 texts, not {labels} for each"):
        load_engine(graph, labels, "float32", 1)


def test_a_graph_that_cannot_label_a_text_is_refused(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino.CompiledModel, "create_infer_request", lambda model: Failing(None))
    monkeypatch.setattr(Failing, "error", RuntimeError("index 3 is out of bounds"))
    with pytest.raises(
        ModelRefused, match=r"model\.xml cannot label a text: index 3 is out of bounds; label with --engine torch$"
    ):
        load_engine(graph, 3, "float32", 1)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu amx_bf16 amx_tile amx_int8", True),
        ("fpu avx512_vnni", False),
        ("fpu amx_int8_of_old", False),
        (None, False),
    ],
)
def test_the_system_says_whether_there_is_amx(flags: str | None, expected: bool, tmp_path: Path) -> None:
    if flags:
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc/cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: none\n")
    assert has_amx(tmp_path) is expected


def test_this_cpu_is_asked_what_it_can() -> None:
    """The names of the capabilities are OpenVINO's, and might change."""
    flags = Path("/proc/cpuinfo").read_text().split()
    assert computes_in_bfloat16() == ("avx512_bf16" in flags or "amx_bf16" in flags)


def test_bfloat16_is_near(graph: Graph, engine: Engine) -> None:
    short = load_engine(graph, 3, "bfloat16", 1)
    for ids, mask in batches():
        exact = engine(ids, mask)
        assert np.array_equal(short(ids, mask), exact) != computes_in_bfloat16()
        np.testing.assert_allclose(short(ids, mask), exact, atol=0.3)


def test_what_is_no_lack_of_memory() -> None:
    assert not is_out_of_memory(RuntimeError("Check 'index < size' failed"))
