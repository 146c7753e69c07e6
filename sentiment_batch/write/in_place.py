"""An output that grows where it will be, and is published by its marker: in a bucket, which has no rename, and in a
folder that cannot be renamed because something is mounted there.

There is no lock in a bucket, so two runs may be at work at once, and each may be held up for any time between any two
of its requests. The claim says whose the output is; it stays when the output is published. A marker of another job than
the claim's is void: an old one, or one that came late.

Two runs of one job do the same: each file is created once, whoever is first. Of two jobs the second is refused, or
with `--overwrite` takes the output over: it swaps the claim and removes the old marker, so that nothing is announced.
Each time that the output changes hands is a turn, whose number is in the claim, the seals, the marker, and the names
of parts and rejects. So a name belongs to one turn, and who deletes a file of an earlier turn, or one of its own when
its turn is over, takes nothing away from anybody, however late the DELETE arrives. (Turns are counted in the claim:
who removes it while a run is at work lets a number come again.) Names that all turns have (the metrics, an
evaluation's predictions) are never deleted but swapped for their successor, in the version that was looked at.

The marker is the exception: a DELETE has no condition. One that is late, of a run that took the output over, hits the
marker of another run that published in between, and the output is not announced until the next run, which finds all of
it there. And one that a job sends off before it is overtaken may arrive behind that: it stands until the new job looks,
before each of its shards.
"""

import logging
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sentiment_batch.errors import AccessRefused, EnvironmentFailure, OutputConflict, UsageError
from sentiment_batch.write.claim import (
    CHECKPOINT,
    CLAIM,
    CONTROL,
    JOB,
    JOB_ID,
    PLAN,
    SCRATCH,
    STATE,
    Claim,
    How,
    is_claim,
    is_free,
    turn_of,
)
from sentiment_batch.write.lock import TRIES, Lock
from sentiment_batch.write.store import Folder, Recognised, Store, Version, json_scratch, parsed, read_json

log = logging.getLogger(__name__)

_NEVER: Version = ('"never"', "0")  # a version that nothing has


@dataclass
class InPlace:
    """Work on an output by this process and perhaps another one of the same job."""

    claim: Claim
    store: Store
    scratch: Path
    lock: Lock | None
    resumed: bool
    recognised: Recognised = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.recognised = Recognised(self.claim)

    @property
    def folder(self) -> Path:
        """The folder where the output grows. Raises `UsageError` for a bucket."""
        if isinstance(self.store, Folder):
            return self.store.path
        raise UsageError(f"--output {self.store.url}: this must be a local folder")

    def check_held(self) -> None:
        """Raise `OutputConflict` if another job took the output."""
        while not self.recognised.is_ours(self.store.read(CLAIM)):
            version, claimed = self.store.version(CLAIM), read_json(self.store, CLAIM)
            holder = claimed if is_claim(claimed) else read_json(self.store, self.claim.marker)
            if is_claim(holder) and holder[JOB_ID] != self.claim.job_id:
                raise OutputConflict(f"{self.store.url} was taken over by another job; this one stops")
            if not self.claim.is_of(claimed):  # another run of this job gave it back, or it is damaged or gone
                _put_claim(self.store, self.scratch, self.claim.content(), version)

    def check_unannounced(self) -> None:
        """Raise as `check_held`, and take away a marker that came from another job when its turn was over."""
        self.check_held()
        marker = read_json(self.store, self.claim.marker)
        if is_claim(marker) and turn_of(marker)[1] < self.claim.turn:  # a later one is of who took over just now
            self.store.delete(self.claim.marker)

    def withdraw(self, names: Iterable[str]) -> None:
        """Delete files of this turn that came when it was over.

        Not while they are announced, by another run of this job: who took over removes the marker first, and then them.
        """
        if not self.claim.is_of(read_json(self.store, self.claim.marker)):
            for name in names:
                self.store.delete(name)

    def take_alone(self) -> bool:
        """Whether this run may commit. In a bucket others may, too, and make the same.

        With a lock only one that is alone from now on may; another has left the work to whoever holds it (shared.py).
        """
        return self.lock is None or self.lock.take(TRIES)

    def published(self) -> dict[str, Any] | None:
        """The marker of the output, if it is finished by now."""
        return finished_in_place(self.claim, self.store)

    def publish(self) -> None:
        """Make sure that the marker, which is there by now, is not one that came too late."""
        try:
            self.check_held()
        except OutputConflict:
            if self.claim.is_of(read_json(self.store, self.claim.marker)):
                self.store.delete(self.claim.marker)
            raise
        self._tidy()
        self._close()

    def release(self) -> None:
        """Let another run go on with the work; if this run began nothing, let another job have the place."""
        with suppress(EnvironmentFailure):  # a claim is in nobody's way; and this must not hide why the run ends
            began_nothing = self.scratch.exists() and not self.resumed and not begun_in_place(self.store)
            if began_nothing and self._is_last():  # other slices may be about to
                version = self.store.version(CLAIM)
                if self.claim.is_of(read_json(self.store, CLAIM)):
                    _put_claim(self.store, self.scratch, self.claim.given_back(), version)
                    self._tidy()
        self._close()

    def _is_last(self) -> bool:
        return self.claim.how != "slice" or (self.lock is not None and self.lock.is_last())

    def _tidy(self) -> None:
        _tidy(self.store, self.claim.how, alone=self.lock is not None and self.lock.alone)

    def _close(self) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)
        if isinstance(self.store, Folder) and self._is_last():
            with suppress(OSError):  # other runs may have theirs there
                self.scratch.parent.rmdir()
        if self.lock:
            self.lock.leave()


def finished_in_place(claim: Claim, store: Store) -> dict[str, Any] | None:
    """The marker if this job has published its output, else None."""
    claimed, marker = read_json(store, CLAIM), read_json(store, claim.marker)
    if not claim.is_job(marker) or (is_claim(claimed) and claimed[JOB_ID] != marker[JOB_ID]):
        return None
    return dict(marker)


def work_in_place(claim: Claim, store: Store, lock: Lock | None = None) -> InPlace | dict[str, Any]:
    """The work in the store, or what the output's marker says if it is finished."""
    alone = lock is not None and lock.alone
    while True:
        if (done := finished_in_place(claim, store)) is not None:
            _tidy(store, claim.how, alone)
            return done
        if (seen := _look(claim, store, alone)) is None:
            continue
        scratch = _scratch(store, alone)
        try:
            if (taken := _take(claim, store, scratch, seen)) is not None:
                return InPlace(taken, store, scratch, lock, resumed=taken.is_of(seen.claimed))
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        shutil.rmtree(scratch, ignore_errors=True)


class _Seen(NamedTuple):
    """What was found before anything was changed."""

    version: Version | None  # of the claim
    claimed: Any
    announced: bytes | None  # what the marker's file says

    @property
    def marker(self) -> Any:
        return parsed(self.announced)

    @property
    def holder(self) -> Any:
        """The claim or the marker that says whose the output is."""
        return self.claimed if is_claim(self.claimed) else self.marker


def _look(claim: Claim, store: Store, alone: bool) -> _Seen | None:
    """What is there, if this job may have the place; None to look again, because another run did something meanwhile.

    Raises `OutputConflict` if the place is not for this job.
    """
    seen = _Seen(store.version(CLAIM), read_json(store, CLAIM), store.read(claim.marker))
    if claim.is_job(seen.holder):
        return seen
    if claim.how == "publish":
        raise claim.not_begun(seen.holder, store.url)
    begun = begun_in_place(store)
    if is_claim(seen.holder):
        if begun or not (alone or is_free(seen.holder)):  # without a lock another run may just have begun
            published = is_claim(seen.marker) and seen.marker[JOB_ID] == seen.holder[JOB_ID]
            claim.finished(seen.holder) if published else claim.unfinished(seen.holder, store.url, begun)
            claim.check_names(store.sizes(), store.url)
    elif begun:
        if is_claim(read_json(store, CLAIM)) or is_claim(read_json(store, claim.marker)):
            return None
        raise claim.strangers(store.url)
    return seen


def _take(claim: Claim, store: Store, scratch: Path, seen: _Seen) -> Claim | None:
    """Have the claim, and nothing announced; None to look again, because another run did something meanwhile.

    What is returned is the claim with its turn, which all that is made from now on will have.
    """
    changes_hands = is_claim(seen.holder) and not claim.is_job(seen.holder)
    taken = claim.in_turn(turn_of(seen.holder)[1] + changes_hands)
    if not taken.is_of(seen.claimed) and not _put_claim(store, scratch, taken.content(), seen.version):
        return None
    _check_conditions(store, scratch, taken.content())
    if taken.is_of(seen.marker) or store.read(claim.marker) != seen.announced:  # of a run that ended meanwhile
        return None
    if seen.announced is not None:  # a damaged one, too: readers look whether it is there
        store.delete(claim.marker)
    return taken


def _put_claim(store: Store, scratch: Path, content: dict[str, Any], version: Version | None) -> bool:
    """Swap the claim that was looked at, or create it where there was none; False if there is another one by now."""
    with json_scratch(scratch, CLAIM, content) as file:
        return store.create(CLAIM, file) if version is None else store.swap(CLAIM, file, version)


def _check_conditions(store: Store, scratch: Path, content: dict[str, Any]) -> None:
    """Raise `UsageError` for a store that writes whatever the condition says: two runs would spoil each other's rows.

    It is tried with the claim, which is there already.
    """
    for condition, version in (("If-None-Match", None), ("If-Match", _NEVER)):
        if _put_claim(store, scratch, content, version):
            raise UsageError(
                f"{store.url}: this store does not know {condition}: it would overwrite what two runs are to create "
                "once; write to a folder, or to a store that knows it"
            )


def _scratch(store: Store, alone: bool) -> Path:
    """Where this run builds its files: on the same file system if there is one, to be linked from there."""
    if isinstance(store, Folder):
        return store.own_scratch(alone)
    return Path(tempfile.mkdtemp(prefix="sentiment-batch-"))


def begun_in_place(store: Store) -> bool:
    """Whether there is more than what says whose the place is."""
    names = [name for name in store.sizes() if name not in CONTROL]
    return bool(names) or store.read(f"{CHECKPOINT}/{STATE}") is not None


def _tidy(store: Store, how: How, alone: bool) -> None:
    """Take away what is of no use in a finished output. Its claim stays: it says whose the output is."""
    try:
        planned = store.version(PLAN) is not None
        if planned or (how != "whole" and store.version(JOB) is not None):  # a slice that was late left its own
            store.delete(JOB)
        if planned:
            store.delete(PLAN)
    except AccessRefused as error:  # all is done, and this is in nobody's way
        log.warning("%s/%s is of no use any more, and is left: %s", store.url, PLAN, error)
    if isinstance(store, Folder):
        store.delete(CHECKPOINT)
        if alone:
            store.delete(SCRATCH)
