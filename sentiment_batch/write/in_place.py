"""An output that grows where it will be, and is published by its marker: in a bucket, which has no rename, and in a
folder that cannot be renamed because something is mounted there.

There is no lock in a bucket, so two runs may be at work at once. Two of one job do the same: each part is created once,
whoever is first. Of two jobs the second is refused by the claim, or with `--overwrite` takes it over: it changes the
claim first and removes the rest then, and whoever creates a marker or a part looks at the claim again afterwards. So
nothing of the first outlives the second's claim, whichever way their requests fall.
"""

import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentiment_batch.errors import EnvironmentFailure, OutputConflict, UsageError
from sentiment_batch.write.claim import CHECKPOINT, CLAIM, CONTROL, JOB_ID, LOCK, SCRATCH, STATE, Claim, is_claim
from sentiment_batch.write.lock import Lock
from sentiment_batch.write.store import Folder, Store, create_json, read_json, replace_json


@dataclass
class InPlace:
    """Work on an output by this process and perhaps another one of the same job."""

    claim: Claim
    store: Store
    scratch: Path
    lock: Lock | None
    resumed: bool

    @property
    def folder(self) -> Path:
        """The folder where the output grows. Raises `UsageError` for a bucket."""
        if isinstance(self.store, Folder):
            return self.store.path
        raise UsageError(f"--output {self.store.url}: this must be a local folder")

    def check_held(self) -> None:
        """Raise `OutputConflict` if another job took the output."""
        found = read_json(self.store, CLAIM)
        if found is None:  # somebody finished: this job, which is fine, or another one
            found = read_json(self.store, self.claim.marker)
        if found is None:
            create_json(self.store, self.scratch, CLAIM, self.claim.content())
            found = read_json(self.store, CLAIM)
        if not _is_of(self.claim, found):
            raise OutputConflict(f"{self.store.url} was taken over by another job; this one stops")

    def publish(self) -> None:
        """Make sure that the marker, which is there by now, is this job's alone."""
        found = read_json(self.store, CLAIM)
        if is_claim(found) and not _is_of(self.claim, found):
            self.store.delete(self.claim.marker)
            raise OutputConflict(f"{self.store.url} was taken over by another job; this one stops")
        _tidy(self.store)
        self._close()

    def release(self) -> None:
        """Let another run go on with the work; if this run began nothing, leave nothing behind."""
        with suppress(EnvironmentFailure):  # a claim is in nobody's way; and this must not hide why the run ends
            if self.scratch.exists() and not self.resumed and not _begun(self.store):
                _tidy(self.store)
        self._close()

    def _close(self) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)
        if self.lock:
            self.lock.path.unlink(missing_ok=True)
            self.lock.release()


def work_in_place(claim: Claim, store: Store, lock: Lock | None = None) -> InPlace | dict[str, Any]:
    """The work in the store, or what the output's marker says if it is finished."""
    marker = read_json(store, claim.marker)
    if (done := claim.finished(marker)) is not None:
        _tidy(store)
        return done
    claimed = read_json(store, CLAIM)
    if is_claim(claimed) and not (lock and not _begun(store)):  # without a lock another run may just have begun
        claim.unfinished(claimed, store.url)
    if not is_claim(claimed) and not is_claim(marker) and _begun(store):
        if is_claim(read_json(store, claim.marker)):  # another run ended between our two looks
            return work_in_place(claim, store, lock)
        raise claim.strangers(store.url)
    scratch = _scratch(store)
    try:
        mine = _is_of(claim, claimed)
        if not mine:
            (replace_json if is_claim(claimed) else create_json)(store, scratch, CLAIM, claim.content())
            if not _is_of(claim, found := read_json(store, CLAIM)):
                raise OutputConflict(f"{store.url} was claimed by another job just now: {found!s:.100}")
        if not is_claim(marker) and is_claim(read_json(store, claim.marker)):  # as above: what is there is finished
            shutil.rmtree(scratch, ignore_errors=True)
            store.delete(CLAIM)
            return work_in_place(claim, store, lock)
        probes = (create_json(store, scratch, CLAIM, claim.content()) for _ in range(2))
        if all(probes):  # once may be: another run of this job ended just now, and took the claim away
            raise UsageError(
                f"{store.url}: this store overwrites what is to be created only if absent, "
                "so two runs could spoil each other's rows; write to a folder, or to a store that knows If-None-Match"
            )
        if is_claim(marker) or (is_claim(claimed) and not mine):
            store.delete(claim.marker)
            for name in store.sizes():
                if name not in (CLAIM, LOCK):
                    store.delete(name)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return InPlace(claim, store, scratch, lock, mine)


def _scratch(store: Store) -> Path:
    """Where this run builds its files: on the same file system if there is one, to be linked from there."""
    if isinstance(store, Folder):
        store.delete(SCRATCH)
        (store.path / SCRATCH).mkdir(mode=0o700)
        return store.path / SCRATCH
    return Path(tempfile.mkdtemp(prefix="sentiment-batch-"))


def _is_of(claim: Claim, found: Any) -> bool:
    return is_claim(found) and found[JOB_ID] == claim.job_id


def _begun(store: Store) -> bool:
    names = [name for name in store.sizes() if name not in CONTROL]
    return bool(names) or store.read(f"{CHECKPOINT}/{STATE}") is not None


def _tidy(store: Store) -> None:
    """Take away what is of no use in a finished output."""
    for name in CONTROL:
        if name not in (LOCK, SCRATCH):
            store.delete(name)
