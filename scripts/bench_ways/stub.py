"""`sentiment-batch` with an engine that computes nothing: all that `score` does besides the model.

python -m bench_ways.stub score dump.parquet --model DIR --output OUT --engine torch
"""

from typing import Any

import numpy as np

from sentiment_batch.cli import program
from sentiment_batch.model import torch_engine


def load_engine(folder: Any, *_: Any, **__: Any) -> Any:
    """An engine whose logits are made of the first and the last id of a text, in no time."""
    labels = len(folder.labels)

    def engine(input_ids: np.ndarray, attention_mask: np.ndarray | None) -> np.ndarray:
        logits = np.zeros((len(input_ids), labels), np.float32)
        logits[np.arange(len(logits)), input_ids[:, 1] % labels] = 1 + input_ids[:, -1] % 1000 / 250
        return logits

    return engine


if __name__ == "__main__":
    torch_engine.load_engine = load_engine
    program()
