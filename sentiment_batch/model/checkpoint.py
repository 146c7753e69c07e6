"""The last whole epoch of a training and the best one, on the disk as safetensors and JSON, never as a pickle."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from sentiment_batch.model.fit import Fit

_STATE, _BEST = "state.json", "best.safetensors"


class Checkpoint:
    """A folder of a training in progress. `state.json` is replaced last: what it names is whole."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def save(self, fit: Fit, history: list[dict[str, Any]]) -> None:
        """Keep the state behind the epoch that just ended, in place of the one before."""
        tensors, values = fit.state()
        name = f"epoch-{fit.epoch}.safetensors"
        _save(tensors, self.folder / name)
        state = {"tensors": name, "values": values, "history": history}
        scratch = self.folder / f"{_STATE}.tmp"
        scratch.write_text(json.dumps(state), encoding="utf-8")
        _move(scratch, self.folder / _STATE)
        for old in self.folder.glob("epoch-*.safetensors"):
            if old.name != name:
                old.unlink()

    def restore(self, fit: Fit) -> list[dict[str, Any]]:
        """Set the fit to the last whole epoch and return the epochs so far; without one, leave it and return none."""
        path = self.folder / _STATE
        if not path.is_file():
            return []
        state = json.loads(path.read_text(encoding="utf-8"))
        fit.restore(load_file(self.folder / state["tensors"]), state["values"])
        return list(state["history"])

    def save_best(self, model: torch.nn.Module) -> None:
        tensors = {name: each.detach().cpu().clone().contiguous() for name, each in model.state_dict().items()}
        _save(tensors, self.folder / _BEST)

    def load_best(self, model: torch.nn.Module) -> None:
        model.load_state_dict(load_file(self.folder / _BEST))


def _save(tensors: dict[str, torch.Tensor], path: Path) -> None:
    scratch = path.with_suffix(".tmp")
    save_file(tensors, scratch)
    _move(scratch, path)


def _move(scratch: Path, path: Path) -> None:
    with open(scratch, "rb") as file:
        os.fsync(file.fileno())
    os.replace(scratch, path)
