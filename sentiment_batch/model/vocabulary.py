"""The files that a tokenizer is made from where there is no tokenizer.json, as a base model may have them."""

import re
from typing import Any

from sentiment_batch.errors import ModelRefused
from sentiment_batch.model.inspection import TOKENIZER_BYTES

WORDS, MERGES = "vocab.txt", "merges.txt"
_LINE = 1_000  # characters; the longest token of RoBERTa has 128
_ADDED = 10_000  # tokens
_TEMPLATE_NAME = re.compile(r"[\w.-]{1,64}")


def check_lines(content: bytes, most: int, where: str) -> None:
    """Raise `ModelRefused` unless it is at most so many lines of UTF-8, none of them very long."""
    if len(content) > TOKENIZER_BYTES:
        raise ModelRefused(f"{where} is larger than {TOKENIZER_BYTES >> 20} MiB")
    try:
        lines = content.decode().split("\n")
    except UnicodeDecodeError as error:
        raise ModelRefused(f"{where} is not UTF-8 text: {error}; save the tokenizer again") from None
    extra = 2  # merges.txt begins with its version, and a last line feed ends a line
    if len(lines) > most + extra:
        raise ModelRefused(f"{where} has {len(lines)} lines, and config.json says vocab_size = {most}")
    if (longest := max(map(len, lines))) > _LINE:
        raise ModelRefused(f"{where} has a line of {longest} characters; at most {_LINE}")


def check_words(words: dict[str, Any], most: int, where: str) -> None:
    """The same for a JSON object of tokens and their numbers."""
    if len(words) > most:
        raise ModelRefused(f"{where} has {len(words)} tokens, and config.json says vocab_size = {most}")
    if (longest := max(map(len, words), default=0)) > _LINE:
        raise ModelRefused(f"{where} has a token of {longest} characters; at most {_LINE}")


def check_tokenizer_config(config: dict[str, Any], where: str) -> None:
    """Few tokens besides those of the vocabulary, and no chat template under a name that is a path.

    Chat templates are not used, but the names of some have been paths to write to (CVE-2026-9856).
    """
    for key in ("added_tokens_decoder", "additional_special_tokens", "extra_special_tokens"):
        if isinstance(config.get(key), dict | list) and len(config[key]) > _ADDED:
            raise ModelRefused(f"{where} has more than {_ADDED} {key}")
    templates = config.get("chat_template")
    for template in templates if isinstance(templates, list) else []:
        name = template.get("name") if isinstance(template, dict) else None
        if not isinstance(name, str) or not _TEMPLATE_NAME.fullmatch(name):
            raise ModelRefused(f"{where} has a chat_template with the name {name!r:.80}, which is not a plain name")
