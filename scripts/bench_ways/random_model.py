"""A model of any shape with random weights and the tokenizer and labels of another: as fast as a trained one.

python -m bench_ways.random_model 12x768 LIKE OUTPUT
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from transformers import BertConfig, BertForSequenceClassification

_SEED = 0
_HEADS = 12  # of MiniLM and of BERT-base


def make(layers: int, hidden: int, like: Path, output: Path) -> None:
    their = json.loads((like / "config.json").read_text(encoding="utf-8"))
    config = BertConfig(
        vocab_size=their["vocab_size"],
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=_HEADS if hidden % _HEADS == 0 else 1,
        intermediate_size=4 * hidden,
        max_position_embeddings=their["max_position_embeddings"],
        pad_token_id=their.get("pad_token_id") or 0,
        id2label={int(number): name for number, name in their["id2label"].items()},
        label2id=their["label2id"],
    )
    torch.manual_seed(_SEED)
    BertForSequenceClassification(config).save_pretrained(output)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if (like / name).exists():
            shutil.copy(like / name, output / name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("shape", help="layers x hidden size, as 12x768")
    parser.add_argument("like", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    layers, hidden = map(int, options.shape.split("x"))
    make(layers, hidden, options.like, options.output)


if __name__ == "__main__":
    main()
