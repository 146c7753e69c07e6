"""An OpenVINO graph (`.xml` with its `.bin`), found to be that of an encoder before OpenVINO sees it.

The format is closed here to what a converted encoder is made of: operations that compute, and none that loop, branch,
read files or come from an extension; constants that lie in the `.bin`; token ids and their mask in, logits out.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from xml.etree import ElementTree

from sentiment_batch.errors import ModelRefused
from sentiment_batch.model.inspection import changed, open_file, read_bytes

INPUTS = ("input_ids", "attention_mask")
_XML_BYTES = 2**24
_BITS = {
    **{"f32": 32, "f16": 16, "bf16": 16, "f64": 64},
    **{"i64": 64, "i32": 32, "i16": 16, "i8": 8, "u8": 8, "i4": 4, "u4": 4, "boolean": 8},
}
_VERSIONS = ("10", "11")
_BEGINNING = b'<?xml version="1.0"?>'
_ONCE = {"net", "layers", "edges", "rt_info"}
# Operations of OpenVINO's opsets 1 to 16 that compute their output from their inputs alone.
_OPERATIONS = """
    Abs Add BitwiseAnd BitwiseNot BitwiseOr Broadcast Ceiling Clamp Concat Const Convert ConvertLike Cos CumSum Divide
    Equal Erf Exp FakeQuantize Floor FloorMod Gather GatherElements GatherND Gelu Greater GreaterEqual Less LessEqual
    Log LogicalAnd LogicalNot LogicalOr MVN MatMul Maximum Minimum Mod Multiply Negative NotEqual Parameter Power Range
    ReduceMax ReduceMean ReduceProd ReduceSum ReLU Reshape Result ScaledDotProductAttention ScatterElementsUpdate
    ScatterNDUpdate ScatterUpdate Select ShapeOf Sigmoid Sign Sin Slice SoftMax Softmax Split Sqrt SquaredDifference
    Squeeze StridedSlice Subtract Swish Tanh Tile Transpose Unsqueeze VariadicSplit
"""


@dataclass(frozen=True)
class Graph:
    """A graph in memory of our own, which nobody can write to through its files."""

    path: Path
    xml: bytes = field(repr=False)
    weights: bytearray = field(repr=False)


def read_graph(path: Path, sha256: tuple[str, str] | None = None) -> Graph:
    """The graph of an `.xml` and of the `.bin` beside it, which must have these hashes.

    Raises `ModelRefused` unless it is a graph of known operations whose constants lie in the `.bin`.
    """
    xml, weights = read_bytes(path, _XML_BYTES), _read_weights(path.with_suffix(".bin"))
    hashes = [hashlib.sha256(content).hexdigest() for content in (xml, weights)]
    if sha256 is not None and tuple(hashes) != sha256:
        raise changed(path)
    _check_graph(_parsed(xml, path), len(weights), path)
    return Graph(path, xml, weights)


def _read_weights(path: Path) -> bytearray:
    if not path.is_file():
        raise ModelRefused(f"{path} is missing; make it again with: sentiment-batch optimize --model {path.parent}")
    with open_file(path) as file:
        weights = bytearray(path.stat().st_size)
        if file.readinto(weights) != len(weights):
            raise changed(path)
    return weights


def _check_graph(root: ElementTree.Element, size: int, path: Path) -> None:
    parts = {part.tag: part for part in root}
    if root.tag != "net" or root.get("version") not in _VERSIONS or not {"layers", "edges"} <= parts.keys() <= _ONCE:
        raise ModelRefused(f"{path} is not an OpenVINO graph of version {' or '.join(_VERSIONS)}")
    inputs, results = [], 0
    for layer in parts["layers"]:
        kind, version = layer.get("type"), layer.get("version", "")
        if layer.tag != "layer" or kind not in _OPERATIONS.split() or not re.fullmatch(r"opset([1-9]|1[0-6])", version):
            raise ModelRefused(f"{path} has the operation {kind!a:.40} of {version!a:.40}, which no encoder has")
        if {part.tag for part in layer} - {"data", "input", "output", "rt_info"}:
            raise ModelRefused(f"{path}: the operation {kind} has parts that it cannot have")
        if kind == "Const":
            _check_constant(layer, size, path)
        inputs += [layer.get("name", "")] if kind == "Parameter" else []
        results += kind == "Result"
    if sorted(inputs) != sorted(INPUTS) or results != 1:
        raise ModelRefused(
            f"{path} takes {inputs!a:.80} and has {results} results; it must take {' and '.join(INPUTS)}"
        )


def _parsed(content: bytes, path: Path) -> ElementTree.Element:
    if len(content) > _XML_BYTES:
        raise ModelRefused(f"{path} is larger than {_XML_BYTES >> 20} MiB")
    if not content.startswith(_BEGINNING):  # with an encoding of another kind all would look otherwise
        raise ModelRefused(f"{path} does not begin as graphs of OpenVINO do")
    if b"<!" in content:  # entities, by which a few bytes become gigabytes, and files elsewhere are read
        raise ModelRefused(f"{path} has declarations, which no graph has")
    try:
        return ElementTree.fromstring(content)  # noqa: S314 - without declarations it has no entities
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ModelRefused(f"{path} cannot be read as XML: {error}") from None


def _check_constant(layer: ElementTree.Element, size: int, path: Path) -> None:
    """Its bytes lie in the weights, and are as many as its shape asks for."""
    for data in list(layer.iter("data"))[:1]:
        bits = _BITS.get(data.get("element_type", ""))
        sizes = list(_sizes(data.get("shape", "?"), data.get("offset", "?"), data.get("size", "?")))
        if bits and len(sizes) >= 2:
            *shape, offset, length = sizes
            if length == (prod(shape) * bits + 7) // 8 and offset + length <= size:
                return
    raise ModelRefused(f"{path}: the constant {layer.get('name', '')!a:.80} does not lie in its weights")


def _sizes(shape: str, *numbers: str) -> Iterator[int]:
    for each in [*(shape.split(",") if shape.strip() else []), *numbers]:
        if not re.fullmatch(r"\s*[0-9]{1,15}\s*", each):
            return
        yield int(each)
