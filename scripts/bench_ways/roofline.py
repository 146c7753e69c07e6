"""The largest matrix product that this machine does in each dtype, in operations a second: the roof for an engine.

    python -m bench_ways.roofline --cores 2 --seconds 0.3 --report FILE
    python -m bench_ways.roofline --cores 2 --seconds 3 --report OTHER --again FILE --dtype int8

Every size is tried with all cores on one product and with a product on each core. All of a dtype take turns, and
medians count: the best third of a second of some minutes is one that no run of minutes has, on a machine that has
neighbours and whose clock follows its heat. float32 and bfloat16 are PyTorch's; int8 is OpenVINO's, with the input
quantised as an engine has it, or PyTorch's, whichever is more.

Nor is one minute like the next. So `--again` computes what was the fastest once more beside each run, in turn with all
cores on one product and with a product on each, and the larger mean is the roof that the run is held against.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

DTYPES = ("float32", "bfloat16", "int8")
# rows x inner x columns: square ones, and those of a batch in models of 384 and of 768.
SIZES = (
    (1024, 1024, 1024),
    (2048, 2048, 2048),
    (4096, 4096, 4096),
    (2048, 384, 1536),
    (2048, 1536, 384),
    (1024, 768, 3072),
)
_TURNS = 5

Size = tuple[int, int, int]
Figures = dict[str, Any]


class Product(NamedTuple):
    """A matrix product ready to run, on so many cores."""

    by: str
    streams: int  # so many at a time
    run: Callable[[], Any]


def rate(product: Product, operations: int, seconds: float) -> float:
    """Operations a second, all streams together, over so many seconds; `operations` are those of one product."""

    def repeat(until: float) -> int:
        done = 0
        while time.perf_counter() < until:
            product.run()
            done += 1
        return done

    with ThreadPoolExecutor(product.streams) as pool:
        list(pool.map(lambda _: product.run(), range(product.streams)))
        started = time.perf_counter()
        done = sum(pool.map(repeat, [started + seconds] * product.streams))
        return done * operations / (time.perf_counter() - started)


def torch_products(dtype: str, size: Size, cores: int) -> Iterator[Product]:
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


def openvino_products(size: Size, cores: int) -> Iterator[Product]:
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


def products(dtype: str, size: Size, cores: int) -> Iterator[Product]:
    yield from torch_products(dtype, size, cores)
    if dtype == "int8" and find_spec("openvino"):
        yield from openvino_products(size, cores)


def rates(made: list[tuple[Size, Product]], seconds: float, turns: int) -> list[list[float]]:
    """Those of each product in each turn, of so many seconds."""
    found: list[list[float]] = [[] for _ in made]
    for _ in range(turns):
        for (size, product), of_product in zip(made, found, strict=True):
            of_product.append(rate(product, 2 * math.prod(size), seconds))
    return found


def roofs(dtype: str, cores: int, seconds: float) -> list[Figures]:
    """The product with the best median rate for each number of streams, and that rate; the fastest first."""
    made = [(size, product) for size in SIZES for product in products(dtype, size, cores)]
    found: list[Figures] = [
        {"flops": statistics.median(of_product), "size": size, "by": product.by, "streams": product.streams}
        for (size, product), of_product in zip(made, rates(made, seconds, _TURNS), strict=True)
    ]
    found.sort(key=lambda each: float(each["flops"]), reverse=True)
    fastest = {each["streams"]: each for each in reversed(found)}
    return sorted(fastest.values(), key=found.index)


def again(found: list[Figures], dtype: str, cores: int, seconds: float) -> float:
    """The mean rate over the seconds of that product that `roofs` found which is the fastest now."""
    made = []
    for each in found:
        rows, inner, columns = each["size"]
        for product in products(dtype, (rows, inner, columns), cores):
            if (product.by, product.streams) == (each["by"], each["streams"]):
                made.append(((rows, inner, columns), product))
    return max(map(statistics.mean, rates(made, seconds / len(made) / _TURNS, _TURNS)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cores", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True, help="for each try, or for all of --again")
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--again", type=Path, help="report of an earlier run, whose products of --dtype are meant")
    parser.add_argument("--dtype", choices=DTYPES)
    options = parser.parse_args()
    told: Any
    if options.again:
        found = json.loads(options.again.read_text())[options.dtype]
        told = again(found, options.dtype, options.cores, options.seconds)
    else:
        told = {dtype: roofs(dtype, options.cores, options.seconds) for dtype in DTYPES}
    options.report.write_text(json.dumps(told))


if __name__ == "__main__":
    main()
