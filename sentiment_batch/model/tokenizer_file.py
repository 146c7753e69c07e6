"""tokenizer.json: what a tokenizer may be made of.

The `tokenizers` library builds whatever the file describes: a regular expression that takes exponential time, a
replacement that turns a text into gigabytes, a sampling that gives other labels each time.
"""

import base64
import binascii
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sentiment_batch.errors import ModelRefused
from sentiment_batch.model.inspection import TOKENIZER_BYTES, read_json

# The steps that transformers 5 makes for encoders, of each kind; then the key under which a Sequence has its own.
_KNOWN = {
    "normalizer": "BertNormalizer ByteLevel Lowercase NFC NFD NFKC NFKD Nmt Precompiled Prepend Replace Strip "
    "StripAccents",
    "pre_tokenizer": "BertPreTokenizer ByteLevel CharDelimiterSplit Digits Metaspace Punctuation UnicodeScripts "
    "Whitespace WhitespaceSplit",
    "post_processor": "BertProcessing ByteLevel RobertaProcessing TemplateProcessing",
    "decoder": "BPEDecoder ByteFallback ByteLevel Fuse Metaspace Replace Strip WordPiece",
}
_SEQUENCE = {
    "normalizer": "normalizers",
    "pre_tokenizer": "pretokenizers",
    "post_processor": "processors",
    "decoder": "decoders",
}
_MODELS = {"BPE", "Unigram", "WordLevel", "WordPiece", None}  # files of old releases do not say theirs
# The regular expressions that transformers itself writes into such files; they take linear time.
_REGEXES = {" {2,}", r"\s+", r"\s{2,}|[\n\r\t]"}
_GROWTH = 64  # characters that one may become by all replacements together
_CHARSMAP_STRING = 256  # bytes; the longest of Unicode's NFKC has 33
_WORD = 1_000  # characters; WordPiece takes quadratic time on a word
_TEMPLATE = 16


def check_tokenizer(path: Path) -> None:
    """Raise `ModelRefused` unless the file describes a tokenizer of known and harmless steps."""
    tokenizer = read_json(path, TOKENIZER_BYTES, keys_are_ours=False)
    steps = {kind: list(_steps(tokenizer.get(kind), kind, path)) for kind in _KNOWN}
    growth = 1
    for kind in ("normalizer", "decoder"):
        for step in steps[kind]:
            growth *= _growth(step, kind, path)
    if growth > _GROWTH:
        raise ModelRefused(f"{path}: its normalizer makes texts more than {_GROWTH} times as long")
    for step in steps["post_processor"]:
        if step["type"] == "TemplateProcessing" and len(_of(list, step, "single", path)) > _TEMPLATE:
            raise ModelRefused(f"{path}: its post_processor adds more than {_TEMPLATE} tokens to a text")
    _check_model(_of(dict, tokenizer, "model", path), path)


def _steps(step: Any, kind: str, path: Path) -> Iterator[dict[str, Any]]:
    """The steps of a kind one by one, those of a Sequence too."""
    if step is None:
        return
    known = _KNOWN[kind].split()
    name = step.get("type") if isinstance(step, dict) else None
    if name == "Sequence":
        for each in _of(list, step, _SEQUENCE[kind], path):
            yield from _steps(each, kind, path)
    elif isinstance(name, str) and name in known:
        yield step
    else:
        raise ModelRefused(f"{path} has a {kind} of type {name!r}; known: {', '.join(known)}, Sequence")


def _growth(step: dict[str, Any], kind: str, path: Path) -> int:
    """How many times as long the step can make a text."""
    if step["type"] == "Prepend":
        return 1 + len(_of(str, step, "prepend", path))
    if step["type"] == "Precompiled":
        return _charsmap_growth(_of(str, step, "precompiled_charsmap", path), path)
    if step["type"] != "Replace":
        return 1
    pattern = _of(dict, step, "pattern", path)
    regex = pattern.get("Regex")
    if regex is not None and regex not in _REGEXES:
        raise ModelRefused(
            f"{path} has a {kind} Replace with the Regex {regex!r:.60}; only those of transformers are known"
        )
    if regex is None and not _of(str, pattern, "String", path):
        raise ModelRefused(f"{path} has a {kind} Replace of the empty String")
    return max(1, len(_of(str, step, "content", path)))


def _charsmap_growth(charsmap: str, path: Path) -> int:
    """Of SentencePiece's table: the size of a trie, the trie, and the strings that it leads to, each ended by a 0."""
    try:
        table = base64.b64decode(charsmap, validate=True)
    except (ValueError, binascii.Error):
        table = b""
    strings = table[4 + int.from_bytes(table[:4], "little") :]
    if len(table) < 4 or max(map(len, strings.split(b"\0"))) > _CHARSMAP_STRING:
        raise ModelRefused(f"{path} has a precompiled_charsmap that is none, or makes a character very long")
    return 1


def _check_model(model: dict[str, Any], path: Path) -> None:
    kind = model.get("type")
    if not isinstance(kind, str | None) or kind not in _MODELS:
        raise ModelRefused(f"{path} has a model of type {kind!r}; known: BPE, Unigram, WordLevel, WordPiece")
    if model.get("dropout"):
        raise ModelRefused(f"{path} has a model with dropout: it would give other labels each time")
    longest = model.get("max_input_chars_per_word", 0)
    if type(longest) is not int or longest > _WORD:
        raise ModelRefused(f"{path} has max_input_chars_per_word = {longest!r}; at most {_WORD}")


def _of(kind: type[Any], value: dict[str, Any], key: str, path: Path) -> Any:
    if not isinstance(value.get(key), kind):
        raise ModelRefused(f"{path} cannot be read: {key} is missing or not what it must be")
    return value[key]
