"""measure/long_labels.py: a label that may be a review is on no page, wherever the metrics have it."""

import json

from documents import evaluated

from sentiment_batch.measure.long_labels import with_plain_labels
from sentiment_batch.measure.report import report_html

REVIEW = "pelayanannya lambat sekali dan makanannya sudah dingin waktu datang"


def test_long_labels_are_numbered_everywhere() -> None:
    metrics = evaluated(gates=("macro_f1>=0.80",))
    [first, *others] = metrics["evaluation"]["confusion"]["labels"]
    metrics = json.loads(json.dumps(metrics).replace(json.dumps(first), json.dumps(REVIEW)))
    metrics["gates"][0]["condition"] = f"recall[{REVIEW}]>=0.8"
    plain = with_plain_labels(metrics)
    assert REVIEW not in json.dumps(plain)
    assert plain["evaluation"]["confusion"]["labels"] == ["label 1", *others]
    assert plain["evaluation"]["per_class"]["label 1"] == metrics["evaluation"]["per_class"][REVIEW]
    assert plain["gates"][0]["condition"] == "recall[label 1]>=0.8"
    assert REVIEW[:12] not in report_html(metrics)


def test_names_stay_as_they_are() -> None:
    metrics = evaluated()
    assert with_plain_labels(metrics) is metrics
