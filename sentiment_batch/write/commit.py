"""Who may write an output, and the one rename that shows it.

Everything grows in `.OUT.wip/` beside OUT. The claim in it says which job it belongs to: a job that comes back goes on,
another one is refused. A lock keeps two runs of one job from doing the same work twice; safety does not need it. The
marker file (`_SUCCESS` for labels) is written when all is there; after that only the rename is left, and whoever comes
next finishes it.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentiment_batch.errors import Busy, OutputConflict, UsageError
from sentiment_batch.write.store import read_json, sync_folder, write_json

CLAIM, LOCK, SCRATCH = ".claim.json", ".lock", ".scratch"
CHECKPOINT, STATE = ".checkpoint", "state.json"  # where a job keeps what it goes on from, if not in finished files
JOB_ID = "job_id"

Identity = dict[str, Any]


def job_id(identity: Identity) -> str:
    """The same for the same inputs, model and options; nothing of time, host or chance is in it."""
    canonical = json.dumps(identity, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode(errors="backslashreplace")).hexdigest()[:32]


@dataclass
class Work:
    """An output that is being made by this process and no other."""

    output: Path
    folder: Path  # what becomes the output
    job_id: str
    resumed: bool
    lock: int
    identity: Identity
    marker: str
    overwrite: bool

    @property
    def scratch(self) -> Path:
        return self.folder / SCRATCH

    def publish(self) -> None:
        """Make the finished folder the output. What the output was before is gone after that, and not before."""
        _finished(self.output, self.marker, self.job_id, self.identity, self.overwrite)  # raises for what came since
        _empty(self.folder, lambda name: name.startswith(".") and name != LOCK)
        old = _sibling(self.output, "old")
        if self.output.exists() and any(self.output.iterdir()):
            shutil.rmtree(old, ignore_errors=True)
            os.rename(self.output, old)
        os.rename(self.folder, self.output)
        sync_folder(self.output.parent)
        (self.output / LOCK).unlink(missing_ok=True)  # not before: a run that looked in between would take it for free
        shutil.rmtree(old, ignore_errors=True)
        os.close(self.lock)
        self.lock = -1

    def release(self) -> None:
        """Let another run go on with the work; if there is nothing to go on with, leave nothing behind."""
        if self.lock < 0:
            return
        if self.folder.is_dir() and not _begun(self.folder):
            _remove(self.folder)
        os.close(self.lock)
        self.lock = -1


def claim(output: str, identity: Identity, marker: str, overwrite: bool = False) -> Work | dict[str, Any]:
    """The right to make the output, or, if this very job has made it, the content of its marker.

    `marker` is the JSON file that a finished output has; it holds the job id. Raises `OutputConflict` if the output or
    the work on it belongs to another job (with `overwrite` it is replaced) or is not ours at all, and `Busy` if
    another run holds it.
    """
    if "://" in output:
        raise UsageError(f"--output {output}: only a local folder can be written; copy it there afterwards")
    path = Path(os.path.abspath(output))
    this = job_id(identity)
    if (finished := _finished(path, marker, this, identity, overwrite)) is not None:
        return finished
    work = _sibling(path, "wip")
    lock = _lock(work)
    try:
        if (finished := _finished(path, marker, this, identity, overwrite)) is not None:
            _remove(work)  # another run published while we came for the lock
            os.close(lock)
            return finished
        claimed, done = read_json(work / CLAIM), read_json(work / marker)
        other = next((each for each in (claimed, done) if each and each.get(JOB_ID) != this), None)
        if other and not overwrite and _begun(work):
            raise OutputConflict(
                f"{work} is the unfinished work of another job: {_difference(other, identity)}; "
                "finish that job, give another --output, or --overwrite"
            )
        if other or not (claimed or done):
            _empty(work, lambda name: name != LOCK)
            claimed = done = None
            write_json(work / CLAIM, {JOB_ID: this, "identity": identity})
        shutil.rmtree(work / SCRATCH, ignore_errors=True)
        (work / SCRATCH).mkdir(mode=0o700)
    except BaseException:
        os.close(lock)
        raise
    claimed_work = Work(path, work, this, bool(claimed or done), lock, identity, marker, overwrite)
    if done:  # all was there when the last run ended; only the rename was not
        claimed_work.publish()
        return dict(done)
    return claimed_work


def _begun(work: Path) -> bool:
    """Whether there is something in the work folder that is worth going on with."""
    return (work / CHECKPOINT / STATE).exists() or any(not name.startswith(".") for name in os.listdir(work))


def _finished(path: Path, marker: str, this: str, identity: Identity, overwrite: bool) -> dict[str, Any] | None:
    if not os.path.lexists(path):
        return None
    if path.is_symlink() or not path.is_dir():
        raise OutputConflict(f"{path} is not a folder; give another --output")
    found = read_json(path / marker)
    if isinstance(found, dict) and found.get(JOB_ID) == this:
        return found
    if isinstance(found, dict) and JOB_ID in found:
        if overwrite:
            return None
        raise OutputConflict(
            f"{path} belongs to another job: {_difference(found, identity)}; give another --output, or --overwrite"
        )
    if any(path.iterdir()):
        raise OutputConflict(f"{path} has files that are not of a finished job; give another --output or move them")
    return None


def _difference(other: dict[str, Any], identity: Identity) -> str:
    """Which parts of the identities differ, in words."""
    plain = json.loads(json.dumps(identity))  # as the other comes from its file: lists, not tuples
    theirs, ours = _flat(other.get("identity", {})), _flat(plain)
    names = [name for name in {*theirs, *ours} if theirs.get(name) != ours.get(name)]
    names.sort(key=lambda name: (name.endswith(("sha256", "mtime_ns")), name))  # what a person can read first
    shown = [f"{name} {theirs.get(name)!s:.60} there, {ours.get(name)!s:.60} here" for name in names[:3]]
    return "; ".join(shown) or "another version made it"


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        items = [(f"{name}.{key}" if name else str(key), each) for key, each in value.items()]
    elif isinstance(value, list) and any(isinstance(each, dict | list) for each in value):
        items = [(f"{name}[{number}]", each) for number, each in enumerate(value)]
    else:
        return {name: value}
    return {key: each for inner, held in items for key, each in _flat(held, inner).items()}


def _lock(work: Path) -> int:
    while True:
        work.mkdir(parents=True, exist_ok=True)
        try:
            lock = os.open(work / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except FileNotFoundError:
            continue  # another run published between our mkdir and our open
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 200, 0).decode(errors="replace").strip()
            os.close(lock)
            raise Busy(f"{work} is held by another run ({holder}); wait for it to end") from None
        if _is_named(lock, work / LOCK):
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
            return lock
        os.close(lock)  # another run published between our open and our lock


def _is_named(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _empty(work: Path, goes: Callable[[str], bool]) -> None:
    for entry in work.iterdir():
        if not goes(entry.name):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    sync_folder(work)


def _remove(work: Path) -> None:
    """The lock goes last: who finds none makes a new one, and what is there then is theirs."""
    _empty(work, lambda name: name != LOCK)
    (work / LOCK).unlink()
    with contextlib.suppress(OSError):
        work.rmdir()


def _sibling(path: Path, suffix: str) -> Path:
    return path.with_name(f".{path.name}.{suffix}")
