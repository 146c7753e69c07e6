"""A metrics JSON -> what a person would wonder at: a job that went well, with the wrong column or the wrong model."""

import logging
from typing import Any

ENOUGH_ROWS = 100  # fewer may well be all alike
NEARLY_ALL = 0.9
MANY_UNKNOWN = 0.2  # of the tokens; of texts like those that a vocabulary was made from it is 1 or 2 % at most
LABEL_CHARACTERS = 40  # a longer one may be a review, if the model was trained on the wrong column

log = logging.getLogger(__name__)


def say_doubts(metrics: dict[str, Any]) -> None:
    """One warning with all doubts about a finished `score`, if there are any."""
    if found := doubts(metrics):
        log.warning("look at this before you use it: %s", "; ".join(found))


def doubts(metrics: dict[str, Any]) -> list[str]:
    """Each in words, with what may be the matter. None about fewer than `ENOUGH_ROWS` rows."""
    rows, predicted = metrics["rows"], metrics["predictions"]["counts"]
    out, scored, blank = rows["out"], rows["scored"], rows["empty"] + rows["null"]
    found = []
    if out >= ENOUGH_ROWS and blank > NEARLY_ALL * out:
        found.append(f"{blank:,} of {out:,} texts are empty or null (is --text-column the right one?)")
    if scored >= ENOUGH_ROWS:
        label = max(predicted, key=predicted.__getitem__)
        if len(predicted) > 1 and predicted[label] == scored:
            shown = f" {label!r}" if len(label) <= LABEL_CHARACTERS else ""
            found.append(
                f"all {scored:,} texts got the one label{shown} (are --text-column and --model the right ones?)"
            )
        if rows["truncated"] > NEARLY_ALL * scored:
            length = metrics["model"]["max_length"]
            found.append(f"{rows['truncated']:,} of {scored:,} texts were cut to --max-length, {length} tokens")
        profile = metrics.get("profile")
        if profile and profile["unknown_tokens"] > MANY_UNKNOWN * profile["all_tokens"]:
            share = profile["unknown_tokens"] / profile["all_tokens"]
            found.append(f"the model does not know {share:.0%} of the tokens (is it one of the texts' language?)")
        evaluation = metrics.get("evaluation")
        if evaluation and not evaluation["rows"]:
            found.append("no row has a label that the model knows (is --label-column the right one?)")
    return found
