"""The loop of IndoNLU's evaluation: a dataset that tokenises row by row, batches as they come, padded by a collate."""

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from bench_ways.peer import Count, Label, count_of


class Texts(Dataset[list[int]]):
    def __init__(self, texts: list[str], tokenizer: object, max_length: int):
        self.texts, self.tokenizer, self.max_length = texts, tokenizer, max_length

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> list[int]:
        ids: list[int] = self.tokenizer.encode(  # type: ignore[attr-defined]
            self.texts[index], add_special_tokens=True, truncation=True, max_length=self.max_length
        )
        return ids


def load(model: str, cores: int, max_length: int, count: Count, batch_size: int) -> Label:
    torch.set_num_threads(cores)
    tokenizer = AutoTokenizer.from_pretrained(model)
    classifier = AutoModelForSequenceClassification.from_pretrained(model, dtype=torch.float32).eval()
    names = classifier.config.id2label
    count_of(classifier, count)

    def collate(batch: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        longest = max(map(len, batch))
        ids = np.full((len(batch), longest), tokenizer.pad_token_id, np.int64)
        mask = np.zeros((len(batch), longest), np.float32)
        for row, subwords in enumerate(batch):
            ids[row, : len(subwords)] = subwords
            mask[row, : len(subwords)] = 1
        return torch.from_numpy(ids), torch.from_numpy(mask)

    def label(texts: list[str]) -> list[str]:
        loader = DataLoader(Texts(texts, tokenizer, max_length), batch_size=batch_size, collate_fn=collate)
        found: list[str] = []
        with torch.no_grad():
            for ids, mask in loader:
                logits = classifier(input_ids=ids, attention_mask=mask).logits
                best = torch.topk(logits, 1)[1]
                found += [names[int(each)] for each in best]
        return found

    return label
