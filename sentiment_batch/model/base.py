"""A Hub id or a folder -> a model to fine-tune, with a new head for our labels."""

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sentiment_batch.errors import EnvironmentFailure, ModelRefused, UsageError
from sentiment_batch.model.configuration import MODEL_TYPES, check_labels, position_limit
from sentiment_batch.model.folder import (
    ADDED_TOKENS,
    CONFIG,
    SPECIAL_TOKENS,
    TOKENIZER,
    TOKENIZER_CONFIG,
    VOCABULARY,
    WEIGHTS,
    WEIGHTS_INDEX,
    Inspected,
    inspect_folder,
)
from sentiment_batch.model.inspection import parse_json, read_again
from sentiment_batch.model.tokenizer_file import check_tokenizer
from sentiment_batch.model.tokens import check_ids
from sentiment_batch.model.torch_engine import load_classifier, model_config, quiet, try_out
from sentiment_batch.model.vocabulary import MERGES, WORDS

_NETWORK_HINT = (
    "without a network, set HF_HOME to a cache that holds it, give --base-model a local folder, or --base-model scratch"
)
_PICKLE_HINT = "give a --revision that has them (the Hub's conversions are at refs/pr/N), or convert it"
_TOKENIZER_FILES = (TOKENIZER, SPECIAL_TOKENS, ADDED_TOKENS, VOCABULARY, WORDS, MERGES)
_FETCHED = (CONFIG, WEIGHTS, WEIGHTS_INDEX, "model-*-of-*.safetensors", TOKENIZER_CONFIG, *_TOKENIZER_FILES)
# What a folder may call its tokenizer, without "Fast" at the end -> the class in transformers.
_TOKENIZERS = {each.tokenizer: each.tokenizer for each in MODEL_TYPES.values()} | {
    "DistilBertTokenizer": "BertTokenizer",
    "ElectraTokenizer": "BertTokenizer",
    "PreTrainedTokenizer": "PreTrainedTokenizerFast",
    "TokenizersBackend": "PreTrainedTokenizerFast",
}
# What each can be made from, where there is no tokenizer.json. A SentencePiece file is not among it: its parser would
# be another library, or one of our own, and transformers takes a tokenizer of five tokens where it finds no file.
_MADE_FROM = {"BertTokenizer": (WORDS,), "MPNetTokenizer": (WORDS,), "RobertaTokenizer": (VOCABULARY, MERGES)}
# The keys of tokenizer_config.json that its class gets; others name files, templates and code.
_TOKENIZER_KEYS = (
    *("bos_token", "cls_token", "eos_token", "mask_token", "pad_token", "sep_token", "unk_token"),
    *("added_tokens_decoder", "additional_special_tokens", "extra_special_tokens", "model_max_length"),
    *("add_prefix_space", "do_lower_case", "keep_accents", "strip_accents", "tokenize_chinese_chars", "trim_offsets"),
    *("do_basic_tokenize", "never_split", "split_by_punct", "model_input_names", "clean_up_tokenization_spaces"),
)


@dataclass(frozen=True)
class BaseModel:
    """A model that can be trained, and the tokenizer that it belongs to."""

    model: Any  # a transformers classifier in float32
    tokenizer: Any  # a transformers tokenizer with a `backend_tokenizer` of the `tokenizers` library
    max_length: int  # tokens, special ones included


def load_base_model(name: str, revision: str | None, labels: tuple[str, ...]) -> BaseModel:
    """The base model with a head for the labels: a new one, unless it has one for these very labels already.

    Raises `ModelRefused` for a model that is not a known encoder, has no safetensors or is not harmless (as
    `read_model_folder` does), and `EnvironmentFailure` if it cannot be fetched.
    """
    check_labels(labels)
    if not os.path.isdir(name) and name.startswith((".", "/", "~")):
        raise UsageError(f"--base-model {name}: no such folder")
    inspected = inspect_folder(Path(name) if os.path.isdir(name) else _fetch(name, revision))
    named = inspected.config.get("id2label")
    same_labels = isinstance(named, dict) and tuple(named.values()) == labels
    numbered = {
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
    }
    kept = {key: value for key, value in inspected.config.items() if key not in ("num_labels", "_num_labels")}
    config = model_config({**kept, **numbered}, name)
    limit = position_limit(config.to_dict(), name)
    tokenizer = _tokenizer(inspected, name)
    check_ids(tokenizer.backend_tokenizer, config.vocab_size, name)
    model, _ = load_classifier(inspected, config, torch.float32, new_head=True)
    try_out(model, len(labels), name)
    if not same_labels:
        _begin_head_anew(model)
    tokenizer.backend_tokenizer.no_truncation()  # cutting and padding are ours
    tokenizer.backend_tokenizer.no_padding()
    return BaseModel(model, tokenizer, limit)


def _fetch(name: str, revision: str | None) -> Path:
    """The snapshot of a model on the Hub, or in the cache: those of its files that are looked at here, and no code."""
    from huggingface_hub import snapshot_download

    try:
        with quiet():
            folder = Path(snapshot_download(name, revision=revision, allow_patterns=list(_FETCHED)))
    except Exception as error:  # the library raises OSError, ValueError and others for the same things
        raise EnvironmentFailure(
            f"the base model {name} cannot be fetched ({type(error).__name__}); {_NETWORK_HINT}"
        ) from error
    if not (folder / WEIGHTS).exists() and not (folder / WEIGHTS_INDEX).exists():
        raise ModelRefused(
            f"{name} has no safetensors weights, and pickled ones are not read: they can run code; {_PICKLE_HINT}"
        )
    return folder


def _tokenizer(inspected: Inspected, name: str) -> Any:
    """The tokenizer, by a class of our own table, of copies of the files and keys that were inspected."""
    import transformers

    path = inspected.folder / TOKENIZER_CONFIG
    known_hash = inspected.hashes.get(TOKENIZER_CONFIG)
    config = parse_json(read_again(path, known_hash), str(path)) if known_hash else {}
    given = config.get("tokenizer_class", MODEL_TYPES[inspected.config["model_type"]].tokenizer)
    known = _TOKENIZERS.get(given.removesuffix("Fast")) if isinstance(given, str) else None
    if known is None:
        raise ModelRefused(f"{path} has tokenizer_class = {given!r}; known: {', '.join(sorted(_TOKENIZERS))}")
    sources = _MADE_FROM.get(known, (TOKENIZER,))
    if TOKENIZER not in inspected.hashes and not inspected.hashes.keys() >= set(sources):
        raise ModelRefused(
            f"{name} has no {TOKENIZER}, nor what a {known} is made from without it ({' and '.join(sources)}); "
            f"SentencePiece files are not read: save it as {TOKENIZER} with AutoTokenizer of transformers"
        )
    with tempfile.TemporaryDirectory() as copied:
        for file in _TOKENIZER_FILES:
            if file in inspected.hashes:
                content = read_again(inspected.folder / file, inspected.hashes[file])
                (Path(copied) / file).write_bytes(_without_cutting(content) if file == TOKENIZER else content)
        kept = {key: config[key] for key in _TOKENIZER_KEYS if key in config}
        (Path(copied) / TOKENIZER_CONFIG).write_text(json.dumps(kept), encoding="utf-8")
        try:
            with quiet():
                tokenizer = getattr(transformers, known).from_pretrained(
                    copied, local_files_only=True, trust_remote_code=False
                )
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of the tokenizers library is no Exception
            raise ModelRefused(
                f"the tokenizer of {name} cannot be loaded: {' '.join(str(error).split()):.200}"
            ) from error
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise ModelRefused(f"{name} has no fast tokenizer; save one as tokenizer.json first")
    made = tokenizer.backend_tokenizer.to_str().encode(errors="surrogatepass")
    where = f"the tokenizer of {name}"  # whatever it was made from, it is what the trained model will have
    check_tokenizer(parse_json(made, where, len(made), keys_are_ours=False), where)
    return tokenizer


def _without_cutting(content: bytes) -> bytes:
    """A tokenizer.json that neither cuts nor pads a text: both are ours, and padding to 10**12 tokens aborts Python."""
    return json.dumps({**json.loads(content), "truncation": None, "padding": None}).encode()


def _begin_head_anew(model: Any) -> None:
    """Draw the head's weights as BERT does. A head for other labels, if there are as many, would be kept otherwise."""
    for module in model.classifier.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=getattr(model.config, "initializer_range", 0.02))
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)
