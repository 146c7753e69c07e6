"""Labels that may be reviews, of a model that was trained on the wrong column -> names that a page may have."""

from typing import Any

from sentiment_batch.measure.doubts import LABEL_CHARACTERS


def with_plain_labels(metrics: dict[str, Any]) -> dict[str, Any]:
    """The metrics JSON with "label 3" in the place of the third label wherever that is too long to be a name."""
    names = {
        label: f"label {number}"
        for number, label in enumerate(_labels(metrics), 1)
        if isinstance(label, str) and len(label) > LABEL_CHARACTERS
    }
    plain: dict[str, Any] = _renamed(metrics, names) if names else metrics
    return plain


def _labels(metrics: dict[str, Any]) -> list[Any]:
    """Those of the model, or of both that are compared, each once."""
    found: dict[Any, None] = {}
    for side in ("model", "old", "new"):
        section = metrics.get(side)
        if isinstance(section, dict):
            found |= dict.fromkeys(map(str, section.get("labels") or ()))
    for section in ("evaluation", "comparison"):
        inner = metrics.get(section) or {}
        found |= dict.fromkeys(map(str, (inner.get("confusion") or inner).get("labels") or ()))
    return list(found)


def _renamed(value: Any, names: dict[str, str]) -> Any:
    """A label may be a key, a value, or a part of a condition or of an error."""
    if isinstance(value, dict):
        return {names.get(key, key): _renamed(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [_renamed(each, names) for each in value]
    if isinstance(value, str):
        for label, name in names.items():
            value = value.replace(label, name)
    return value
