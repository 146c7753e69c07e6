"""transformers' pipeline, as its documentation shows it."""

import torch
from transformers import pipeline

from bench_ways.peer import Count, Label, count_of


def load(model: str, cores: int, max_length: int, count: Count, batch_size: int) -> Label:
    torch.set_num_threads(cores)
    classify = pipeline("text-classification", model=model, device="cpu", dtype=torch.float32)
    count_of(classify.model, count)

    def label(texts: list[str]) -> list[str]:
        found = classify(texts, batch_size=batch_size, truncation=True, max_length=max_length)
        return [each["label"] for each in found]

    return label
