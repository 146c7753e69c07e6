"""Who may write an output, and the one step that shows it.

The claim says which job an output belongs to: a job that comes back goes on, another one is refused. The marker file
(`_SUCCESS` for labels) is written when all is there. On a file system everything grows beside the output and a rename
shows it; after the marker only the rename is left, and whoever comes next finishes it (beside.py). Where there is no
rename the marker itself is what shows it (in_place.py).
"""

import logging
import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from sentiment_batch.errors import OutputConflict, UsageError
from sentiment_batch.remote import is_url
from sentiment_batch.write.beside import Beside, work_beside, work_folder
from sentiment_batch.write.bucket import Bucket
from sentiment_batch.write.claim import CLAIM, CONTROL, Claim, How, Identity, is_claim, job_id
from sentiment_batch.write.in_place import InPlace, begun_in_place, finished_in_place, work_in_place
from sentiment_batch.write.lock import lock
from sentiment_batch.write.manifest import MARKER
from sentiment_batch.write.settle import settle
from sentiment_batch.write.shared import lock_for_slices
from sentiment_batch.write.store import Folder, Store, json_scratch, read_json, scratch_file

Work = Beside | InPlace

log = logging.getLogger(__name__)


def claim(
    output: str, identity: Identity, marker: str, overwrite: bool = False, made: str = ".*", how: How = "whole"
) -> Work | dict[str, Any]:
    """The right to make the output, or, if this very job has made it, the content of its marker.

    `marker` is the JSON file that a finished output has; it holds the job id. `made` is a regular expression for the
    names of all else that the job may make. Raises `OutputConflict` if the output or the work on it belongs to another
    job (with `overwrite` it is replaced) or is not ours at all, and `Busy` if another run holds it. A slice shares it
    with other slices; to publish is to go on with what was begun, or `OutputConflict`.
    """
    wanted = Claim(output, job_id(identity), identity, marker, overwrite, made, how)
    if is_url(output):
        return work_in_place(wanted, Bucket(output))
    path = Path(os.path.abspath(output))
    _check_above(output)
    _check_parent(path.parent)
    if not is_mount_point(path):
        return work_beside(wanted, path)
    return _work_on_volume(wanted, path)


def _check_above(output: str) -> None:
    """Raise `UsageError` for what is to lie in a published output: who reads that would read it, too."""
    for above in Path(os.path.realpath(output)).parents:
        with suppress(OSError):  # one that cannot be read is another program's
            if is_claim(read_json(Folder(above), MARKER)):
                raise UsageError(f"--output {output} lies in {above}, which is published and never changes")


def _work_on_volume(wanted: Claim, path: Path) -> Work | dict[str, Any]:
    """Work in a folder that is a mount point, under its lock; what is finished needs none, nor the right to write."""
    if not path.is_dir():
        raise OutputConflict(f"{path} is not a folder; give another --output")
    left = any(os.path.lexists(path / name) for name in CONTROL if name != CLAIM)
    if not left and (done := finished_in_place(wanted, Folder(path))) is not None:
        return done
    log.info("%s is a mount point, which cannot be renamed: %s publishes what grows in it", path, wanted.marker)
    store = Folder(path)
    while True:
        held = lock(path) if wanted.how == "whole" else lock_for_slices(wanted, store, lambda: begun_in_place(store))
        try:
            work = work_in_place(wanted, store, held)
        except BaseException:
            held.leave()
            raise
        if isinstance(work, dict):
            held.leave()
        elif wanted.how == "slice" and held.alone and not (held.share() and work.published() is None):
            work.release()  # another run came between
            continue
        return work


def settle_json(
    work: Work, name: str, value: dict[str, Any], fits: Callable[[dict[str, Any]], bool] = lambda there: True
) -> dict[str, Any]:
    """Make a JSON file of the job, which has its id, and return what it says: `value`, or what it says already.

    It may have been made by a run that was killed, or by another one that is at work; it is kept if it `fits`. What
    does not, or is of another job, is replaced, unless the output is another job's by now: then `OutputConflict` is
    raised.
    """

    def found() -> dict[str, Any] | None:
        there = read_json(work.store, name)
        return dict(there) if work.claim.is_of(there) and fits(there) else None

    with json_scratch(work.scratch, name, value) as scratch:
        return settle(work.store, name, scratch, found, work.check_held) or value


def settle_bytes(work: Work, name: str, content: bytes, is_right: Callable[[bytes], bool]) -> None:
    """Make a file of the job that is no JSON; one that is there is kept if it `is_right`, else replaced.

    Raises as `settle_json`.
    """

    def found() -> bool | None:
        there = work.store.read(name)
        return True if there is not None and is_right(there) else None

    with scratch_file(work.scratch / name, content) as scratch:
        settle(work.store, name, scratch, found, work.check_held)


def open_store(output: str) -> Store:
    """The place of an output, to read from."""
    return Bucket(output) if is_url(output) else Folder(Path(output))


def work_store(output: str) -> Store:
    """The place where an output grows, to read from; it may not be there."""
    if is_url(output):
        return Bucket(output)
    path = Path(os.path.abspath(output))
    return Folder(path if is_mount_point(path) else work_folder(path))


def _check_parent(folder: Path) -> None:
    """Nothing can be made in what is no folder; and where everybody may rename everybody's files, another user could
    put files of theirs in our place.
    """
    there = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    if not there.is_dir():
        raise UsageError(f"{there} is not a folder, so no output can be in it; give another --output")
    if there != folder:
        return
    mode = os.stat(folder).st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise UsageError(
            f"{folder} may be written by everybody (chmod o-w, or +t, makes it safe); give another --output"
        )


def is_mount_point(path: Path) -> bool:
    """Whether something is mounted there, be it a folder of the same file system, which `os.path.ismount` misses."""
    if os.path.ismount(path):
        return True
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
            points = [line.split(" ")[4] for line in mounts]
    except OSError:
        return False
    plain = (re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), point) for point in points)
    return os.path.join(os.path.realpath(path.parent), path.name) in plain
