"""Graphs in OpenVINO's XML, written by hand: a small one that labels, and whatever a test puts into it."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

NUMPY = {"auto_broadcast": "numpy"}
_LETTERS = {"i64": "q", "i32": "i", "f32": "f", "i8": "b", "u8": "B", "boolean": "?"}


@dataclass
class Text:
    """A graph that grows; an operation is known by its number."""

    layers: list[str] = field(default_factory=list)
    edges: list[str] = field(default_factory=list)
    weights: bytearray = field(default_factory=bytearray)
    inputs: list[int] = field(default_factory=list)  # how many each operation has

    def add(self, kind: str, *given: int | tuple[int, int], name: str = "", outputs: int = 1, **attributes: Any) -> int:
        """An operation of the results of others: (operation, output), or the operation alone for its first."""
        number, version = len(self.layers), attributes.pop("version", VERSIONS.get(kind, "opset1"))
        data = "".join(f" {each}={quoteattr(str(value))}" for each, value in attributes.items())
        ports = "".join(f'<port id="{port}" precision="FP32"/>' for port in range(len(given)))
        made = "".join(f'<port id="{len(given) + port}" precision="FP32"/>' for port in range(outputs))
        self.layers.append(
            f'<layer id="{number}" name="{name or number}" type="{kind}" version="{version}"><data{data}/>'
            f"<input>{ports}</input><output>{made}</output></layer>"
        )
        self.inputs.append(len(given))
        for port, source in enumerate(given):
            operation, output = source if isinstance(source, tuple) else (source, 0)
            self.edges.append(
                f'<edge from-layer="{operation}" from-port="{self.inputs[operation] + output}" '
                f'to-layer="{number}" to-port="{port}"/>'
            )
        return number

    def constant(self, values: Iterable[float] | float, kind: str = "i64", shape: str | None = None) -> int:
        numbers = [values] if isinstance(values, int | float) else list(values)
        data = struct.pack(f"<{len(numbers)}{_LETTERS[kind]}", *numbers)
        offset = len(self.weights)
        self.weights += data
        shape = ("" if isinstance(values, int | float) else str(len(numbers))) if shape is None else shape
        return self.add("Const", element_type=kind, shape=shape, offset=offset, size=len(data))

    def xml(self) -> bytes:
        layers, edges = "".join(self.layers), "".join(self.edges)
        return (
            f'<?xml version="1.0"?><net name="a" version="11"><layers>{layers}</layers><edges>{edges}</edges></net>'
        ).encode()

    def write(self, folder: Path) -> Path:
        """The path of the `.xml`."""
        (folder / "graph.xml").write_bytes(self.xml())
        (folder / "graph.bin").write_bytes(self.weights)
        return folder / "graph.xml"


VERSIONS = {
    **{"Broadcast": "opset3", "CumSum": "opset3", "Gather": "opset8", "GatherElements": "opset6", "Range": "opset4"},
    **{"ShapeOf": "opset3", "Slice": "opset8"},
}


def begin() -> tuple[Text, int, int]:
    """A graph with its two inputs."""
    text = Text()
    ids, mask = (
        text.add("Parameter", name=name, shape="?,?", element_type="i64") for name in ("input_ids", "attention_mask")
    )
    return text, ids, mask


def end(text: Text, ids: int, also: int | None = None) -> Text:
    """Logits for three labels: the sum of the ids of a text, plus 1, 2, 3; and a number from another result."""
    real = text.add("Convert", ids, destination_type="f32")
    logits = text.add("ReduceSum", real, text.constant([1]), keep_dims="true")
    logits = text.add("Add", logits, text.constant([1, 2, 3], "f32"), **NUMPY)
    if also is not None:
        flat = text.add("Reshape", also, text.constant([-1]), special_zero="false")
        real = text.add("Convert", flat, destination_type="f32")
        logits = text.add("Add", logits, text.add("ReduceSum", real, text.constant([0]), keep_dims="false"), **NUMPY)
    text.add("Result", logits, outputs=0)
    return text


def sized(text: Text, tensor: int, axis: int) -> int:
    """The size of an axis of a tensor, as a list of one."""
    sizes = text.add("ShapeOf", tensor, output_type="i64")
    return text.add("Gather", sizes, text.constant([axis]), text.constant(0), batch_dims=0)
