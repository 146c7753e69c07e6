"""Token ids -> logits, whatever the engine and however little memory it has."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from sentiment_batch import stop
from sentiment_batch.errors import EnvironmentFailure
from sentiment_batch.model.batches import pad, plan_batches
from sentiment_batch.model.tokens import TokenIds

# input_ids and attention_mask (or none), int64 [rows, longest] -> float32 logits [rows, labels].
# Raises MemoryError when the batch is too large for the device.
Engine = Callable[[np.ndarray, np.ndarray | None], np.ndarray]


@dataclass
class Effort:
    """What the batches cost so far; not part of the result, which does not depend on it."""

    tokens: int = 0
    padded_tokens: int = 0  # padding included
    oom_retries: int = 0


@dataclass
class Classifier:
    """An engine with its budget. The budget shrinks when the device runs out of memory, and stays so."""

    engine: Engine
    labels: int
    batch_tokens: int
    pad_token_id: int
    effort: Effort = field(default_factory=Effort)

    def logits(self, tokens: TokenIds, done: Callable[[int], None] = lambda _: None) -> np.ndarray:
        """float32 [texts, labels], in the order of the texts; `done` is told the number of texts behind each batch.

        A batch that does not fit in memory is halved and done again. Raises `EnvironmentFailure` if one text alone
        does not fit, and `Stopped` between two batches after a signal.
        """
        logits = np.empty((len(tokens.lengths), self.labels), np.float32)
        for planned in plan_batches(tokens.lengths, self.batch_tokens):
            pending = [planned]
            while pending:
                stop.check()
                rows = pending.pop()
                width = int(tokens.lengths[rows].max())
                if len(rows) > 1 and len(rows) * width > self.batch_tokens:
                    pending += [rows[len(rows) // 2 :], rows[: len(rows) // 2]]
                    continue
                try:
                    logits[rows] = self.engine(*pad(tokens, rows, self.pad_token_id))
                except MemoryError:
                    # Nothing is retried inside this block: the traceback keeps the tensors of the failed batch alive.
                    fits = False
                else:
                    fits = True
                if not fits:
                    self._shrink(len(rows), width)
                    pending.append(rows)
                    continue
                self.effort.tokens += int(tokens.lengths[rows].sum())
                self.effort.padded_tokens += len(rows) * width
                done(len(rows))
        return logits

    def _shrink(self, rows: int, width: int) -> None:
        if rows == 1:
            raise EnvironmentFailure(f"out of memory on one text of {width} tokens; give --max-length or more memory")
        self.batch_tokens = max(1, rows // 2) * width
        self.effort.oom_retries += 1
