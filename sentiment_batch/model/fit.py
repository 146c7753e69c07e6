"""Tokens and targets -> a trained model: the whole of the training loop."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from sentiment_batch import stop
from sentiment_batch.errors import UsageError
from sentiment_batch.model.batches import pad
from sentiment_batch.model.classifier import Classifier
from sentiment_batch.model.recipe import Recipe
from sentiment_batch.model.tokens import TokenIds
from sentiment_batch.model.torch_engine import engine_of

_POOL_BATCHES = 50


@dataclass(frozen=True)
class Epoch:
    """What one pass gave."""

    number: int  # from 1
    train_loss: float  # mean over the texts
    learning_rate: float  # of its last step
    seconds: float
    valid_logits: np.ndarray  # float32 [valid texts, labels]


@dataclass
class Fit:
    """A model in training. Everything that a killed run needs to go on is in `state` and comes back by `restore`."""

    model: torch.nn.Module
    recipe: Recipe
    train: TokenIds
    targets: np.ndarray  # float32 [texts, labels]: the probability that the text has the label
    valid: TokenIds
    class_weights: np.ndarray  # float32 [labels]
    pad_token_id: int
    mask_token_id: int  # for a recipe with word dropout
    special_token_ids: list[int]
    batch_tokens: int
    seed: int
    device: torch.device
    autocast: torch.dtype | None
    progress: Callable[[int], None]
    epoch: int = 0

    def __post_init__(self) -> None:
        torch.manual_seed(self.seed)
        self.model.to(self.device)
        self.optimizer = _optimizer(self.model, self.recipe)

    def epochs(self) -> Iterator[Epoch]:
        """Train one epoch at a time, from where `restore` left off. Raises `Stopped` between two steps."""
        weights = torch.from_numpy(self.class_weights).to(self.device)
        while self.epoch < self.recipe.epochs:
            started = time.perf_counter()
            random = np.random.default_rng([self.seed, self.epoch])
            batches = training_batches(self.train.lengths, self.recipe, self.batch_tokens, random)
            total = 0.0
            self.model.train()
            for step, rows in enumerate(batches):
                stop.check()
                for group in self.optimizer.param_groups:
                    group["lr"] = self.recipe.learning_rate * _schedule(
                        self.recipe, self.epoch, (step + 0.5) / len(batches)
                    )
                total += self._step(rows, weights, random) * len(rows)
                if not math.isfinite(total):
                    raise UsageError(
                        f"the loss is not a finite number any more in epoch {self.epoch + 1}; "
                        "give a lower --learning-rate, or --dtype float32"
                    )
                self.progress(len(rows))
            self.epoch += 1
            yield Epoch(
                number=self.epoch,
                train_loss=total / len(self.targets),
                learning_rate=self.optimizer.param_groups[0]["lr"],
                seconds=round(time.perf_counter() - started, 1),
                valid_logits=self.logits(self.valid),
            )

    def logits(self, tokens: TokenIds) -> np.ndarray:
        """float32 [texts, labels], by the model as it is now, in float32."""
        self.model.eval()
        engine = engine_of(self.model, self.device)
        return Classifier(engine, self.targets.shape[1], self.batch_tokens, self.pad_token_id).logits(tokens)

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """(tensors, JSON values): the weights, the optimizer, the random state and the epoch."""
        optimizer = self.optimizer.state_dict()
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for number, values in optimizer["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in values.items()}
        tensors["random.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.device)
        return own_copies(tensors), {"epoch": self.epoch, "param_groups": optimizer["param_groups"]}

    def restore(self, tensors: dict[str, torch.Tensor], values: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        self.model.load_state_dict(_under("model.", tensors))
        states: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in _under("optimizer.", tensors).items():
            number, _, key = name.partition(".")
            states.setdefault(int(number), {})[key] = tensor
        self.optimizer.load_state_dict({"state": states, "param_groups": values["param_groups"]})
        torch.set_rng_state(tensors["random.cpu"])
        if "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"], self.device)
        self.epoch = values["epoch"]

    def _step(self, rows: np.ndarray, weights: torch.Tensor, random: np.random.Generator) -> float:
        ids, mask = pad(self.train, rows, self.pad_token_id)
        if self.recipe.word_dropout:
            ids = self._without_words(ids, random)
        targets = torch.from_numpy(self.targets[rows]).to(self.device)
        with torch.autocast(self.device.type, dtype=self.autocast, enabled=self.autocast is not None):
            logits = self.model(
                input_ids=torch.from_numpy(ids).to(self.device),
                attention_mask=None if mask is None else torch.from_numpy(mask).to(self.device),
            ).logits
        loss = weighted_cross_entropy(logits.float(), targets, weights)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if self.recipe.max_grad_norm:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.max_grad_norm)
        self.optimizer.step()
        return loss.item()

    def _without_words(self, ids: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Some tokens as [MASK]; how many is drawn for each batch, between none and twice the share."""
        dropped = random.random(ids.shape) < 2 * self.recipe.word_dropout * random.random()
        return np.where(dropped & ~np.isin(ids, self.special_token_ids), self.mask_token_id, ids)


def weighted_cross_entropy(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy against probabilities, each text with the weight of its labels; for one-hot targets this is
    `torch.nn.CrossEntropyLoss(weight)`."""
    importance = targets @ weights
    losses = -(targets * functional.log_softmax(logits, dim=1)).sum(dim=1)
    return (importance * losses).sum() / importance.sum()


def training_batches(
    lengths: np.ndarray, recipe: Recipe, batch_tokens: int, random: np.random.Generator
) -> list[np.ndarray]:
    """Row numbers of every batch of an epoch: `batch_size` texts, fewer where they would be over `batch_tokens`.

    Texts are shuffled, sorted by length within pools of 50 batches, cut, and the batches shuffled: little padding, and
    no epoch like another. Without `shuffle` they keep the order of the file.
    """
    order = random.permutation(len(lengths)) if recipe.shuffle else np.arange(len(lengths))
    pool_size = recipe.batch_size * _POOL_BATCHES
    batches: list[np.ndarray] = []
    for first in range(0, len(order), pool_size):
        pool = order[first : first + pool_size]
        if recipe.shuffle:
            pool = pool[np.argsort(-lengths[pool], kind="stable")]
        start = 0
        while start < len(pool):
            room = batch_tokens // int(lengths[pool[start : start + recipe.batch_size]].max())
            end = start + max(1, min(recipe.batch_size, room))
            batches.append(pool[start:end])
            start = end
    return [batches[number] for number in random.permutation(len(batches))] if recipe.shuffle else batches


def _schedule(recipe: Recipe, epoch: int, share: float) -> float:
    """What the learning rate is multiplied with, `share` of the way through the epoch (from 0)."""
    if recipe.gamma is not None:
        return recipe.gamma**epoch
    done = (epoch + share) / recipe.epochs
    if done < recipe.warmup:
        return done / recipe.warmup
    return (1 - done) / (1 - recipe.warmup)


def _optimizer(model: torch.nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=recipe.learning_rate)
    decayed = [each for each in model.parameters() if each.ndim > 1]
    others = [each for each in model.parameters() if each.ndim <= 1]  # biases and norms
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)


def _under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def own_copies(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copies on the CPU: safetensors refuses tensors that share memory."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
