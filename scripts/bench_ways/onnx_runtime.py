"""ONNX Runtime with a model in int8, on texts sorted by length in batches under a budget of tokens.

`streams` batches are computed at a time, with the cores shared among them. With as many streams as cores no batch waits
for the slowest core, which is faster than its default of all cores for one.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Encoding, Tokenizer

from bench_ways.peer import Count, Label


def load(model: str, cores: int, max_length: int, count: Count, batch_tokens: int, streams: int) -> Label:
    """`model` is a folder as `onnx_model` makes it."""
    folder = Path(model)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    names = [config["id2label"][str(number)] for number in range(len(config["id2label"]))]
    pad_id = config.get("pad_token_id") or 0
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(max_length)
    tokenizer.no_padding()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(1, cores // streams)
    session = onnxruntime.InferenceSession(folder / "model.int8.onnx", options, providers=["CPUExecutionProvider"])

    def best_of(batch: list[Encoding]) -> np.ndarray:
        longest = max(len(each) for each in batch)
        ids = np.full((len(batch), longest), pad_id, np.int64)
        mask = np.zeros((len(batch), longest), np.int64)
        for row, each in enumerate(batch):
            ids[row, : len(each)] = each.ids
            mask[row, : len(each)] = 1
        (logits,) = session.run(None, {"input_ids": ids, "attention_mask": mask})
        best: np.ndarray = logits.argmax(axis=1)
        return best

    def label(texts: list[str]) -> list[str]:
        encodings = tokenizer.encode_batch_fast(texts)
        order = sorted(range(len(texts)), key=lambda row: -len(encodings[row]))
        found = [""] * len(texts)
        batches = cut(order, [len(encodings[row]) for row in order], batch_tokens)
        with ThreadPoolExecutor(streams) as pool:
            results = pool.map(lambda rows: best_of([encodings[row] for row in rows]), batches)
            for rows, best in zip(batches, results, strict=True):
                count(sum(len(encodings[row]) for row in rows), len(rows) * len(encodings[rows[0]]))
                for row, number in zip(rows, best, strict=True):
                    found[row] = names[number]
        return found

    return label


def cut(order: list[int], lengths: list[int], batch_tokens: int) -> list[list[int]]:
    """The rows, longest first, in batches whose rows x longest is at most the budget."""
    batches: list[list[int]] = []
    first = 0
    while first < len(order):
        last = first + max(1, batch_tokens // lengths[first])
        batches.append(order[first:last])
        first = last
    return batches
