"""An OpenVINO graph, `.xml` and `.bin`, found to be one of an encoder and written anew before OpenVINO sees it.

A graph is a program, and the folder that it comes from may mean harm. So its language is closed (`graph_xml.py`,
`operations.py`): token ids and their mask in, logits out, constants that lie in the `.bin`, and between them operations
that compute, each behind those whose results it takes. OpenVINO reads no byte of the `.xml`: what it gets is written
here, from what was understood.
"""

import hashlib
import os
import re
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

from sentiment_batch.errors import ModelRefused, is_passing
from sentiment_batch.model.graph_xml import BEGINNING, VERSION, Layer, Port, read_xml
from sentiment_batch.model.inspection import open_file
from sentiment_batch.model.operations import OPERATIONS, SHAPE_ARITHMETIC, TESTS

INPUTS = ("input_ids", "attention_mask")
_XML_BYTES = 2**24  # 24 layers in int8 take 2 MB
_BYTES = {"f32": 4, "i64": 8, "i32": 4, "i8": 1, "u8": 1, "boolean": 1}
_ID = "[0-9]{1,9}"
_FEW = 16  # numbers that a constant may give as a shape, and more than a tensor has axes
_NUMBERS = 2**16  # that a shape may be reckoned by


@dataclass(frozen=True)
class Graph:
    """A graph in memory of our own, which nobody can write to through its files."""

    path: Path
    xml: bytes = field(repr=False)  # written here
    weights: bytearray = field(repr=False)


@dataclass(frozen=True)
class _Node:
    layer: Layer
    inputs: list[tuple[int, int]]  # a node before this one, and the number of its output


def read_graph(path: Path, sha256: tuple[str, str] | None = None) -> Graph:
    """The graph of an `.xml` and of the `.bin` beside it, which must have these hashes.

    Raises `ModelRefused` unless it is an encoder's.
    """
    hashes = sha256 or (None, None)
    xml = _read(path, hashes[0], None)
    try:
        nodes = _nodes(*read_xml(bytes(xml)))
        weights = _read(path.with_suffix(".bin"), hashes[1], max(map(_end, nodes)))
        _check_divisors(nodes, weights)
    except ValueError as error:
        raise ModelRefused(f"{path} is no graph of an encoder: {error}; {_instead(path)}") from None
    return Graph(path, _written(nodes), weights)


def _read(path: Path, sha256: str | None, size: int | None) -> bytearray:
    """The content of a file, of this size."""
    try:
        with open_file(path) as file:
            found = os.fstat(file.fileno()).st_size
            if size is None and found > _XML_BYTES:
                raise ModelRefused(f"{path} is larger than {_XML_BYTES >> 20} MiB; {_instead(path)}")
            if size is not None and found != size:
                raise ModelRefused(f"{path} has {found} bytes, and its graph has constants of {size}; {_instead(path)}")
            content = bytearray(found)
            whole = file.readinto(content) == found
    except FileNotFoundError:
        raise ModelRefused(f"{path} is missing; {_instead(path)}") from None
    except OSError as error:
        if is_passing(error):
            raise
        raise ModelRefused(f"{path} cannot be read: {error.strerror}; {_instead(path)}") from None
    if not whole or (sha256 is not None and hashlib.sha256(content).hexdigest() != sha256):
        raise ModelRefused(f"{path} is not the file that was made with the graph; {_instead(path)}")
    return content


def _instead(path: Path) -> str:
    make = f"sentiment-batch optimize --model {path.parent}"
    return f"make it again with: {make}, and --calibration and --valid as before; or label with --engine torch"


def _nodes(layers: list[Layer], edges: list[tuple[Port, Port]]) -> list[_Node]:
    """The layers with their inputs. `ValueError` unless each is an operation that may have these, and comes first."""
    sources = {target: source for source, target in edges}
    if len(sources) < len(edges):
        raise ValueError("it has an input with two edges")
    places: dict[Port, tuple[int, int]] = {}
    numbers: list[int | None] = []
    nodes: list[_Node] = []
    for place, layer in enumerate(layers):
        try:
            node = _Node(layer, [places[sources.pop((layer.id, port))] for port in layer.inputs])
        except KeyError:
            raise ValueError(f"an input of the operation {_named(layer)} is of none before it") from None
        _check_operation(node, nodes, numbers)
        nodes.append(node)
        numbers.append(_numbers(node, numbers))
        for output, port in enumerate(layer.outputs):
            if not re.fullmatch(_ID, layer.id) or not re.fullmatch(_ID, port) or (layer.id, port) in places:
                raise ValueError(f"an id of the operation {_named(layer)} is no number, or is there twice")
            places[layer.id, port] = place, output
    if sources:
        raise ValueError("it has an edge that leads nowhere")
    inputs = [layer.name for layer in layers if layer.kind == "Parameter"]
    if sorted(inputs) != sorted(INPUTS) or [layer.kind for layer in layers].count("Result") != 1:
        raise ValueError(f"it must take {' and '.join(INPUTS)} and have one result")
    return nodes


def _check_operation(node: _Node, before: list[_Node], numbers: list[int | None]) -> None:
    layer, operation = node.layer, OPERATIONS.get(node.layer.kind)
    if operation is None or layer.version != operation.version:
        raise ValueError(f"it has the operation {_named(layer)} of {layer.version!a:.40}, which none here needs")
    if layer.attributes.keys() != operation.attributes.keys() or not all(
        re.fullmatch(operation.attributes[name], value) for name, value in layer.attributes.items()
    ):
        raise ValueError(f"it has the operation {_named(layer)} with {layer.attributes!a:.120}, which none here needs")
    letters = operation.letters(len(node.inputs))
    if letters is None or not re.fullmatch(operation.outputs, str(len(layer.outputs))):
        raise ValueError(f"it has the operation {_named(layer)} with inputs or outputs that it cannot have")
    for letter, (source, _) in zip(letters, node.inputs, strict=True):
        if (letter != "x" and numbers[source] is None) or (letter == "c" and before[source].layer.kind != "Const"):
            origin = _named(before[source].layer)
            raise ValueError(f"it has the operation {_named(layer)} with a shape or axis that comes from {origin}")


def _numbers(node: _Node, before: list[int | None]) -> int | None:
    """How many numbers the result has at most, if it may be a shape: if it does not depend on what is in a tensor."""
    kind = node.layer.kind
    if kind == "Const":
        found = prod(_shape(node.layer))
        return found if found <= _FEW else None
    if kind == "ShapeOf":
        return _FEW
    given = [before[source] for source, _ in node.inputs]
    if kind not in SHAPE_ARITHMETIC or None in given:
        return None
    found = SHAPE_ARITHMETIC[kind](each for each in given if each is not None)
    return found if found <= _NUMBERS else None


def _check_divisors(nodes: list[_Node], weights: bytearray) -> None:
    """What whole numbers are divided by is constant and above 0: OpenVINO dies of others, by SIGFPE."""
    real: list[bool] = []
    for node in nodes:
        given = [real[source] for source, _ in node.inputs]
        real.append(_is_real(node.layer, given))
        if node.layer.kind in ("Divide", "Mod") and not real[-1]:
            divisor = nodes[node.inputs[1][0]].layer
            if divisor.kind != "Const" or not all(each > 0 for each in _values(divisor, weights)):
                raise ValueError(f"it has the operation {_named(node.layer)} by a whole number that may not be above 0")


def _is_real(layer: Layer, given: list[bool]) -> bool:
    """Whether its results are floating point numbers: if one of two tensors is, OpenVINO wants the other to be, too."""
    for name in ("element_type", "destination_type", "output_type"):
        if name in layer.attributes:
            return layer.attributes[name] == "f32"
    return any(given) and layer.kind not in TESTS


def _values(constant: Layer, weights: bytearray) -> list[int]:
    """Of a constant of whole numbers."""
    attributes = constant.attributes
    kind = {"i64": "<i8", "i32": "<i4", "i8": "i1", "u8": "u1", "boolean": "u1"}[attributes["element_type"]]
    return list(map(int, np.frombuffer(weights, kind, prod(_shape(constant)), int(attributes["offset"]))))


def _end(node: _Node) -> int:
    """Where its constant ends in the weights; its bytes are as many as its shape asks for."""
    if node.layer.kind != "Const":
        return 0
    attributes = node.layer.attributes
    offset, size = int(attributes["offset"]), int(attributes["size"])
    if size != prod(_shape(node.layer)) * _BYTES[attributes["element_type"]]:
        raise ValueError(f"the constant {node.layer.name!a:.80} has not as many bytes as its shape asks for")
    return offset + size


def _shape(layer: Layer) -> list[int]:
    return [int(axis) for axis in layer.attributes["shape"].split(",") if axis]


def _named(layer: Layer) -> str:
    return f"{layer.kind!a:.40}"


def _written(nodes: list[_Node]) -> bytes:
    """The XML that OpenVINO is given. The precision of a port must be there, and is not looked at."""
    layers, edges = [], []
    for place, node in enumerate(nodes):
        layer = node.layer
        first = len(node.inputs)  # as OpenVINO numbers its ports
        names = f" names={quoteattr(layer.name)}" if layer.kind == "Parameter" else ""
        data = "".join(f" {name}={quoteattr(value)}" for name, value in layer.attributes.items())
        inputs = "".join(f'<port id="{port}" precision="FP32"/>' for port in range(first))
        outputs = "".join(
            f'<port id="{first + number}" precision="FP32"{names}/>' for number in range(len(layer.outputs))
        )
        layers.append(
            f'<layer id="{place}" name="{place}" type="{layer.kind}" version="{layer.version}"><data{data}/>'
            f"<input>{inputs}</input><output>{outputs}</output></layer>"
        )
        edges += [
            f'<edge from-layer="{source}" from-port="{len(nodes[source].inputs) + output}" '
            f'to-layer="{place}" to-port="{port}"/>'
            for port, (source, output) in enumerate(node.inputs)
        ]
    whole = f"<layers>{''.join(layers)}</layers><edges>{''.join(edges)}</edges>"
    return BEGINNING + f'<net name="encoder" version="{VERSION}">{whole}</net>'.encode()
