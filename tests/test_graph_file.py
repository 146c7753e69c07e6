"""model/graph_file.py: a graph is an encoder's or refused, and OpenVINO sees only what was written anew."""

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
from conftest import LABELS, save_random_model
from graph_text import NUMPY, Text, begin, end, sized

from sentiment_batch.errors import ModelRefused
from sentiment_batch.model.configuration import MODEL_TYPES
from sentiment_batch.model.conversion import convert, save
from sentiment_batch.model.folder import read_model_folder
from sentiment_batch.model.graph_file import Graph, read_graph
from sentiment_batch.model.operations import OPERATIONS

MAKE = (
    "; make it again with: sentiment-batch optimize --model {}, and --calibration and --valid as before; "
    "or label with --engine torch"
)


def compiled(xml: bytes, weights: Any) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    core = openvino.Core()
    model = core.compile_model(core.read_model(xml.decode(), openvino.Tensor(np.frombuffer(weights, np.uint8))), "CPU")
    return lambda ids, mask: np.array(model({"input_ids": ids, "attention_mask": mask})[0])


def check_same(path: Path) -> Graph:
    """The logits of what was written anew are those of the file, as OpenVINO itself reads it."""
    graph = read_graph(path)
    ours = compiled(graph.xml, graph.weights)
    theirs = compiled(path.read_bytes(), path.with_suffix(".bin").read_bytes())
    chance = np.random.default_rng(0)
    for width in (1, 9):
        ids = chance.integers(5, 500, (3, width))
        mask = (np.arange(width) < chance.integers(1, width + 1, (3, 1))).astype(np.int64)
        assert ours(ids, mask).tobytes() == theirs(ids, mask).tobytes()
    return graph


@pytest.mark.parametrize("kind", ["model", "int8"])
def test_a_graph_written_anew_computes_what_its_file_does(optimized_model: Path, kind: str) -> None:
    check_same(optimized_model / f"openvino_{kind}.xml")


@pytest.mark.parametrize("kind", MODEL_TYPES)
def test_the_language_has_what_every_kind_of_encoder_needs(kind: str, tmp_path: Path) -> None:
    import transformers

    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    labels = {"id2label": dict(enumerate(LABELS)), "label2id": {label: n for n, label in enumerate(LABELS)}}
    config = getattr(transformers, f"{MODEL_TYPES[kind].prefix}Config")
    save_random_model(tmp_path, config(**sizes, **labels, max_position_embeddings=66, pad_token_id=0))
    save(convert(read_model_folder(str(tmp_path))), tmp_path / "graph.xml")
    check_same(tmp_path / "graph.xml")


def test_nothing_of_the_file_but_its_meaning_is_written(tmp_path: Path) -> None:
    text, ids, _ = begin()
    graph = read_graph(end(text, ids).write(tmp_path))
    path = tmp_path / "graph.xml"
    noisy = (
        text.xml()
        .replace(b'name="3"', b'name="&quot;/&gt;&lt;a&amp;../x"')
        .replace(b'precision="FP32"', b'precision="A"')
    )
    noisy = re.sub(rb'id="(\d)" name', rb'id="9990\1" name', noisy)
    noisy = re.sub(rb'layer="(\d)"', rb'layer="9990\1"', noisy)
    path.write_bytes(
        noisy.replace(b"</net>", b'<rt_info><legacy path="../x"/></rt_info></net>').replace(b"><", b">\n<")
    )
    assert read_graph(path).xml == graph.xml
    assert b"<rt_info" not in graph.xml


# Files


@pytest.fixture
def small(tmp_path: Path) -> Path:
    text, ids, _ = begin()
    return end(text, ids).write(tmp_path)


def refused(path: Path, says: str, *hashes: str) -> None:
    """With what, where, and what to do, in one line."""
    with pytest.raises(ModelRefused, match=says) as error:
        read_graph(path, hashes or None)  # type: ignore[arg-type]
    assert str(error.value).startswith(f"{path.with_suffix('')}.")
    assert str(error.value).endswith(MAKE.format(path.parent))
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 1_000


def test_both_files_must_have_their_hashes(small: Path) -> None:
    xml, weights = (hashlib.sha256(each.read_bytes()).hexdigest() for each in (small, small.with_suffix(".bin")))
    read_graph(small, (xml, weights))
    refused(small, r"graph\.xml is not the file that was made", "0" * 64, weights)
    refused(small, r"graph\.bin is not the file that was made", xml, "0" * 64)


@pytest.mark.parametrize("suffix", [".xml", ".bin"])
def test_a_file_that_is_missing_is_named(small: Path, suffix: str) -> None:
    small.with_suffix(suffix).unlink()
    refused(small, rf"graph\{suffix} is missing")


@pytest.mark.parametrize("suffix", [".xml", ".bin"])
def test_what_is_no_file_is_refused(small: Path, suffix: str) -> None:
    small.with_suffix(suffix).unlink()
    os.mkfifo(small.with_suffix(suffix))
    with pytest.raises(ModelRefused, match=rf"graph\{suffix} is not an ordinary file"):
        read_graph(small)
    small.with_suffix(suffix).unlink()
    small.with_suffix(suffix).mkdir()
    refused(small, rf"graph\{suffix} cannot be read: Is a directory")


@pytest.mark.parametrize(("suffix", "error"), [(".xml", 5), (".bin", 5), (".xml", 12), (".bin", 24)])
def test_a_disk_that_fails_just_now_does_not_make_the_graph_bad(
    small: Path, suffix: str, error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sentiment_batch.model import graph_file

    real = graph_file.open_file

    def fails(path: Path) -> Any:
        if path.suffix == suffix:
            raise OSError(error, os.strerror(error))
        return real(path)

    monkeypatch.setattr(graph_file, "open_file", fails)
    with pytest.raises(OSError, match=os.strerror(error)):
        read_graph(small)


def test_an_xml_larger_than_any_is_not_read(small: Path) -> None:
    os.truncate(small, 2**24 + 1)
    refused(small, r"graph\.xml is larger than 16 MiB")


@pytest.mark.parametrize("size", [0, 1, 2**40])
def test_weights_must_be_as_many_as_there_are_constants(small: Path, size: int) -> None:
    """A file with a hole in it has any size, and takes no room."""
    os.truncate(small.with_suffix(".bin"), size)
    began = time.perf_counter()
    refused(small, rf"graph\.bin has {size} bytes, and its graph has constants of 20")
    assert time.perf_counter() - began < 1


# Operations

Change = Callable[[Text, int, int], int | None]


def by(kind: str, *constants: Any, outputs: int = 1, **attributes: Any) -> Change:
    """An operation of the token ids and of constants."""

    def add(text: Text, ids: int, mask: int) -> int:
        given = [text.constant(each) for each in constants]
        return text.add(kind, ids, *given, outputs=outputs, **attributes)

    return add


def constant(**changes: Any) -> Change:
    """A constant that is not what it must be; the bytes of the graph before it are 12."""
    whole = {"element_type": "i64", "shape": "2", "offset": 0, "size": 16}

    def add(text: Text, ids: int, mask: int) -> int:
        text.constant([1, 2])
        return text.add("Const", **{key: value for key, value in {**whole, **changes}.items() if value is not None})

    return add


def real(text: Text, tensor: int) -> int:
    return text.add("Convert", tensor, destination_type="f32")


def of_the_data(kind: str, place: int) -> Change:
    """Each shape, axis or bound of an operation, taken from the token ids."""

    def add(text: Text, ids: int, mask: int) -> int:
        letters = OPERATIONS[kind].letters(
            3 if kind in ("Gather", "Range", "VariadicSplit") else 5 if kind == "Slice" else 2
        )
        assert letters
        given = [text.constant([1]) if letter != "x" else ids for letter in letters]
        given[place] = text.add("Reshape", ids, text.constant([-1]), special_zero="false")
        values = {"mode": "numpy", "output_type": "i64", "special_zero": "true", "batch_dims": 0, "eps": "1e-5"}
        values |= {"normalize_variance": "true", "eps_mode": "INSIDE_SQRT", "keep_dims": "true", "num_splits": 2}
        values |= {"exclusive": "false", "reverse": "false"}
        attributes = {name: values[name] for name in OPERATIONS[kind].attributes}
        outputs = 2 if "Split" in kind else 1
        return text.add(kind, *given, outputs=outputs, version=OPERATIONS[kind].version, **attributes)

    return add


def divided(kind: str, divisor: Any, of: str = "i64") -> Change:
    """Constants that a compiler divides by itself."""

    def add(text: Text, ids: int, mask: int) -> int:
        by = divisor(text, ids) if callable(divisor) else text.constant(divisor, of)
        return text.add(
            kind, text.constant([-128], of), by, **NUMPY, **({"m_pythondiv": "true"} if kind == "Divide" else {})
        )

    return add


def edge(source: str, target: str) -> Change:
    def add(text: Text, ids: int, mask: int) -> None:
        number = text.add("Abs", ids)
        text.edges[-1] = f"<edge {source} {target}/>".replace("HERE", str(number))

    return add


def from_(layer: Any, port: Any = 0) -> str:
    return f'from-layer="{layer}" from-port="{port}"'


def to(layer: Any, port: Any = 0) -> str:
    return f'to-layer="{layer}" to-port="{port}"'


def layer(before: str, after: str) -> Change:
    """The text of an operation, changed."""

    def add(text: Text, ids: int, mask: int) -> None:
        text.add("Abs", ids)
        assert before in text.layers[-1]
        text.layers[-1] = text.layers[-1].replace(before, after)

    return add


def split_into(*ports: str) -> Change:
    def add(text: Text, ids: int, mask: int) -> None:
        text.add("Split", ids, text.constant(1), outputs=2, num_splits=2)
        outputs = "".join(f'<port id="{port}" precision="FP32"/>' for port in ports)
        text.layers[-1] = re.sub("<output>.*</output>", f"<output>{outputs}</output>", text.layers[-1])

    return add


def deep(text: Text, ids: int, mask: int) -> int:
    """Concatenations of a shape with itself, each of twice as many numbers."""
    shape = sized(text, ids, 0)
    for _ in range(40):
        shape = text.add("Concat", shape, shape, axis=0)
    return text.add("Reshape", ids, shape, special_zero="false")


def third_input(text: Text, ids: int, mask: int) -> None:
    text.add("Parameter", name="token_type_ids", shape="?,?", element_type="i64")


def twice(text: Text, ids: int, mask: int) -> None:
    text.add("Parameter", name="input_ids", shape="?,?", element_type="i64")


def second_result(text: Text, ids: int, mask: int) -> None:
    text.add("Result", ids, outputs=0)


NONE_NEEDS = "which none here needs"
CANNOT_HAVE = "with inputs or outputs that it cannot have"
SHAPE = "with a shape or axis that comes from '[A-Za-z]*'"
DIVISOR = "by a whole number that may not be above 0"
NOT_BEFORE = "an input of the operation 'Abs' is of none before it"
HOSTILE: dict[str, tuple[Change, str]] = {
    **{
        kind: (by(kind, **attributes), f"the operation '{kind}' of '[a-z0-9]*', {NONE_NEEDS}")
        for kind, attributes in {
            **{"If": {"version": "opset8"}, "Loop": {"version": "opset5"}, "TensorIterator": {}, "Bucketize": {}},
            **{"ReadValue": {"version": "opset6"}, "Assign": {"version": "opset6"}, "StringTensorPack": {}},
            **{"ScatterElementsUpdate": {"version": "opset12"}, "ScatterNDUpdate": {"version": "opset3"}},
            **{"RandomUniform": {"version": "opset8"}, "NonZero": {"version": "opset3"}, "OneHot": {}, "Pad": {}},
            **{"PagedAttentionExtension": {"version": "extension"}, "GenericLayer": {}, "abs": {}, "": {}},
        }.items()
    },
    "another opset": (by("Abs", version="opset2"), f"'Abs' of 'opset2', {NONE_NEEDS}"),
    "an extension": (by("Abs", version="extension"), f"'Abs' of 'extension', {NONE_NEEDS}"),
    "no opset": (by("Abs", version=""), f"'Abs' of '', {NONE_NEEDS}"),
    "an attribute too many": (by("Abs", body="a"), f"'Abs' with .*body.*, {NONE_NEEDS}"),
    "an attribute too few": (by("Gather", 0, 0), f"'Gather' with {{}}, {NONE_NEEDS}"),
    "batch dimensions": (by("Gather", 0, 0, batch_dims=1), NONE_NEEDS),
    "a word for a number": (by("Split", 0, num_splits="two", outputs=2), NONE_NEEDS),
    "a number that overflows": (by("Split", 0, num_splits=2**64 + 2, outputs=2), NONE_NEEDS),
    "a negative number": (by("Split", 0, num_splits=-2, outputs=2), NONE_NEEDS),
    "other digits": (by("Split", 0, num_splits="٢", outputs=2), NONE_NEEDS),
    "a line behind a number": (by("Split", 0, num_splits="2&#10;", outputs=2), NONE_NEEDS),
    "an axis that overflows": (by("SoftMax", axis=2**63, version="opset8"), NONE_NEEDS),
    "a bound that is no number": (by("Clamp", min="nan", max="inf"), NONE_NEEDS),
    "a bound that overflows": (by("Clamp", min="0", max="1e9999"), NONE_NEEDS),
    "a type of text": (by("Convert", destination_type="string"), NONE_NEEDS),
    "a dynamic type": (by("Convert", destination_type="dynamic"), NONE_NEEDS),
    "levels": (by("FakeQuantize", 0, 0, 0, 0, **NUMPY, levels=1), NONE_NEEDS),
    "too few inputs": (by("Add", **NUMPY), f"'Add' {CANNOT_HAVE}"),
    "too many inputs": (by("Add", 0, 0, **NUMPY), f"'Add' {CANNOT_HAVE}"),
    "too many outputs": (by("Abs", outputs=2), f"'Abs' {CANNOT_HAVE}"),
    "no output": (by("Abs", outputs=0), f"'Abs' {CANNOT_HAVE}"),
    "a constant of an input": (by("Const", element_type="i64", shape="", offset=0, size=8), f"'Const' {CANNOT_HAVE}"),
    "a constant of text": (constant(element_type="string"), NONE_NEEDS),
    "a constant of half bytes": (constant(element_type="i4"), NONE_NEEDS),
    "a constant without a place": (constant(offset=None), NONE_NEEDS),
    "a constant before the file": (constant(offset=-8), NONE_NEEDS),
    "a constant behind the file": (
        constant(offset=64),
        r"graph\.bin has [0-9]+ bytes, and its graph has constants of 80",
    ),
    "a constant that overflows": (constant(offset=2**64 - 8), NONE_NEEDS),
    "a constant far away": (constant(offset=10**15 - 1), r"and its graph has constants of 1000000000000015"),
    "a constant of a negative size": (constant(shape="-2", size=-16), NONE_NEEDS),
    "a constant of fewer bytes": (constant(size=8), "has not as many bytes as its shape asks for"),
    "a constant of more bytes": (constant(size=24), "has not as many bytes as its shape asks for"),
    "a constant of a huge shape": (constant(shape="999999999999999, 999999999999999"), "has not as many bytes"),
    "a constant whose shape overflows": (constant(shape="2, 18446744073709551617"), NONE_NEEDS),
    "a constant whose product overflows": (constant(shape=f"{2**32}, {2**32}, 2"), "has not as many bytes"),
    "an empty constant": (constant(shape="0", size=0), NONE_NEEDS),
    "an empty constant of a huge shape": (constant(shape=f"0, {2**40}", size=0), NONE_NEEDS),
    "a constant of many axes": (constant(shape=", ".join("1" * 9)), NONE_NEEDS),
    "a constant of a dynamic shape": (constant(shape="?"), NONE_NEEDS),
    "a constant in blanks": (constant(size=" 16"), NONE_NEEDS),
    "shapes that double": (deep, f"'Reshape' {SHAPE}"),
    "a large shape": (by("Reshape", [1] * 100, special_zero="true"), f"'Reshape' {SHAPE}"),
    **{
        f"{kind} of the data, {place}": (of_the_data(kind, place), f"'{kind}' {SHAPE}")
        for kind, operation in OPERATIONS.items()
        for place, letter in enumerate(operation.inputs.replace("?", ""))
        if letter in "cs"
    },
    "divided by 0": (divided("Divide", 0), f"'Divide' {DIVISOR}"),
    "divided by -1": (divided("Divide", -1, "i32"), f"'Divide' {DIVISOR}"),
    "the rest by 0": (divided("Mod", [1, 0, 2]), f"'Mod' {DIVISOR}"),
    "the rest by -1": (divided("Mod", -1), f"'Mod' {DIVISOR}"),
    "divided by bytes": (divided("Divide", 0, "i8"), f"'Divide' {DIVISOR}"),
    "divided by the data": (divided("Divide", lambda text, ids: ids), f"'Divide' {DIVISOR}"),
    "divided by a shape": (divided("Divide", lambda text, ids: sized(text, ids, 0)), f"'Divide' {DIVISOR}"),
    "divided by truth": (
        divided("Divide", lambda text, ids: text.add("Greater", real(text, ids), real(text, ids), **NUMPY)),
        f"'Divide' {DIVISOR}",
    ),
    "an input of itself": (edge(from_("HERE", 1), to("HERE")), NOT_BEFORE),
    "an input that comes later": (edge(from_(9), to("HERE")), NOT_BEFORE),
    "an input of nobody": (edge(from_(99), to("HERE")), NOT_BEFORE),
    "an output that is not there": (edge(from_(0, 1), to("HERE")), NOT_BEFORE),
    "an input without an edge": (edge(from_(0), to("HERE", 1)), NOT_BEFORE),
    "an edge twice": (
        edge(from_(0), f"{to('HERE')}/><edge {from_(1)} {to('HERE')}"),
        "an input with two edges",
    ),
    "an edge that leads nowhere": (edge(from_(0), f"{to('HERE')}/><edge {from_(0)} {to('HERE', 7)}"), "leads nowhere"),
    "an id twice": (layer('id="2"', 'id="0"'), "of none before it|is there twice"),
    "an output twice": (layer("<output>", '<output><port id="1" precision="FP32"/>'), f"'Abs' {CANNOT_HAVE}"),
    "an output of a split twice": (
        split_into("2", "2"),
        "an id of the operation 'Split' is no number, or is there twice",
    ),
    "an input by the same port": (layer("<input>", '<input><port id="0" precision="FP32"/>'), NOT_BEFORE),
    "an id of another kind": (layer('<layer id="2"', '<layer id="x"'), "none before it|is no number"),
    "a huge id": (layer('<port id="1"', '<port id="99999999999999999999"'), "is no number, or is there twice"),
    "another input": (third_input, "must take input_ids and attention_mask"),
    "an input twice": (twice, "must take input_ids and attention_mask"),
    "a second result": (second_result, "have one result"),
    "an input of real numbers": (by("Parameter", shape="?,?", element_type="f32"), f"{CANNOT_HAVE}|{NONE_NEEDS}"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_no_encoder_has_is_refused(name: str, tmp_path: Path) -> None:
    change, says = HOSTILE[name]
    text, ids, mask = begin()
    also = change(text, ids, mask)
    refused(end(text, ids, also).write(tmp_path), says)


def test_a_graph_of_nothing_is_refused(tmp_path: Path) -> None:
    refused(Text().write(tmp_path), "must take input_ids and attention_mask and have one result")


@pytest.mark.parametrize(
    "attributes", [{"shape": "?"}, {"shape": "1,1"}, {"shape": "?,?,?"}, {"element_type": "string"}]
)
def test_inputs_are_token_ids_of_any_number(small: Path, attributes: dict[str, str]) -> None:
    ((name, value),) = attributes.items()
    small.write_text(re.sub(f'{name}="[^"]*"', f'{name}="{value}"', small.read_text(), count=1))
    refused(small, f"'Parameter' with .*, {NONE_NEEDS}")


def test_division_that_is_safe_is_taken(tmp_path: Path) -> None:
    text, ids, mask = begin()
    half = text.add("Divide", ids, text.constant(2), **NUMPY, m_pythondiv="true")
    share = text.add("Divide", real(text, half), real(text, mask), **NUMPY, m_pythondiv="true")
    rest = text.add("Mod", text.add("ShapeOf", ids, output_type="i64"), text.constant([3, 4]), **NUMPY)
    rest = text.add("Add", share, text.add("ReduceSum", real(text, rest), text.constant(0), keep_dims="false"), **NUMPY)
    read_graph(end(text, ids, rest).write(tmp_path))


def test_a_graph_is_not_changed_by_who_writes_to_its_files(small: Path, tmp_path: Path) -> None:
    graph = read_graph(small)
    before = graph.xml, bytes(graph.weights)
    with open(small.with_suffix(".bin"), "r+b") as file:
        file.write(b"\xff" * 20)
    shutil.copy(small.with_suffix(".bin"), small)
    assert (graph.xml, bytes(graph.weights)) == before
