"""The head of an int8 graph, fitted again to the logits of the model in float32.

Quantisation moves the features that the head sees, and much of it in one direction for all texts. The head is linear,
so what it should say of the moved features is a ridge regression (Hoerl and Kennard, 1970) of the error of the logits
on the features, in one closed step, as bias correction (arXiv:1906.04721) is for the mean. It costs nothing when it
labels.
"""

from typing import Any

import numpy as np

from sentiment_batch.errors import ModelRefused
from sentiment_batch.model.openvino_runtime import openvino

_RIDGE = 0.003  # of the mean square of a feature: .0003 to .03 gave the same labels


def head_name(graph: Any) -> str:
    """The name of the matrix product that makes the logits: the last one whose weights are constant."""
    return str(_head(graph).get_friendly_name())


def with_features(graph: Any) -> tuple[Any, int]:
    """(a graph whose output has, behind the logits, what the head sees, and how many numbers that are for a text)."""
    logits, features = graph.get_results()[0].input_value(0), _head(graph).input_value(0)
    both = openvino.opset8.concat([logits, features], 1)
    model = openvino.Model([openvino.opset8.result(both)], graph.get_parameters(), graph.get_friendly_name())
    return model, both.get_output_partial_shape(0)[1].get_length()


def correction(features: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(weights [labels, size], bias [labels]) whose `weights @ feature + bias` are nearest to the errors of the logits.

    `features` is [texts, size], `errors` [texts, labels]. Least squares, with a penalty on the weights that makes the
    answer one of few texts, too.
    """
    centre, mean = features.mean(axis=0, dtype=np.float64), errors.mean(axis=0, dtype=np.float64)
    centred = features - centre
    square = centred.T @ centred
    penalty = max(_RIDGE * np.trace(square) / len(square), np.finfo(np.float32).tiny)
    weights = np.linalg.solve(square + penalty * np.eye(len(square)), centred.T @ (errors - mean)).T
    return weights, mean - weights @ centre


def correct_head(graph: Any, weights: np.ndarray, bias: np.ndarray) -> None:
    """Add to what the head computes, in place."""
    head = _head(graph)
    old = head.input_value(1).get_node()
    change = weights if head.get_attributes()["transpose_b"] else weights.T
    new = openvino.opset8.constant((old.get_data() + change).astype(np.float32))
    head.input(1).replace_source_output(new.output(0))
    result = graph.get_results()[0]
    moved = openvino.opset8.add(result.input_value(0), openvino.opset8.constant(bias.astype(np.float32)[None]))
    names = result.input_value(0).get_names()
    result.input(0).replace_source_output(moved.output(0))
    moved.output(0).set_names(names)


def _head(graph: Any) -> Any:
    products = [node for node in graph.get_ordered_ops() if node.get_type_name() == "MatMul"]
    for node in reversed(products):
        if node.input_value(1).get_node().get_type_name() == "Constant":
            return node
    raise ModelRefused("the graph has no linear head; label with --dtype bfloat16 or float32")
