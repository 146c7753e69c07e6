"""Rows 47 to 53 of the matrix: a device with too little memory, or that fails, loses no row and changes none.

accelerate, the anchor, tries one schedule on one function. Here thousands of devices, each with a limit of its own and
texts of its own, and then the real model on a device that is too small for it.
"""

import json
import math
import random
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import Program
from test_classifier import StubEngine, classifier, expected, token_ids

from sentiment_batch import Labeller
from sentiment_batch.model import torch_engine
from sentiment_batch.model.torch_engine import engine_of

CPU = torch.device("cpu")
SCHEDULES = 5_000
FORMS = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; 11.17 GiB total capacity)"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried to"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
)


def test_devices_of_any_size_and_of_any_mood(tier: Callable[[int, int], int]) -> None:
    """The same logits in the same rows, and each batch is halved no more often than it can be."""
    retries = 0
    for case in range(tier(SCHEDULES, 20 * SCHEDULES)):
        chance = random.Random(case)
        longest = chance.choice((1, 3, 12))
        texts = [
            [chance.randrange(1, 1000) for _ in range(chance.randint(1, longest))] for _ in range(chance.randint(1, 40))
        ]
        size, mood = chance.randint(longest, 40 * longest), chance.choice((0, 0, 0.2))
        tried: list[int] = []

        def full(rows: int, width: int) -> bool:
            tried.append(rows)  # noqa: B023 - called within this round
            moody = rows > 1 and chance.random() < mood  # noqa: B023
            return rows * width > size or moody  # noqa: B023

        engine = StubEngine(full)
        model = classifier(engine, budget := chance.randint(1, 80 * longest))
        assert model.logits(token_ids(texts)).tolist() == expected(texts), case
        assert model.effort.oom_retries == engine.failed
        assert model.batch_tokens <= budget
        if not mood:  # once it knows the size, it keeps to it
            assert engine.failed <= math.log2(max(tried)) + 1, case
        retries += engine.failed
    assert retries > SCHEDULES / 2


class Small(torch.nn.Module):
    """A model on a device that has room for so many tokens at once. It keeps an eye on what failed batches held."""

    def __init__(self, model: torch.nn.Module, tokens: int, error: Exception):
        super().__init__()
        self.model, self.tokens, self.error = model, tokens, error
        self.held: list[weakref.ref[torch.Tensor]] = []
        self.shapes: list[tuple[int, int]] = []

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None) -> Any:
        assert not [held for held in self.held if held() is not None], "a failed batch still holds its tensors"
        if input_ids.numel() > self.tokens:
            activations = torch.zeros(input_ids.shape)
            self.held.append(weakref.ref(activations))
            raise type(self.error)(*self.error.args)
        self.shapes.append(tuple(input_ids.shape))  # type: ignore[arg-type]
        return self.model(input_ids=input_ids, attention_mask=attention_mask)


@pytest.mark.parametrize("error", FORMS, ids=range(len(FORMS)))
@pytest.mark.parametrize("tokens", [12, 33, 100])
def test_the_real_model_says_the_same(tiny_model: Path, tokens: int, error: Exception) -> None:
    """As it does text by text; what failed is freed before it is tried again (pytorch#18853)."""
    labeller = Labeller(str(tiny_model), dtype="float32", max_length=12)
    texts = ["enak sekali " * (1 + number % 5) + str(number) for number in range(60)]
    ids = labeller.prepare(pa.record_batch({"text": texts})).tokens
    model = torch_engine.load_model(labeller.folder, torch.float32).eval()
    alone = classifier(engine_of(model, CPU), 1).logits(ids)
    device = Small(model, tokens, error)
    small = classifier(engine_of(device, CPU), 1_000)
    assert np.abs(small.logits(ids) - alone).max() < 1e-4
    assert small.effort.oom_retries == len(device.held) > 0
    assert all(rows * width <= tokens for rows, width in device.shapes)


@pytest.fixture
def job(tiny_model: Path, tmp_path: Path) -> tuple[object, ...]:
    dump = tmp_path / "a.tsv"
    dump.write_text("text\n" + "".join(f"enak sekali {number}\n" for number in range(40)))
    return ("score", dump, "--model", tiny_model, "--output", tmp_path / "out", "--progress", "none")


def on(monkeypatch: pytest.MonkeyPatch, make: Callable[[torch.nn.Module], torch.nn.Module]) -> None:
    """Let the program load its model onto that device."""
    monkeypatch.setattr(torch_engine, "engine_of", lambda model, *others: engine_of(make(model), *others))


def test_the_back_off_is_counted_and_changes_no_row(
    job: tuple[object, ...], tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert program(*job).code == 0
    expected = pq.read_table(tmp_path / "out")
    on(monkeypatch, lambda model: Small(model, 50, FORMS[0]))
    ended = program(*job, "--overwrite", "--chunk-rows", 20)
    assert ended.code == 0, ended.err
    found = pq.read_table(tmp_path / "out")
    assert found.drop("confidence").column_names == expected.drop("confidence").column_names
    for name in expected.column_names:
        same = found[name].to_pylist(), expected[name].to_pylist()
        assert (
            same[0] == pytest.approx(same[1], abs=1e-4)
            if "prob" in name or name == "confidence"
            else same[0] == same[1]
        )
    assert json.loads((tmp_path / "out" / "_metrics.json").read_text())["performance"]["oom_retries"] > 0


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda model: Small(model, 1, FORMS[0]), "out of memory on one text"),
        (lambda model: Broken(RuntimeError("CUDA error: device-side assert triggered")), "the device failed"),
        (lambda model: Broken(torch.AcceleratorError("CUDA error: uncorrectable ECC error")), "the device failed"),
    ],
)
def test_a_device_that_cannot_go_on_is_7_and_the_next_run_goes_on(
    make: Any, said: str, job: tuple[object, ...], tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no fault of the row, which is not rejected; and no retry in this process."""
    with monkeypatch.context() as here:
        on(here, make)
        ended = program(*job)
    assert ended.code == 7, ended.err
    assert said in ended.err
    assert not (tmp_path / "out").exists()
    assert program(*job).code == 0
    assert pq.read_table(tmp_path / "out").num_rows == 40


class Broken(torch.nn.Module):
    """Fails, and must not be asked again."""

    def __init__(self, error: Exception):
        super().__init__()
        self.error = error
        self.asked = 0

    def forward(self, **_: object) -> None:
        self.asked += 1
        assert self.asked == 1
        raise self.error
