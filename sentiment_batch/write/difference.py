"""What makes two jobs two, in a user's words."""

import json
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

_SHOWN = 3
_MODELS = {"model": "another model", "old": "another OLD", "new": "another NEW"}  # by their digests
_IN_WORDS = {  # what nobody would read
    "data_sha256": "other training data",
    "row_format": "another version of the program",
    "training_format": "another version of the program",
}


def difference(found: dict[str, Any], identity: dict[str, Any]) -> str:
    """Which parts of the identity of a claim that was found and of the job's own differ; the first three of them."""
    theirs, ours = (
        found.get("identity"),
        json.loads(json.dumps(identity)),
    )  # as the other comes from its file: no tuples
    theirs = dict(theirs) if isinstance(theirs, dict) else {}
    if theirs.get("command") != ours.get("command"):
        return f"command {_value(theirs.get('command'))} there, {_value(ours.get('command'))} here"
    inputs = _inputs(theirs.pop("inputs", []), ours.pop("inputs", []))
    return "; ".join(islice(chain(inputs, _others(theirs, ours)), _SHOWN)) or "another version made it"


def _inputs(theirs: Any, ours: Any) -> Iterator[str]:
    """One clause for each file that differs: the first of its name, its size, its content and its time that does."""
    if not isinstance(theirs, list) or not isinstance(ours, list):
        return
    if len(theirs) != len(ours):
        yield f"{len(theirs)} input files there, {len(ours)} here"
    for there, here in zip(theirs, ours, strict=False):
        if there == here or not isinstance(there, dict):
            continue
        changed = {key for key in {*there, *here} if there.get(key) != here.get(key)}
        if "name" in changed:
            yield f"the input {_value(there.get('name'))} there, {_value(here['name'])} here"
        elif "format" in changed:
            yield f"{here['name']} read as {_value(there.get('format'))} there, as {_value(here['format'])} here"
        elif "size" in changed:
            yield f"{here['name']} had {_value(there.get('size'))} bytes, it has {_value(here['size'])} now"
        elif "edges_sha256" in changed:
            yield f"the content of {here['name']} is another now"
        else:
            yield f"{here['name']} was written again since"


def _others(theirs: dict[str, Any], ours: dict[str, Any]) -> Iterator[str]:
    """Options by their names on the command line, those that a person can read first."""
    theirs, ours = _flat(theirs), _flat(ours)
    names = [name for name in {*theirs, *ours} if theirs.get(name) != ours.get(name)]
    for name in sorted(names, key=lambda name: (name in _IN_WORDS, name)):
        if name in _MODELS:
            yield f"{_MODELS[name]} ({_value(theirs.get(name)):.16} there, {_value(ours.get(name)):.16} here)"
            continue
        if name == "--since" and theirs.get(name) and ours.get(name):
            yield "another output for --since"
            continue
        yield _IN_WORDS.get(name) or f"{name} {_value(theirs.get(name))} there, {_value(ours.get(name))} here"


def _flat(identity: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in identity.items():
        if isinstance(value, dict):
            flat |= {f"--{key.replace('_', '-')}": each for key, each in value.items()}
        else:
            flat[name if name in (*_IN_WORDS, *_MODELS, "command") else f"--{name.replace('_', '-')}"] = value
    return flat


def _value(value: Any) -> str:
    if isinstance(value, list):
        value = ",".join(map(str, value))
    return "none" if value in (None, "") else f"{value!s:.60}"
