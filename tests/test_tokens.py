"""model/tokens.py: the ids that transformers would give, without transformers."""

import hashlib
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from sentiment_batch.errors import ModelRefused
from sentiment_batch.model.tokens import TokenIds, count_token, load_tokenizer, tokenise

# Cut into any number of tokens, into none at all, or taken for special ones.
PIECES = [
    "bagus",
    "sekali",
    "TIDAK enak",
    "é",
    "e\u0301",
    "味",
    "👍🏽",
    "[SEP]",
    "[CLS] [MASK]",
    "[PAD]",
    "##nya",
    "a" * 120,
]
PIECES += ["\u200b", "\x00", "\ufeff", "  ", "\t\n", "!!!", "10.000,-", "\u202e", "pelayanannya", "ß", "\U0010ffff"]


def random_texts(count: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    lengths = chance.choices([0, 1, 2, 5, 20], k=count)
    return [chance.choice(["", " "]).join(chance.choices(PIECES, k=length)) for length in lengths]


@pytest.fixture(scope="module")
def theirs(tiny_model: Path) -> Any:
    from transformers import BertTokenizer

    return BertTokenizer.from_pretrained(tiny_model)


@pytest.fixture(scope="module")
def ours(tiny_model: Path) -> Tokenizer:
    return load_tokenizer(str(tiny_model), 600)


def as_lists(tokens: TokenIds) -> list[list[int]]:
    ends = tokens.starts + tokens.lengths
    return [tokens.flat[start:end].tolist() for start, end in zip(tokens.starts, ends, strict=True)]


@pytest.mark.parametrize("max_length", [2, 3, 5, 17, 64])
def test_ids_are_those_of_transformers(ours: Tokenizer, theirs: Any, max_length: int) -> None:
    texts = [text[: 64 * max_length] for text in random_texts(300, max_length)]
    whole = [len(ids) for ids in theirs(texts)["input_ids"]]
    tokens = tokenise(ours, texts, max_length)
    assert as_lists(tokens) == theirs(texts, truncation=True, max_length=max_length)["input_ids"]
    assert tokens.truncated.tolist() == [length > max_length for length in whole]
    assert 0 < tokens.truncated.sum() < len(texts) or max_length == 64


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.text(max_size=40), max_size=5), max_length=st.integers(2, 12))
def test_ids_of_any_text_are_those_of_transformers(
    ours: Tokenizer, theirs: Any, texts: list[str], max_length: int
) -> None:
    expected = [theirs(text, truncation=True, max_length=max_length)["input_ids"] for text in texts]
    assert as_lists(tokenise(ours, texts, max_length)) == expected


def test_a_list_longer_than_the_library_gets_at_once_keeps_its_order(ours: Tokenizer) -> None:
    texts = [text or "enak" for text in random_texts(2_500, 7)]
    tokens = tokenise(ours, texts, 6)
    assert len(tokens.lengths) == len(tokens.truncated) == 2_500
    for row in range(1_000, 1_060):
        alone = tokenise(ours, [texts[row]], 6)
        assert as_lists(tokens)[row] == as_lists(alone)[0]
        assert tokens.truncated[row] == alone.truncated[0]


def test_texts_lie_one_behind_the_other(ours: Tokenizer) -> None:
    tokens = tokenise(ours, ["bagus sekali", "", "enak"], 64)
    assert (tokens.flat.dtype, tokens.starts.dtype, tokens.lengths.dtype) == (np.int32, np.int64, np.int32)
    assert tokens.truncated.dtype == bool
    assert tokens.starts.tolist() == [0, tokens.lengths[0], tokens.lengths[0] + 2]
    assert len(tokens.flat) == tokens.lengths.sum()


def test_a_token_is_counted_in_each_text(ours: Tokenizer) -> None:
    texts = ["bagus", "", "\U0010ffff bagus \U0010ffff", "\U0010ffff " * 100, "enak"]
    tokens = tokenise(ours, texts, 12)
    unknown = ours.token_to_id("[UNK]")
    of_rows = np.split(tokens.flat, tokens.starts[1:])
    assert count_token(tokens, unknown).tolist() == [(ids == unknown).sum() for ids in of_rows] == [0, 0, 2, 10, 0]
    assert count_token(tokens, None).tolist() == [0] * 5
    assert count_token(tokenise(ours, [], 12), unknown).tolist() == []


def test_no_texts_have_no_tokens(ours: Tokenizer) -> None:
    tokens = tokenise(ours, [], 64)
    assert [len(each) for each in (tokens.flat, tokens.starts, tokens.lengths, tokens.truncated)] == [0, 0, 0, 0]


def test_a_megabyte_without_a_space_is_cut_and_fast(ours: Tokenizer) -> None:
    started = time.perf_counter()
    tokens = tokenise(ours, ["x" * 2**20, "enak", "味" * 2**20, "a " * 2**19], 64)
    assert time.perf_counter() - started < 3
    assert tokens.truncated.tolist() == [True, False, True, True]
    assert tokens.lengths.max() <= 64


class Watched:
    """A tokenizer that notes the longest text that it was given."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer, self.longest = tokenizer, 0

    def encode_batch_fast(self, texts: list[str], **options: Any) -> Any:
        self.longest = max(self.longest, *map(len, texts))
        return self.tokenizer.encode_batch_fast(texts, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)


def test_no_more_is_looked_at_than_64_characters_for_each_token(ours: Tokenizer) -> None:
    watched = Watched(ours)
    tokens = tokenise(watched, ["x" * 100_000, "y" * 640, "y" * 641], 10)  # type: ignore[arg-type]
    assert watched.longest == 640
    assert tokens.truncated.tolist() == [True, False, True]


# Special tokens


def word_tokenizer(*, unknown: bool = True) -> Tokenizer:
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "enak": 4, "bagus": 5, "sekali": 6}
    model = models.WordLevel(vocabulary, unk_token="<unk>") if unknown else models.BPE(vocabulary, [])
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("<s> $A </s>", [[0, 4, 5, 2], [0, 2], [0, 4, 4, 2]]),
        ("<s> <s> $A", [[0, 0, 4, 5], [0, 0], [0, 0, 4, 4]]),
        ("$A </s>", [[4, 5, 2], [2], [4, 4, 4, 2]]),
    ],
)
def test_special_tokens_stay_around_what_is_cut(template: str, expected: list[list[int]]) -> None:
    tokenizer = word_tokenizer()
    special = [("<s>", 0), ("</s>", 2)]
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=special)
    tokens = tokenise(tokenizer, ["enak bagus", "", "enak enak enak enak sekali"], 4)
    assert as_lists(tokens) == expected
    assert tokens.truncated.tolist() == [False, False, True]


def test_a_tokenizer_without_special_tokens_is_not_an_encoders() -> None:
    with pytest.raises(ModelRefused, match="no special tokens"):
        tokenise(word_tokenizer(), ["enak"], 4)


def test_special_tokens_are_found_for_a_vocabulary_without_the_letter_a() -> None:
    tokenizer = word_tokenizer(unknown=False)  # a BPE without an unknown token drops what it does not know
    special = [("<s>", 0), ("</s>", 2)]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=special)
    tokenizer.add_tokens(["baik"])
    assert as_lists(tokenise(tokenizer, ["baik"], 8)) == [tokenizer.encode("baik").ids]


# Loading


def test_cutting_and_padding_of_the_folder_are_off(tmp_path: Path) -> None:
    tokenizer = word_tokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=9)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    loaded = load_tokenizer(str(tmp_path), 7)
    assert as_lists(tokenise(loaded, ["enak bagus sekali", "enak"], 64)) == [[0, 4, 5, 6], [0, 4]]


def test_ids_that_the_model_does_not_know_are_refused(tmp_path: Path) -> None:
    word_tokenizer().save(str(tmp_path / "tokenizer.json"))
    load_tokenizer(str(tmp_path), 7)
    with pytest.raises(ModelRefused, match="makes ids up to 6, the model knows 6: they are not of one model"):
        load_tokenizer(str(tmp_path), 6)


def test_added_tokens_count_too(tmp_path: Path) -> None:
    tokenizer = word_tokenizer()
    tokenizer.add_special_tokens(["<user>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ModelRefused, match="makes ids up to 7, the model knows 7"):
        load_tokenizer(str(tmp_path), 7)


def test_special_tokens_that_the_model_does_not_know_are_refused(tmp_path: Path) -> None:
    """They need not be in the vocabulary: the template of the file names their ids itself."""
    tokenizer = word_tokenizer()
    special = [("<s>", 0), ("</s>", 99)]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=special)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ModelRefused, match="makes ids up to 99, the model knows 7"):
        load_tokenizer(str(tmp_path), 7)


@pytest.mark.parametrize("content", [None, "", "{", "{}", '{"model": {"type": "Python"}}'])
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ModelRefused, match=r"tokenizer\.json cannot be read"):
        load_tokenizer(str(tmp_path), 7)


def test_a_tokenizer_that_fails_on_a_text_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    """Its unknown token is none of its words; as the first unknown word of a dump it would end the job."""
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="<none>"))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ModelRefused, match="fails on a text"):
        load_tokenizer(str(tmp_path), 7)


def test_a_tokenizer_that_fails_on_a_text_of_the_dump_is_refused_without_the_text(ours: Tokenizer) -> None:
    class Failing:
        def encode_batch_fast(self, texts: list[str], **options: Any) -> Any:
            if "secret" in texts:
                raise BaseException(f"panicked at {texts}")
            return ours.encode_batch_fast(texts, **options)

    with pytest.raises(ModelRefused, match="fails on a text") as refused:
        tokenise(Failing(), ["enak", "secret"], 8)  # type: ignore[arg-type]
    assert "secret" not in str(refused.value)


def test_another_file_than_the_inspected_one_is_refused(tmp_path: Path) -> None:
    word_tokenizer().save(str(tmp_path / "tokenizer.json"))
    inspected = hashlib.sha256((tmp_path / "tokenizer.json").read_bytes()).hexdigest()
    load_tokenizer(str(tmp_path), 7, inspected)
    word_tokenizer(unknown=False).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ModelRefused, match=r"tokenizer\.json changed while it was loaded"):
        load_tokenizer(str(tmp_path), 7, inspected)


def test_few_words_are_tried_for_the_special_tokens() -> None:
    """A hostile vocabulary may have millions that all come to nothing."""
    words = {f"w{number}": number for number in range(5_000)}
    tokenizer = Tokenizer(models.BPE(words, []))
    watched = Watched(tokenizer)
    watched.calls = 0  # type: ignore[attr-defined]
    real = watched.encode_batch_fast

    def counted(texts: list[str], **options: Any) -> Any:
        watched.calls += 1  # type: ignore[attr-defined]
        return real(texts, **options)

    watched.encode_batch_fast = counted  # type: ignore[method-assign]
    with pytest.raises(ModelRefused, match="no special tokens"):
        tokenise(watched, ["b"], 4)  # type: ignore[arg-type]
    assert watched.calls < 3_000  # type: ignore[attr-defined]
