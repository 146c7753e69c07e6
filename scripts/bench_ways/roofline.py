"""The largest matrix product that this machine does in each dtype, in operations a second: the roof for an engine.

    python -m bench_ways.roofline --cores 2 --seconds 0.3 --report FILE

Every size is tried with all cores on one product and with a product on each core; the best rate seen counts. float32
and bfloat16 are PyTorch's; int8 is OpenVINO's, with the input quantised as an engine has it, or PyTorch's, whichever is
more.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

# rows x inner x columns: square ones, and those of a batch in models of 384 and of 768.
SIZES = ((1024, 1024, 1024), (2048, 2048, 2048), (4096, 4096, 4096), (2048, 384, 1536), (1024, 768, 3072))
_REPEATS = 3


class Product(NamedTuple):
    """A matrix product ready to run, on so many cores."""

    by: str
    streams: int  # so many at a time
    run: Callable[[], Any]


def rate(product: Product, operations: int, seconds: float) -> float:
    """Operations a second, all streams together; the best of a few tries of so many seconds each."""

    def repeat(until: float) -> int:
        done = 0
        while time.perf_counter() < until:
            product.run()
            done += 1
        return done

    best = 0.0
    with ThreadPoolExecutor(product.streams) as pool:
        list(pool.map(lambda _: product.run(), range(product.streams)))
        for _ in range(_REPEATS):
            started = time.perf_counter()
            done = sum(pool.map(repeat, [started + seconds] * product.streams))
            best = max(best, done * operations / (time.perf_counter() - started))
    return best


def torch_products(dtype: str, size: tuple[int, int, int], cores: int) -> Iterator[Product]:
    rows, inner, columns = size
    multiply: Callable[..., Any]
    if dtype == "int8":
        left, right = (torch.randint(-100, 100, shape, dtype=torch.int8) for shape in ((rows, inner), (inner, columns)))
        multiply = torch._int_mm
    else:
        left, right = (torch.randn(shape).to(getattr(torch, dtype)) for shape in ((rows, inner), (inner, columns)))
        multiply = torch.matmul
    for streams in sorted({1, cores}):

        def run(threads: int = cores // streams) -> None:
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
            with torch.inference_mode():
                multiply(left, right)

        yield Product("torch", streams, run)


def openvino_products(size: tuple[int, int, int], cores: int) -> Iterator[Product]:
    """A MatMul of an input that is quantised in the graph and of constant int8 weights, as NNCF writes them."""
    import openvino
    from openvino import opset13 as ops

    rows, inner, columns = size
    entry = ops.parameter([rows, inner], np.float32)
    low, high = (ops.constant(np.float32(bound)) for bound in (-1.0, 127 / 128))
    quantised = ops.fake_quantize(entry, low, high, low, high, 256)
    weights = np.random.default_rng(0).integers(-127, 128, (columns, inner), np.int8)
    scales = ops.constant(np.full((columns, 1), 1 / 128, np.float32))
    scaled = ops.multiply(ops.convert(ops.constant(weights), np.float32), scales)
    model = openvino.Model([ops.matmul(quantised, scaled, False, True)], [entry], "product")
    batch = np.random.default_rng(1).uniform(-1, 1, (rows, inner)).astype(np.float32)
    for streams in sorted({1, cores}):
        options = {"NUM_STREAMS": str(streams), "INFERENCE_NUM_THREADS": str(cores), "ENABLE_CPU_PINNING": "NO"}
        compiled = openvino.Core().compile_model(model, "CPU", options)
        requests = [compiled.create_infer_request() for _ in range(streams)]

        def run(free: list[Any] = requests) -> None:
            request = free.pop()
            request.infer([batch], share_inputs=True, share_outputs=True)
            free.append(request)

        yield Product("openvino", streams, run)


def roof(dtype: str, cores: int, seconds: float) -> dict[str, Any]:
    """The best rate of a dtype, and which product it was."""
    makers: list[Callable[..., Iterator[Product]]] = [partial(torch_products, dtype)]
    if dtype == "int8" and find_spec("openvino"):
        makers.append(openvino_products)
    found: dict[str, Any] = {"flops": 0.0}
    for size in SIZES:
        for make in makers:
            for product in make(size, cores):
                reached = rate(product, 2 * size[0] * size[1] * size[2], seconds)
                if reached > found["flops"]:
                    found = {"flops": reached, "size": size, "by": product.by, "streams": product.streams}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cores", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True, help="for each try")
    parser.add_argument("--report", type=Path, required=True)
    options = parser.parse_args()
    roofs = {dtype: roof(dtype, options.cores, options.seconds) for dtype in ("float32", "bfloat16", "int8")}
    options.report.write_text(json.dumps(roofs))


if __name__ == "__main__":
    main()
