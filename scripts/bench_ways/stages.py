"""Each stage of `score` alone, on all rows of a dump: reading, tokenising, the engine, making the rows, writing them.

    python -m bench_ways.stages --model DIR --input F --report F --engine torch --dtype bfloat16

In `score` they overlap; here one is done before the next begins, so that what each costs can be told.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sentiment_batch import Labeller
from sentiment_batch.config import ScoreOptions
from sentiment_batch.model.tokens import TokenIds
from sentiment_batch.read.plan import open_inputs, plan, read_chunks
from sentiment_batch.write.part import PartWriter, part_name
from sentiment_batch.write.store import Folder


class Known:
    """A classifier that has the logits already: what is left of labelling is making the rows."""

    def __init__(self, logits: np.ndarray):
        self.found = logits

    def logits(self, tokens: TokenIds, done: Callable[[int], None] = lambda _: None) -> np.ndarray:
        return self.found


def measure(model: str, dump: Path, folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Seconds and CPU seconds of each stage, tokens with and without padding, tokens of each text that was computed.

    What is written is written in `folder`, and gone when this returns.
    """
    stages: dict[str, dict[str, float]] = {}
    settings = ScoreOptions(model=model, input=(str(dump),), output="unused", progress="none")

    @contextmanager
    def timed(stage: str) -> Iterator[None]:
        started, cpu = time.perf_counter(), time.process_time()
        yield
        stages[stage] = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu}

    labeller = Labeller(model, **options)
    labeller.load()
    inputs = open_inputs(settings.input, settings.format, (), (settings.text_column,))
    columns = tuple(inputs.schema.names)
    with timed("read"):
        shards = plan(inputs, settings.shard_rows, settings.shard_bytes)
        batches = [
            chunk.batch
            for shard in shards
            for chunk in read_chunks(inputs, shard, columns, settings.text_column, settings.chunk_rows)
        ]
    with timed("tokenise"):
        prepared = [labeller.prepare(batch) for batch in batches]
    with timed("engine"):
        logits = [labeller.classifier.logits(each.tokens) for each in prepared]
    labelled = []
    with timed("label"):
        for each, found in zip(prepared, logits, strict=True):
            labeller.classifier = Known(found)
            labelled.append(labeller.label(each))
    with timed("write"):
        write(labelled, folder)
    lengths = np.concatenate([each.tokens.lengths for each in prepared])
    effort = {"tokens": labeller.effort.tokens, "padded_tokens": labeller.effort.padded_tokens}
    return {"stages": stages, **effort, "computed_lengths": lengths.tolist()}


def write(batches: list[pa.RecordBatch], folder: Path) -> None:
    """As one sealed part, on the disk when this returns."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        out, scratch = Path(place) / "out", Path(place) / "scratch"
        out.mkdir()
        scratch.mkdir()
        store = Folder(out)
        with PartWriter(store, scratch, part_name(0), batches[0].schema) as part:
            for batch in batches:
                part.write(batch, [])
            part.seal({"job_id": "stages"}, lambda: None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("model", "input", "report"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("engine", "dtype"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args()
    chosen = {"engine": options.engine, "dtype": options.dtype}
    measured = measure(str(options.model), options.input, options.report.parent, chosen)
    options.report.write_text(json.dumps(measured))


if __name__ == "__main__":
    main()
