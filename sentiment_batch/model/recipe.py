"""How to train: the known recipes, and what the options change in them."""

from dataclasses import dataclass, replace
from typing import Any

SCRATCH = "scratch"  # the base model that is made from the training texts


@dataclass(frozen=True)
class Recipe:
    """How to train."""

    optimizer: str  # adamw | adam
    learning_rate: float
    epochs: int
    batch_size: int
    max_grad_norm: float  # 0: no clipping
    early_stop: int = 0  # epochs without a better one; 0: never
    weight_decay: float = 0.0
    warmup: float = 0.0  # share of all steps in which the learning rate rises; then it falls to 0
    gamma: float | None = None  # instead of warm-up and decay: times this after every epoch (StepLR(1, gamma))
    shuffle: bool = True
    word_dropout: float = 0.0  # mean share of the tokens of a batch that the model sees as [MASK]


# IndoNLU's main.py (github.com/IndoNLP/indonlu): Adam, StepLR(1, gamma), clipping at 10, texts in the file's order.
# Learning rate, batch, epochs and gamma are those of its published runs of indobert-base.
RECIPES = {
    "default": Recipe("adamw", 3e-5, epochs=4, batch_size=32, max_grad_norm=1.0, weight_decay=0.01, warmup=0.1),
    "indonlu": Recipe(
        "adam", 1e-5, epochs=25, batch_size=16, max_grad_norm=10.0, early_stop=3, gamma=0.9, shuffle=False
    ),
}
SCRATCH_RECIPE = replace(RECIPES["default"], learning_rate=1.5e-3, epochs=5, batch_size=64, word_dropout=0.1)


def resolve_recipe(name: str, base_model: str, changes: dict[str, Any]) -> Recipe:
    """The recipe of that name for that base model, with the changes that are not None."""
    recipe = SCRATCH_RECIPE if (base_model, name) == (SCRATCH, "default") else RECIPES[name]
    return replace(recipe, **{key: value for key, value in changes.items() if value is not None})
