"""Figures and labels as people read them on a page."""

import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sentiment_batch.logs import plain

_LETTERS = 48  # of a label in a sentence
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
_NONE = "-"


def cut(label: object, width: int) -> str:
    """A label of the data in one line, no wider than so many letters; what could turn the line around is escaped."""
    text, used = plain(str(label)[: 4 * width + 1]), 0.0
    for place, letter in enumerate(text):
        used += 2 if unicodedata.east_asian_width(letter) in "WF" else 1.4 if letter.isupper() else 1
        if used > width or (used > width - 1 and place + 1 < len(text)):
            return f"{text[:place]}…"
    return text


def quoted(label: object) -> str:
    """A label within a sentence, whichever way it is written."""
    return f"“\u2068{cut(label, _LETTERS)}\u2069”"


def figure(value: float | None, digits: int = 3) -> str:
    """Never 1.000 or 0.000 for what is not quite that."""
    if value is None:
        return "undefined"
    text = f"{value:.{digits}f}"
    nearly = float(text) in (0, 1) and value != float(text) and digits < 6
    return figure(value, digits + 1) if nearly else text


def share(value: float | None) -> str:
    """In percent."""
    return _NONE if value is None else f"{value:.1%}".replace("%", "\u00a0%")


def number(value: float | None) -> str:
    return _NONE if value is None else f"{value:,.0f}" if isinstance(value, int) or value >= 100 else f"{value:,.1f}"


def some(count: int, what: str) -> str:
    """So many of them."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def about(count: int) -> str:
    """A number of rows where there is little room."""
    if count < 10_000:
        return f"{count:,}"
    if count < 99_950:
        return f"{count / 1e3:.1f}k"
    return f"{count / 1e3:.0f}k" if count < 999_500 else f"{count / 1e6:.1f}M"


def signed(value: float | None) -> str:
    return "undefined" if value is None else f"{value:+.3f}"


def between(ends: Sequence[float] | None) -> str:
    """An interval; "" if there is none."""
    return f"{figure(ends[0])} to {figure(ends[1])}" if ends else ""


def size(count: float | None) -> str:
    """Bytes in the unit that suits them."""
    if count is None:
        return _NONE
    place = 0
    while count >= 1024 and place + 1 < len(_UNITS):
        count, place = count / 1024, place + 1
    return f"{count:,.0f} {_UNITS[place]}" if place == 0 or count >= 100 else f"{count:,.1f} {_UNITS[place]}"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return _NONE
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def moment(when: Any) -> str:
    """A time of the metrics, to the minute."""
    try:
        return datetime.fromisoformat(str(when)).strftime("%Y-%m-%d %H:%M %Z")
    except ValueError:
        return cut(when, _LETTERS)
