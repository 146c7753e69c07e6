"""Each error that a disk can give, at each call, once or from then on: a listed exit code, and the next run ends it.

Rows 12 to 18, 21, 22 of the matrix (README.md). Half of the cases make the program think of what it does with an error
in the middle of its own cleaning up.
"""

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.jobs import arguments, check_finished, data_files, finish, is_published, steps, write_dump
from faults.shim import SHORT
from faults.zygote import Zygote

Tier = Callable[[int, int], int]
FAULTS = ("ENOSPC", "EIO", "EDQUOT", "EACCES", "EMFILE", "EINTR", "ESTALE", SHORT)
CALLS = ("open", "write", "fsync", "link", "rename", "unlink", "mkdir", "rmdir")
# 0 done all the same, 3 to 8 as listed; never 1: none of these is a bug of the program
FINE = {0, 7}


def test_every_error_at_every_call(zygote: Zygote, tmp_path: Path, tier: Tier) -> None:
    dump = write_dump(tmp_path / "dump.tsv", 110)  # four shards
    (tmp_path / "first").mkdir()
    out = tmp_path / "first" / "out"
    ended = zygote.run(*arguments(dump, out), place=str(out.parent), record=str(tmp_path / "record"))
    assert ended.code == 0, ended.err
    expected = data_files(out)
    calls = [name for name, _ in steps(tmp_path / "record")]
    cases = [
        (fault, call, at, on)
        for fault in FAULTS
        for call in CALLS
        if fault != SHORT or call == "write"
        for at in range(1, calls.count(call) + 1)
        for on in (False, True)
    ]
    seen: dict[int, int] = {}
    for number, (fault, call, at, on) in enumerate(random.Random(5).sample(cases, min(len(cases), tier(80, 10_000)))):
        place = tmp_path / str(number)
        place.mkdir()
        out = place / "out"
        ended = zygote.run(*arguments(dump, out), place=str(place), at=at, fault=fault, of=call, on=on)
        seen[ended.code] = seen.get(ended.code, 0) + 1
        assert ended.code in FINE, (fault, call, at, on, ended.err)
        assert "Traceback" not in ended.err, (fault, call, at, on, ended.err)
        if is_published(out):
            verified = zygote.run("verify", out)
            assert verified.code == 0, (fault, call, at, on, verified.err)
        finish(zygote, *arguments(dump, out))
        check_finished(zygote, out, expected)
    assert set(seen) == FINE, "some errors are survived, some are not"
    print(f"{sum(seen.values())} of {len(cases)} cases: {seen}")


def test_a_full_disk_is_told_with_its_room(zygote: Zygote, tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "dump.tsv", 110)
    (tmp_path / "place").mkdir()
    out = tmp_path / "place" / "out"
    how = {"place": str(out.parent), "of": "write", "fault": "ENOSPC", "on": True}
    ended = zygote.run(*arguments(dump, out), at=6, **how)
    assert ended.code == 7
    assert "bytes were to be written" in ended.err
    assert ".out.wip/.scratch" in ended.err
    work = out.parent / ".out.wip"
    assert list((work / ".scratch").iterdir()) == []
    kept = sorted(path.name for path in work.glob("part-*"))
    assert kept == ["part-00000.parquet"], "what is finished is kept, what is not is gone"
    inode = (work / kept[0]).stat().st_ino
    finish(zygote, *arguments(dump, out))
    assert (out / kept[0]).stat().st_ino == inode


def test_a_file_that_could_not_be_synced_is_not_synced_again_but_made_again(zygote: Zygote, tmp_path: Path) -> None:
    """After EIO the kernel may have dropped the pages: a second fsync of the same file would lie (fsyncgate, 2018)."""
    dump = write_dump(tmp_path / "dump.tsv", 50)
    for on, code in ((False, 0), (True, 7)):
        place = tmp_path / str(code)
        place.mkdir()
        record = tmp_path / f"record-{code}"
        plain = place / "plain"
        zygote.run(*arguments(dump, plain), place=str(place), record=str(record))
        syncs = [path for name, path in steps(record) if name == "fsync"]
        at = next(number for number, path in enumerate(syncs, 1) if is_part(path))
        out = place / "out"
        record.unlink()
        how = {"of": "fsync", "fault": "EIO", "at": at, "on": on, "record": str(record)}
        ended = zygote.run(*arguments(dump, out), place=str(place), **how)
        assert ended.code == code, ended.err
        for call in ("write", "fsync"):
            times = sum(name == call and is_part(path) for name, path in steps(record))
            # with every fsync failing, the second attempt ends at the rejects, before the part is written
            assert times == (2 if code == 0 else 1), call


def is_part(path: str) -> bool:
    return "part-00000.parquet" in path and not path.endswith(".rejects")


UNSHARED = subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not UNSHARED, reason="this system lets nobody mount in a namespace of their own")
@pytest.mark.parametrize("option", ["size=96k", "nr_inodes=12"])
def test_a_real_disk_that_is_full(zygote: Zygote, tmp_path: Path, option: str) -> None:
    """A tmpfs without room, or without inodes: exit 7, and with room the same command ends the job."""
    dump = write_dump(tmp_path / "dump.tsv", 700)
    script = tmp_path / "job.sh"
    command = " ".join(map(str, arguments(dump, "disk/out")))
    script.write_text(
        f"mount -t tmpfs -o {option} none disk\n"
        f"{sys.executable} {Path(__file__).with_name('stub.py')} {command}\n"
        "echo first $?\n"
        "mount -o remount,size=64m,nr_inodes=1000 disk\n"
        f"{sys.executable} {Path(__file__).with_name('stub.py')} {command}\n"
        "echo second $?\n"
        "cp -r disk/out kept\n"
    )
    (tmp_path / "disk").mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    unshared = ["unshare", "-rm", "sh", str(script)]
    ended = subprocess.run(
        unshared,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "first 7" in ended.stdout, ended.stderr
    assert "second 0" in ended.stdout, ended.stderr
    assert "No space left on device" in ended.stderr
    assert zygote.run("verify", tmp_path / "kept").code == 0
