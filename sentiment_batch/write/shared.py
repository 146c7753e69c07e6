"""Several slices of one job at work in one folder: how they begin there, and which of them commits.

They hold the folder's lock together, and every other run holds it alone, so that slices and such a run never work side
by side.

*They begin* by the claim of their job, which is created if there is none: slices make only what is not there yet, and
of each name one is first. What is to be taken away before (another job's work, with `--overwrite`) takes a slice that
is alone for so long; it lets the others in when its own claim is there.

*The last one commits.* A slice that has sealed its parts looks whether all parts of the job are there. If so it lets go
of the lock, and commits if it can have it alone, else it is done. No job is left with all parts sealed and nobody to
commit it:

- Each slice looks behind its last seal. So the one that looks last finds all parts.
- One that does not get the lock alone leaves the commit to whoever holds it. If that is a slice, it is still to let go
  and to try, or it commits. Of those that try the last one has none of the others in its way: each lets go before.
- One that is killed or fails before it has tried is run again by its scheduler, as its exit code asks for, and looks.

What remains is a run of another job, which holds the lock for the milliseconds in which it is refused. So it is tried
for a moment; and `sentiment-batch publish` looks at any time.

Without locks a slice commits when it finds all parts, as in a bucket; so two may at once, which make the same.
"""

import random
import time
from collections.abc import Callable

from sentiment_batch import stop
from sentiment_batch.errors import Busy
from sentiment_batch.write.claim import CLAIM, Claim, is_claim, is_free
from sentiment_batch.write.lock import OF_SLICES, Lock, lock
from sentiment_batch.write.store import Folder, read_json

_PATIENCE = 3.0  # seconds of waiting, as they are asked for: nobody looks at a clock
# with slices, one of which commits, or empties a folder: what it does takes as long as reading all parts
_PATIENCE_WITH_SLICES = 600.0


def lock_for_slices(claim: Claim, store: Folder, begun: Callable[[], bool]) -> Lock:
    """Hold the folder for a slice: together with others of its job, or, if something is to be taken away, alone.

    Waits for a slice that is alone there. To publish, it is held alone, and nobody is waited for. Raises `Busy` if
    another run is at work, or slices of another job. `begun` is whether there is more than what says whose it is.
    """
    if claim.how == "publish":
        return lock(store.path, of_slices=True)
    waited = 0.0
    while True:
        together = _joins(claim, store, begun)  # so that many which have something to take away do not hold it together
        try:
            held = lock(store.path, together, of_slices=True)
        except Busy as error:
            busy, alone = error, f", {OF_SLICES}" in str(error)
            if not together and not alone and OF_SLICES in str(error):
                busy = Busy(f"{store.url} is held by slices of another job; wait for them to end")
            stop.check()
            if waited >= (_PATIENCE_WITH_SLICES if alone else _PATIENCE):
                raise busy from None
            pause = min(1.0, 0.1 + waited / 10) * random.uniform(0.5, 1.0)  # noqa: S311 - that two do not keep meeting
            time.sleep(pause)
            waited += pause
            continue
        try:
            if not (held.works and together) or _joins(claim, store, begun):
                return held
        except BaseException:
            held.release()
            raise
        held.release()


def _joins(claim: Claim, store: Folder, begun: Callable[[], bool]) -> bool:
    """Whether a slice may begin there beside others: they are of its job, or nothing is there that is in the way."""
    if store.version(claim.marker) is not None:
        return False
    claimed = read_json(store, CLAIM)
    if is_claim(claimed):
        return claim.is_job(claimed) and not is_free(claimed)
    try:
        return store.version(CLAIM) is None and not begun()
    except FileNotFoundError:  # there is no folder
        return True
