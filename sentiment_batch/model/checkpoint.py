"""The last whole epoch of a training and the best one, on the disk as safetensors and JSON, never as a pickle."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from sentiment_batch.disk import replace_file
from sentiment_batch.model.fit import Fit, own_copies


class Checkpoint:
    """The files of a training in progress. `path`, a JSON file, is replaced last: what it names is whole."""

    def __init__(self, path: Path):
        self.path, self.folder = path, path.parent
        self.folder.mkdir(exist_ok=True)

    def save(self, fit: Fit, history: list[dict[str, Any]], best_epoch: int) -> None:
        """Keep the state behind the epoch that just ended, in place of the one before, and the best weights."""
        tensors, values = fit.state()
        name = f"epoch-{fit.epoch}.safetensors"
        _save(tensors, self.folder / name)
        state = {"tensors": name, "best": _best(best_epoch), "values": values, "history": history}
        scratch = self.path.with_suffix(".tmp")
        scratch.write_text(json.dumps(state), encoding="utf-8")
        replace_file(scratch, self.path)
        for old in self.folder.glob("*.safetensors"):
            if old.name not in (name, state["best"]):
                old.unlink()

    def restore(self, fit: Fit) -> list[dict[str, Any]]:
        """Set the fit to the last whole epoch and return the epochs so far; without one, leave it and return none."""
        if not self.path.is_file():
            return []
        state = json.loads(self.path.read_text(encoding="utf-8"))
        fit.restore(load_file(self.folder / state["tensors"]), state["values"])
        return list(state["history"])

    def save_best(self, model: torch.nn.Module, epoch: int) -> None:
        _save(own_copies(model.state_dict()), self.folder / _best(epoch))

    def load_best(self, model: torch.nn.Module) -> None:
        state = json.loads(self.path.read_text(encoding="utf-8"))
        model.load_state_dict(load_file(self.folder / state["best"]))


def _best(epoch: int) -> str:
    return f"best-{epoch}.safetensors"


def _save(tensors: dict[str, torch.Tensor], path: Path) -> None:
    scratch = path.with_suffix(".tmp")
    save_file(tensors, scratch)
    replace_file(scratch, path)
