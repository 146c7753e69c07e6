"""A trained model -> the files of an ordinary Hugging Face folder."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_model as save_weights

from sentiment_batch.errors import ModelRefused
from sentiment_batch.model.folder import CARD, CONFIG, SAVED, TOKENIZER, TOKENIZER_CONFIG, WEIGHTS


def save_model(folder: Path, model: Any, tokenizer: Any, max_length: int, card: str) -> None:
    """Write weights, configuration, tokenizer and model card: these names and no others, or `ModelRefused`.

    The tokenizer's own files are copied by name from where transformers writes them, because it may write more (a
    chat template's name is a file name there).
    """
    before = set(os.listdir(folder))
    save_weights(model.to(device="cpu", dtype=torch.float32), str(folder / WEIGHTS), metadata={"format": "pt"})
    (folder / WEIGHTS).chmod(0o644)  # safetensors makes it for its owner alone
    config = {**model.config.to_dict(), "architectures": [type(model).__name__], "dtype": "float32"}
    config.pop("_name_or_path", None)
    _write(folder / CONFIG, config)
    tokenizer.chat_template = None
    tokenizer.model_max_length = max_length
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    with tempfile.TemporaryDirectory() as saved:
        tokenizer.save_pretrained(saved)
        (folder / TOKENIZER).write_bytes((Path(saved) / TOKENIZER).read_bytes())
        _write(folder / TOKENIZER_CONFIG, json.loads((Path(saved) / TOKENIZER_CONFIG).read_bytes()))
    (folder / CARD).write_text(card, encoding="utf-8")
    unexpected = set(os.listdir(folder)) - before - {*SAVED}
    if unexpected:
        raise ModelRefused(
            f"saving the model wrote {sorted(unexpected)[0]!r} into {folder}, which is no file of a model"
        )


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
