"""A model -> OpenVINO graphs of it, and what they were measured to be worth."""

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sentiment_batch.cores import usable_cores
from sentiment_batch.errors import ModelRefused
from sentiment_batch.measure.counts import confusion
from sentiment_batch.measure.evaluation import evaluation_section
from sentiment_batch.measure.metrics import Metrics
from sentiment_batch.measure.summary import in_words
from sentiment_batch.model import openvino_engine, torch_engine
from sentiment_batch.model.batches import pad
from sentiment_batch.model.classifier import Classifier, Engine
from sentiment_batch.model.compute import BATCH_TOKENS
from sentiment_batch.model.conversion import convert, quantise, save
from sentiment_batch.model.folder import TOKENIZER, ModelFolder
from sentiment_batch.model.graph_file import read_graph
from sentiment_batch.model.graphs import FLOAT, GRAPHS, INT8
from sentiment_batch.model.head import correct_head, correction, with_features
from sentiment_batch.model.tokens import TokenIds, load_tokenizer, tokenise
from sentiment_batch.read.split import Split

_RANGE_TEXTS = 300  # by which the ranges of activations are chosen: more change nothing
_TURNS = 5  # in which the graphs are timed,
_TIMED_TEXTS = 500  # on so many texts of the split at most
_FASTER = 1.05  # times as fast: for less than that nobody would give up the labels that int8 changes
_LARGEST_DIFFERENCE = 1e-3  # between logits of PyTorch and OpenVINO, both in float32; 2e-6 is usual

log = logging.getLogger(__name__)


def make_graphs(
    folder: ModelFolder, texts: list[str], split: Split | None, max_drop: float, scratch: Path
) -> dict[str, Any]:
    """Write the graphs into the scratch folder: (`graphs`, the hashes of those to keep; `measured`, what was found).

    An int8 graph is made if there are texts to calibrate it by, and kept if its macro F1 on the split is not lower than
    that of the model in float32 by more than `max_drop`, and it labels the split faster than the other graph by 5 % or
    more.
    """
    log.info("converting %s for OpenVINO", folder.path)
    graph = convert(folder)
    hashes = {FLOAT: save(graph, scratch / GRAPHS[FLOAT])}
    reference = torch_engine.load_engine(folder, torch.device("cpu"), torch.float32, threads=1)
    _check_same(folder, reference, _engine(folder, scratch, FLOAT, "float32"))
    if split is None:
        return {"graphs": hashes, "measured": {}}
    tokenizer = load_tokenizer(folder.path, folder.vocab_size, folder.inspected.hashes[TOKENIZER])
    best = openvino_engine.float_dtype(INT8)
    log.info("calibrating int8 by %d texts", len(texts))
    seen = tokenise(tokenizer, texts, folder.max_length)
    batches = _one_by_one(seen, folder.pad_token_id)[:_RANGE_TEXTS]
    int8 = quantise(graph, batches, symmetric=openvino_engine.has_amx())
    _correct(folder, int8, seen, reference, scratch)
    hashes[INT8] = save(int8, scratch / GRAPHS[INT8])
    engines = {
        "float32": reference,
        FLOAT: _engine(folder, scratch, FLOAT, best),
        INT8: _engine(folder, scratch, INT8, INT8),
    }
    log.info("judging it by %d texts", len(split.texts))
    tokens = tokenise(tokenizer, split.texts, folder.max_length)
    found = _compare(folder, engines, tokens, split)
    measured = _verdict(found, _rates(folder, [engines[FLOAT], engines[INT8]], tokens), max_drop, best)
    if not measured["int8_kept"]:
        log.warning("int8 is %s", in_words(measured))
        del hashes[INT8]
    return {"graphs": hashes, "measured": measured}


def _correct(folder: ModelFolder, int8: Any, seen: TokenIds, reference: Engine, scratch: Path) -> None:
    """Fit the head of the int8 graph to the logits of the model in float32, by the texts of calibration."""
    labels = len(folder.labels)
    looking, outputs = with_features(int8)
    save(looking, scratch / GRAPHS[INT8])
    found = _classifier(folder, _engine(folder, scratch, INT8, INT8, outputs), outputs).logits(seen)
    errors = _classifier(folder, reference, labels).logits(seen) - found[:, :labels]
    correct_head(int8, *correction(found[:, labels:], errors))


def _engine(folder: ModelFolder, scratch: Path, kind: str, dtype: str, outputs: int | None = None) -> Engine:
    graph = read_graph(scratch / GRAPHS[kind])
    labels = outputs or len(folder.labels)
    return openvino_engine.load_engine(graph, labels, dtype, usable_cores(), folder.max_length)


def _classifier(folder: ModelFolder, engine: Engine, outputs: int) -> Classifier:
    return Classifier(engine, outputs, BATCH_TOKENS["cpu"], folder.pad_token_id, streams=usable_cores())


def _check_same(folder: ModelFolder, ours: Engine, theirs: Engine) -> None:
    """Raise `ModelRefused` unless the graph has the logits of the model, with and without padding."""
    chance = np.random.default_rng(0)
    for width in (1, 7, min(64, folder.max_length)):
        ids = chance.integers(0, folder.vocab_size, (4, width))
        ids[ids == folder.pad_token_id] = (folder.pad_token_id + 1) % folder.vocab_size
        mask = (np.arange(width) < chance.integers(1, width + 1, (4, 1))).astype(np.int64)
        for each in (np.ones_like(mask), mask):
            difference = float(np.abs(ours(ids, each) - theirs(ids, each)).max())
            if not difference <= _LARGEST_DIFFERENCE:
                raise ModelRefused(
                    f"{folder.path}: OpenVINO's logits differ from PyTorch's by up to {difference:.2g}; "
                    "label with --engine torch"
                )


def _one_by_one(tokens: TokenIds, pad_token_id: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """A batch for each text: padding would be calibrated by, too."""
    batches = (pad(tokens, np.array([row]), pad_token_id)[0] for row in range(len(tokens.lengths)))
    return [(ids, np.ones_like(ids)) for ids in batches]


def _compare(
    folder: ModelFolder, engines: dict[str, Engine], tokens: TokenIds, split: Split
) -> dict[str, dict[str, float]]:
    """Of each engine the macro F1, and the share of labels that are those of float32."""
    labels = len(folder.labels)
    predicted = {
        name: _classifier(folder, engine, labels).logits(tokens).argmax(axis=1) for name, engine in engines.items()
    }
    numbers = {label: number for number, label in enumerate(folder.labels)}
    true = np.array([numbers[label] for label in split.labels])
    return {
        name: {
            "macro_f1": evaluation_section(confusion(true, each, labels), folder.labels)["macro_f1"],
            "agreement": float((each == predicted["float32"]).mean()),
        }
        for name, each in predicted.items()
    }


def _rates(folder: ModelFolder, engines: list[Engine], tokens: TokenIds) -> np.ndarray:
    """float64 [turns, engines]: rows a second of each engine, which take turns.

    Each has labelled the texts before: what it prepares for a new shape of a batch it prepares once for a whole night.
    """
    part = np.arange(0, len(tokens.lengths), -(-len(tokens.lengths) // _TIMED_TEXTS))
    some = TokenIds(tokens.flat, tokens.starts[part], tokens.lengths[part], tokens.truncated[part])
    seconds = np.empty((1 + _TURNS, len(engines)))
    for turn in seconds:
        for number, engine in enumerate(engines):
            started = time.perf_counter()
            _classifier(folder, engine, len(folder.labels)).logits(some)
            turn[number] = time.perf_counter() - started
    rates: np.ndarray = len(part) / seconds[1:]
    return rates


def _verdict(found: dict[str, dict[str, float]], rates: np.ndarray, max_drop: float, best: str) -> Metrics:
    """`rates` are those of the other graph and of int8: turn by turn, another process's load is that of both."""
    drop = found["float32"]["macro_f1"] - found[INT8]["macro_f1"]
    speedup = float(np.median(rates[:, 1] / rates[:, 0]))
    seen = [round(float(rate), 1) for rate in np.median(rates, axis=0)]
    return {
        "int8_kept": drop <= max_drop and speedup >= _FASTER,
        "int8_drop": drop,
        "int8_speedup": round(speedup, 3),
        "max_drop": max_drop,
        "float_dtype": best,
        "torch_float32": found["float32"],
        "openvino_float": {**found[FLOAT], "rows_per_second": seen[0]},
        "openvino_int8": {**found[INT8], "rows_per_second": seen[1]},
    }
