"""What Ray says of a worker that was lost -> a line, or the error of a job that no other worker can save."""

import re

from sentiment_batch.errors import EnvironmentFailure, UsageError
from sentiment_batch.logs import one_line

_SHOWN_CHARACTERS = 160
_NOT_IMPORTED = "failed to import on the worker"  # as Ray says it, among many lines
_OWN_NODE = "Owner's node has crashed"
_DETAIL = "Worker exit detail: "
_UNSURE = " The task may"  # or may not have been done


def loss_in_words(error: Exception) -> str:
    """What is worth saying of it. Raises `UsageError` for a node without this package, and `EnvironmentFailure` for the
    driver's own node: the next call of Ray would end this process.
    """
    text = str(error)
    if _OWN_NODE in text:
        raise EnvironmentFailure("Ray on the host of this driver has crashed; what is finished is kept: run again")
    if _NOT_IMPORTED in text:
        behind = text.partition(_NOT_IMPORTED)[2]
        why = re.search(r"^\w+(?:Error|Exception): .*$", behind, re.MULTILINE)
        said = f" ({one_line(why[0])})" if why else ""
        raise UsageError(f"a node of the cluster cannot import sentiment-batch{said}: install it on all nodes")
    words = " ".join((text.partition(_DETAIL)[2] or text).partition(_UNSURE)[0].split())[:_SHOWN_CHARACTERS]
    return f"{type(error).__name__}: {one_line(words)}"
