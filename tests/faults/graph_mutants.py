"""As a script: graphs of a model changed at random, each read, compiled and run, and what became of it.

    python graph_mutants.py FOLDER FIRST COUNT      prints a JSON object for each: [number, what, seconds]

A number is a mutant, the same each time. OpenVINO may die of one, so that this is a process of its own; the alarm kills
it where it hangs.
"""

import copy
import json
import random
import resource
import signal
import struct
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from sentiment_batch.errors import EnvironmentFailure, ModelRefused
from sentiment_batch.model.graph_file import read_graph
from sentiment_batch.model.openvino_engine import load_engine
from sentiment_batch.model.operations import OPERATIONS

SECONDS = 60
_MEMORY = 12 * 2**30  # of addresses: OpenVINO's own take two
_LETTERS = {"i64": "q", "i32": "i", "f32": "f"}
_WHOLE = (
    0,
    1,
    -1,
    2,
    -2,
    3,
    4,
    7,
    16,
    31,
    32,
    64,
    65,
    1000,
    2**31 - 1,
    -(2**31),
    2**31,
    2**40,
    2**62,
    2**63 - 1,
    -(2**63),
)
_REAL = (0.0, -0.0, 1.0, -1.0, 1e30, -1e30, 1e-40, float("inf"), float("-inf"), float("nan"))
_WORDS = (
    *("", "0", "1", "-1", "2", "8", "256", str(2**32), str(2**63 - 1), str(-(2**63)), "9" * 30, "1e308", "nan", " 1"),
    *("true", "false", "numpy", "pdpd", "none", "bidirectional", "f32", "f16", "i64", "i8", "boolean", "string", "?,?"),
    *("1, 1", "64", "32", "0, 0", "opset1", "opset8", "extension", "explicit", "same_upper", "ERF", "TANH"),
)
_ATTRIBUTES = {  # for an operation that becomes another
    **{"auto_broadcast": ("numpy",), "axis": ("0", "-1", "1", "3"), "keep_dims": ("true", "false"), "levels": ("256",)},
    **{"mode": ("numpy", "bidirectional"), "min": ("0", "-1"), "max": ("1", "-5"), "batch_dims": ("0",)},
    **{"destination_type": ("f32", "i32", "i64", "boolean"), "output_type": ("i32", "i64"), "num_splits": ("2", "3")},
    **{"special_zero": ("true", "false"), "approximation_mode": ("ERF", "TANH"), "m_pythondiv": ("true", "false")},
    **{"eps": ("0", "1e-05"), "normalize_variance": ("true", "false"), "eps_mode": ("INSIDE_SQRT",)},
    **{"transpose_a": ("true", "false"), "transpose_b": ("true", "false"), "causal": ("false",)},
    **{"strides": ("1",), "dilations": ("1",), "pads_begin": ("0", "1", "999"), "pads_end": ("0", "1")},
    **{"auto_pad": ("explicit",), "exclusive": ("true", "false"), "reverse": ("true", "false")},
}


def mutant(path: Path, number: int) -> tuple[bytes, bytes]:
    """The content of an `.xml` and of a `.bin`."""
    chance = random.Random(number)
    root, weights = ElementTree.fromstring(path.read_bytes()), bytearray(path.with_suffix(".bin").read_bytes())
    for _ in range(chance.choice([1, 1, 1, 2, 3, 5])):
        (change,) = chance.choices(list(CHANGES), CHANGES.values())
        change(root, weights, chance)
    xml = bytearray(b'<?xml version="1.0"?>\n' + ElementTree.tostring(root))
    if chance.random() < 0.03:
        for _ in range(chance.choice([1, 3, 20])):
            xml[chance.randrange(len(xml))] = chance.randrange(256)
    if chance.random() < 0.02:
        del weights[chance.randrange(len(weights)) :]
    return bytes(xml), bytes(weights)


def constants(root: ElementTree.Element, most: float = float("inf")) -> list[ElementTree.Element]:
    """What is said of the constants of at most so many bytes that are whole, still."""
    found = [layer.find("data") for layer in root[0] if layer.get("type") == "Const"]
    return [
        each
        for each in found
        if each is not None and each.get("size", "").isdigit() and int(each.get("size", "")) <= most
    ]


def change_numbers(root: ElementTree.Element, weights: bytearray, chance: random.Random) -> None:
    """A number of a shape, an axis, a scale; often of a copy, since constants share their places."""
    small = [each for each in constants(root, 64) if each.get("element_type") in _LETTERS]
    if not small:
        return
    data = chance.choice(small)
    kind, size, offset = _LETTERS[data.get("element_type", "")], int(data.get("size", "")), data.get("offset", "")
    width = struct.calcsize(kind)
    if not offset.isdigit() or not width <= size <= int(offset) + size <= len(weights):
        return
    place = int(offset)
    if chance.random() < 0.8:
        weights += weights[place : place + size]
        place = len(weights) - size
        data.set("offset", str(place))
    value = chance.choice(_REAL if kind == "f" else _WHOLE)
    half = 2 ** (8 * width - 1)
    value = value if kind == "f" else (int(value) + half) % (2 * half) - half
    struct.pack_into(f"<{kind}", weights, place + width * chance.randrange(size // width), value)


def change_source(root: ElementTree.Element, _: bytearray, chance: random.Random) -> None:
    """An operation takes another result, mostly one that comes before it."""
    if len(root[1]) < 2:
        return
    edge, other = chance.sample(list(root[1]), 2)
    if chance.random() < 0.9:
        edge, other = sorted((edge, other), key=lambda each: list(root[1]).index(each), reverse=True)
    for name in ("from-layer", "from-port"):
        edge.set(name, other.get(name, ""))


def change_kind(root: ElementTree.Element, _: bytearray, chance: random.Random) -> None:
    """An operation becomes another that takes as many inputs."""
    layer = chance.choice(list(root[0]))
    inputs = len(layer.findall("input/port"))
    fits = [
        kind for kind, each in OPERATIONS.items() if inputs and each.letters(inputs) is not None and kind != "Result"
    ]
    if not fits:
        return
    kind = chance.choice(fits)
    layer.set("type", kind)
    layer.set("version", OPERATIONS[kind].version)
    for data in layer.findall("data"):
        layer.remove(data)
    attributes = {name: chance.choice(_ATTRIBUTES[name]) for name in OPERATIONS[kind].attributes}
    layer.insert(0, ElementTree.Element("data", attributes))


def change_attribute(root: ElementTree.Element, _: bytearray, chance: random.Random) -> None:
    """To one that other operations have, or to any word."""
    found = [data for data in root.iter("data") if data.attrib]
    if not found:
        return
    data = chance.choice(found)
    name = chance.choice(sorted(data.attrib))
    others = sorted({each.get(name, "") for each in found})
    data.set(
        name,
        chance.choice(
            [chance.choice(others), chance.choice(others), chance.choice(_WORDS), str(chance.choice(_WHOLE))]
        ),
    )


def change_shape(root: ElementTree.Element, _: bytearray, chance: random.Random) -> None:
    """Of a constant, to one of as many bytes or of fewer."""
    found = constants(root)
    if not found:
        return
    data = chance.choice(found)
    axes = [axis for axis in data.get("shape", "").split(", ") if axis.isdigit()]
    how = chance.randrange(4)
    if how == 0:
        chance.shuffle(axes)
    elif how == 1:
        axes.insert(chance.randrange(len(axes) + 1), "1")
    elif how == 2 and len(axes) > 1:
        axes[:2] = [str(int(axes[0]) * int(axes[1]))]
    elif axes and int(axes[0]):
        fewer = chance.choice([1, 2, max(1, int(axes[0]) // 2)])
        data.set("size", str(int(data.get("size", "")) // int(axes[0]) * fewer))
        axes[0] = str(fewer)
    data.set("shape", ", ".join(axes))


def change_element(root: ElementTree.Element, _: bytearray, chance: random.Random) -> None:
    """Gone, there twice, somewhere else, or with an attribute that is any word."""
    parents = [each for each in root.iter() if len(each)]
    parent = chance.choice(parents)
    element = chance.choice(list(parent))
    how = chance.randrange(4)
    if how == 0:
        parent.remove(element)
    elif how == 1:
        parent.insert(chance.randrange(len(parent) + 1), copy.deepcopy(element))
    elif how == 2:
        parent.remove(element)
        parent.insert(chance.randrange(len(parent) + 1), element)
    elif element.attrib:
        element.set(chance.choice(sorted(element.attrib)), chance.choice(_WORDS))


def change_bytes(_: ElementTree.Element, weights: bytearray, chance: random.Random) -> None:
    for _number in range(chance.choice([1, 8, 64])):
        weights[chance.randrange(len(weights))] = chance.randrange(256)


CHANGES = {
    **{change_numbers: 35, change_source: 15, change_kind: 20, change_attribute: 12, change_shape: 10},
    **{change_element: 5, change_bytes: 3},
}


def outcome(path: Path) -> str:
    """What becomes of a graph, by the whole way that a graph goes."""
    try:
        graph = read_graph(path)
    except ModelRefused:
        return "refused by us"
    try:
        engine = load_engine(graph, 3, "float32", 1, 64)
        for rows, width in ((3, 7), (2, 33)):
            ids = np.arange(rows * width).reshape(rows, width) % 600
            engine(ids, (ids % 5 > 0).astype(np.int64))
    except ModelRefused as error:
        return "refused for its sizes" if "needs room" in str(error) else "refused by OpenVINO"
    except EnvironmentFailure:
        return "failed"
    return "ran"


def main() -> None:
    folder, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    seeds = sorted(folder.glob("openvino_*.xml"))
    path = folder / f"mutant{first}.xml"
    for number in range(first, first + count):
        print(json.dumps([number]), flush=True)
        signal.alarm(SECONDS)
        xml, weights = mutant(seeds[number % len(seeds)], number)
        path.write_bytes(xml)
        path.with_suffix(".bin").write_bytes(weights)
        began = time.perf_counter()
        what = outcome(path)
        print(json.dumps([number, what, time.perf_counter() - began]), flush=True)


if __name__ == "__main__":
    main()
