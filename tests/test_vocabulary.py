"""model/vocabulary.py: the files that a tokenizer is made from without a tokenizer.json."""

from typing import Any

import pytest

from sentiment_batch.errors import ModelRefused
from sentiment_batch.model.vocabulary import check_lines, check_tokenizer_config, check_words


def test_as_many_lines_as_the_model_has_tokens() -> None:
    check_lines("[PAD]\nenak\n味\n".encode(), 3, "vocab.txt")
    check_lines(b"#version: 0.2\na b\nb c\nc d\n", 3, "merges.txt")
    with pytest.raises(ModelRefused, match=r"vocab\.txt has 6 lines, and config\.json says vocab_size = 3"):
        check_lines(b"a\nb\nc\nd\ne\n", 3, "vocab.txt")


@pytest.mark.parametrize("content", [b"\xff\xfea\0", b"a\n\xed\xa0\x80\n", b"\x89PNG"])
def test_lines_are_utf8(content: bytes) -> None:
    with pytest.raises(ModelRefused, match=r"vocab\.txt is not UTF-8 text"):
        check_lines(content, 100, "vocab.txt")


def test_lines_and_tokens_are_not_long() -> None:
    check_lines(b"a" * 1_000, 3, "vocab.txt")
    with pytest.raises(ModelRefused, match="a line of 1001 characters"):
        check_lines(b"a" * 1_001, 3, "vocab.txt")
    check_words({"a" * 1_000: 0}, 3, "vocab.json")
    with pytest.raises(ModelRefused, match="a token of 1001 characters"):
        check_words({"a" * 1_001: 0}, 3, "vocab.json")


def test_as_many_tokens_as_the_model_has() -> None:
    check_words({}, 3, "vocab.json")
    check_words({"a": 0, "b": 1, "c": 2}, 3, "vocab.json")
    with pytest.raises(ModelRefused, match=r"vocab\.json has 4 tokens, and config\.json says vocab_size = 3"):
        check_words({"a": 0, "b": 1, "c": 2, "d": 3}, 3, "vocab.json")


@pytest.mark.parametrize("many", [["a"] * 10_001, {str(number): "a" for number in range(10_001)}])
def test_few_tokens_are_added(many: Any) -> None:
    check_tokenizer_config({"added_tokens_decoder": {"0": {}}, "extra_special_tokens": None}, "t")
    with pytest.raises(ModelRefused, match="t has more than 10000 extra_special_tokens"):
        check_tokenizer_config({"extra_special_tokens": many}, "t")
