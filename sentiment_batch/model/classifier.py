"""Token ids -> logits, whatever the engine and however little memory it has."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from sentiment_batch import stop
from sentiment_batch.ahead import in_threads
from sentiment_batch.errors import EnvironmentFailure
from sentiment_batch.model.batches import Batch, pad, plan_batches
from sentiment_batch.model.tokens import TokenIds

# input_ids and attention_mask (or none), int64 [rows, width] -> float32 logits [rows, labels].
# Raises MemoryError when the batch is too large for the device.
Engine = Callable[[np.ndarray, np.ndarray | None], np.ndarray]


@dataclass
class Effort:
    """What the batches cost so far; not part of the result, which does not depend on it."""

    tokens: int = 0
    padded_tokens: int = 0  # padding included
    oom_retries: int = 0

    def add(self, more: "Effort") -> None:
        for name, count in vars(more).items():
            setattr(self, name, getattr(self, name) + count)

    def taken(self) -> "Effort":
        """What there is of it; from now on it counts from nothing."""
        taken = replace(self)
        vars(self).update(vars(Effort()))
        return taken


@dataclass
class Classifier:
    """An engine with its budget. The budget shrinks when the device runs out of memory, and stays so.

    The engine is called in as many threads as it has streams; with one, in the caller's.
    """

    engine: Engine
    labels: int
    batch_tokens: int
    pad_token_id: int
    effort: Effort = field(default_factory=Effort)
    streams: int = 1

    def logits(self, tokens: TokenIds, done: Callable[[int], None] = lambda _: None) -> np.ndarray:
        """float32 [texts, labels], in the order of the texts; `done` is told the number of texts behind each batch.

        A batch that does not fit in memory is halved and done again, behind the others and with no other beside it.
        Raises `EnvironmentFailure` if one text alone does not fit, and `Stopped` between two batches after a signal.
        """
        logits = np.empty((len(tokens.lengths), self.labels), np.float32)
        label_batch = partial(self._label_batch, tokens)
        waiting, streams = list(plan_batches(tokens.lengths, self.batch_tokens)), self.streams
        while waiting:
            too_large = []
            for batch, found in in_threads(label_batch, self._within_budget(waiting, tokens.lengths), streams):
                rows, width = batch
                if found is None:
                    self._shrink(len(rows), width, alone=streams == 1)
                    too_large.append(batch)
                    continue
                logits[rows] = found
                self.effort.tokens += int(tokens.lengths[rows].sum())
                self.effort.padded_tokens += len(rows) * width
                done(len(rows))
            waiting, streams = too_large, 1
        return logits

    def fit_budget(self, width: int) -> None:
        """Halve the budget until there is room for a batch of texts of so many tokens in each stream at once.

        Done before the first row, what fits does not depend on the texts: a job that goes on in another run on such a
        device cuts the batches that it would have cut in one.
        """
        while (rows := self.batch_tokens // width) > 1:
            lengths = np.full(rows, width, np.int32)
            lengths[-1] -= 1  # so that there is a mask, which takes room too
            starts, truncated = np.zeros(rows, np.int64), np.zeros(rows, bool)
            texts = TokenIds(np.full(width, self.pad_token_id, np.int32), starts, lengths, truncated)
            batches = [Batch(np.arange(rows), width)] * self.streams
            tried = in_threads(partial(self._label_batch, texts), batches, self.streams)
            if all(found is not None for _, found in list(tried)):
                return
            self.batch_tokens //= 2

    def _within_budget(self, batches: list[Batch], lengths: np.ndarray) -> Iterator[Batch]:
        """The batches, halved as often as the budget of the moment asks for."""
        for planned in batches:
            pending = [planned]
            while pending:
                stop.check()
                batch = pending.pop()
                rows = batch.rows
                if len(rows) > 1 and len(rows) * batch.width > self.batch_tokens:
                    halves = rows[len(rows) // 2 :], rows[: len(rows) // 2]
                    pending += [Batch(half, int(lengths[half].max())) for half in halves]
                else:
                    yield batch

    def _shrink(self, rows: int, width: int, alone: bool) -> None:
        if rows == 1 and alone:
            raise EnvironmentFailure(f"out of memory on one text of {width} tokens; give --max-length or more memory")
        self.batch_tokens = min(self.batch_tokens, max(1, rows // 2) * width)
        self.effort.oom_retries += 1

    def _label_batch(self, tokens: TokenIds, batch: Batch) -> np.ndarray | None:
        """None if there is no room: the error is gone with its traceback, which would keep its tensors alive."""
        try:
            return self.engine(*pad(tokens, batch.rows, self.pad_token_id, batch.width))
        except MemoryError:
            return None
