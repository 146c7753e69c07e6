"""The training loop against loops written out here, and against itself after a kill."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from sentiment_batch.model.fit import Fit, training_batches, weighted_cross_entropy
from sentiment_batch.model.recipe import RECIPES, Recipe
from sentiment_batch.model.tokens import TokenIds

ROWS = 40


def token_ids(seed: int = 0) -> TokenIds:
    chance = np.random.default_rng(seed)
    lengths = chance.integers(3, 20, ROWS).astype(np.int32)
    flat = chance.integers(5, 50, lengths.sum()).astype(np.int32)
    return TokenIds(flat, np.cumsum(lengths, dtype=np.int64) - lengths, lengths, np.zeros(ROWS, bool))


def model(spread: float = 0.3) -> BertForSequenceClassification:
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        num_labels=3,
        initializer_range=spread,
    )
    return BertForSequenceClassification(config)


def labels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 3, ROWS)


def fit_of(recipe: Recipe, **changes: object) -> Fit:
    settings = {
        "model": model(),
        "recipe": recipe,
        "train": token_ids(),
        "targets": np.eye(3, dtype=np.float32)[labels()],
        "valid": token_ids(2),
        "class_weights": np.ones(3, np.float32),
        "pad_token_id": 0,
        "mask_token_id": 4,
        "special_token_ids": [0, 1, 2, 3, 4],
        "batch_tokens": 10_000,
        "seed": 11,
        "device": torch.device("cpu"),
        "autocast": None,
        "progress": lambda _: None,
    }
    return Fit(**{**settings, **changes})  # type: ignore[arg-type]


def losses_of(fit: Fit) -> list[float]:
    losses = []
    step = fit._step

    def recorded(*arguments: object) -> float:
        losses.append(step(*arguments))  # type: ignore[arg-type]
        return losses[-1]

    fit._step = recorded  # type: ignore[method-assign]
    for _ in fit.epochs():
        pass
    return losses


def indonlu_losses(recipe: Recipe, batches_of: int) -> Iterator[float]:
    """IndoNLU's main.py, written out: Adam, clipping, StepLR, the rows in the order of the file."""
    net, tokens, true = model(), token_ids(), labels()
    torch.manual_seed(11)
    optimizer = torch.optim.Adam(net.parameters(), lr=recipe.learning_rate)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.9)
    for _ in range(recipe.epochs):
        net.train()
        for first in range(0, ROWS, batches_of):
            rows = range(first, min(first + batches_of, ROWS))
            longest = max(tokens.lengths[row] for row in rows)
            ids = torch.zeros(len(rows), longest, dtype=torch.long)
            mask = torch.zeros_like(ids)
            for place, row in enumerate(rows):
                start, length = tokens.starts[row], tokens.lengths[row]
                ids[place, :length] = torch.from_numpy(tokens.flat[start : start + length].astype(np.int64))
                mask[place, :length] = 1
            loss = net(input_ids=ids, attention_mask=mask, labels=torch.from_numpy(true[list(rows)])).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 10.0)
            optimizer.step()
            yield loss.item()
        scheduler.step()
        net.eval()


def test_the_indonlu_recipe_is_indonlus_loop() -> None:
    recipe = replace(RECIPES["indonlu"], learning_rate=3e-3, epochs=4, batch_size=8)
    ours = losses_of(fit_of(recipe))
    assert len(ours) == 20
    assert ours == pytest.approx(list(indonlu_losses(recipe, 8)), abs=1e-5)


@pytest.mark.parametrize(
    "change", [{"gamma": 0.5}, {"max_grad_norm": 1.0}, {"optimizer": "adamw", "weight_decay": 0.1}, {"shuffle": True}]
)
def test_another_recipe_is_not(change: dict[str, object]) -> None:
    recipe = replace(RECIPES["indonlu"], learning_rate=3e-3, epochs=4, batch_size=8)
    ours = losses_of(fit_of(replace(recipe, **change)))  # type: ignore[arg-type]
    assert ours != pytest.approx(list(indonlu_losses(recipe, 8)), abs=1e-5)


def test_indonlus_settings_are_the_published_ones() -> None:
    recipe = RECIPES["indonlu"]
    assert (recipe.optimizer, recipe.gamma, recipe.max_grad_norm, recipe.early_stop) == ("adam", 0.9, 10.0, 3)


def test_the_default_learning_rate_rises_and_falls() -> None:
    recipe = replace(RECIPES["default"], epochs=5, batch_size=4, learning_rate=1.0)
    fit = fit_of(recipe)
    rates = []
    fit._step = lambda *_: rates.append(fit.optimizer.param_groups[0]["lr"]) or 0.0  # type: ignore
    list(fit.epochs())
    top = int(np.argmax(rates))
    assert len(rates) == 50
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert top == 5  # a tenth of the steps
    assert max(rates) == pytest.approx(1.0, abs=0.1)
    assert rates[-1] < 0.02


RECIPE = Recipe(
    "adamw", 1e-2, epochs=4, batch_size=8, max_grad_norm=1.0, weight_decay=0.1, warmup=0.1, word_dropout=0.1
)


def test_a_restored_fit_goes_on_as_if_never_killed() -> None:
    whole = fit_of(RECIPE)
    expected = [epoch.valid_logits for epoch in whole.epochs()]

    first = fit_of(RECIPE)
    epochs = first.epochs()
    next(epochs)
    next(epochs)
    tensors, values = first.state()

    second = fit_of(RECIPE, model=model(spread=0.1))
    second.restore(tensors, values)
    rest = list(second.epochs())
    assert [epoch.number for epoch in rest] == [3, 4]
    for ours, theirs in zip([epoch.valid_logits for epoch in rest], expected[2:], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_same_seed_gives_the_same_model_and_another_does_not() -> None:
    one, two, other = (list(fit_of(RECIPE, seed=seed).epochs())[-1].valid_logits for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - other).max() > 1e-3


def test_training_learns() -> None:
    epochs = list(fit_of(replace(RECIPE, epochs=15, word_dropout=0.0)).epochs())
    assert epochs[-1].train_loss < 0.5 * epochs[0].train_loss


def test_class_weights_favour_a_label() -> None:
    shares = []
    for weights in ([1, 1, 1], [1, 1, 30]):
        fit = fit_of(RECIPE, class_weights=np.array(weights, np.float32))
        logits = list(fit.epochs())[-1].valid_logits
        shares.append(torch.from_numpy(logits).softmax(dim=1)[:, 2].mean().item())
    assert shares[1] > shares[0] + 0.1


def test_weighted_cross_entropy_is_torchs_for_true_labels() -> None:
    logits = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    true = torch.arange(30) % 4
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0])
    ours = weighted_cross_entropy(logits, torch.nn.functional.one_hot(true).float(), weights)
    assert ours == pytest.approx(torch.nn.functional.cross_entropy(logits, true, weight=weights).item(), abs=1e-6)


@pytest.mark.parametrize("batch_tokens", [1, 40, 160, 10_000])
@pytest.mark.parametrize("shuffle", [True, False])
def test_every_text_is_in_one_batch(batch_tokens: int, shuffle: bool) -> None:
    lengths = token_ids().lengths
    recipe = replace(RECIPE, batch_size=8, shuffle=shuffle)
    batches = training_batches(lengths, recipe, batch_tokens, np.random.default_rng(0))
    assert sorted(np.concatenate(batches)) == list(range(ROWS))
    for rows in batches:
        assert len(rows) <= 8
        assert len(rows) == 1 or len(rows) * lengths[rows].max() <= batch_tokens
    if not shuffle:
        assert list(np.concatenate(batches)) == list(range(ROWS))


def test_epochs_are_shuffled_differently_and_reproducibly() -> None:
    lengths = token_ids().lengths
    orders = [
        np.concatenate(training_batches(lengths, RECIPE, 10_000, np.random.default_rng([3, epoch]))).tolist()
        for epoch in (0, 1, 0)
    ]
    assert orders[0] != orders[1]
    assert orders[0] == orders[2]


def test_word_dropout_hides_words_and_nothing_else() -> None:
    fit = fit_of(replace(RECIPE, word_dropout=0.25))
    ids = np.tile([2, 10, 11, 12, 13, 3, 0], (500, 1))
    hidden = np.mean(
        [(fit._without_words(ids, np.random.default_rng(seed)) == 4)[:, 1:5].mean() for seed in range(100)]
    )
    assert hidden == pytest.approx(0.25, abs=0.05)
    changed = fit._without_words(ids, np.random.default_rng(0))
    np.testing.assert_array_equal(changed[:, [0, 5, 6]], ids[:, [0, 5, 6]])
