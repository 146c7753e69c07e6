"""measure/profile.py: histograms against NumPy's, and a section that adds up."""

import json

import numpy as np
import pytest

from sentiment_batch.measure.counts import add
from sentiment_batch.measure.profile import CONFIDENCE, TOKENS, UNKNOWN_SHARE, count_profile, histogram, profile_section


@pytest.mark.parametrize("edges", [TOKENS, UNKNOWN_SHARE, CONFIDENCE])
def test_a_bin_has_its_lower_edge_and_not_its_upper_one(edges: tuple[float, ...]) -> None:
    for number, edge in enumerate(edges):
        assert histogram(np.array([edge]), edges)[number] == 1
        if number:
            assert histogram(np.array([np.nextafter(edge, 0)]), edges)[number - 1] == 1
    assert histogram(np.array([1e9]), edges)[-1] == 1
    assert histogram(np.array([]), edges) == [0] * len(edges)


def test_histograms_are_numpys() -> None:
    chance = np.random.default_rng(3)
    tokens, confidence = chance.integers(2, 600, 5_000), chance.uniform(0.3, 1, 5_000)
    unknown = chance.binomial(tokens, chance.choice([0, 0.01, 0.3], 5_000))
    counts = count_profile(tokens, unknown, confidence)
    for name, values, edges in (
        ("tokens", tokens, TOKENS),
        ("unknown_share", unknown / tokens, UNKNOWN_SHARE),
        ("confidence", confidence, CONFIDENCE),
    ):
        assert counts[name] == np.histogram(values, [*edges, np.inf])[0].tolist()
    assert counts["unknown_share"][0] == (unknown == 0).sum()
    assert (counts["unknown_tokens"], counts["all_tokens"]) == (unknown.sum(), tokens.sum())
    halves = [count_profile(tokens[part], unknown[part], confidence[part]) for part in (slice(0, 7), slice(7, None))]
    assert add(*halves) == counts


def test_the_section_is_json_and_its_histograms_have_all_rows() -> None:
    counts = count_profile(np.array([3, 70, 512]), np.array([0, 7, 512]), np.array([0.4, 1.0, 0.95]))
    section = profile_section(counts, {"good": 2, "bad": 1})
    assert json.loads(json.dumps(section, allow_nan=False)) == section
    assert section["rows"] == 3
    for name in ("tokens", "unknown_share", "confidence"):
        assert len(section[name]["edges"]) == len(section[name]["counts"])
        assert sum(section[name]["counts"]) == 3
    assert section["confidence"]["counts"][-1] == 2
    assert (section["labels"], section["unknown_tokens"], section["all_tokens"]) == ({"good": 2, "bad": 1}, 519, 585)
