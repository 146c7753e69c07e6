"""model/charsmap.py: tables of characters, held against what the tokenizers library makes of them."""

import base64
import random
import unicodedata

import pytest
from faults.hostile import charsmap
from tokenizers.normalizers import Precompiled

from sentiment_batch.model.charsmap import check_charsmap

NFKC = {
    character.encode(): unicodedata.normalize("NFKC", character).encode()
    for character in map(chr, [*range(0xA0, 0x180), 0x3316, 0x337F, 0xFB03, 0xFDFA, 0xFF21])
    if unicodedata.normalize("NFKC", character) != character
}


def test_what_sentencepiece_writes_is_taken_and_does_what_it_says() -> None:
    table = charsmap(NFKC | {"ß".encode(): b"ss", b"\t": b" ", b"\x01": b"", "e\u0301".encode(): "é".encode()})
    check_charsmap(table)
    assert Precompiled(base64.b64decode(table)).normalize_str("Ａß\t\x01ﷺ") == "Ass صلى الله عليه وسلم"


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        ({b"e": b"abcd"}, "makes 4 characters of 1"),
        ({b"e": "\ufdfa".encode()}, "makes 18 characters of 1"),
        ({b"\r\n": b"x" * 30}, "makes 30 characters of 2"),
        ({b"\xff": b"a"}, "no UTF-8"),
        ({b"a": b"\xff"}, "no UTF-8"),
        ({b"a" * 70: b"a"}, "leads nowhere"),
    ],
)
def test_tables_that_are_refused(pairs: dict[bytes, bytes], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check_charsmap(charsmap(pairs))


@pytest.mark.parametrize("table", ["", "!", "AAAA", "AAAAAA==", base64.b64encode(b"\xff" * 100).decode()])
def test_what_is_no_table(table: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        check_charsmap(table)


def test_a_large_table_is_refused() -> None:
    with pytest.raises(ValueError, match="larger than 2 MiB"):
        check_charsmap(base64.b64encode(b"\0\0\1\0" + b"\0" * 2**21).decode())


def test_no_table_that_is_taken_makes_the_library_panic(capfd: pytest.CaptureFixture[str]) -> None:
    """Damaged at random: what is taken here may be refused by the library as a whole, and never fails on a text."""
    whole = base64.b64decode(charsmap({b"e": b"abc", "é".encode(): b"e", b"ab": b"x"}))
    used = [place for place in range(4, len(whole)) if whole[place]]
    chance = random.Random(0)
    text = "".join(map(chr, [*range(1, 0x250), *chance.choices(range(0x250, 0xD800), k=500)])) + "eéabe\u0301"
    taken = panics = 0
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(chance.choice([1, 2, 5])):
            damaged[chance.choice([chance.choice(used), chance.randrange(4, len(whole))])] = chance.randrange(256)
        try:
            check_charsmap(base64.b64encode(damaged).decode())
        except ValueError:
            panics += fails(damaged, text)
            continue
        taken += 1
        try:
            normalizer = Precompiled(bytes(damaged))
        except Exception:  # the library raises plain Exception where the strings are no UTF-8
            continue
        normalizer.normalize_str(text)
    capfd.readouterr()
    assert taken > 50
    assert panics > 50, "and the damage is one that the library does not survive"


def fails(table: bytearray, text: str) -> bool:
    try:
        Precompiled(bytes(table)).normalize_str(text)
    except BaseException:
        return True
    return False
