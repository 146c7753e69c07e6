"""config.json -> the settings that are taken from it, for each kind of encoder.

Configurations name dozens of things that a classifier of texts has no use for, and some of them change what a model
returns (`return_dict`), fail in the middle of a job (`chunk_size_feed_forward`), or load what they name. So what is
not in these tables stays at its default in transformers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sentiment_batch.errors import ModelRefused
from sentiment_batch.model.configuration import model_type

_LARGEST = 2**24  # of any size: the largest vocabularies have a million tokens
_POSITIONS = 2**16  # tokens; the longest in use are 8,192, and a text is cut by this before it is tokenised
_ACTIVATIONS = (
    "gelu gelu_accurate gelu_fast gelu_new gelu_python gelu_pytorch_tanh mish quick_gelu relu silu swish tanh"
)
_ATTENTION = {"full_attention", "sliding_attention"}


@dataclass(frozen=True)
class Setting:
    """What a value may be, in words and as a test."""

    words: str
    allows: Callable[[Any], bool]

    def or_none(self) -> "Setting":
        return Setting(f"{self.words} or null", lambda value: value is None or self.allows(value))


def _whole(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and low <= value <= high


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _are_rotations(value: Any) -> bool:
    """Of ModernBERT's two kinds of attention, as transformers 5 writes them; scaled ones are not known to work."""
    return isinstance(value, dict) and all(
        kind in _ATTENTION
        and isinstance(each, dict)
        and each.keys() <= {"rope_type", "rope_theta"}
        and each.get("rope_type", "default") == "default"
        and _is_number(each.get("rope_theta", 1))
        and each.get("rope_theta", 1) >= 1
        for kind, each in value.items()
    )


def _are_of(known: set[str]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(isinstance(each, str) and each in known for each in value)


def _one_of(*known: str) -> Setting:
    return Setting(f"one of {', '.join(known)}", lambda value: isinstance(value, str) and value in known)


_SIZE = Setting(f"a positive whole number of at most {_LARGEST}", _whole(1, _LARGEST))
_COUNT = Setting(f"a whole number from 0 to {_LARGEST}", _whole(0, _LARGEST))
_REACH = Setting(f"a whole number from -1 to {_LARGEST}", _whole(-1, _LARGEST))
_FLAG = Setting("true or false", lambda value: type(value) is bool)
_SHARE = Setting("a number from 0 to less than 1", lambda value: _is_number(value) and 0 <= value < 1)
_EPSILON = Setting("a number above 0, at most 1", lambda value: _is_number(value) and 0 < value <= 1)
_SPREAD = Setting("a number from 0 to 100", lambda value: _is_number(value) and 0 <= value <= 100)
_THETA = Setting("a number of at least 1", lambda value: _is_number(value) and value >= 1)
_ACTIVATION = _one_of(*_ACTIVATIONS.split())

_ALL = {
    "vocab_size": _SIZE,
    "max_position_embeddings": Setting(f"a positive whole number of at most {_POSITIONS}", _whole(1, _POSITIONS)),
    "pad_token_id": _COUNT.or_none(),
    "initializer_range": _SPREAD,
}
_ENCODER = {
    **_ALL,
    "hidden_size": _SIZE,
    "num_hidden_layers": _SIZE,
    "num_attention_heads": _SIZE,
    "intermediate_size": _SIZE,
    "hidden_act": _ACTIVATION,
    "hidden_dropout_prob": _SHARE,
    "attention_probs_dropout_prob": _SHARE,
    "layer_norm_eps": _EPSILON,
}
_BERT = {**_ENCODER, "type_vocab_size": _SIZE, "classifier_dropout": _SHARE.or_none()}
_SETTINGS: dict[str, dict[str, Setting]] = {
    "albert": {
        **_ENCODER,
        "type_vocab_size": _SIZE,
        "classifier_dropout_prob": _SHARE,
        "embedding_size": _SIZE,
        "num_hidden_groups": _SIZE,
        "inner_group_num": _SIZE,
    },
    "bert": _BERT,
    "camembert": _BERT,
    "deberta-v2": {
        **_ENCODER,
        "type_vocab_size": _COUNT,
        "relative_attention": _FLAG,
        "max_relative_positions": _REACH,
        "position_buckets": _REACH,
        "position_biased_input": _FLAG,
        "pos_att_type": Setting(
            "of p2c and c2p",
            lambda value: _are_of({"p2c", "c2p"})(value.split("|") if isinstance(value, str) else value),
        ).or_none(),
        "share_att_key": _FLAG,
        "norm_rel_ebd": _one_of("none", "layer_norm"),
        "attention_head_size": _SIZE,
        "embedding_size": _SIZE,
        "conv_kernel_size": _COUNT,
        "conv_groups": _SIZE,
        "conv_act": _ACTIVATION,
        "pooler_hidden_size": _SIZE,
        "pooler_hidden_act": _ACTIVATION,
        "pooler_dropout": _SHARE,
        "cls_dropout": _SHARE.or_none(),
    },
    "distilbert": {
        **_ALL,
        "dim": _SIZE,
        "hidden_dim": _SIZE,
        "n_layers": _SIZE,
        "n_heads": _SIZE,
        "activation": _ACTIVATION,
        "dropout": _SHARE,
        "attention_dropout": _SHARE,
        "seq_classif_dropout": _SHARE,
    },
    "electra": {**_BERT, "embedding_size": _SIZE},
    "modernbert": {
        **_ALL,
        "hidden_size": _SIZE,
        "num_hidden_layers": _SIZE,
        "num_attention_heads": _SIZE,
        "intermediate_size": _SIZE,
        "hidden_activation": _ACTIVATION,
        "initializer_cutoff_factor": _SPREAD,
        "norm_eps": _EPSILON,
        "norm_bias": _FLAG,
        "attention_bias": _FLAG,
        "attention_dropout": _SHARE,
        "layer_types": Setting("a list of full_attention and sliding_attention", _are_of(_ATTENTION)).or_none(),
        "global_attn_every_n_layers": _SIZE,
        "local_attention": _SIZE,
        "global_rope_theta": _THETA,
        "local_rope_theta": _THETA.or_none(),
        "rope_parameters": Setting("two plain rotations", _are_rotations).or_none(),
        "embedding_dropout": _SHARE,
        "mlp_bias": _FLAG,
        "mlp_dropout": _SHARE,
        "classifier_pooling": _one_of("cls", "mean"),
        "classifier_dropout": _SHARE,
        "classifier_bias": _FLAG,
        "classifier_activation": _ACTIVATION,
    },
    "mpnet": {**_ENCODER, "relative_attention_num_buckets": _SIZE},
    "roberta": _BERT,
    "xlm-roberta": _BERT,
}
_LABELS = ("id2label", "label2id", "num_labels", "_num_labels")
# Left out, these would change the labels: what a model that has them was trained as is not what is built here.
_NEVER = ("is_decoder", "is_encoder_decoder", "add_cross_attention", "rope_scaling")


def settings_of(config: dict[str, Any], where: str) -> dict[str, Any]:
    """The part of config.json that a model is built from: its kind, its labels (unchecked), and its known settings.

    Raises `ModelRefused` for another kind of model, and for a setting that is not what it may be.
    """
    kind = model_type(config, where)
    for key in _NEVER:
        if config.get(key):
            raise ModelRefused(f"{where}: config.json has {key} = {config[key]!r:.60}; only plain encoders are known")
    taken = {"model_type": kind} | {key: config[key] for key in _LABELS if key in config}
    for key, setting in _SETTINGS[kind].items():
        if key in config:
            if not setting.allows(config[key]):
                raise ModelRefused(f"{where}: config.json has {key} = {config[key]!r:.60}, not {setting.words}")
            taken[key] = config[key]
    return taken
