"""As a script: the counts of so many simulated predictions, and by how many bytes memory grew meanwhile.

`python simulated_predictions.py ROWS` prints {"rows": counted, "grown": bytes beyond the interpreter and the imports}.
"""

import json
import sys
from typing import Any

import numpy as np
import pyarrow as pa

from sentiment_batch import evaluate
from sentiment_batch.config import EvaluateOptions
from sentiment_batch.measure.counts import add, count_rows
from sentiment_batch.measure.evaluation import quality_section
from sentiment_batch.measure.label_order import label_order_section
from sentiment_batch.measure.metrics import peak_rss_bytes
from sentiment_batch.measure.mistakes import most_confident
from sentiment_batch.measure.slices import slices_section

LABELS = ("positive", "neutral", "negative")
_CHUNK_ROWS = 32_768


def simulated(rows: int, chance: np.random.Generator) -> pa.RecordBatch:
    """Labelled rows as the scorer gives them, with a country to slice by; no two chunks alike."""
    chances = chance.dirichlet([0.5] * 3, rows).astype(np.float32)
    best = chances.argmax(axis=1)
    names = np.array(LABELS, object)
    return pa.record_batch(
        {
            "label": pa.array(names[np.where(chance.random(rows) < 0.8, best, chance.integers(0, 3, rows))]),
            "country": pa.array(chance.choice(np.array(["id", "my", "sg"], object), rows)),
            "predicted_label": pa.array(names[best]),
            "confidence": pa.array(chances.max(axis=1)),
            **{f"prob_{label}": pa.array(column) for label, column in zip(LABELS, chances.T, strict=True)},
            "n_tokens": pa.array(chance.integers(3, 200, rows).astype(np.int32)),
            "truncated": pa.array(chance.random(rows) < 0.01),
            "status": pa.array(["ok"] * rows),
        }
    )


def main(rows: int) -> None:
    options = EvaluateOptions(model="m", data=("d",), output="o", slice=("country",))
    counts: dict[str, Any] = {}
    worst: list[Any] = []
    before, chance = peak_rss_bytes(), np.random.default_rng(0)
    for first in range(0, rows, _CHUNK_ROWS):
        batch = simulated(min(_CHUNK_ROWS, rows - first), chance)
        found, mistakes = evaluate._measured(options, LABELS, batch, first)
        counts = add(counts, found)
        counts = add(counts, count_rows(batch, np.zeros(len(batch), np.int32), LABELS, "", "label"))
        worst = most_confident(worst, mistakes)
    section = quality_section(counts, LABELS)
    slices_section(counts["slices"], LABELS)
    label_order_section(counts["confusion"], LABELS)
    print(json.dumps({"rows": section["rows"], "grown": peak_rss_bytes() - before}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
