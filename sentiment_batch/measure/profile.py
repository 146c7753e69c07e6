"""What labelled rows look like, as small histograms: enough to see another night's data drift, and no text in them.

Bin i of a histogram holds edges[i] <= x < edges[i + 1], the last one all from its edge on.
"""

from typing import Any

import numpy as np

TOKENS = (0, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
UNKNOWN_SHARE = (0, 0.0001, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75)  # the first: none, of any length that a text has
CONFIDENCE = tuple(number / 20 for number in range(20))
_EDGES = {"tokens": TOKENS, "unknown_share": UNKNOWN_SHARE, "confidence": CONFIDENCE}


def count_profile(tokens: np.ndarray, unknown: np.ndarray, confidence: np.ndarray) -> dict[str, Any]:
    """The whole-number counts of scored rows, each [rows]: their tokens, how many of these are unknown, confidence."""
    shares = unknown / np.maximum(tokens, 1)
    values = {"tokens": tokens, "unknown_share": shares, "confidence": confidence}
    return {
        **{name: histogram(of, _EDGES[name]) for name, of in values.items()},
        "unknown_tokens": int(unknown.sum()),
        "all_tokens": int(tokens.sum()),
    }


def profile_section(counts: dict[str, Any], predicted: dict[str, int]) -> dict[str, Any]:
    """The `profile` of the metrics JSON: of scored rows, with how many of them got each label."""
    return {
        "rows": sum(counts["tokens"]),
        **{name: {"edges": list(edges), "counts": counts[name]} for name, edges in _EDGES.items()},
        "labels": predicted,
        "unknown_tokens": counts["unknown_tokens"],
        "all_tokens": counts["all_tokens"],
    }


def histogram(values: np.ndarray, edges: tuple[float, ...]) -> list[int]:
    """How many values are in each bin; none is below the first edge."""
    bins = np.searchsorted(np.asarray(edges, np.float64), values.astype(np.float64), side="right") - 1
    found: list[int] = np.bincount(bins, minlength=len(edges)).tolist()
    return found
