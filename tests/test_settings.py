"""model/settings.py: what of a config.json a model is built from."""

from typing import Any

import pytest

from sentiment_batch.errors import ModelRefused
from sentiment_batch.model.configuration import MODEL_TYPES
from sentiment_batch.model.settings import settings_of

# Keys as public models of these kinds have them.
PUBLIC: list[dict[str, Any]] = [
    {
        "model_type": "bert",
        "architectures": ["BertForMaskedLM"],
        "attention_probs_dropout_prob": 0.1,
        "gradient_checkpointing": False,
        "hidden_act": "gelu",
        "position_embedding_type": "absolute",
        "use_cache": True,
    },
    {
        "model_type": "distilbert",
        "activation": "gelu",
        "qa_dropout": 0.1,
        "sinusoidal_pos_embds": False,
        "tie_weights_": True,
    },
    {
        "model_type": "deberta-v2",
        "relative_attention": True,
        "position_buckets": 256,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "pos_att_type": "p2c|c2p",
        "max_relative_positions": -1,
        "position_biased_input": False,
        "type_vocab_size": 0,
        "layer_norm_eps": 1e-7,
        "pooler_dropout": 0,
    },
    {
        "model_type": "modernbert",
        "deterministic_flash_attn": False,
        "global_attn_every_n_layers": 3,
        "global_rope_theta": 160000.0,
        "local_rope_theta": 10000.0,
        "hidden_activation": "gelu",
        "layer_norm_eps": 1e-05,
        "initializer_cutoff_factor": 2.0,
        "pad_token_id": 50283,
        "vocab_size": 50368,
        "max_position_embeddings": 8192,
        "classifier_pooling": "mean",
        "reference_compile": None,
    },
]


def refusal(kind: str, **settings: Any) -> str:
    with pytest.raises(ModelRefused) as refused:
        settings_of({"model_type": kind, **settings}, "m")
    return str(refused.value)


@pytest.mark.parametrize("kind", MODEL_TYPES)
def test_all_that_transformers_itself_writes_is_taken_or_left(kind: str) -> None:
    import transformers

    config = getattr(transformers, f"{MODEL_TYPES[kind].prefix}Config")(num_labels=3)
    taken = settings_of(config.to_dict(), "m")
    assert taken["vocab_size"] == config.vocab_size
    assert taken["id2label"] == config.id2label
    assert "return_dict" not in taken


@pytest.mark.parametrize("config", PUBLIC, ids=lambda config: config["model_type"])
def test_public_models_are_taken(config: dict[str, Any]) -> None:
    settings_of(config, "m")


def test_what_is_no_setting_stays_at_its_default() -> None:
    odd = {"return_dict": False, "chunk_size_feed_forward": 3, "dtype": "os", "to_dict": 1, "output_attentions": True}
    odd |= {
        "use_cache": "yes",
        "torchscript": True,
        "pruned_heads": {"0": [0]},
        "problem_type": 7,
        "tie_word_embeddings": 0,
    }
    assert settings_of({"model_type": "bert", **odd}, "m") == {"model_type": "bert"}


@pytest.mark.parametrize("value", [0, -1, 1.0, "2", None, True, [1], 2**40])
def test_a_size_is_a_positive_whole_number(value: Any) -> None:
    assert f"m: config.json has hidden_size = {value!r}, not a positive whole number" in refusal(
        "bert", hidden_size=value
    )


@pytest.mark.parametrize("value", [1, 1.0, 2.0, -0.1, "0.1", True, [0.1]])
def test_a_dropout_is_less_than_1(value: Any) -> None:
    assert "classifier_dropout" in refusal("roberta", classifier_dropout=value)
    settings_of({"model_type": "roberta", "classifier_dropout": None}, "m")


@pytest.mark.parametrize("value", ["xielu", "os.system", "", None, ["gelu"], 3])
def test_an_activation_is_a_known_one(value: Any) -> None:
    assert "hidden_act" in refusal("bert", hidden_act=value)


@pytest.mark.parametrize(
    "value",
    [
        {"full_attention": {"rope_type": "yarn", "rope_theta": 1e4}},
        {"full_attention": {"rope_theta": 0}},
        {"full_attention": {"rope_theta": "1e4"}},
        {"full_attention": {"rope_theta": 1e4, "factor": 8}},
        {"full_attention": 1},
        {"rope_type": "default"},
        [],
    ],
)
def test_rotations_are_plain(value: Any) -> None:
    assert "rope_parameters" in refusal("modernbert", rope_parameters=value)


@pytest.mark.parametrize("value", [["full_attention", "mamba"], "full_attention", [1], {"full_attention": 1}])
def test_layers_are_of_two_kinds_of_attention(value: Any) -> None:
    assert "layer_types" in refusal("modernbert", layer_types=value)


@pytest.mark.parametrize("value", ["p2p", ["c2p", 1], 3, "c2p|", [["c2p"]]])
def test_positions_of_a_deberta(value: Any) -> None:
    assert "pos_att_type" in refusal("deberta-v2", pos_att_type=value)


@pytest.mark.parametrize("key", ["is_decoder", "is_encoder_decoder", "add_cross_attention", "rope_scaling"])
def test_what_would_label_otherwise_if_it_were_left_out_is_refused(key: str) -> None:
    assert f"{key} = True" in refusal("bert", **{key: True})
    settings_of({"model_type": "bert", key: None}, "m")
