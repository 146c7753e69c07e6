"""One run at a time in a folder. The kernel lets go of it when a process dies, so a killed run is in nobody's way.

Runs of one job that only make what is not there yet are safe without it: each name is given once (`Folder.create`).
What needs it is whatever takes away or replaces: a folder with another job's files is emptied, a damaged file is
replaced (`Folder.swap`). A file system without locks (some of NFS and FUSE) has nothing to put in its place, so each
run looks right before whether the folder is still its own (`check_held`); one that is held up between that look and its
deed can spoil what another made, which `verify` finds.

The slices of a job only make what is not there, so several of them hold a folder together (shared.py).
"""

import errno
import fcntl
import logging
import os
import socket
import time
from dataclasses import dataclass
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

from sentiment_batch.disk import make_folders
from sentiment_batch.errors import Busy
from sentiment_batch.write.claim import LOCK

log = logging.getLogger(__name__)


TRIES, _MOMENT = 10, 0.05  # seconds: to wait for who only looks
OF_SLICES = "for slices of a job"  # said of a lock that slices hold, be it one of them alone


@dataclass
class Lock:
    """A folder that is held by this process. `path` is the lock's name in it; another run may move the folder.

    `alone`: no other run holds it. False where slices hold it together, and where the file system has no locks
    (`works` is False), and nobody can tell.
    """

    path: Path
    descriptor: int
    alone: bool = True
    works: bool = True
    of_slices: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        """A process that is begun with it holds it, too: it is free when the last of them has ended.

        So no other run begins while one of a dead process's workers may still write.
        """
        return _shared, (self.path, DupFd(self.descriptor), self.alone, self.works, self.of_slices)

    def is_held(self) -> bool:
        """Whether the folder of that name is still the one that was locked."""
        if self.descriptor < 0:
            return False
        try:
            return os.path.samestat(os.fstat(self.descriptor), os.stat(self.path))
        except FileNotFoundError:
            return False

    def share(self) -> bool:
        """Let other slices in. False if it was lost on the way, to a run that came between or moved the folder."""
        return self._change(fcntl.LOCK_SH)

    def take(self, tries: int = 1) -> bool:
        """Let go, and then hold it alone if nobody else does. False if somebody does, or the folder was moved.

        More tries than one wait a moment for each, for who holds it only to look.
        It is let go first wherever it is: NFS would keep what is to be changed and cannot be, and of two slices that
        hold a folder and want it alone at the same time each would be in the other's way.
        """
        if self.descriptor < 0:
            return False
        if self.works:
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        return self._change(fcntl.LOCK_EX, tries)

    def _change(self, operation: int, tries: int = 1) -> bool:
        """Hold it in another way, or not at all."""
        if not self.works:
            return self.is_held()
        while not (changed := _flocked(self.descriptor, operation)) and (tries := tries - 1):
            time.sleep(_MOMENT)
        changed = changed and self.is_held()
        self.alone = changed and operation == fcntl.LOCK_EX
        self.sign() if changed else self.release()
        return changed

    def is_last(self) -> bool:
        """Whether this run may take away what is there. One of several slices may if none of the others is at work.

        Of these, one that may not has let go of the lock.
        """
        return not self.of_slices or self.alone or (self.works and self.take())

    def sign(self) -> None:
        """Say in it who holds it. Slices that hold it together all say the same, so that none spoils another's word."""
        who = f"process {os.getpid()} on {socket.gethostname()}"
        text = (OF_SLICES if not self.alone else f"{who}, {OF_SLICES}") if self.of_slices else who
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, text.encode(), 0)

    def leave(self) -> None:
        """Release, and leave no lock behind: who waits for it looks again whether its name is still there.

        What other slices hold is theirs to leave.
        """
        if self.is_last() and self.is_held():
            self.path.unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _flocked(descriptor: int, operation: int) -> bool:
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _shared(path: Path, descriptor: Any, alone: bool, works: bool, of_slices: bool) -> Lock:
    number = descriptor.detach()
    os.set_inheritable(number, False)
    return Lock(path, number, alone, works, of_slices)


def lock(folder: Path, shared: bool = False, of_slices: bool = False) -> Lock:
    """Make the folder if there is none, and hold it, alone or with whoever else shares it.

    Raises `Busy`, with who holds it.
    """
    while True:
        make_folders(folder)
        try:
            descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except FileNotFoundError:
            continue  # another run published between our mkdir and our open
        held = Lock(folder / LOCK, descriptor, not shared, of_slices=of_slices)
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            held.release()
            raise Busy(f"{folder} is held by another run ({holder}); wait for it to end") from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP):
                raise
            held.alone = held.works = False
            what = "no run but slices of one job" if of_slices else "one run at a time"
            log.warning("%s has no locks: see to it that %s works there", folder, what)
        if held.is_held():
            held.sign()
            return held
        held.release()  # another run published between our open and our lock
