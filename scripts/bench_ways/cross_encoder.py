"""sentence-transformers' CrossEncoder, whose `predict` sorts by length and pads batches of 32.

It takes pairs alone, so that a text is given with an empty second one: one [SEP] more than others have.
"""

import torch
from sentence_transformers import CrossEncoder

from bench_ways.peer import Count, Label, count_of


def load(model: str, cores: int, max_length: int, count: Count, batch_size: int) -> Label:
    torch.set_num_threads(cores)
    encoder = CrossEncoder(model, device="cpu", max_length=max_length, model_kwargs={"dtype": torch.float32})
    names = encoder.config.id2label
    count_of(encoder, count)

    def label(texts: list[str]) -> list[str]:
        scores = encoder.predict([(text, "") for text in texts], batch_size=batch_size, show_progress_bar=False)
        return [names[int(best)] for best in scores.argmax(axis=1)]

    return label
