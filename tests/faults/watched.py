"""As a script: load model folders one after the other, each watched by an audit hook, and print what happened.

    python watched.py PLAN      PLAN: JSON, [[name, folder, "label" | "base" | "run"], ...]

An audit hook can not be removed again, so that this is a process of its own.
"""

import importlib.util
import json
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

LABELS = ("positive", "neutral", "negative")
NEVER = {"socket.connect", "subprocess.Popen", "os.system", "os.posix_spawn", "os.exec", "os.fork", "pickle.find_class"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

watched = ""  # the folder that is loaded now
events: list[str] = []  # what it must not do
opened: list[str] = []  # the names of the files that it opened in the folder
tensors: list[str] = []  # the files whose tensors were read


def hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not watched:
        return
    if event in NEVER:
        events.append(f"{event} {str(arguments)[:80]}")
    elif event == "open":
        path, _, flags = arguments
        if inside(path):
            opened.append(os.path.basename(path))
            if flags & _WRITES:
                events.append(f"open for writing {path}")
    elif event == "import":
        if inside(arguments[1]):
            events.append(f"import {arguments[1]}")
    elif event == "exec":
        if inside(arguments[0].co_filename):
            events.append(f"exec {arguments[0].co_filename}")
    elif event == "compile":
        if inside(arguments[1]):
            events.append(f"compile {arguments[1]!r}")
    elif event == "ctypes.dlopen" and inside(arguments[0]):
        events.append(f"dlopen {arguments[0]}")


def inside(path: Any) -> bool:
    return isinstance(path, str | bytes) and os.fsdecode(path).startswith(watched)


def label(folder: str) -> None:
    from sentiment_batch import Labeller

    Labeller(folder, dtype="float32").load()


def base(folder: str) -> None:
    from sentiment_batch.model.base import load_base_model

    load_base_model(folder, None, LABELS)


def run(folder: str) -> None:
    """The negative control: all that must never happen happens, so that the hook is seen to notice it."""
    specification = importlib.util.spec_from_file_location("evil", f"{folder}/code/modeling_evil.py")
    assert specification
    assert specification.loader
    specification.loader.exec_module(importlib.util.module_from_spec(specification))
    Path(folder, "written").write_text("")
    subprocess.run(["true"], check=True)
    with socket.socket() as connection:
        connection.connect_ex(("127.0.0.1", 9))
    os.rmdir(Path(folder).parent / "canary")
    pickle.loads(Path(folder, "pytorch_model.bin").read_bytes())


def watch_tensors() -> None:
    """Every way to the tensors of a safetensors file, noted."""
    import safetensors
    import safetensors.torch
    import transformers.modeling_utils

    from sentiment_batch.model import torch_engine

    real = safetensors.safe_open

    def noted(path: Any, *arguments: Any, **options: Any) -> Any:
        tensors.append(os.path.basename(path))
        return real(path, *arguments, **options)

    for module in (safetensors, safetensors.torch, transformers.modeling_utils):
        module.safe_open = noted  # type: ignore[attr-defined]
    for name in ("load", "load_file", "load_model"):
        before = getattr(safetensors.torch, name)

        def load(path: Any, *arguments: Any, _before: Any = before, **options: Any) -> Any:
            tensors.append(os.path.basename(path) if isinstance(path, str | os.PathLike) else "bytes")
            return _before(path, *arguments, **options)

        setattr(safetensors.torch, name, load)
    ours = torch_engine.read_tensors

    def read_tensors(path: Path, sha256: str) -> Any:
        tensors.append(path.name)
        return ours(path, sha256)

    torch_engine.read_tensors = read_tensors


def main() -> None:
    global watched
    from sentiment_batch.errors import SentimentBatchError

    watch_tensors()
    plan = json.loads(Path(sys.argv[1]).read_text())
    for folder in dict.fromkeys(folder for _, folder, how in plan if how == "warm"):
        label(folder)  # what is imported once and for all is imported here
        base(folder)
    sys.addaudithook(hook)
    for name, folder, how in plan:
        if how == "warm":
            continue
        events.clear()
        opened.clear()
        tensors.clear()
        watched, code, message = folder, 0, ""
        try:
            {"label": label, "base": base, "run": run}[how](folder)
        except SentimentBatchError as error:
            code, message = error.exit_code, str(error)
        except BaseException as error:
            code, message = 1, repr(error)
        watched = ""
        mapped = [line for line in Path("/proc/self/maps").read_text().splitlines() if folder + "/" in line]
        print(
            json.dumps(
                {
                    "name": name,
                    "how": how,
                    "code": code,
                    "message": message,
                    "events": events,
                    "opened": sorted(set(opened)),
                    "tensors": tensors,
                    "mapped": mapped if code else [],
                    "canary": (Path(folder).parent / "canary").exists(),
                    "kernels": "kernels" in sys.modules,
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
