"""config.json -> the kind of encoder, its sizes and its labels."""

from dataclasses import dataclass
from typing import Any

from sentiment_batch.errors import InputError, ModelRefused

_LABEL = 64  # characters
_LAYERS = 1_024
_REPEATS = ("num_hidden_layers", "n_layers", "num_hidden_groups", "inner_group_num")


@dataclass(frozen=True)
class ModelType:
    """A kind of encoder that is known to work."""

    prefix: str  # of its classes in transformers: `BertConfig`, `BertForSequenceClassification`
    tokenizer: str  # its class in transformers, for a vocabulary without a tokenizer.json
    padding_takes_positions: bool = False  # RoBERTa counts from padding_idx + 1: 514 positions hold 512 tokens


MODEL_TYPES = {
    "albert": ModelType("Albert", "AlbertTokenizer"),
    "bert": ModelType("Bert", "BertTokenizer"),
    "camembert": ModelType("Camembert", "CamembertTokenizer", padding_takes_positions=True),
    "deberta-v2": ModelType("DebertaV2", "DebertaV2Tokenizer"),
    "distilbert": ModelType("DistilBert", "BertTokenizer"),
    "electra": ModelType("Electra", "BertTokenizer"),
    "modernbert": ModelType("ModernBert", "PreTrainedTokenizerFast"),
    "mpnet": ModelType("MPNet", "MPNetTokenizer", padding_takes_positions=True),
    "roberta": ModelType("Roberta", "RobertaTokenizer", padding_takes_positions=True),
    "xlm-roberta": ModelType("XLMRoberta", "XLMRobertaTokenizer", padding_takes_positions=True),
}
_CONFIG = "config.json"


def model_type(config: dict[str, Any], where: str) -> str:
    """One of `MODEL_TYPES`; `ModelRefused` for another, and for more layers than could be built in a while."""
    found = config.get("model_type")
    if not isinstance(found, str) or found not in MODEL_TYPES:
        raise ModelRefused(f"{where} is a model of type {found!r}; known: {', '.join(MODEL_TYPES)}")
    layers = 1
    for key in _REPEATS:
        layers *= positive_number({key: 1, **config}, key, where)
    if layers > _LAYERS:
        raise ModelRefused(f"{where}: {_CONFIG} asks for {layers} layers; at most {_LAYERS} are built")
    return found


def position_limit(config: dict[str, Any], where: str) -> int:
    """The longest input in tokens. Never the tokenizer's `model_max_length`, which may be unset or 1e30."""
    positions = positive_number(config, "max_position_embeddings", where)
    if MODEL_TYPES[model_type(config, where)].padding_takes_positions:
        positions -= pad_token_id(config, where) + 1
    return positions


def pad_token_id(config: dict[str, Any], where: str) -> int:
    value = config.get("pad_token_id")
    if value is None:
        return int(MODEL_TYPES[model_type(config, where)].padding_takes_positions)  # as transformers has it
    if type(value) is not int or not 0 <= value < positive_number(config, "vocab_size", where):
        raise ModelRefused(f"{where}: {_CONFIG} has pad_token_id = {value!r}, which is not in its vocabulary")
    return value


def positive_number(config: dict[str, Any], key: str, where: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ModelRefused(f"{where}: {_CONFIG} has {key} = {value!r}, not a positive whole number")
    return value


def labels_of(config: dict[str, Any], where: str) -> tuple[str, ...]:
    """The labels in the order of the logits. Raises `ModelRefused` unless they are two or more, plain and distinct."""
    names = config.get("id2label")
    if not isinstance(names, dict) or sorted(names, key=str) != sorted(map(str, range(len(names))), key=str):
        raise ModelRefused(f"{where}: id2label in {_CONFIG} does not number its labels from 0; train again or mend it")
    labels = tuple(names[str(number)] for number in range(len(names)))
    if len(labels) < 2 or not all(isinstance(label, str) and label for label in labels):
        raise ModelRefused(f"{where}: id2label in {_CONFIG} must name at least two labels")
    if (odd := _odd(labels)) is not None:
        raise ModelRefused(f"{where}: id2label in {_CONFIG} has {odd!a:.80}, not 1 to {_LABEL} printable characters")
    if len(set(labels)) < len(labels):
        raise ModelRefused(f"{where}: id2label in {_CONFIG} names a label twice")
    if config.get("label2id", dict(zip(labels, range(len(labels)), strict=True))) != {
        label: number for number, label in enumerate(labels)
    }:
        raise ModelRefused(f"{where}: label2id and id2label in {_CONFIG} contradict each other")
    for key in ("num_labels", "_num_labels"):
        if config.get(key, len(labels)) != len(labels):
            raise ModelRefused(f"{where}: {_CONFIG} has {key} = {config[key]!r} and {len(labels)} labels in id2label")
    return labels


def check_labels(labels: tuple[str, ...]) -> None:
    """Raise `InputError` for labels of training texts that a model folder could not have."""
    if (odd := _odd(labels)) is not None:
        raise InputError(f"the label {odd!a:.80} is not 1 to {_LABEL} printable characters; mend the training data")


def _odd(labels: tuple[str, ...]) -> str | None:
    return next((label for label in labels if not (1 <= len(label) <= _LABEL and label.isprintable())), None)
