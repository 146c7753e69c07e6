"""--max-reject-rate: when a job stops because too many of its rows have no label for a fault in them."""

from dataclasses import dataclass, field

from sentiment_batch.errors import TooManyRejects
from sentiment_batch.labelling import rejects_in_words
from sentiment_batch.write.part import REJECTS, Part
from sentiment_batch.write.store import Store


@dataclass
class RejectLimit:
    """How many rows of the parts that are there have no label for a fault in them: rejected, or no finite score."""

    rate: float  # of the job's rows, that may be such
    total: int  # rows of the job
    store: Store
    parts: list[Part] = field(default_factory=list)
    bad: int = 0

    def add(self, *parts: Part) -> None:
        """Raises `TooManyRejects` as soon as it is certain that the job will have too many, whatever is to come."""
        self.parts += parts
        self.bad += sum(part.seal["rejected"] + part.seal["counts"]["nonfinite"] for part in parts)
        if self.bad > self.rate * self.total:
            raise TooManyRejects(self._in_words())

    def _in_words(self) -> str:
        rejected = sum(part.seal["rejected"] for part in self.parts)
        counts = {"are rejected": rejected, "have no finite score": self.bad - rejected}
        found = " and ".join(f"{count:,} of {self.total:,} rows {what}" for what, count in counts.items() if count)
        words = rejects_in_words(self.store, sorted(self.parts, key=lambda part: part.seal["shard"]))
        return (
            f"{found}, more than --max-reject-rate {self.rate:g} allows{words and f': {words}'}; "
            f"{f'see {self.store.url}/{REJECTS}; ' if rejected else ''}nothing was published; "
            "raise the limit, or mend the input or the command and run it with --overwrite"
        )
