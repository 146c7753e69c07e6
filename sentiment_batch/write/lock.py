"""One run at a time in a folder. The kernel lets go of it when a process dies, so a killed run is in nobody's way.

Runs of one job that only make what is not there yet are safe without it: each name is given once (`Folder.create`).
What needs it is whatever takes away or replaces: a folder with another job's files is emptied, a damaged file is
replaced (`Folder.swap`). A file system without locks (some of NFS and FUSE) has nothing to put in its place, so each
run looks right before whether the folder is still its own (`check_held`); one that is held up between that look and its
deed can spoil what another made, which `verify` finds.
"""

import errno
import fcntl
import logging
import os
import socket
from dataclasses import dataclass
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

from sentiment_batch.disk import make_folders
from sentiment_batch.errors import Busy
from sentiment_batch.write.claim import LOCK

log = logging.getLogger(__name__)


@dataclass
class Lock:
    """A folder that is held by this process. `path` is the lock's name in it; another run may move the folder.

    `alone`: no other run holds it. False only where the file system has no locks, and nobody can tell.
    """

    path: Path
    descriptor: int
    alone: bool = True

    def __reduce__(self) -> tuple[Any, ...]:
        """A process that is begun with it holds it, too: it is free when the last of them has ended.

        So no other run begins while one of a dead process's workers may still write.
        """
        return _shared, (self.path, DupFd(self.descriptor), self.alone)

    def is_held(self) -> bool:
        """Whether the folder of that name is still the one that was locked."""
        if self.descriptor < 0:
            return False
        try:
            return os.path.samestat(os.fstat(self.descriptor), os.stat(self.path))
        except FileNotFoundError:
            return False

    def leave(self) -> None:
        """Release, and leave no lock behind: who waits for it looks again whether its name is still there."""
        if self.is_held():
            self.path.unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _shared(path: Path, descriptor: Any, alone: bool) -> Lock:
    number = descriptor.detach()
    os.set_inheritable(number, False)
    return Lock(path, number, alone)


def lock(folder: Path) -> Lock:
    """Make the folder if there is none, and hold it. Raises `Busy`, with who holds it."""
    while True:
        make_folders(folder)
        try:
            descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except FileNotFoundError:
            continue  # another run published between our mkdir and our open
        held = Lock(folder / LOCK, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            held.release()
            raise Busy(f"{folder} is held by another run ({holder}); wait for it to end") from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP):
                raise
            held.alone = False
            log.warning("%s has no locks: see to it that one run at a time works there", folder)
        if held.is_held():
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
            return held
        held.release()  # another run published between our open and our lock
