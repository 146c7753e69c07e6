"""How many operations a text costs, from the shape of the model: what the measured time is held against."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

# Whose layers are those of BERT: four products for the attention's own weights, two for the feed-forward network.
_LIKE_BERT = ("albert", "bert", "camembert", "distilbert", "electra", "mpnet", "roberta", "xlm-roberta")
_WHOLE = ("albert", "mpnet")  # of these, those whose last layer our engines compute for all tokens


class Shape(NamedTuple):
    """The sizes of a BERT-like encoder with a head of two products on its first token."""

    layers: int
    hidden: int
    intermediate: int
    embedding: int  # where it is not `hidden`, a product widens it
    labels: int
    first_token_only: bool  # our engines compute the last layer for it alone


def read_shape(model: Path) -> Shape | None:
    """The shape of a model folder; None for a kind of encoder whose layers are others than BERT's."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    if config.get("model_type") not in _LIKE_BERT:
        return None
    hidden = config.get("hidden_size") or config["dim"]
    return Shape(
        layers=config.get("num_hidden_layers") or config["n_layers"],
        hidden=hidden,
        intermediate=config.get("intermediate_size") or config["hidden_dim"],
        embedding=config.get("embedding_size", hidden),
        labels=len(config["id2label"]),
        first_token_only=config["model_type"] not in _WHOLE,
    )


def flops(lengths: np.ndarray, shape: Shape, first_token_only: bool) -> int:
    """Operations for texts of so many tokens each, without padding; a multiply-add counts as two.

    Counted are the matrix products: in each layer query, key, value and output (4 hidden^2 for a token), the scores and
    the sum of the attention (2 tokens x hidden for a token) and the feed-forward network (2 hidden x intermediate); for
    each text the head (hidden^2 and hidden x labels). With `first_token_only` the last layer computes keys and values
    of all tokens and all else of the first alone, which gives the same logits: the head looks at nothing else.
    """
    n = lengths.astype(np.int64)
    last = np.ones_like(n) if first_token_only else n
    layers = (shape.layers - 1) * _layer(n, n, shape) + _layer(n, last, shape)
    widened = n * shape.embedding * shape.hidden if shape.embedding != shape.hidden else 0
    head = shape.hidden**2 + shape.hidden * shape.labels
    return int(2 * (layers + widened + head).sum())


def _layer(tokens: np.ndarray, queries: np.ndarray, shape: Shape) -> np.ndarray:
    """Multiply-adds of a layer that makes keys and values of all tokens, and output for so many of them."""
    weights = 2 * tokens * shape.hidden**2 + 2 * queries * shape.hidden**2
    attention = 2 * tokens * queries * shape.hidden
    feed_forward = 2 * queries * shape.hidden * shape.intermediate
    made: np.ndarray = weights + attention + feed_forward
    return made
