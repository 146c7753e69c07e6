"""Whose output it is: the identity of a job, and what is found of it, or of another one, where it is to go."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from sentiment_batch.errors import OutputConflict
from sentiment_batch.write.difference import difference

CLAIM, LOCK, SCRATCH, PLAN = ".claim.json", ".lock", ".scratch", ".plan.json"
JOB = ".job.json"  # what `publish` needs of a job that slices do
CHECKPOINT, STATE = ".checkpoint", "state.json"  # where a job keeps what it goes on from, if not in finished files
CONTROL = (
    CLAIM,
    LOCK,
    SCRATCH,
    PLAN,
    CHECKPOINT,
    JOB,
)  # none is in a published output, but for the claim of one in place
JOB_ID = "job_id"
_FREE = "given_back"

Identity = dict[str, Any]
How = Literal[
    "whole", "slice", "publish"
]  # whether a run does the job, its part of it, or what is left when all is done


def job_id(identity: Identity) -> str:
    """The same for the same inputs, model and options; nothing of time, host or chance is in it."""
    canonical = json.dumps(identity, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode(errors="backslashreplace")).hexdigest()[:32]


def turn_of(found: Any) -> tuple[str, int]:
    """(the job's id, how often its output had changed hands in place when it got it) of a claim or a marker.

    ("", 0) of anything else.
    """
    if not is_claim(found):
        return "", 0
    job, _, turn = found[JOB_ID].partition(".")
    return job, int(turn) if re.fullmatch("[0-9]{1,9}", turn) else 0


@dataclass(frozen=True)
class Claim:
    """What a run asks for: an output for its job. `marker` is the JSON file that only a finished output has.

    `made` is a regular expression for the names of all else that such jobs make. `job_id` has the turn behind a dot.
    A run that is to `publish` begins nothing.
    """

    output: str
    job_id: str
    identity: Identity
    marker: str
    overwrite: bool
    made: str = ".*"
    how: How = "whole"

    @property
    def turn(self) -> int:
        return turn_of({JOB_ID: self.job_id})[1]

    def content(self) -> dict[str, Any]:
        return {JOB_ID: self.job_id, "identity": self.identity}

    def given_back(self) -> dict[str, Any]:
        """The content of a claim that anybody may take: nothing was begun. It remembers the turn."""
        return {**self.content(), _FREE: True}

    def is_of(self, found: Any) -> bool:
        """Whether what was read is a claim, a marker or another JSON file of this very job, and of this turn of it."""
        return is_claim(found) and found[JOB_ID] == self.job_id and not is_free(found)

    def is_job(self, found: Any) -> bool:
        """Whether what was read is of this job, in whatever turn."""
        return turn_of(found)[0] == turn_of({JOB_ID: self.job_id})[0]

    def in_turn(self, turn: int) -> "Claim":
        """The claim of the job when the output has changed hands so often."""
        return replace(self, job_id=f"{self.job_id}.{turn}" if turn else self.job_id)

    def finished(self, found: Any) -> dict[str, Any] | None:
        """The marker that was found, if it is this job's; None if there is none, or another job's that may go.

        Raises `OutputConflict` for another job's that may not.
        """
        if is_claim(found) and not self.is_job(found):
            if self._may_replace(found):
                return None
            raise OutputConflict(
                f"{self.output} belongs to another job: {difference(found, self.identity)}; "
                f"give another --output{self._or_overwrite(found)}"
            )
        return dict(found) if is_claim(found) else None

    def unfinished(self, found: Any, where: str, begun: bool = True) -> None:
        """Raise `OutputConflict` if the claim that was found is another job's that may not go.

        Unless that job has `begun` its claim is all that is there.
        """
        if is_claim(found) and not self.is_job(found) and not self._may_replace(found):
            alone = "" if begun else f", or remove {where}/{CLAIM} if no run of it is at work: nothing else is there"
            raise OutputConflict(
                f"{where} is the unfinished work of another job: {difference(found, self.identity)}; "
                f"finish that job, give another --output{self._or_overwrite(found) or alone}"
            )

    def not_begun(self, found: Any, where: str) -> OutputConflict:
        """What a run that begins nothing says if the claim that was found is not this job's."""
        if not is_claim(found):
            return OutputConflict(f"{where} has no work of a job; run `score` to begin it")
        return OutputConflict(
            f"{where} was begun as another job than it would be now: {difference(found, self.identity)}; put back what "
            "changed, or begin anew with score --overwrite"
        )

    def _may_replace(self, found: Any) -> bool:
        return self.overwrite and bool(self._or_overwrite(found))

    def _or_overwrite(self, found: Any) -> str:
        """Labels are replaced by labels, a model by a model: another command's output is there by mistake."""
        theirs = found.get("identity")
        same = isinstance(theirs, dict) and theirs.get("command") == self.identity.get("command")
        return ", or --overwrite" if same else ""

    def check_names(self, names: Iterable[str], where: str) -> None:
        """Raise `OutputConflict` for a file that no job of this command makes."""
        for name in names:
            if name not in (self.marker, *CONTROL) and not re.fullmatch(self.made, name):
                raise OutputConflict(f"{where}/{name} is not of such a job; move it, or give another --output")

    def strangers(self, where: str) -> OutputConflict:
        return OutputConflict(f"{where} has files that are not of a finished job; give another --output or move them")


def is_claim(found: Any) -> bool:
    """Whether what was read is a claim or a marker at all."""
    return isinstance(found, dict) and isinstance(found.get(JOB_ID), str)


def is_free(found: Any) -> bool:
    """Whether what was read is a claim that its run gave back."""
    return is_claim(found) and found.get(_FREE) is True
