"""URLs of inputs -> the objects behind them: one, those below a prefix, or those that a pattern names."""

import logging
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from sentiment_batch.errors import InputError, UsageError
from sentiment_batch.remote import open_bucket, remote_errors, split_url

_GLOB_CHARACTERS = "*?["
_SHOWN = 5

log = logging.getLogger(__name__)


def find_objects(url: str) -> list[str]:
    """The URLs of the objects, sorted. A prefix is searched to its bottom, as a folder is.

    In a prefix and for a pattern, names that begin with `_` or `.` are left out (`is_data`), unless the pattern spells
    one out. Raises `InputError` if there is none.
    """
    root, key = split_url(url)
    if any(character in key for character in _GLOB_CHARACTERS):
        found = _matching(root, key)
    elif _is_object(root, key):
        return [url]
    else:
        below = f"{key.rstrip('/')}/" if key else ""
        listed = _listed(root, below)
        found = [name for name in listed if is_data(name.removeprefix(below))]
        known = set(found)
        say_left_out(url, (name.removeprefix(below) for name in listed if name not in known))
    if not found:
        raise InputError(f"no data files at {url} (names with a leading _ or . are left out)")
    return [f"{root}/{name}" for name in sorted(found)]


def is_data(name: str) -> bool:
    """Whether no segment of a name begins with `_` or `.`, as those of what tools leave beside the data do."""
    return not any(segment.startswith(("_", ".")) for segment in name.split("/"))


def say_left_out(where: str, names: Iterable[str]) -> None:
    """One line about what a folder, a prefix or a pattern has besides data, if it has any."""
    if hidden := sorted(names):
        listed = first_few(list(map(repr, hidden)))
        log.info("%s: %d left out, because a leading _ or . is not data: %s", where, len(hidden), listed)


def first_few(names: Sequence[str]) -> str:
    """The first five, for a message that must not grow with the input, and whether there are more."""
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def object_version(url: str) -> tuple[int, str]:
    """(bytes, etag) of the object that is there now. Raises `InputError` if there is none."""
    import obstore

    store, key = open_bucket(url)
    with remote_errors(url):
        meta = obstore.head(store, key)
    return int(meta["size"]), str(meta["e_tag"] or meta["last_modified"])


def _is_object(root: str, key: str) -> bool:
    import obstore

    if not key or key.endswith("/"):
        return False
    with remote_errors(f"{root}/{key}"):
        try:
            obstore.head(open_bucket(root)[0], key)
        except FileNotFoundError:
            return False
    return True


def _matching(root: str, pattern: str) -> list[str]:
    """Keys that fit the pattern; a star stands for anything within a segment."""
    if "**" in pattern:
        raise UsageError(f"{root}/{pattern}: no ** in a URL; give the prefix, which is searched to its bottom")
    segments = pattern.split("/")
    fixed = next(number for number, each in enumerate(segments) if any(mark in each for mark in _GLOB_CHARACTERS))
    prefix = "".join(f"{each}/" for each in segments[:fixed])
    found = []
    for key in _listed(root, prefix):
        if fits(key.split("/"), segments) and (
            is_data(key.removeprefix(prefix)) or not is_data(pattern.removeprefix(prefix))
        ):
            found.append(key)
    return found


def fits(names: list[str], pattern: list[str]) -> bool:
    """Whether the names of folders and a file fit those of a pattern, of which `**` stands for any number."""
    if not pattern or not names:
        return not names and all(each == "**" for each in pattern)
    if pattern[0] == "**":
        return fits(names, pattern[1:]) or fits(names[1:], pattern)
    return fnmatchcase(names[0], pattern[0]) and fits(names[1:], pattern[1:])


def _listed(root: str, prefix: str) -> list[str]:
    import obstore

    store: Any = open_bucket(root)[0]
    with remote_errors(f"{root}/{prefix}"):
        return [str(meta["path"]) for page in obstore.list(store, prefix=prefix or None) for meta in page]
