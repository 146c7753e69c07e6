"""model/compute.py: which engine, device and precision the options and the machine come to."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import LABELS

from sentiment_batch import Labeller
from sentiment_batch.errors import EnvironmentFailure, ModelRefused, OutputConflict, UsageError
from sentiment_batch.labelling import check_compute, compute_of
from sentiment_batch.model import compute, openvino_engine
from sentiment_batch.model.compute import Compute, load_engine, resolve_compute, worker_computes
from sentiment_batch.model.folder import ModelFolder, read_model_folder
from sentiment_batch.model.graphs import RECORD, find_graphs
from sentiment_batch.write.part import Part

FLOAT, INT8 = ["a" * 64, "b" * 64], ["c" * 64, "d" * 64]
Machine = Callable[..., Callable[..., Any]]


@pytest.fixture(scope="module")
def folders(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelFolder]:
    """By the graphs that they have. Their files are not there: a choice reads none."""
    place = tmp_path_factory.mktemp("models")
    found = {}
    for name, graphs in {"none": None, "float": {"float": FLOAT}, "int8": {"float": FLOAT, "int8": INT8}}.items():
        shutil.copytree(tiny_model, place / name)
        found[name] = read_model_folder(str(place / name))
        if graphs:
            (place / name / RECORD).write_text(json.dumps({"model": found[name].digest, "graphs": graphs}))
    return found


@pytest.fixture
def machine(folders: dict[str, ModelFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """`machine(...)(engine, device, dtype)` is what they come to there: engine, device, dtype and graph, in words."""

    def build(
        graphs: str = "none",
        openvino: bool = True,
        bfloat16: bool = True,
        torch_bfloat16: bool = False,
        devices: tuple[str, ...] = (),
        gpus: int = 0,
    ) -> Callable[..., Any]:
        monkeypatch.setattr(compute, "_has_openvino", lambda: openvino)
        monkeypatch.setattr(openvino_engine, "computes_in_bfloat16", lambda: bfloat16)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": torch_bfloat16})
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
        shutil.rmtree(tmp_path, ignore_errors=True)
        (tmp_path / "dev").mkdir(parents=True)
        for name in ("null", "nvidiactl", *devices):
            (tmp_path / "dev" / name).touch()

        def resolve(engine: str = "auto", device: str = "auto", dtype: str = "auto") -> str:
            found = resolved(folders[graphs], engine, device, dtype, root=tmp_path)
            graph = f" by {found.graph.path.name}" if found.graph else ""
            return f"{found.engine} {found.device} {found.dtype}{graph}"

        return resolve

    return build


def resolved(folder: ModelFolder, *options: str, root: Path = Path("/")) -> Compute:
    return resolve_compute(folder, find_graphs(folder), *options, root=root)


def test_an_optimize_that_ends_meanwhile_changes_neither_the_identity_nor_the_engine(
    optimized_model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model"
    shutil.copytree(optimized_model, path)
    (path / RECORD).rename(tmp_path / RECORD)
    seen, late = (Labeller(str(path), engine=engine) for engine in ("auto", "openvino"))
    digest = seen.digest
    (tmp_path / RECORD).rename(path / RECORD)
    assert (seen.digest, seen.compute.graph) == (digest, None)
    assert digest != late.digest
    assert late.compute.graph


BY_FLOAT, BY_INT8 = " by openvino_model.xml", " by openvino_int8.xml"


@pytest.mark.parametrize(
    ("dtype", "chosen"),
    [
        (
            "auto",
            {"none": "float32", "float": "openvino cpu bfloat16" + BY_FLOAT, "int8": "openvino cpu int8" + BY_INT8},
        ),
        ("float32", {"none": "float32", **dict.fromkeys(("float", "int8"), "openvino cpu float32" + BY_FLOAT)}),
        ("bfloat16", {"none": "bfloat16", **dict.fromkeys(("float", "int8"), "openvino cpu bfloat16" + BY_FLOAT)}),
        ("float16", dict.fromkeys(("none", "float", "int8"), "float16")),
    ],
)
@pytest.mark.parametrize("graphs", ["none", "float", "int8"])
@pytest.mark.parametrize("openvino", [True, False])
@pytest.mark.parametrize("device", ["auto", "cpu"])
@pytest.mark.parametrize("devices", [(), ("nvidia0",), ("dxg",), ("kfd", "nvidia17")])
def test_without_a_gpu_that_works_the_best_is_openvino_on_a_graph(
    machine: Machine,
    dtype: str,
    chosen: dict[str, str],
    graphs: str,
    openvino: bool,
    device: str,
    devices: tuple[str, ...],
) -> None:
    """A machine may have a GPU, and a PyTorch that cannot compute on it."""
    found = machine(graphs, openvino=openvino, devices=devices)("auto", device, dtype)
    expected = chosen[graphs] if openvino else chosen["none"]
    assert found == (expected if "openvino" in expected else f"torch cpu {expected}")


@pytest.mark.parametrize("graphs", ["none", "float", "int8"])
@pytest.mark.parametrize(
    ("dtype", "becomes"), [("auto", "float16"), *((each, each) for each in ("float32", "bfloat16"))]
)
@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_a_gpu_is_faster_than_either(machine: Machine, graphs: str, dtype: str, becomes: str, engine: str) -> None:
    resolve = machine(graphs, devices=("nvidia0",), gpus=2)
    assert resolve(engine, "auto", dtype) == f"torch cuda {becomes}"
    assert resolve(engine, "cuda", dtype) == f"torch cuda {becomes}"
    assert resolve(engine, "cuda:1", dtype) == f"torch cuda:1 {becomes}"
    expected = (
        f"torch cpu {dtype.replace('auto', 'float32')}" if engine == "torch" or graphs == "none" else "openvino cpu"
    )
    assert resolve(engine, "cpu", dtype).startswith(expected)


@pytest.mark.parametrize("graphs", ["none", "float", "int8"])
def test_torch_is_taken_where_it_is_asked_for(machine: Machine, graphs: str) -> None:
    for dtype in ("float32", "bfloat16", "float16"):
        assert machine(graphs)("torch", "cpu", dtype) == f"torch cpu {dtype}"
    assert machine(graphs)("torch") == "torch cpu float32"
    assert machine(graphs, torch_bfloat16=True)("torch") == "torch cpu bfloat16"


@pytest.mark.parametrize("device", ["auto", "cpu"])
@pytest.mark.parametrize("graphs", ["float", "int8"])
def test_openvino_is_taken_where_it_is_asked_for(machine: Machine, graphs: str, device: str) -> None:
    """On a machine with a GPU, too."""
    resolve = machine(graphs, devices=("nvidia0",), gpus=1)
    assert resolve("openvino", device, "float32") == "openvino cpu float32" + BY_FLOAT
    assert resolve("openvino", device, "bfloat16") == "openvino cpu bfloat16" + BY_FLOAT
    best = {"float": "bfloat16" + BY_FLOAT, "int8": "int8" + BY_INT8}[graphs]
    assert resolve("openvino", device, "auto") == f"openvino cpu {best}"


@pytest.mark.parametrize("engine", ["auto", "openvino"])
@pytest.mark.parametrize("device", ["auto", "cpu"])
@pytest.mark.parametrize("gpus", [0, 1])
def test_int8_is_openvinos_whatever_else_there_is(machine: Machine, engine: str, device: str, gpus: int) -> None:
    resolve = machine("int8", devices=("nvidia0",) * gpus, gpus=gpus)
    assert resolve(engine, device, "int8") == "openvino cpu int8" + BY_INT8


def test_a_cpu_without_bfloat16(machine: Machine) -> None:
    resolve = machine("float", bfloat16=False)
    assert resolve() == resolve("openvino") == "openvino cpu float32" + BY_FLOAT
    assert machine("int8", bfloat16=False)() == "openvino cpu int8" + BY_INT8
    assert resolve("auto", "cpu", "bfloat16") == "torch cpu bfloat16", "which computes in it all the same"
    with pytest.raises(UsageError, match="--dtype bfloat16: this CPU does not compute in it; give --dtype auto"):
        resolve("openvino", "cpu", "bfloat16")


REFUSED: list[tuple[dict[str, Any], tuple[str, str, str], str]] = [
    (
        {"graphs": "int8"},
        ("torch", "auto", "int8"),
        "--dtype int8 is of the openvino engine, not of torch; give --engine auto",
    ),
    ({"graphs": "int8"}, ("torch", "cuda", "int8"), "--dtype int8 is of the openvino engine"),
    (
        {"graphs": "int8", "gpus": 1},
        ("openvino", "cuda", "auto"),
        "--engine openvino is for a CPU, not for --device cuda",
    ),
    ({"graphs": "int8"}, ("openvino", "cuda:1", "int8"), "--engine openvino is for a CPU, not for --device cuda:1"),
    ({"graphs": "int8", "gpus": 1}, ("auto", "cuda", "int8"), "--dtype int8 is for a CPU, not for --device cuda"),
    ({"graphs": "int8"}, ("openvino", "auto", "float16"), "--engine openvino computes in float32, bfloat16 or int8"),
    (
        {"graphs": "int8", "openvino": False},
        ("openvino", "auto", "auto"),
        r"--engine openvino needs OpenVINO: pip install",
    ),
    ({"graphs": "int8", "openvino": False}, ("auto", "auto", "int8"), r"--dtype int8 needs OpenVINO: pip install"),
    (
        {},
        ("openvino", "auto", "auto"),
        "--engine openvino: .* has no OpenVINO graph; make it with: .* optimize --model ",
    ),
    ({}, ("auto", "cpu", "int8"), "--dtype int8: .* has no OpenVINO graph; make it with: .* optimize --model "),
    (
        {"graphs": "float"},
        ("openvino", "cpu", "int8"),
        "--engine openvino: .* no int8 graph; .* --calibration FILE --valid",
    ),
    (
        {"graphs": "float"},
        ("auto", "auto", "int8"),
        "--dtype int8: .* has no int8 graph; make it with: .* --calibration",
    ),
    ({"graphs": "float"}, ("auto", "tpu", "auto"), "no such device: tpu"),
    ({"graphs": "float"}, ("openvino", "tpu", "auto"), "--engine openvino is for a CPU, not for --device tpu"),
]


@pytest.mark.parametrize(("there", "options", "says"), REFUSED, ids=[" ".join(each[1]) for each in REFUSED])
def test_options_that_cannot_be_met_are_an_error_of_usage(
    machine: Machine, there: dict[str, Any], options: tuple[str, str, str], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        machine(**there)(*options)


@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_a_gpu_that_is_not_there_is_not_replaced(machine: Machine, engine: str) -> None:
    with pytest.raises(EnvironmentFailure, match="--device cuda: this machine has 0 GPUs"):
        machine("int8")(engine, "cuda", "auto")


@pytest.mark.parametrize("options", [("auto", "auto", "auto"), ("openvino", "cpu", "float32"), ("auto", "cpu", "int8")])
def test_graphs_of_other_weights_are_no_reason_to_label_by_something_else_in_silence(
    tiny_model: Path, tmp_path: Path, options: tuple[str, str, str]
) -> None:
    shutil.copytree(tiny_model, tmp_path / "model")
    (tmp_path / "model" / RECORD).write_text(json.dumps({"model": "0" * 64, "graphs": {"float": FLOAT}}))
    folder = read_model_folder(str(tmp_path / "model"))
    with pytest.raises(ModelRefused, match="of another model"):
        resolved(folder, *options, root=tmp_path)
    assert Labeller(str(tmp_path / "model"), engine="torch").predict(["bagus"]), "which needs no graph"


def test_streams_and_the_size_of_a_batch_are_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "usable_cores", lambda: 7)
    found = Compute("openvino", "cpu", "int8")
    assert (found.device_kind, found.streams, found.batch_tokens) == ("cpu", 7, 2_048)
    assert str(found) == "openvino in int8 on 7 cores"
    found = Compute("torch", "cuda:1", "float16")
    assert (found.device_kind, found.streams, found.batch_tokens) == ("cuda", 2, 65_536)
    assert str(found) == "torch in float16 on cuda:1"


@pytest.mark.parametrize(("can", "rest"), [(True, "bfloat16"), (False, "float32")])
def test_what_int8_leaves_in_floating_point_is_part_of_what_computes(
    can: bool, rest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_engine, "computes_in_bfloat16", lambda: can)
    found = Compute("openvino", "cpu", "int8")
    assert found.float_dtype == rest
    assert Compute("openvino", "cpu", "float32").float_dtype == "float32"
    assert Compute("torch", "cuda", "float16").float_dtype == "float16"


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_the_seals_of_int8_say_what_its_rest_is(optimized_model: Path, dtype: str) -> None:
    """One output is not begun on a CPU with bfloat16 and ended on one without."""
    labeller = Labeller(str(optimized_model), engine="openvino", dtype=dtype)
    found = compute_of(labeller)
    assert found.get("float_dtype") == (labeller.compute.float_dtype if dtype == "int8" else None)
    part = Part("part-00000.parquet", 1, {"compute": {**found, "float_dtype": "float8"}})
    with pytest.raises(OutputConflict, match=f"made with openvino cpu {dtype} float8 auto"):
        check_compute(part, compute_of(labeller), "out")


@pytest.mark.parametrize("dtype", ["float32", "int8", "auto"])
def test_the_engine_is_the_one_that_was_chosen(
    optimized_model: Path, dtype: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    folder = read_model_folder(str(optimized_model))
    chosen = resolved(folder, "openvino", "cpu", dtype)
    engine = load_engine(folder, chosen)
    ids = np.array([[2, 10, 11, 3], [2, 12, 30, 3]])
    theirs = load_engine(folder, resolved(folder, "torch", "cpu", "float32"))
    assert f"the model runs on openvino in {'int8' if dtype == 'auto' else dtype}" in caplog.text
    if dtype == "float32":
        np.testing.assert_allclose(engine(ids, None), theirs(ids, None), atol=1e-4)
    assert engine(ids, None).shape == (2, len(LABELS))


@pytest.mark.parametrize("name", ["openvino_model.xml", "openvino_model.bin"])
def test_a_graph_that_is_not_what_its_record_says_is_refused(optimized_model: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(optimized_model, tmp_path / "model")
    content = bytearray((tmp_path / "model" / name).read_bytes())
    content[-3] ^= 1
    (tmp_path / "model" / name).write_bytes(content)
    folder = read_model_folder(str(tmp_path / "model"))
    with pytest.raises(ModelRefused, match=r"no graph of an encoder|is not the file that was made") as refused:
        load_engine(folder, resolved(folder, "openvino", "cpu", "float32"))
    assert f"make it again with: sentiment-batch optimize --model {tmp_path / 'model'}" in str(refused.value)
    (tmp_path / "model" / name).unlink()
    with pytest.raises(ModelRefused, match=f"{name} is missing; make it again with: "):
        load_engine(folder, resolved(folder, "openvino", "cpu", "float32"))


def test_a_model_that_changes_while_its_graph_is_loaded_is_refused(optimized_model: Path, tmp_path: Path) -> None:
    shutil.copytree(optimized_model, tmp_path / "model")
    folder = read_model_folder(str(tmp_path / "model"))
    chosen = resolved(folder, "openvino", "cpu", "float32")
    (tmp_path / "model" / "config.json").write_text("{}")
    with pytest.raises(ModelRefused, match="changed while it was loaded"):
        load_engine(folder, chosen)


def test_a_job_on_openvino_loads_no_pytorch(optimized_model: Path) -> None:
    """It takes seconds and hundreds of megabytes."""
    code = f"""
import sys
from sentiment_batch import Labeller
found = Labeller({str(optimized_model)!r}, device="cpu").predict(["enak sekali", "jelek"])
assert len(found) == 2
assert "openvino" in sys.modules
heavy = {{"torch", "transformers", "nncf", "sklearn"}} & set(sys.modules)
assert not heavy, heavy
assert sys.modules["openvino_telemetry"] is None
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr


# What each of several workers gets


@pytest.mark.parametrize(
    ("device", "workers", "at_most", "devices"),
    [
        ("cuda", "auto", 9, ["cuda:0", "cuda:1", "cuda:2"]),
        ("cuda", "auto", 2, ["cuda:0", "cuda:1"]),
        ("cuda", "auto", 1, ["cuda"]),
        ("cuda", "auto", 0, []),
        ("cuda", 2, 9, ["cuda:0", "cuda:1"]),
        ("cuda", 3, 9, ["cuda:0", "cuda:1", "cuda:2"]),
        ("cuda", 3, 2, ["cuda:0", "cuda:1"]),
        ("cuda", 1, 9, ["cuda"]),
        ("cuda:1", "auto", 9, ["cuda:1"]),
        ("cuda:1", 1, 9, ["cuda:1"]),
        ("cpu", "auto", 9, ["cpu"]),
        ("cpu", 3, 9, ["cpu"] * 3),
        ("cpu", 3, 2, ["cpu"] * 2),
    ],
)
def test_each_worker_has_a_gpu_of_its_own(
    device: str, workers: Any, at_most: int, devices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    found = worker_computes(Compute("torch", device, "bfloat16"), workers, at_most)
    assert [each.device for each in found] == devices
    assert {(each.engine, each.device_kind, each.dtype) for each in found} <= {
        ("torch", device[:4].strip(":"), "bfloat16")
    }


@pytest.mark.parametrize(
    ("device", "gpus", "told"),
    [("cuda", 3, "3 GPUs,"), ("cuda", 1, "1 GPU,"), ("cuda:2", 3, "1 GPU with --device cuda:2,")],
)
def test_more_workers_than_gpus(device: str, gpus: int, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said at once, be there work for them or not."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    for at_most in (1, 9):
        with pytest.raises(UsageError, match=f"--workers 4: there (is|are) {told}"):
            worker_computes(Compute("torch", device, "bfloat16"), 4, at_most)


@pytest.mark.parametrize(("workers", "streams"), [(1, 5), (2, 2), (3, 1), (5, 1), (9, 1)])
def test_workers_share_the_cores(workers: int, streams: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "usable_cores", lambda: 5)
    found = worker_computes(Compute("openvino", "cpu", "int8"), workers, 9)
    assert [each.streams for each in found] == [streams] * workers
    assert {(each.engine, each.dtype) for each in found} == {("openvino", "int8")}
