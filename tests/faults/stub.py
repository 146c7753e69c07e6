"""A labeller without a model: the label of a text follows from its SHA-256. All else but a report is the program's own.

As a script it is the program itself with that labeller: `python stub.py score dump.tsv --model stub --output out`.
"""

import hashlib
import sys
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from sentiment_batch import evaluate, labeller, report, score
from sentiment_batch.config import LabelOptions
from sentiment_batch.measure.stamp import NAME, stamp
from sentiment_batch.model.classifier import Effort
from sentiment_batch.model.compute import Compute
from sentiment_batch.model.tokens import TokenIds

if TYPE_CHECKING:
    import pytest

LABELS = ("positive", "neutral", "negative")
_DIGEST_BYTES = 8


class StubLabeller(labeller.Labeller):
    """Labels by hash; takes the options of any labeller, and no model folder."""

    def __init__(self, options: LabelOptions, text_column: str, hook: Callable[[], object] | None = None):
        self.options = options
        self.text_column = text_column
        self.hook = hook  # is called before each chunk is labelled, in a worker, too
        fields = {"model_type": "bert", "vocab_size": 1, "pad_token_id": 0, "base_model": None, "digest": "stub"}
        folder = SimpleNamespace(path=options.model, labels=LABELS, max_length=512, unknown_id=None, **fields)
        self.folder = folder  # type: ignore[assignment]
        self.labels = LABELS
        self.effort = Effort()
        self.max_length = options.max_length or 512
        self.tokenizer = None
        self.classifier = self  # type: ignore[assignment]
        self.compute = Compute("torch", "cpu", "float32")

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.options, self.text_column, self.hook)

    def load(self, meanwhile: object = None) -> float:
        return 0.0

    def logits(self, tokens: TokenIds, done: Callable[[int], None] = lambda _: None) -> np.ndarray:
        """float32 [texts, labels]: whichever label the first of a text's two ids chooses is well ahead."""
        if self.hook and tokens.flat.size:
            self.hook()
        ids = tokens.flat.reshape(-1, 2)
        logits = np.zeros((len(ids), len(LABELS)), np.float32)
        logits[np.arange(len(ids)), ids[:, 0] % len(LABELS)] = 1 + ids[:, 1] % 1000 / 250
        if len(ids):
            done(len(ids))
        return logits


def _again(*given: Any) -> StubLabeller:
    """In a worker, where nobody has put the stub in the place of the model."""
    labeller.tokenise = _tokenise
    return StubLabeller(*given)


def label_of(text: str) -> str:
    """What the stub says of a text; an oracle for tests."""
    return LABELS[int(_ids([text])[0, 0]) % len(LABELS)]


def _ids(texts: Sequence[str]) -> np.ndarray:
    """int32 [texts, 2], none negative."""
    digests = b"".join(hashlib.sha256(text.encode()).digest()[:_DIGEST_BYTES] for text in texts)
    return np.frombuffer(digests, np.int32).reshape(-1, 2) & 0x7FFFFFFF


def _tokenise(_tokenizer: Any, texts: Sequence[str], _max_length: int) -> TokenIds:
    count = len(texts)
    lengths = np.full(count, 2, np.int32)
    return TokenIds(_ids(texts).reshape(-1), np.arange(count) * 2, lengths, np.zeros(count, bool))


def _page_of(metrics: dict[str, Any], texts: Any = None) -> bytes:
    """No page to look at: a real one takes longer than all else of such a job."""
    return f'<meta name="{NAME}" content="{stamp(metrics, texts)}"></html>\n'.encode()


def places() -> tuple[tuple[Any, str], ...]:
    """What `install` changes."""
    return (labeller, "tokenise"), (report, "page_of"), (score, "open_labeller"), (evaluate, "open_labeller")


def install(hook: Callable[[], object] | None = None) -> None:
    """Put the stub in the place of the model, in this process and its workers."""

    def open_labeller(options: Any, text_column: str) -> StubLabeller:
        return StubLabeller(options, text_column, hook)

    labeller.tokenise = _tokenise
    report.page_of = _page_of
    score.open_labeller = open_labeller  # type: ignore[assignment]
    evaluate.open_labeller = open_labeller  # type: ignore[assignment]


def install_for(monkeypatch: "pytest.MonkeyPatch") -> None:
    """Install it, and have what was there put back when the test ends."""
    for module, name in places():
        monkeypatch.setattr(module, name, getattr(module, name))
    install()


if __name__ == "__main__":
    from sentiment_batch.cli import program

    install()
    sys.argv[0] = "sentiment-batch"
    program()
