"""An output that grows in a hidden folder beside it, and appears in one rename."""

import ctypes
import errno
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sentiment_batch.disk import sync_folder
from sentiment_batch.errors import OutputConflict
from sentiment_batch.write.claim import CHECKPOINT, CLAIM, CONTROL, LOCK, STATE, Claim, is_claim
from sentiment_batch.write.lock import TRIES, Lock, lock
from sentiment_batch.write.shared import lock_for_slices
from sentiment_batch.write.store import Folder, Recognised, create_json, parsed, read_json


@dataclass
class Beside:
    """Work on an output by this process and no other, or by slices of one job."""

    claim: Claim
    output: Path
    folder: Path  # what becomes the output
    scratch: Path
    lock: Lock | None  # None in a process that another host's run has begun: there the claim alone tells
    resumed: bool
    recognised: Recognised = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.recognised = Recognised(self.claim)

    @property
    def store(self) -> Folder:
        return Folder(self.folder)

    def check_held(self) -> None:
        """Raise `OutputConflict` if somebody took the folder away, or, where locks do not work, claimed it since."""
        if (self.lock and not self.lock.is_held()) or not self._is_claimed():
            raise OutputConflict(
                f"{self.folder} was moved or removed, or another job took it, while this run worked in it; run again"
            )

    def _is_claimed(self) -> bool:
        """Whether the claim, or the marker where there is none any more, is this job's."""
        if self.recognised.is_ours(claimed := self.store.read(CLAIM)):
            return True
        return not is_claim(parsed(claimed)) and self.claim.is_of(read_json(self.store, self.claim.marker))

    def check_unannounced(self) -> None:
        """As `check_held`: nobody sees a marker in the work folder."""
        self.check_held()

    def withdraw(self, names: Iterable[str]) -> None:
        """Nothing: the folder is another run's, and so is what is in it."""

    def take_alone(self) -> bool:
        """Whether this run alone is at work from now on. If not, it has left the work to whoever is (shared.py)."""
        return self.lock is None or self.lock.take(TRIES)

    def published(self) -> dict[str, Any] | None:
        """The marker of the output, if it is finished by now. Raises as `claim`."""
        return finished(self.claim, self.output)

    def publish(self) -> None:
        """Make the finished folder the output. What the output was before is gone after that, and not before."""
        if finished(self.claim, self.output) is not None:  # raises for what came since
            self.release()
            return
        self.check_held()
        for name in CONTROL:
            if name != LOCK:
                _remove(self.folder / name)
        sync_folder(self.folder)  # or they could be back in the output after a loss of power
        old = _sibling(self.output, "old")
        if self.claim.overwrite and _is_filled(self.output):
            _discard(old, self.claim.marker)
            (self.output / LOCK).unlink(missing_ok=True)  # of a run that was killed behind its rename
            if exchange(self.folder, self.output):
                _set_aside(self.folder, old)
            else:  # for a moment there is no output; the next run would finish it
                os.rename(self.output, old)
                os.rename(self.folder, self.output)
        else:  # fails if there is an output by now
            os.rename(self.folder, self.output)
        sync_folder(self.output.parent)
        (self.output / LOCK).unlink(missing_ok=True)  # not before: a run that looked in between would take it for free
        with suppress(OSError):  # it is in nobody's way, and the new output is there
            _discard(old, self.claim.marker)
        if self.lock:
            self.lock.release()

    def release(self) -> None:
        """Let another run go on with the work; if there is nothing to go on with, leave nothing behind."""
        if self.lock and self.lock.is_held() and self._is_useless() and self.lock.is_last() and self._is_useless():
            _discard(self.folder, self.claim.marker)
        shutil.rmtree(self.scratch, ignore_errors=True)
        if self.lock:
            self.lock.release()

    def _is_useless(self) -> bool:
        return finished_here(self.claim, self.output) or not _begun(self.folder)


def work_beside(claim: Claim, output: Path) -> Beside | dict[str, Any]:
    """The work folder of the output, held by this process, or what the output's marker says if it is finished."""
    folder = work_folder(output)
    while True:
        if (done := finished(claim, output)) is not None:
            _tidy(output, claim.marker)
            return done
        _check_folder(folder)
        held = lock(folder) if claim.how == "whole" else lock_for_slices(claim, Folder(folder), lambda: _begun(folder))
        try:
            work = _held_work(claim, output, held)
        except BaseException:
            _let_go(held)
            raise
        if work is not None:
            return work
        held.release()


def _held_work(claim: Claim, output: Path, held: Lock) -> Beside | dict[str, Any] | None:
    """As `work_beside`, in the folder that is held; None to look again: another slice did something meanwhile."""
    folder = held.path.parent
    if (done := finished(claim, output)) is not None:
        if held.is_last():
            _discard(folder, claim.marker)  # another run published while we came for the lock
        held.release()
        return done
    _check_ours(claim, output, held)
    store = Folder(folder)
    claimed, marker = read_json(store, CLAIM), read_json(store, claim.marker)
    found = [each for each in (claimed, marker) if is_claim(each)]
    mine = bool(found) and all(map(claim.is_of, found))
    if claim.how == "publish" and not mine:
        raise claim.not_begun(next(iter(found), None), str(folder))
    if _begun(folder):
        for each in found:
            claim.unfinished(each, str(folder))
        _check_names(claim, folder)
    if not mine and (held.alone or not held.works):  # slices that share it found nothing there
        _empty(folder, claim.marker)
    scratch = store.own_scratch(held.alone)
    first = mine or create_json(store, scratch, CLAIM, claim.content())
    work = Beside(claim, output, folder, scratch, held, mine)
    if mine and is_claim(marker):  # all was there when the last run ended; only the rename was not
        work.publish()
        return dict(marker)
    if claim.how != "slice" or (first and not held.alone):
        return work
    if first and held.share() and claim.is_of(read_json(store, CLAIM)):
        return work
    shutil.rmtree(scratch, ignore_errors=True)
    return None


def work_folder(output: Path) -> Path:
    """Where work on an output grows."""
    return _sibling(output, "wip")


def finished(claim: Claim, output: Path) -> dict[str, Any] | None:
    """The marker of the output if this job made it; None if there is no output, or one that may go.

    Raises `OutputConflict` for anything else that is there.
    """
    if not os.path.lexists(output):
        return None
    _check_folder(output)
    found = read_json(Folder(output), claim.marker)
    if not is_claim(found) and _is_filled(output):
        raise claim.strangers(str(output))
    if (done := claim.finished(found)) is None and is_claim(found):
        _check_names(claim, output)
    return done


def _check_names(claim: Claim, folder: Path) -> None:
    """Raise `OutputConflict` for what no such job makes: it would go with the rest."""
    hidden = [path.name for path in folder.iterdir() if path.is_dir() and path.name.startswith(".")]
    claim.check_names([*Folder(folder).sizes(), *hidden], str(folder))


def _check_folder(path: Path) -> None:
    """Raise `OutputConflict` for a file or a link where our folder is to be."""
    if os.path.lexists(path) and (path.is_symlink() or not path.is_dir()):
        raise OutputConflict(f"{path} is not a folder; move it, or give another --output")


def finished_here(claim: Claim, output: Path) -> bool:
    """Whether this very job made the output."""
    return claim.is_of(read_json(Folder(output), claim.marker))


def exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step (Linux's renameat2); False where the system or the file system cannot.

    Raises `FileNotFoundError` if one is not there: to give the other one's name away would leave none of them.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    at_cwd, swap = -100, 2
    if rename is None:
        return False
    if rename(at_cwd, os.fsencode(one), at_cwd, os.fsencode(other), swap) == 0:
        return True
    if ctypes.get_errno() == errno.ENOENT:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(one))
    return False


def _tidy(output: Path, marker: str) -> None:
    """Remove the lock of a run that was killed when it had published, and what the output was before.

    Nothing is asked of a file system that has none of it: it may be read-only.
    """
    if os.path.lexists(output / LOCK):
        _remove(output / LOCK)
    work, old = work_folder(output), _sibling(output, "old")
    with suppress(OSError):
        _discard(old, marker)
        if _is_ours(work, marker):
            _set_aside(work, old)
            _discard(old, marker)


def _set_aside(folder: Path, old: Path) -> None:
    """Give a replaced output, which lies in the work folder's place, the name under which it is emptied.

    It is a finished one without a lock; work has one, be it finished or just begun by another job, whose files would
    go if this was emptied where it lies.
    """
    if not os.path.lexists(folder / LOCK):
        with suppress(FileNotFoundError):  # a run of this job saw that it is published, and tidied
            os.rename(folder, old)


def _begun(folder: Path) -> bool:
    """Whether there is something in the work folder that is worth going on with, or that no run of ours has made."""
    others = (folder / name for name in os.listdir(folder) if name not in CONTROL)
    return (folder / CHECKPOINT / STATE).exists() or not all(map(_is_empty, others))


def _let_go(held: Lock) -> None:
    """Release it, and leave no folder behind that was made to look: what has no more than a lock is nobody's."""
    folder = held.path.parent
    try:
        with suppress(OSError):  # somebody is at work there already; and this must not hide why the run ends
            if held.works and held.is_held() and _is_bare(folder) and held.is_last() and _is_bare(folder):
                held.leave()
                folder.rmdir()
    finally:
        held.release()


def _is_bare(folder: Path) -> bool:
    """Whether there is nothing but the lock, as when it was made for a look."""
    return os.listdir(folder) == [LOCK]


def _is_empty(path: Path) -> bool:
    """An empty folder: without locks, a run that is late may make one in a work folder that is being taken away."""
    return path.is_dir() and not path.is_symlink() and not os.listdir(path)


def _is_filled(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _is_ours(folder: Path, marker: str) -> bool:
    """Whether a marker or a claim says what is there, or nothing is there that anybody would miss.

    They are asked for in the order in which `_empty` takes them away, so that this is true all the while.
    """
    if folder.is_symlink() or not folder.is_dir():
        return False
    return any(is_claim(read_json(Folder(folder), name)) for name in (marker, CLAIM)) or not _begun(folder)


def _check_ours(claim: Claim, output: Path, held: Lock) -> None:
    """Raise `OutputConflict` for files of strangers, or of a job whose claim is damaged, where the work is to be."""
    work, old = work_folder(output), _sibling(output, "old")
    if not _is_ours(work, claim.marker):
        held.leave()
        raise claim.strangers(str(work))
    if claim.overwrite and os.path.lexists(old) and not _is_ours(old, claim.marker):
        raise claim.strangers(str(old))


def _empty(folder: Path, marker: str) -> None:
    """Take away all but the lock. Killed in the middle, the rest is the unfinished work of the job that made it.

    For that the marker, if it is one, becomes the claim before all else, and the claim goes last.
    """
    if is_claim(read_json(Folder(folder), marker)):
        os.replace(folder / marker, folder / CLAIM)
        sync_folder(folder)
    for name in os.listdir(folder):
        if name not in (LOCK, CLAIM):
            _remove(folder / name)
    if os.path.lexists(folder / CLAIM):
        sync_folder(folder)
        _remove(folder / CLAIM)


def _discard(folder: Path, marker: str) -> None:
    """Take a folder away, unless it is a stranger's. The lock goes last: who finds none makes a new one, and what is
    there then is theirs.
    """
    if not _is_ours(folder, marker):
        return
    _empty(folder, marker)
    (folder / LOCK).unlink(missing_ok=True)
    with suppress(OSError):  # somebody is at work there already
        folder.rmdir()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sibling(path: Path, suffix: str) -> Path:
    return path.with_name(f".{path.name}.{suffix}")
