"""Model folders are hostile until shown otherwise: each of these is exit 8 before a tensor is read, and nothing ran."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import LABELS

from faults.hostile import HOSTILE, plant_bait
from sentiment_batch.model.graphs import FLOAT, INT8, graph_files

PACKAGE = Path(__file__).parents[2] / "sentiment_batch"
BASES = [name for name, hostile in HOSTILE.items() if hostile.base]
HARMLESS_GRAPH = "harmless-graph"
# By the command line, in a process of its own: one of each kind.
COMMANDS = ["cve-2026-4372", "cve-2025-32434", "index-parent", "link-secret", "split-regex", "label-with-escapes"]


def folder_of(place: Path, valid: Path, name: str) -> Path:
    """A copy of the valid folder with the bait, and with the change of that name."""
    folder = place / name / "model"
    shutil.copytree(valid, folder)
    plant_bait(folder, place / name / "canary")
    if name in HOSTILE:
        HOSTILE[name].change(folder)
    return folder


@pytest.fixture(scope="module")
def watched(
    tiny_model: Path, optimized_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], dict[str, Any]]:
    """What happened with every folder: to label with it, and as a base model. One process loads them all."""
    place = tmp_path_factory.mktemp("hostile")
    plan: list[tuple[str, str, str]] = []
    for name in ("harmless", HARMLESS_GRAPH, *HOSTILE, "control"):
        has_graph = name == HARMLESS_GRAPH or (name in HOSTILE and HOSTILE[name].graph)
        folder = str(folder_of(place, optimized_model if has_graph else tiny_model, name))
        if name.startswith("harmless"):
            plan.append((name, folder, "warm"))
        if name == "control":
            plan.append((name, folder, "run"))
            continue
        plan.append((name, folder, "label"))
        if name == "harmless" or (name in HOSTILE and HOSTILE[name].base):
            plan.append((name, folder, "base"))
    (place / "plan.json").write_text(json.dumps(plan))
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", Path(__file__).with_name("watched.py"), place / "plan.json"],
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    return {(each["name"], each["how"]): each for each in found}


def test_there_are_enough_of_them() -> None:
    assert len(HOSTILE) >= 40


@pytest.mark.parametrize("name", HOSTILE)
def test_refused_before_a_tensor_is_read(name: str, watched: dict[tuple[str, str], dict[str, Any]]) -> None:
    check(watched[name, "label"], name)


@pytest.mark.parametrize("name", BASES)
def test_refused_as_a_base_model_too(name: str, watched: dict[tuple[str, str], dict[str, Any]]) -> None:
    check(watched[name, "base"], name)


def check(found: dict[str, Any], name: str) -> None:
    assert found["code"] == 8, found["message"]
    for words in HOSTILE[name].says:
        assert words in found["message"]
    assert found["message"].isprintable(), "one line, and nothing that a terminal obeys"
    assert len(found["message"]) < 1_000
    assert found["tensors"] == found["mapped"] == []
    check_nothing_ran(found)


def check_nothing_ran(found: dict[str, Any]) -> None:
    assert found["events"] == []
    assert not found["canary"]
    assert not found["kernels"]
    others = set(found["opened"]) - set(graph_files(FLOAT)) - set(graph_files(INT8))
    assert {os.path.splitext(name)[1] for name in others} <= {".json", ".safetensors", ".txt"}, "and no pickle was read"


@pytest.mark.parametrize("how", ["label", "base"])
def test_the_harmless_folder_is_loaded_and_its_bait_is_left_alone(
    how: str, watched: dict[tuple[str, str], dict[str, Any]]
) -> None:
    found = watched["harmless", how]
    assert found["code"] == 0, found["message"]
    assert "model.safetensors" in found["tensors"], "the watch notices tensors that are read"
    assert "config.json" in found["opened"]
    check_nothing_ran(found)


def test_harmless_graphs_are_loaded_and_the_bait_beside_them_is_left_alone(
    watched: dict[tuple[str, str], dict[str, Any]],
) -> None:
    found = watched[HARMLESS_GRAPH, "label"]
    assert found["code"] == 0, found["message"]
    assert {"openvino.json", *graph_files(FLOAT)} <= set(found["opened"])
    assert found["tensors"] == [], "nor are the weights that are not needed"
    check_nothing_ran(found)


def test_the_watch_notices_what_runs(watched: dict[tuple[str, str], dict[str, Any]]) -> None:
    found = watched["control", "run"]
    assert found["code"] == 0, found["message"]
    noted = {event.split(" ")[0] for event in found["events"]}
    assert noted >= {"compile", "exec", "open", "subprocess.Popen", "socket.connect", "pickle.find_class"}
    assert found["canary"]


# The whole program


def dump(path: Path) -> Path:
    path.write_text("text\nenak sekali\njelek\n")
    return path


def program(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-m", "sentiment_batch", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_command_line_refuses(name: str, tiny_model: Path, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, tiny_model, name)
    ended = program("score", dump(tmp_path / "a.tsv"), "--model", folder, "--output", tmp_path / "out")
    assert ended.returncode == 8, ended.stderr
    assert ended.stderr.startswith("error: ")
    assert len(ended.stderr.splitlines()) == 1
    for words in HOSTILE[name].says:
        assert words in ended.stderr
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / name / "canary").exists()


def test_the_command_line_takes_the_harmless_folder(tiny_model: Path, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, tiny_model, "harmless")
    ended = program("score", dump(tmp_path / "a.tsv"), "--model", folder, "--output", tmp_path / "out")
    assert ended.returncode == 0, ended.stderr
    assert not (tmp_path / "harmless" / "canary").exists()


def test_a_training_refuses_a_hostile_base_model(tiny_model: Path, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, tiny_model, "auto-map")
    rows = "".join(f"review {number}\t{LABELS[number % 3]}\n" for number in range(30))
    for split in ("train", "valid"):
        (tmp_path / f"{split}.tsv").write_text("text\tlabel\n" + rows)
    data = ("--train", tmp_path / "train.tsv", "--valid", tmp_path / "valid.tsv")
    ended = program("train", *data, "--base-model", folder, "--output", tmp_path / "trained")
    assert ended.returncode == 8, ended.stderr
    assert "'auto_map'" in ended.stderr
    assert not (tmp_path / "trained").exists()
    assert not (tmp_path / "auto-map" / "canary").exists()


def test_there_is_no_option_to_trust(tmp_path: Path) -> None:
    for command in ("score", "train", "evaluate", "predict"):
        assert "trust" not in program(command, "--help").stdout.lower()


# What the source says

FORBIDDEN = re.compile(
    r"torch\.load\b|\bpickle\b\.|import pickle|joblib|allow_pickle|torch\.jit|torch\.export|\bmarshal\b|\bshelve\b"
    r"|(?<![.\w])(eval|exec)\(|trust_remote_code=(?!False)|\bkernels\b|load_state_dict_from_url|import dill|cloudpickle"
)


def code_of(path: Path) -> str:
    """The source without comments and docstrings."""
    return ast.unparse(_without_docstrings(ast.parse(path.read_text(encoding="utf-8"))))


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


SOURCES = sorted(PACKAGE.rglob("*.py"))


# what a driver of Ray has in its memory and sends to its own workers; no file is read so
BETWEEN_OUR_PROCESSES = {"ray_worker.py", "worker.py"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_package_unpickles_nothing(path: Path) -> None:
    code = code_of(path)
    if path.name in BETWEEN_OUR_PROCESSES:
        assert "open(" not in code
        code = re.sub(r"import pickle|pickle\.(loads|dumps)", "", code)
    found = FORBIDDEN.search(code)
    assert not found, found


@pytest.mark.parametrize(
    "line",
    ["torch.load(a)", "import pickle", "np.load(a, allow_pickle=True)", "f(trust_remote_code=None)", "joblib.load(a)"],
)
def test_the_search_finds(line: str) -> None:
    assert FORBIDDEN.search(line)


def test_every_from_pretrained_says_that_remote_code_is_not_trusted() -> None:
    """`None` asks on the terminal, under an alarm; a cron job would hang."""
    calls = [
        node
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "from_pretrained"
    ]
    assert len(calls) >= 2
    for call in calls:
        given = {option.arg: getattr(option.value, "value", None) for option in call.keywords}
        assert given["trust_remote_code"] is False
        assert given["local_files_only"] is True
