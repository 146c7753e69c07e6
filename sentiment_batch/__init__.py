"""Label every review of a dump exactly once, with a model that was fine-tuned once."""

from typing import Any

__version__ = "0.1.0"
MADE_BY = f"sentiment-batch {__version__}"  # in whatever the program writes
__all__ = ["Labeller"]


def __getattr__(name: str) -> Any:
    if name == "Labeller":  # imported when asked for: `--help` needs no pyarrow
        from sentiment_batch.labeller import Labeller

        return Labeller
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
