#!/usr/bin/env python3
"""What the torch engine does on a GPU, in one go, as a table and as JSON.

    python scripts/bench_gpu.py [--json FILE]

It needs a GPU, torch, transformers, pyarrow, click and scikit-learn, and no network and nothing installed of this
project: the model (a BERT-base with random weights), its vocabulary and the texts (as long as SmSA's reviews) are made
here. The sections run one by one; one that fails says so, the others run on, and the exit status is 1. Before each
section the time is looked at: after --seconds no more is begun. `--smoke` runs all of it in small on a CPU.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ["HF_HUB_OFFLINE"] = "1"

import tokenizers  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from torch.nn.functional import scaled_dot_product_attention  # noqa: E402

from sentiment_batch import Labeller  # noqa: E402
from sentiment_batch.config import ScoreOptions  # noqa: E402
from sentiment_batch.model.batches import pad, plan_batches  # noqa: E402
from sentiment_batch.model.classifier import Classifier, Engine  # noqa: E402
from sentiment_batch.model.folder import read_model_folder  # noqa: E402
from sentiment_batch.model.tokens import TokenIds  # noqa: E402
from sentiment_batch.model.torch_engine import engine_of, load_engine, load_model, resolve_dtype  # noqa: E402
from sentiment_batch.read.plan import open_inputs, plan, read_chunks  # noqa: E402
from sentiment_batch.score import score  # noqa: E402
from sentiment_batch.write.commit import claim  # noqa: E402
from sentiment_batch.write.part import PartWriter, part_name  # noqa: E402

Figure = tuple[str, Any, str]  # what, how much, of which unit

SYLLABLES = ["".join(each) for each in product("bcdghjklmnprstwy", "aeiou")]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = 30_000
KNOWN_WORDS = 12_000  # to the vocabulary; the others are cut into syllables
TOKENS_OF_A_WORD = 1.16
LABELS = ("positive", "neutral", "negative")


@dataclass(frozen=True)
class Sizes:
    layers: int = 12
    hidden: int = 768
    heads: int = 12
    rows: int = 300_000
    chunk_rows: int = 32_768
    budgets: tuple[int, ...] = (16_384, 32_768, 65_536, 131_072, 262_144)
    rounds: int = 3
    pipeline_rows: tuple[tuple[int, int], ...] = ((1, 256), (32, 4_096))  # (batch size, rows)
    matrix: int = 8_192
    compiler: str = "inductor"
    spread: float = 0.05  # of the weights; at BERT's own 0.02 all texts have nearly the same logits

    @property
    def budget(self) -> int:
        """The one in the middle, for what is measured at one budget."""
        return self.budgets[len(self.budgets) // 2]


SMALL = Sizes(2, 32, 2, 300, 100, (256, 512, 1_024), 1, ((1, 2), (4, 8)), 64, "eager", 0.5)


@dataclass
class Bench:
    device: torch.device
    sizes: Sizes
    folder: Path
    known: dict[str, float] = field(default_factory=dict)  # what a section hands on to later ones

    def __post_init__(self) -> None:
        self.model, self.dump = str(self.folder / "model"), self.folder / "dump.parquet"
        self.dtype = resolve_dtype("auto", self.device)

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def labeller(self, **options: Any) -> Labeller:
        return Labeller(self.model, **({"engine": "torch", "device": str(self.device)} | options))

    def engine(self, streams: int, dtype: torch.dtype | None = None) -> Engine:
        threads = None if self.on_gpu else 1
        return load_engine(read_model_folder(self.model), self.device, dtype or self.dtype, threads, streams)

    def classifier(self, engine: Engine, budget: int, streams: int) -> Classifier:
        return Classifier(engine, len(LABELS), budget, 0, streams=streams)

    def options(self, output: str, **options: Any) -> ScoreOptions:
        folder = str(self.folder / output)
        cut: dict[str, Any] = {
            "engine": "torch",
            "device": str(self.device),
            "chunk_rows": self.sizes.chunk_rows,
            "progress": "none",
        }
        return ScoreOptions(input=(str(self.dump),), model=self.model, output=folder, **(cut | options))

    def first_chunk(self, rows: int | None = None) -> pa.RecordBatch:
        table = pq.read_table(self.dump).slice(0, rows or self.sizes.chunk_rows)
        return table.combine_chunks().to_batches()[0]

    def tokens(self, rows: int | None = None) -> TokenIds:
        tokens: TokenIds = self.labeller().prepare(self.first_chunk(rows)).tokens
        return tokens


# What is labelled, and by what


def make_words() -> list[str]:
    chance = random.Random(1)
    words: dict[str, None] = {}
    while len(words) < WORDS:
        words["".join(chance.choices(SYLLABLES, k=chance.choice((1, 2, 2, 3, 3, 4))))] = None
    return list(words)


def make_texts(rows: int, words: list[str]) -> Iterator[str]:
    """Texts of a gamma distribution of tokens, 5 to 500, 70 on average, of words as rare as words are (Zipf)."""
    numbers = np.random.default_rng(1)
    shares = np.cumsum(1 / (np.arange(len(words)) + 3.0))
    for first in range(0, rows, 50_000):
        lengths = numbers.gamma(2.5, 28, min(50_000, rows - first)).clip(5, 500)
        counts = np.maximum(1, (lengths - 2) / TOKENS_OF_A_WORD).astype(int)
        drawn = np.array(words, object)[np.searchsorted(shares, numbers.random(counts.sum()) * shares[-1])].tolist()
        for count, end in zip(counts.tolist(), np.cumsum(counts).tolist(), strict=True):
            yield " ".join(drawn[end - count : end])


def make_model(bench: Bench, words: list[str], texts: list[str]) -> None:
    """Random weights, the head such that each label is given to some of the texts."""
    sizes = bench.sizes
    pieces = dict.fromkeys([*SPECIAL, *words[:KNOWN_WORDS], *SYLLABLES, *(f"##{each}" for each in SYLLABLES)])
    tokenizer = transformers.BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)})
    config = transformers.BertConfig(
        num_hidden_layers=sizes.layers,
        hidden_size=sizes.hidden,
        num_attention_heads=sizes.heads,
        intermediate_size=4 * sizes.hidden,
        initializer_range=sizes.spread,
        id2label=dict(enumerate(LABELS)),
        label2id={label: number for number, label in enumerate(LABELS)},
    )
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification(config).eval().to(bench.device)
    with torch.inference_mode():
        logits = torch.cat([model(**tokenizer(text, return_tensors="pt").to(bench.device)).logits for text in texts])
        model.classifier.weight /= logits.std(0)[:, None]
        model.classifier.bias.copy_(-logits.mean(0) / logits.std(0))
    model.cpu().save_pretrained(bench.model)
    tokenizer.save_pretrained(bench.model)


def setup(bench: Bench) -> Iterator[Figure]:
    rows, words = bench.sizes.rows, make_words()
    texts = list(make_texts(rows, words))
    table = pa.table({"review_id": pa.array(range(rows)), "text": texts})
    pq.write_table(table, bench.dump, compression="zstd", row_group_size=50_000)
    make_model(bench, words, [text for text in texts if len(text) < 1_000][:64])
    lengths = bench.tokens().lengths
    yield "rows of the dump", rows, "rows"
    yield "tokens of a text, mean", float(lengths.mean()), ""
    yield "tokens of a text, fewest", int(lengths.min()), ""
    yield "tokens of a text, most", int(lengths.max()), ""


def environment(bench: Bench) -> Iterator[Figure]:
    yield "python", sys.version.split()[0], ""
    for library in (torch, transformers, tokenizers, pa):
        yield library.__name__, library.__version__, ""
    yield "cores", len(os.sched_getaffinity(0)), ""
    yield "dtype", str(bench.dtype), ""
    if bench.on_gpu:
        device = torch.cuda.get_device_properties(bench.device)
        yield "gpu", device.name, ""
        yield "gpu memory", device.total_memory / 2**30, "GiB"
        yield "gpu multiprocessors", device.multi_processor_count, ""
        yield "cuda", str(torch.version.cuda), ""


# Time


def synchronise(bench: Bench) -> None:
    if bench.on_gpu:
        torch.cuda.synchronize()


def seconds_of(bench: Bench, work: Callable[[], object], times: int = 1) -> float:
    """The median of so many times, after one to warm up."""
    taken = []
    for _ in range(times + 1):
        synchronise(bench)
        started = time.perf_counter()
        work()
        synchronise(bench)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])


def flops_of(bench: Bench, lengths: np.ndarray) -> float:
    """Of the matrix products that texts of these lengths need, without padding; of the last layer for one token."""
    size, tokens, squares = bench.sizes.hidden, float(lengths.sum()), float((lengths.astype(float) ** 2).sum())
    whole = 24 * size**2 * tokens + 4 * size * squares
    last = 4 * size**2 * tokens + 20 * size**2 * len(lengths) + 4 * size * tokens
    return (bench.sizes.layers - 1) * whole + last


def roofline(bench: Bench) -> Iterator[Figure]:
    """The matrix rate, of a square that is as good as it gets, and of the model's own shapes."""
    size, wide = bench.sizes.matrix, bench.sizes.hidden
    shapes = [(size, size, size), *((bench.sizes.budget, wide * k, wide * n) for k, n in ((1, 1), (1, 4), (4, 1)))]
    for number, (rows, depth, columns) in enumerate(shapes):
        left = torch.randn(rows, depth, device=bench.device, dtype=bench.dtype)
        right = torch.randn(depth, columns, device=bench.device, dtype=bench.dtype)
        rate = 20 * rows * depth * columns / seconds_of(bench, partial(ten_products, left, right), 5)
        if not number:
            bench.known["matrix rate"] = rate
        yield f"{rows} x {depth} x {columns}", rate / 1e12, "TFLOP/s"


def ten_products(left: torch.Tensor, right: torch.Tensor) -> None:
    for _ in range(10):
        torch.matmul(left, right)


# The program


def stages(bench: Bench) -> Iterator[Figure]:
    """Each alone, on one chunk. What runs beside the engine (read, tokenise, write) costs no time while it keeps up."""
    labeller, columns = bench.labeller(), ("review_id", "text")
    inputs = open_inputs((str(bench.dump),), "auto", (), ("text",))
    batch = bench.first_chunk()
    texts, rows = batch.column("text").to_pylist(), batch.num_rows
    prepared = labeller.prepare(batch)
    labelled = labeller.label(prepared)
    batches = list(plan_batches(prepared.tokens.lengths, labeller.classifier.batch_tokens))
    logits = labeller.classifier.logits(prepared.tokens)

    def read() -> None:
        for planned in plan(inputs, rows, 2**40, rows):
            list(read_chunks(inputs, planned, columns, "text", rows))

    def encode() -> None:
        for first in range(0, rows, 1_024):
            labeller.tokenizer.encode_batch_fast(texts[first : first + 1_024], add_special_tokens=False)

    def label() -> None:
        with mock.patch.object(Classifier, "logits", return_value=logits):
            labeller.label(prepared)

    def write() -> None:
        work = claim(str(bench.folder / "stage"), {"job": "stage"}, "_SUCCESS", True)
        assert not isinstance(work, dict)
        try:
            with PartWriter(work.store, work.scratch, part_name(0), labelled.schema) as part:
                part.write(labelled, [])
                part.seal({"job_id": work.claim.job_id, "shard": 0}, work.check_held)
        finally:
            work.release()
            shutil.rmtree(bench.folder / ".stage.wip")

    for name, work in (
        ("read", read),
        ("tokenise", lambda: labeller.prepare(batch)),
        ("tokenise, the library's encode in it", encode),
        ("pad", lambda: [pad(prepared.tokens, each.rows, 0, each.width) for each in batches]),
        ("engine, with pad", lambda: labeller.classifier.logits(prepared.tokens)),
        ("label, without the engine", label),
        ("write", write),
    ):
        seconds = seconds_of(bench, work, bench.sizes.rounds)
        yield name, seconds / rows * 1e6, "us/row"


def engine_alone(bench: Bench) -> Iterator[Figure]:
    """By budget and streams, on one chunk of tokens; and the padding of each budget, by the rows of a chunk."""
    tokens, rounds = bench.tokens(), bench.sizes.rounds
    many = np.tile(tokens.lengths, 4)
    best, flops = 0.0, flops_of(bench, tokens.lengths)
    for budget in bench.sizes.budgets:
        for lengths in (tokens.lengths, many):
            padded = sum(len(each.rows) * each.width for each in plan_batches(lengths, budget))
            yield f"{budget} tokens, chunk of {len(lengths)}: padding", 100 * (1 - lengths.sum() / padded), "%"
    engines = {streams: bench.engine(streams) for streams in (1, 2)}
    for budget, streams in product(bench.sizes.budgets, engines):
        forget_memory(bench)
        classifier = bench.classifier(engines[streams], budget, streams)
        seconds = seconds_of(bench, partial(classifier.logits, tokens), rounds)
        name = f"{budget} tokens, {streams} streams"
        yield name, len(tokens.lengths) / seconds, "rows/s"
        yield f"{name}: of the matrix rate", 100 * flops / seconds / bench.known.get("matrix rate", np.nan), "%"
        if classifier.effort.oom_retries:
            yield f"{name}: out of memory, now {classifier.batch_tokens} tokens", classifier.effort.oom_retries, "times"
        yield from peak_memory(bench, name)
        best = max(best, len(tokens.lengths) / seconds)
    bench.known["engine rows/s"] = best
    limit = bench.known.get("matrix rate", np.nan) * len(tokens.lengths) / flops
    bench.known["rows/s at the matrix rate"] = limit
    yield "it would be at the matrix rate", limit, "rows/s"


def forget_memory(bench: Bench) -> None:
    if bench.on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_memory(bench: Bench, name: str) -> Iterator[Figure]:
    if bench.on_gpu:
        yield f"{name}: peak memory", torch.cuda.max_memory_reserved() / 2**30, "GiB"


def end_to_end(bench: Bench) -> Iterator[Figure]:
    """`score` beside `transformers.pipeline` on the same texts, in turn; medians."""
    texts = bench.first_chunk().column("text").to_pylist()
    ours: list[float] = []
    theirs: dict[str, list[float]] = {}
    pipelines = {
        str(dtype): transformers.pipeline("text-classification", bench.model, device=bench.device, dtype=dtype)
        for dtype in dict.fromkeys((torch.float32, bench.dtype))
    }
    with watched_gpu(bench) as watched:
        for turn in range(bench.sizes.rounds):
            forget_memory(bench)
            watched.clear()
            metrics = score(bench.options(f"out-{turn}"))
            used, peak = list(watched), list(peak_memory(bench, "score"))
            ours.append(metrics["performance"]["rows_per_second"])
            shutil.rmtree(bench.folder / f"out-{turn}")
            for (dtype, pipeline), (size, rows) in product(pipelines.items(), bench.sizes.pipeline_rows):
                pipeline(texts[:size], batch_size=size, truncation=True)
                started = time.perf_counter()
                pipeline(texts[:rows], batch_size=size, truncation=True)
                rate = rows / (time.perf_counter() - started)
                theirs.setdefault(f"pipeline, {dtype}, batches of {size}", []).append(rate)
    yield "score", statistics.median(ours), "rows/s"
    yield "score, slowest turn", min(ours), "rows/s"
    yield "score, padding", 100 * metrics["performance"]["padding_share"], "%"
    yield "score, of the engine alone", 100 * statistics.median(ours) / bench.known.get("engine rows/s", np.nan), "%"
    of_matrix_rate = statistics.median(ours) / bench.known.get("rows/s at the matrix rate", np.nan)
    yield "score, of the matrix rate", 100 * of_matrix_rate, "%"
    yield "score, seconds to load", metrics["performance"]["load_seconds"], "s"
    yield from peak
    for index, what in enumerate(("utilisation, %", "power, W", "clock, MHz", "memory, MiB")):
        if used:
            yield f"nvidia-smi: {what}, median", statistics.median(each[index] for each in used), ""
    for name, rates in theirs.items():
        yield name, statistics.median(rates), "rows/s"
        yield f"score is faster than {name}", statistics.median(ours) / statistics.median(rates), "x"


@contextmanager
def watched_gpu(bench: Bench) -> Iterator[list[list[float]]]:
    """What nvidia-smi says every 100 ms, if it is there: a list that grows meanwhile."""
    import threading

    found: list[list[float]] = []
    command = ["nvidia-smi", "--query-gpu=utilization.gpu,power.draw,clocks.sm,memory.used", "-lms", "100"]
    if not (bench.on_gpu and shutil.which("nvidia-smi")):
        yield found
        return

    def collect() -> None:
        assert process.stdout
        for line in process.stdout:
            try:
                found.append([float(each) for each in line.split(",")])
            except ValueError:  # "[N/A]" of a figure that this GPU does not give
                continue

    with subprocess.Popen([*command, "--format=csv,noheader,nounits"], stdout=subprocess.PIPE, text=True) as process:
        thread = threading.Thread(target=collect, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            process.kill()
            thread.join()


def other_settings(bench: Bench) -> Iterator[Figure]:
    """`score` with other options: one part, in which the GPU does not wait for the first chunk of each; and more."""
    sizes = bench.sizes
    one_part = {"shard_rows": 2 * sizes.rows}
    for options in (
        one_part,
        one_part | {"batch_tokens": sizes.budgets[1]},
        one_part | {"chunk_rows": 4 * sizes.chunk_rows},
        one_part | {"chunk_rows": 4 * sizes.chunk_rows, "batch_tokens": sizes.budgets[1]},
    ):
        performance = score(bench.options("other", **options))["performance"]
        shutil.rmtree(bench.folder / "other")
        yield f"score with {options}", performance["rows_per_second"], "rows/s"


def busy_share(bench: Bench) -> Iterator[Figure]:
    """How long a kernel is running while a whole job is labelled, and which kernels take the time."""
    from torch.autograd import DeviceType  # type: ignore[attr-defined]
    from torch.profiler import ProfilerActivity, profile

    score(bench.options("profiled", limit_rows=bench.sizes.chunk_rows))  # what is loaded once is loaded now
    kind, activity = DeviceType.CPU, ProfilerActivity.CPU
    if bench.on_gpu:
        kind, activity = DeviceType.CUDA, ProfilerActivity.CUDA
    with profile(activities=[activity]) as profiler:
        score(bench.options("profiled", limit_rows=3 * bench.sizes.chunk_rows, overwrite=True))
    shutil.rmtree(bench.folder / "profiled")
    busy, end = 0.0, 0.0
    kernels: dict[str, float] = {}
    spans = [
        (each.time_range.start, each.time_range.end, each.name)
        for each in profiler.events()
        if each.device_type == kind
    ]
    for start, stop, name in sorted(spans):
        busy += max(0, stop - max(start, end))
        end = max(end, stop)
        kernels[name] = kernels.get(name, 0) + stop - start
    # from the first kernel to the last: the weights are brought before it, but the seconds of loading are not in it
    starts = sorted(start for start, _, name in spans if "Memcpy" not in name)
    yield "busy, of the time from the first kernel to the last", 100 * busy / (end - starts[0]), "%"
    for name, taken in sorted(kernels.items(), key=lambda each: -each[1])[:15]:
        yield f"kernel {name:.70}", 100 * taken / sum(kernels.values()), "% of kernel time"


# What must hold


def precision(bench: Bench) -> Iterator[Figure]:
    """The logits against those of the CPU in float32, and the labels of more texts against this device in it."""
    few = bench.tokens(64)
    processor = load_engine(read_model_folder(bench.model), torch.device("cpu"), torch.float32)
    expected = bench.classifier(processor, 2_048, 1).logits(few)
    exact, quick = bench.engine(1, torch.float32), bench.engine(1)
    spread = expected.std(0).mean()
    for name, engine, most, middle in (("float32", exact, 0.01, 0.001), (str(bench.dtype), quick, 1.0, 0.15)):
        errors = np.abs(bench.classifier(engine, bench.sizes.budgets[0], 1).logits(few) - expected) / spread
        yield f"{name}: largest error of a logit, in standard deviations", float(errors.max()), ""
        yield f"{name}: mean error of a logit, in standard deviations", float(errors.mean()), ""
        assert errors.max() < most, errors.max()
        assert errors.mean() < middle, errors.mean()
    more = bench.tokens(min(8_192, bench.sizes.chunk_rows))
    labels = [bench.classifier(each, bench.sizes.budgets[0], 1).logits(more).argmax(axis=1) for each in (exact, quick)]
    same = (labels[0] == labels[1]).mean()
    yield f"{bench.dtype} has the label of float32 (random weights: many near ties)", 100 * float(same), "%"
    yield "labels given", len(set(labels[0].tolist())), ""
    assert same > 0.85, same


def same_bits(bench: Bench) -> Iterator[Figure]:
    """Twice, and with two streams: the same bits."""
    tokens, budget = bench.tokens(), bench.sizes.budget
    logits = [bench.classifier(bench.engine(streams), budget, streams).logits(tokens) for streams in (1, 1, 2, 2)]
    for name, found in zip(("again", "two streams", "two streams again"), logits[1:], strict=True):
        yield f"texts with other bits: {name}", int((found != logits[0]).any(axis=1).sum()), "texts"
    assert all((found == logits[0]).all() for found in logits)


def resumed(bench: Bench) -> Iterator[Figure]:
    """A job that ends in its third part and goes on has the rows of one that did not."""

    class Interrupted(Exception):
        pass

    label: Any = Labeller.label_and_count
    calls: list[int] = []

    def interrupted(labeller: Labeller, *arguments: Any) -> Any:
        calls.append(1)
        if len(calls) > 2:
            raise Interrupted
        return label(labeller, *arguments)

    cut = {"shard_rows": bench.sizes.chunk_rows, "limit_rows": 4 * bench.sizes.chunk_rows}
    score(bench.options("uninterrupted", **cut))
    with mock.patch.object(Labeller, "label_and_count", interrupted), suppress(Interrupted):
        score(bench.options("resumed", **cut))
    metrics = score(bench.options("resumed", **cut))
    assert metrics["run"]["resumed"], "nothing was there to go on behind"
    whole, found = (pq.read_table(bench.folder / name) for name in ("uninterrupted", "resumed"))
    yield "rows", whole.num_rows, "rows"
    other = pc.sum(pc.not_equal(whole["confidence"], found["confidence"])).as_py() or 0
    yield "rows with other bits", other, "rows"
    for name in whole.column_names:
        if not name.startswith(("confidence", "prob_")):
            assert found[name].equals(whole[name]), name
    assert np.allclose(whole["confidence"].to_numpy(), found["confidence"].to_numpy(), atol=0.01)


def out_of_memory(bench: Bench) -> Iterator[Figure]:
    """On a device with room for a small batch only: no text is lost, and the budget that is found leaves no failure."""
    tokens, small = bench.tokens(), bench.sizes.budgets[0]
    large = bench.sizes.budgets[-1]
    engine = bench.engine(2)
    expected = bench.classifier(engine, small, 1).logits(tokens)
    with little_memory(bench, engine, tokens, small) as engine:
        classifier = bench.classifier(engine, large, 2)
        found = classifier.logits(tokens)
        yield "batches that failed", classifier.effort.oom_retries, ""
        yield "budget behind them", classifier.batch_tokens, "tokens"
        assert classifier.effort.oom_retries
        probed = bench.classifier(engine, large, 2)
        started = time.perf_counter()
        probed.fit_budget(512)
        yield "budget that fit_budget finds", probed.batch_tokens, "tokens"
        yield "fit_budget takes", time.perf_counter() - started, "s"
        probed.logits(tokens)
        yield "batches that failed behind it", probed.effort.oom_retries, ""
    yield "texts with other labels", int((found.argmax(axis=1) != expected.argmax(axis=1)).sum()), "texts"
    assert np.abs(found - expected).max() < 1
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.9


@contextmanager
def little_memory(bench: Bench, engine: Engine, tokens: TokenIds, budget: int) -> Iterator[Engine]:
    """The engine on a device with room for little more than one batch of so many tokens."""
    if not bench.on_gpu:

        def limited(ids: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
            if ids.size > budget:
                raise MemoryError
            return engine(ids, mask)

        yield limited
        return
    forget_memory(bench)
    bench.classifier(engine, budget, 1).logits(tokens)
    limit = 1.1 * torch.cuda.max_memory_reserved() + 2**27  # each stream has 32 MiB for cuBLAS
    forget_memory(bench)
    torch.cuda.set_per_process_memory_fraction(limit / torch.cuda.get_device_properties(bench.device).total_memory)
    try:
        yield engine
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


# What might be worth its code


def masks(bench: Bench) -> Iterator[Figure]:
    """What a mask costs: batches of one length with and without one. A mask keeps attention from the flash kernel."""
    engine = bench.engine(1)
    for width in (24, 70, 256):
        ids = np.full((max(2, bench.sizes.budget // width), width), len(SPECIAL))
        mask = np.ones_like(ids)
        mask[0, -1] = 0
        plain, masked = (seconds_of(bench, partial(engine, ids, mask), 5 * bench.sizes.rounds) for mask in (None, mask))
        yield f"{ids.shape[0]} texts of {width} tokens without a mask", ids.size / plain, "tokens/s"
        yield f"{ids.shape[0]} texts of {width} tokens, a mask takes", 100 * (masked / plain - 1), "% longer"


def packed(bench: Bench) -> Iterator[Figure]:
    """Texts one behind the other, without padding or masks, by `varlen_attn`; as it is, and compiled."""
    model = load_model(read_model_folder(bench.model), bench.dtype).eval().to(bench.device)
    tokens = bench.tokens()
    expected = bench.classifier(bench.engine(1), bench.sizes.budget, 1).logits(tokens)
    for name, forward in (
        ("packed", packed_logits),
        ("packed and compiled", torch.compile(packed_logits, dynamic=True, backend=bench.sizes.compiler)),
    ):
        chunk = partial(packed_chunk, bench, model, tokens, forward)
        with torch.inference_mode():
            started = time.perf_counter()
            errors = np.abs(chunk(bench.sizes.budget) - expected).mean(axis=1)
            yield f"{name}: the first chunk takes", time.perf_counter() - started, "s"
            yield f"{name}: mean difference of the logits", float(errors.mean()), ""
            assert errors.mean() < 0.15, errors.mean()
            for budget in bench.sizes.budgets[:3]:
                seconds = seconds_of(bench, partial(chunk, budget), bench.sizes.rounds)
                yield f"{name}: {budget} tokens, 1 stream", len(expected) / seconds, "rows/s"


def packed_chunk(bench: Bench, model: Any, tokens: TokenIds, forward: Callable[..., Any], budget: int) -> np.ndarray:
    logits = np.empty((len(tokens.lengths), len(LABELS)), np.float32)
    for rows in packs(tokens.lengths, budget):
        logits[rows] = forward(model, *pack(bench, tokens, rows)).float().cpu().numpy()
    return logits


def packs(lengths: np.ndarray, budget: int) -> Iterator[np.ndarray]:
    """Row numbers, longest first, of as many texts as have about so many tokens together."""
    order = np.argsort(-lengths, kind="stable")
    cuts = np.flatnonzero(np.diff((np.cumsum(lengths[order]) - 1) // budget)) + 1
    yield from np.split(order, cuts)


def pack(bench: Bench, tokens: TokenIds, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]:
    """(ids one behind the other, the place of each in its text, where texts begin and end, the longest)."""
    lengths = tokens.lengths[rows]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    places = np.arange(starts[-1]) - np.repeat(starts[:-1], lengths)
    ids = tokens.flat[np.repeat(tokens.starts[rows], lengths) + places]
    on_device = [
        torch.from_numpy(each).to(bench.device) for each in (ids.astype(np.int64), places, starts.astype(np.int32))
    ]
    return on_device[0], on_device[1], on_device[2], int(lengths.max())


def packed_logits(
    model: Any, ids: torch.Tensor, places: torch.Tensor, starts: torch.Tensor, longest: int
) -> torch.Tensor:
    """As BERT's forward; the last layer for the first token of each text alone."""
    embeddings, layers = model.bert.embeddings, model.bert.encoder.layer
    states = embeddings.word_embeddings(ids) + embeddings.position_embeddings(places)
    states = embeddings.LayerNorm(states + embeddings.token_type_embeddings.weight[0])
    for number, layer in enumerate(layers):
        of, asked, asked_starts, asked_longest = layer.attention.self, states, starts, longest
        if number == len(layers) - 1:
            asked, asked_longest = states[starts[:-1].long()], 1
            asked_starts = torch.arange(len(starts), dtype=torch.int32, device=starts.device)
        heads = (of.num_attention_heads, of.attention_head_size)
        query, key, value = of.query(asked).unflatten(1, heads), of.key(states), of.value(states)
        key, value = key.unflatten(1, heads), value.unflatten(1, heads)
        attended = attend(query, key, value, asked_starts, starts, asked_longest, longest).flatten(1)
        between = layer.attention.output(attended, asked)
        states = layer.output(layer.intermediate(between), between)
    logits: torch.Tensor = model.classifier(torch.tanh(model.bert.pooler.dense(states)))
    return logits


def attend(query: Any, key: Any, value: Any, asked: Any, starts: Any, longest_asked: int, longest: int) -> torch.Tensor:
    """[tokens, heads, size] of texts one behind the other; on a CPU, which has no such kernel, text by text."""
    if query.is_cuda:
        from torch.nn.attention.varlen import varlen_attn

        attended: torch.Tensor = varlen_attn(query, key, value, asked, starts, longest_asked, longest)  # type: ignore[assignment]
        return attended
    found = []
    for number in range(len(starts) - 1):
        ours, theirs = slice(asked[number], asked[number + 1]), slice(starts[number], starts[number + 1])
        texts = (each.transpose(0, 1) for each in (query[ours], key[theirs], value[theirs]))
        found.append(scaled_dot_product_attention(*texts).transpose(0, 1))
    return torch.cat(found)


def compiled(bench: Bench) -> Iterator[Figure]:
    """The engine of a compiled model, on batches as they are."""
    model = load_model(read_model_folder(bench.model), bench.dtype).eval().to(bench.device)
    tokens = bench.tokens()
    expected = bench.classifier(bench.engine(1), bench.sizes.budget, 1).logits(tokens)
    faster: Any = torch.compile(model, dynamic=True, backend=bench.sizes.compiler)
    for streams, budget in product((1, 2), bench.sizes.budgets[:3]):
        name = f"{budget} tokens, {streams} streams"
        classifier = bench.classifier(engine_of(faster, bench.device, None, streams), budget, streams)
        started = time.perf_counter()
        errors = np.abs(classifier.logits(tokens) - expected).mean()
        yield f"{name}: the first chunk takes", time.perf_counter() - started, "s"
        assert errors < 0.15, errors
        seconds = seconds_of(bench, partial(classifier.logits, tokens), bench.sizes.rounds)
        yield name, len(tokens.lengths) / seconds, "rows/s"


SECTIONS: tuple[Callable[[Bench], Iterator[Figure]], ...] = (
    environment,
    setup,
    roofline,
    engine_alone,
    end_to_end,
    precision,
    same_bits,
    resumed,
    out_of_memory,
    stages,
    busy_share,
    masks,
    other_settings,
    packed,
    compiled,
)


def run(bench: Bench, seconds: float, file: Path | None) -> bool:
    """Run the sections, print their figures as they come, and write them behind each; whether all held."""
    started = time.perf_counter()
    sections: dict[str, Any] = {}
    for section in SECTIONS:
        begun = time.perf_counter()
        there: dict[str, Any] = {"figures": {}, "error": None}
        sections[section.__name__] = there
        print(f"\n{section.__name__}", flush=True)
        if begun - started > seconds:
            there["error"] = f"not begun: {seconds:.0f} s are over"
        else:
            try:
                for name, value, unit in section(bench):
                    there["figures"][f"{name} [{unit}]" if unit else name] = value
                    shown = (
                        f"{value:,.2f}"
                        if isinstance(value, float)
                        else f"{value:,}"
                        if isinstance(value, int)
                        else value
                    )
                    print(f"  {name:<78} {shown:>16} {unit}", flush=True)
            except Exception as error:
                there["error"] = f"{type(error).__name__}: {error}"[:2_000]
                traceback.print_exc(file=sys.stdout)
        there["seconds"] = round(time.perf_counter() - begun, 2)
        print(f"  {there['error'] or 'done'} after {there['seconds']} s", flush=True)
        if file:
            file.write_text(json.dumps(sections, indent=1) + "\n", encoding="utf-8")
    failed = [name for name, section in sections.items() if section["error"]]
    ended = f"failed: {', '.join(failed)}" if failed else "all held"
    print(f"\n{ended}, {time.perf_counter() - started:.0f} s")
    return not failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there, behind each section")
    parser.add_argument("--seconds", type=float, default=450, help="begin no section after so many (default: 450)")
    parser.add_argument("--smoke", action="store_true", help="all of it in small, on a CPU: figures mean nothing")
    options = parser.parse_args()
    if not options.smoke and not torch.cuda.is_available():
        parser.error("there is no GPU that PyTorch sees; --smoke runs it in small on a CPU")
    with tempfile.TemporaryDirectory() as folder:
        device = torch.device("cpu" if options.smoke else "cuda:0")
        bench = Bench(device, SMALL if options.smoke else Sizes(), Path(folder))
        sys.exit(not run(bench, options.seconds, options.json))


if __name__ == "__main__":
    main()
