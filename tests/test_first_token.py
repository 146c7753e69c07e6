"""model/first_token.py: the same logits, from a last layer that works for one token of each text."""

import copy
from typing import Any

import pytest
import torch
import transformers

from sentiment_batch.model.configuration import MODEL_TYPES
from sentiment_batch.model.first_token import keep_first_token

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24}
SHORTENED = ("bert", "camembert", "distilbert", "electra", "roberta", "xlm-roberta")
IDS = torch.randint(5, 90, (4, 7), generator=torch.Generator().manual_seed(1))
MASK = (torch.arange(7) < torch.tensor([[7], [2], [5], [6]])).long()


def random_model(kind: str, **sizes: int) -> Any:
    prefix = MODEL_TYPES[kind].prefix
    if kind == "distilbert":
        sizes = {"dim": 16, "n_layers": sizes.get("num_hidden_layers", 2), "n_heads": 4, "hidden_dim": 24}
    config = getattr(transformers, f"{prefix}Config")(
        **(sizes if kind == "distilbert" else SIZES | sizes), vocab_size=90, pad_token_id=0, num_labels=3
    )
    torch.manual_seed(2)
    return getattr(transformers, f"{prefix}ForSequenceClassification")(config).eval()


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("mask", [None, MASK], ids=["no mask", "mask"])
@pytest.mark.parametrize("kind", MODEL_TYPES)
def test_the_logits_of_every_kind_stay_what_they_are(kind: str, mask: torch.Tensor | None, layers: int) -> None:
    model = random_model(kind, num_hidden_layers=layers)
    shortened = copy.deepcopy(model)
    keep_first_token(shortened)
    with torch.inference_mode():
        expected = model(input_ids=IDS, attention_mask=mask).logits
        found = shortened(input_ids=IDS, attention_mask=mask).logits
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert len(set(expected[:, 0].tolist())) == len(IDS), "texts that the test can tell apart"


@pytest.mark.parametrize("kind", SHORTENED)
def test_the_feed_forward_half_of_the_last_layer_sees_one_token_of_each_text(kind: str) -> None:
    model = random_model(kind)
    keep_first_token(model)
    seen = []
    for module in model.modules():
        if isinstance(module, torch.nn.Linear) and module.in_features == 24:  # the way back of the feed-forward half
            module.register_forward_pre_hook(lambda _, args: seen.append(tuple(args[0].shape)))
    model(input_ids=IDS)
    assert seen == [(4, 7, 24), (4, 1, 24)]


@pytest.mark.parametrize("kind", sorted(MODEL_TYPES.keys() - set(SHORTENED)))
def test_other_kinds_are_left_as_they_are(kind: str) -> None:
    model = random_model(kind)
    keep_first_token(model)
    assert not [module for module in model.modules() if "forward" in vars(module)]
