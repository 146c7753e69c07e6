"""model/head.py: what a head is given to say besides is what it says, and is the best that a head can say."""

from typing import Any

import numpy as np
import pytest

from sentiment_batch.errors import ModelRefused
from sentiment_batch.model.head import correct_head, correction, head_name, with_features
from sentiment_batch.model.openvino_runtime import openvino

ops = openvino.opset8
CHANCE = np.random.default_rng(3)
FIRST, HEAD = CHANCE.normal(size=(5, 4)), CHANCE.normal(size=(3, 4))
TEXTS = CHANCE.normal(size=(6, 5)).astype(np.float32)


def graph_of(transposed: bool = True) -> Any:
    """tanh(x FIRST) HEAD' + 1; the product of the features with themselves is none with constant weights."""
    given = ops.parameter([-1, 5], np.float32, "x")
    features = ops.tanh(ops.matmul(given, ops.constant(FIRST.astype(np.float32)), False, False))
    weights = (HEAD if transposed else HEAD.T).astype(np.float32)
    product = ops.matmul(features, ops.constant(weights), False, transposed)
    product.set_friendly_name("head")
    logits = ops.add(product, ops.constant(np.ones((1, 3), np.float32)))
    logits.output(0).set_names({"logits"})
    return openvino.Model([ops.result(logits)], [given], "m")


def run(graph: Any) -> np.ndarray:
    found: np.ndarray = openvino.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(TEXTS)[0]
    return found


@pytest.mark.parametrize("transposed", [True, False])
def test_a_corrected_head_says_what_is_added(transposed: bool) -> None:
    graph = graph_of(transposed)
    assert head_name(graph) == "head"
    looking, outputs = with_features(graph)
    assert outputs == 3 + 4
    before = run(looking)
    np.testing.assert_allclose(before[:, 3:], np.tanh(TEXTS @ FIRST), atol=1e-5)
    np.testing.assert_allclose(before[:, :3], before[:, 3:] @ HEAD.T + 1, atol=1e-5)
    weights, bias = CHANCE.normal(size=(3, 4)), CHANCE.normal(size=3)
    correct_head(graph, weights, bias)
    np.testing.assert_allclose(run(graph), before[:, :3] + before[:, 3:] @ weights.T + bias, atol=1e-5)
    assert graph.outputs[0].get_names() == {"logits"}


def test_errors_that_are_linear_in_the_features_are_found() -> None:
    features = CHANCE.normal((0, 5, -2, 0), size=(500, 4))
    weights, bias = CHANCE.normal(size=(3, 4)), np.array([0.5, -1, 3])
    found = correction(features, features @ weights.T + bias)
    np.testing.assert_allclose(found[0], weights, rtol=0.02, atol=0.01)
    np.testing.assert_allclose(features @ found[0].T + found[1], features @ weights.T + bias, atol=0.05)


def test_no_errors_change_nothing_and_few_texts_are_no_fault() -> None:
    weights, bias = correction(CHANCE.normal(size=(50, 4)), np.zeros((50, 3)))
    assert not weights.any()
    assert not bias.any()
    weights, bias = correction(np.ones((1, 40)), np.array([[1.0, 2, 3]]))
    assert np.isfinite(weights).all()
    np.testing.assert_allclose(weights @ np.ones(40) + bias, [1, 2, 3])


def test_a_graph_without_a_linear_head_is_refused() -> None:
    given = ops.parameter([-1, 3], np.float32, "x")
    graph = openvino.Model([ops.result(ops.tanh(given))], [given], "m")
    with pytest.raises(ModelRefused, match="no linear head"):
        head_name(graph)
