"""measure/words.py: figures and labels as people read them."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_batch.measure.words import (
    about,
    between,
    cut,
    duration,
    figure,
    moment,
    number,
    quoted,
    share,
    signed,
    size,
)


@given(st.text(), st.integers(2, 40))
def test_a_cut_label_is_one_line_and_not_too_wide(label: str, width: int) -> None:
    text = cut(label, width)
    wide = sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text if letter != "…")
    assert wide <= width
    assert not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text)
    text.encode()


def test_what_is_cut_ends_in_an_ellipsis() -> None:
    assert [cut(each, 4) for each in ("abcd", "abcde", "日本", "日本語", "ABCD", "a\nb", "")] == [
        *("abcd", "abc…", "日本", "日…", "AB…", "a\\nb", ""),
    ]
    assert cut("x" * 10_000, 10) == "x" * 9 + "…"
    assert quoted("a\u202eb") == "“\u2068a\\u202eb\u2069”"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0.8647, "0.865"), (1.0, "1.000"), (0, "0.000"), (None, "undefined")),
        *((0.9996, "0.9996"), (0.99999, "0.99999"), (0.0001, "0.0001"), (1e-12, "0.000000")),
    ],
)
def test_nothing_is_faultless_that_is_not(value: float | None, text: str) -> None:
    assert figure(value) == text


def test_numbers() -> None:
    assert [number(each) for each in (1260, 4132.8, 5.64, 0, None)] == ["1,260", "4,133", "5.6", "0", "-"]
    assert [about(each) for each in (131, 9_999, 12_345, 99_950, 123_456, 999_499, 999_500, 12_345_678)] == [
        *("131", "9,999", "12.3k", "100k", "123k", "999k", "1.0M", "12.3M"),
    ]
    assert [size(each) for each in (0, 1023, 246_974, 615_268_352, 2**40 * 3, None)] == [
        *("0 bytes", "1,023 bytes", "241 KiB", "587 MiB", "3.0 TiB", "-"),
    ]
    assert [share(each) for each in (0.8929, 0.0, None)] == ["89.3\u00a0%", "0.0\u00a0%", "-"]
    assert [signed(each) for each in (0.0246, -0.0246, None)] == ["+0.025", "-0.025", "undefined"]
    assert (between([0.84, 0.889]), between(None)) == ("0.840 to 0.889", "")


def test_times() -> None:
    assert [duration(each) for each in (4.596, 126.1, 7_322.0, None)] == ["4.6 s", "2 min 06 s", "2 h 02 min", "-"]
    assert moment("2026-11-26T14:42:15+00:00") == "2026-11-26 14:42 UTC"
    assert moment("<soon>") == "<soon>"
