"""model/tokenizer_file.py: what transformers writes is taken, and what is taken takes no text long."""

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults.hostile import precompiled
from tokenizers import Tokenizer

from sentiment_batch.errors import ModelRefused
from sentiment_batch.model import tokenizer_file
from sentiment_batch.model.tokenizer_file import check_tokenizer, unknown_id

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>", "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = {word: number for number, word in enumerate((*SPECIAL, *"abcdefgh", "##a", "enak"))}
PIECES = [*((token, 0.0) for token in SPECIAL), ("▁", -2.0), *((letter, -3.0) for letter in "aekn"), ("▁enak", -1.0)]
MERGED = {token: number for number, token in enumerate((*SPECIAL, *"enak", "en", "ak"))}
MERGES = [("e", "n"), ("a", "k")]
NFKC: dict[str, Any] = precompiled({"\uff21".encode(): b"A", "\ufdfa".encode(): "صلى الله عليه وسلم".encode()})
CHARACTERS = 512 * 64  # that are looked at for 512 tokens


def made(kind: str) -> Any:
    import transformers

    table = base64.b64decode(NFKC["precompiled_charsmap"])
    return {
        "albert": lambda: transformers.AlbertTokenizer(vocab=PIECES, _spm_precompiled_charsmap=table),
        "bert": lambda: transformers.BertTokenizer(vocab=WORDS),
        "camembert": lambda: transformers.CamembertTokenizer(vocab=PIECES, _spm_precompiled_charsmap=table),
        "deberta-v2": lambda: transformers.DebertaV2Tokenizer(vocab=PIECES, do_lower_case=True, split_by_punct=True),
        "mpnet": lambda: transformers.MPNetTokenizer(vocab=WORDS),
        "roberta": lambda: transformers.RobertaTokenizer(vocab=MERGED, merges=MERGES),
        "xlm-roberta": lambda: transformers.XLMRobertaTokenizer(vocab=PIECES, _spm_precompiled_charsmap=table),
    }[kind]()


@pytest.mark.parametrize("kind", ["albert", "bert", "camembert", "deberta-v2", "mpnet", "roberta", "xlm-roberta"])
def test_what_transformers_writes_is_taken(kind: str, tmp_path: Path) -> None:
    made(kind).save_pretrained(tmp_path)
    described = json.loads((tmp_path / "tokenizer.json").read_text())
    check_tokenizer(described, "t")
    ids = made(kind).backend_tokenizer.encode("\U0010ffff", add_special_tokens=False).ids
    found = unknown_id(described)
    assert found is None if kind == "roberta" else found in ids, "one of bytes leaves out what it does not know"


def converted(*steps: dict[str, Any], **parts: Any) -> dict[str, Any]:
    """A file of these normalizers; other parts by name."""
    whole: dict[str, Any] = dict.fromkeys(("truncation", "padding", "pre_tokenizer", "post_processor", "decoder"))
    model = {"type": "WordLevel", "vocab": WORDS, "unk_token": "[UNK]"}
    normalizer = {"type": "Sequence", "normalizers": list(steps)}
    return {"version": "1.0", "added_tokens": [], "model": model, "normalizer": normalizer, **whole, **parts}


def replace(kind: str, pattern: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def test_the_longest_normalizer_of_the_converters_is_taken() -> None:
    """ALBERT's, as transformers converts it from SentencePiece."""
    steps = [replace("String", "``", '"'), replace("String", "''", '"'), {"type": "NFKD"}, {"type": "StripAccents"}]
    steps += [{"type": "Lowercase"}, NFKC, replace("Regex", " {2,}", " "), {"type": "Strip"}]
    check_tokenizer(converted(*steps), "t")


def test_files_of_old_releases_do_not_say_their_model() -> None:
    """As those of bert-base-uncased, roberta-base and xlm-roberta-base."""
    word_piece = {"unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
    check_tokenizer(converted(model={**word_piece, "vocab": WORDS}), "t")
    bytes_ = {"dropout": None, "unk_token": None, "continuing_subword_prefix": "", "end_of_word_suffix": ""}
    check_tokenizer(converted(model={**bytes_, "vocab": MERGED, "merges": ["e n", "a k"]}), "t")
    check_tokenizer(converted(model={"unk_id": 3, "vocab": [list(each) for each in PIECES]}), "t")
    with pytest.raises(ModelRefused, match="unk_id = 99"):
        check_tokenizer(converted(model={"unk_id": 99, "vocab": [list(each) for each in PIECES]}), "t")


@pytest.mark.parametrize(
    "step",
    [
        replace("String", "a", "aa"),
        replace("Regex", " {2,}", "  "),
        replace("String", "", ""),
        {"type": "Replace", "pattern": {"String": 1}, "content": ""},
        {"type": "Prepend", "prepend": "ab"},
    ],
)
def test_no_step_makes_a_text_longer(step: dict[str, Any]) -> None:
    with pytest.raises(ModelRefused):
        check_tokenizer(converted(step), "t")


def test_all_pieces_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [["<unk>", 0.0], *([f"味{number}", -1.0] for number in range(100))]
    file = converted(model={"type": "Unigram", "unk_id": 0, "vocab": pieces})
    check_tokenizer(file, "t")
    monkeypatch.setattr(tokenizer_file, "_PIECES", 400)
    with pytest.raises(ModelRefused, match="pieces of 495 bytes in its vocab; at most 400"):
        check_tokenizer(file, "t")


def unigram(longest: int) -> dict[str, Any]:
    vocabulary = [["<unk>", 0.0], *(["a" * length, -1.0] for length in range(1, longest + 1))]
    return {"type": "Unigram", "unk_id": 0, "vocab": vocabulary}


def word_piece(longest: int) -> dict[str, Any]:
    words = {"[UNK]": 0, "a": 1, "##a": 2}
    unknown = {"unk_token": "[UNK]", "continuing_subword_prefix": "##"}
    return {"type": "WordPiece", **unknown, "max_input_chars_per_word": longest, "vocab": words}


BREAKS = {"type": "WhitespaceSplit"}
BYTES = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
BERT = {
    "type": "BertNormalizer",
    "clean_text": True,
    "handle_chinese_chars": True,
    "strip_accents": True,
    "lowercase": True,
}
GROWS = precompiled({b"e": b"aaa"})
ADDED = {"id": 0, "single_word": False, "lstrip": True, "rstrip": True, "normalized": True, "special": False}
WORST: dict[str, tuple[dict[str, Any], Callable[[int], str]]] = {
    "long words": (
        converted(model=word_piece(200), pre_tokenizer=BREAKS),
        lambda size: ("a" * 199 + " ") * (size // 200),
    ),
    "long pieces": (converted(model=unigram(64)), lambda size: "a" * size),
    "a table that grows, long pieces": (converted(GROWS, model=unigram(64)), lambda size: "e" * size),
    "a table that grows, words": (converted(GROWS, model=word_piece(200)), lambda size: "e" * size),
    "compatible forms": (converted({"type": "NFKD"}, {"type": "Lowercase"}, NFKC), lambda size: "\ufdfa" * size),
    "ideographs": (converted(BERT, pre_tokenizer=BREAKS), lambda size: "味" * size),
    "bytes": (
        converted(model={"type": "BPE", "vocab": MERGED, "merges": MERGES}, pre_tokenizer=BYTES),
        lambda size: "\U0001d400 " * (size // 2),
    ),
    "as many steps as there may be": (
        converted(*[replace("String", "ab"[number % 2], "ba"[number % 2]) for number in range(11)]),
        lambda size: "a" * size,
    ),
    "added tokens": (
        converted(added_tokens=[{**ADDED, "id": 100 + number, "content": f"a{number}"} for number in range(9_999)]),
        lambda size: "a1 " * (size // 3),
    ),
}


@pytest.mark.parametrize("worst", WORST)
def test_no_tokenizer_that_is_taken_takes_long_for_a_text(worst: str) -> None:
    """About a second on one core of its own; here beside others."""
    file, text = WORST[worst]
    check_tokenizer(file, "t")
    tokenizer = Tokenizer.from_str(json.dumps(file))
    started = time.perf_counter()
    tokenizer.encode_batch_fast([text(CHARACTERS)])
    assert time.perf_counter() - started < 4
