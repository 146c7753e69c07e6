"""A model folder -> a folder with the same model for ONNX Runtime, in int8: made once, before anything is timed.

    python -m bench_ways.onnx_model MODEL OUTPUT

Of the ways to make one this was the fastest to run, by 10 to 20 % of CPU time before those that come out of
torch.onnx.export(dynamo=True): the attention written out, exported by tracing, and quantised dynamically with a scale
for each column of the weights. Fusing the graph with onnxruntime.transformers first changed nothing.
"""

import argparse
import logging
import shutil
import warnings
from pathlib import Path

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import AutoModelForSequenceClassification

_NAMES = ["input_ids", "attention_mask"]


class Logits(torch.nn.Module):
    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


def make(model: Path, output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    found = AutoModelForSequenceClassification.from_pretrained(
        model, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    mask = torch.ones((3, 9), dtype=torch.int64)
    mask[0, 5:] = 0  # without padding the mask would be left out of the graph
    exact = output / "model.onnx"
    torch.onnx.export(
        Logits(found),
        (torch.full_like(mask, 5), mask),
        exact,
        dynamo=False,
        opset_version=17,
        input_names=_NAMES,
        output_names=["logits"],
        dynamic_axes={name: {0: "batch", 1: "length"} for name in _NAMES},
    )
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(model / name, output / name)
    quantised = output / "model.int8.onnx"
    quantize_dynamic(exact, quantised.with_suffix(".tmp"), per_channel=True, weight_type=QuantType.QInt8)
    exact.unlink()
    quantised.with_suffix(".tmp").rename(quantised)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger().setLevel(logging.ERROR)
    make(options.model, options.output)


if __name__ == "__main__":
    main()
