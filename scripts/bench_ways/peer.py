"""Run one peer from a Parquet file to a Parquet file, and report when it had done what.

    python -m bench_ways.peer pipeline --setting batch_size=32 --model DIR --input F --output F --report F --cores 2

A peer is a module with `load(model, cores, max_length, count, **settings)`, which gives a function from texts to their
labels; `count` is to be told the tokens of each batch, without and with padding.
"""

import argparse
import json
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Count = Callable[[int, int], None]
Label = Callable[[list[str]], list[str]]


def count_of(module: Any, count: Count) -> None:
    """Have a PyTorch model tell `count` of every batch that it is given, by name or as one dict.

    It costs some microseconds a batch.
    """

    def look(_: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        mask = (named or given[0])["attention_mask"]
        count(int(mask.sum()), mask.numel())

    module.register_forward_pre_hook(look, with_kwargs=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("peer")
    parser.add_argument("--setting", action="append", default=[], metavar="NAME=NUMBER")
    parser.add_argument("--max-length", type=int, required=True)
    parser.add_argument("--cores", type=int, required=True)
    for name in ("model", "input", "output", "report"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    settings = {name: int(value) for name, _, value in (each.partition("=") for each in options.setting)}
    effort = {"tokens": 0, "padded_tokens": 0}

    def count(tokens: int, padded: int) -> None:
        effort["tokens"] += tokens
        effort["padded_tokens"] += padded

    module = import_module(f"bench_ways.{options.peer}")
    imported = time.time()
    label = module.load(str(options.model), options.cores, options.max_length, count, **settings)
    loaded, started = time.time(), time.perf_counter()
    rows = pq.read_table(options.input)
    labels = label(rows.column("text").to_pylist())
    pq.write_table(rows.append_column("predicted_label", pa.array(labels)), options.output, compression="zstd")
    seconds = time.perf_counter() - started
    options.report.write_text(json.dumps({"imported": imported, "loaded": loaded, "label_seconds": seconds, **effort}))


if __name__ == "__main__":
    main()
