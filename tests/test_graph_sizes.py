"""model/graph_sizes.py: a small graph that asks for all memory is refused before it is compiled."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino
import pytest
from graph_text import NUMPY, Text, begin, end, sized

from sentiment_batch.errors import ModelRefused
from sentiment_batch.model.graph_file import Graph, read_graph
from sentiment_batch.model.graph_sizes import check_sizes
from sentiment_batch.model.openvino_engine import load_engine

Bomb = Callable[[Text, int, int], int]  # from a graph and its inputs, the result that is large


def checked(graph: Graph, longest: int) -> None:
    weights = openvino.Tensor(np.frombuffer(graph.weights, np.uint8), shared_memory=True)
    check_sizes(openvino.Core().read_model(graph.xml.decode(), weights), longest, graph.path)


def test_a_small_graph_is_taken_and_labels(tmp_path: Path) -> None:
    text, ids, _ = begin()
    graph = read_graph(end(text, ids).write(tmp_path))
    checked(graph, 512)
    assert load_engine(graph, 3, "float32", 1, 512)(np.array([[5, 6], [7, 8]]), None).tolist() == [
        [12, 13, 14],
        [16, 17, 18],
    ]


@pytest.mark.parametrize("kind", ["model", "int8"])
@pytest.mark.parametrize("longest", [1, 2, 64])
def test_the_graphs_of_a_model_are_taken(optimized_model: Path, kind: str, longest: int) -> None:
    checked(read_graph(optimized_model / f"openvino_{kind}.xml"), longest)


def broadcast(text: Text, ids: int, mask: int) -> int:
    return text.add("Broadcast", text.constant(1), text.constant([10**6, 10**6]), mode="numpy")


def broadcast_beyond_64_bits(text: Text, ids: int, mask: int) -> int:
    """The product of its sizes is 0 in 64 bits."""
    large = text.add("Broadcast", text.constant(1), text.constant([2**32, 2**32]), mode="numpy")
    return text.add("ReduceSum", large, text.constant([0, 1]), keep_dims="true")


def tile(text: Text, ids: int, mask: int) -> int:
    return text.add("Tile", ids, text.constant([1, 10**9]))


def numbers(text: Text, ids: int, mask: int) -> int:
    return text.add("Range", text.constant(0), text.constant(10**13), text.constant(1), output_type="i64")


def table(text: Text, ids: int, mask: int) -> int:
    """Every number of some with every other, of constants alone: it would be computed when it is compiled."""
    many = text.add("Range", text.constant(0), text.constant(10**6), text.constant(1), output_type="i64")
    return text.add("Add", many, text.add("Unsqueeze", many, text.constant(1)), **NUMPY)


def product(text: Text, ids: int, mask: int) -> int:
    """A column of a million numbers and a row of as many, multiplied."""
    one = text.constant([1], "f32", "1, 1")
    tall, wide = (text.add("Tile", one, text.constant(each)) for each in ([10**6, 1], [1, 10**6]))
    return text.add("MatMul", tall, wide, transpose_a="false", transpose_b="false")


def doubled(text: Text, ids: int, mask: int) -> int:
    for _ in range(50):
        ids = text.add("Concat", ids, ids, axis=1)
    return ids


def every_text_with_every_other(text: Text, ids: int, mask: int) -> int:
    """Harmless for a few texts."""
    cube = text.add("Unsqueeze", ids, text.constant([0, 1, 2]))
    for axes in ([0, 1, 4], [0, 3, 4]):
        cube = text.add("Add", cube, text.add("Unsqueeze", ids, text.constant(axes)), **NUMPY)
    return cube


def many_at_a_time(text: Text, ids: int, mask: int) -> int:
    """None of them too large; but the first is needed last."""
    held = [text.add("Tile", ids, text.constant([1, 40_000]))]
    for _ in range(12):
        held.append(text.add("Abs", held[-1]))
    total = held.pop()
    while held:
        total = text.add("Add", total, held.pop(), **NUMPY)
    return total


def gathered(text: Text, ids: int, mask: int) -> int:
    """A row of a constant for each of many indices."""
    many = text.add("Broadcast", text.constant(0), text.constant([10**7]), mode="numpy")
    return text.add("Gather", text.constant([1] * 4096, shape="1, 4096"), many, text.constant(0), batch_dims=0)


BOMBS = [
    *(broadcast, broadcast_beyond_64_bits, tile, numbers, table, product, doubled, every_text_with_every_other),
    *(many_at_a_time, gathered),
]


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: bomb.__name__)
def test_a_graph_that_takes_all_memory_is_refused_at_once(tmp_path: Path, bomb: Bomb) -> None:
    text, ids, mask = begin()
    graph = read_graph(end(text, ids, bomb(text, ids, mask)).write(tmp_path))
    began = time.perf_counter()
    with pytest.raises(ModelRefused, match=r"graph\.xml needs room for [0-9]+ numbers to label [0-9]+ texts of"):
        load_engine(graph, 3, "float32", 1, 64)
    assert time.perf_counter() - began < 5


def test_a_tensor_of_many_axes_is_refused(tmp_path: Path) -> None:
    text, ids, _ = begin()
    wide = text.add("Reshape", ids, text.constant([1] * 12 + [-1]), special_zero="false")
    with pytest.raises(ModelRefused, match=r"has a tensor of the shape .*1,1,1,1"):
        checked(read_graph(end(text, ids, wide).write(tmp_path)), 64)


def test_room_grows_with_the_longest_text(tmp_path: Path) -> None:
    """Scores of every token with every other, in 100 heads."""
    text, ids, _ = begin()
    pairs = text.add(
        "Add", text.add("Unsqueeze", ids, text.constant(1)), text.add("Unsqueeze", ids, text.constant(2)), **NUMPY
    )
    heads = text.add("Tile", text.add("Unsqueeze", pairs, text.constant(1)), text.constant([1, 100, 1, 1]))
    graph = read_graph(end(text, ids, heads).write(tmp_path))
    for longest in (1, 64, 512, 4096):
        checked(graph, longest)


def test_sizes_that_come_from_sizes_are_taken(tmp_path: Path) -> None:
    text, ids, mask = begin()
    shape = text.add("Concat", sized(text, ids, 0), sized(text, mask, 1), text.constant([3]), axis=0)
    wide = text.add("Broadcast", text.constant(1), shape, mode="numpy")
    graph = read_graph(end(text, ids, wide).write(tmp_path))
    checked(graph, 64)
    assert load_engine(graph, 3, "float32", 1, 64)(np.array([[5, 6], [7, 8]]), None).tolist()[0] == [24, 25, 26]
