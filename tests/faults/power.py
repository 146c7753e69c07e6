"""What a disk may hold after the power went: a model of a file system in memory, and every state that it allows.

A run is recorded call by call. Whatever was not made durable by fsync, the data of its file or the names of its folder,
may be there or not after a crash, each by itself, but for two rules that every file system keeps: what a name stands
for changes in order, and one call (a rename, an exchange) is there as a whole or not at all. The states are those of
ALICE (Pillai et al., "All file systems are not created equal", OSDI 2014) for a file system that orders nothing else.
"""

import os
import pickle
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, product
from math import prod
from pathlib import Path
from typing import Any

from faults.shim import Shim

ROOT = 0
_CALLS = ("open", "write", "pwrite", "ftruncate", "fsync", "link", "rename", "replace", "unlink", "mkdir", "rmdir")
_BY_DESCRIPTOR = ("write", "pwrite", "ftruncate", "fsync")
_HIDDEN = ("/.scratch/", "/.lock")
_FATES = KEPT, LOST, ZEROS = "kept", "lost", "zeros"


class Recorder(Shim):
    """Writes down each call below `place` that succeeded, with what it wrote, in the file `log`."""

    def __init__(self, place: str, log: str):
        super().__init__(place)
        self.log = open(log, "wb", buffering=0)  # noqa: SIM115 - closed by the end of the process

    def _wrapped(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(first: Any, *rest: Any, **named: Any) -> Any:
            path = self._path(first, named.get("dir_fd"))
            result = call(first, *rest, **named)
            if not path.startswith(self.place) or result is False:
                return result
            if name == "open":
                self.paths[result] = path
            where = os.path.relpath(path, self.place)
            if name in _BY_DESCRIPTOR:
                data = bytes(rest[0])[:result] if name in ("write", "pwrite") else None
                at = rest[1] if name == "pwrite" else rest[0] if name == "ftruncate" else None
                pickle.dump((name, first, data, at, _site() if name == "fsync" else where), self.log)
            elif name == "open":
                pickle.dump((name, where, bool(rest[0] & os.O_CREAT), result), self.log)
            elif name in ("link", "rename", "replace", "exchange"):
                pickle.dump((name, where, os.path.relpath(os.path.abspath(os.fsdecode(rest[0])), self.place)), self.log)
            else:
                pickle.dump((name, where), self.log)
            return result

        return wrapped


def _site() -> str:
    """Which line of the program asked for an fsync: `store.create:69`."""
    frame = sys._getframe(2)
    while frame.f_back and frame.f_code.co_name.startswith("sync_"):
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}:{frame.f_lineno}"


@dataclass(frozen=True)
class Change:
    """A call that changes names, or a file's data; it is durable once one of `synced_by` was synced behind it."""

    synced_by: int  # the inode
    names: tuple[tuple[int, str, int | None], ...] = ()  # folder, name, what it stands for then
    data: tuple[int, int | None, bytes] | None = None  # file, offset (None: cut to the length), bytes


@dataclass(frozen=True)
class Sync:
    inode: int
    site: str


@dataclass
class Disk:
    """Folders and files by inode. What is in it by itself is durable."""

    folders: dict[int, dict[str, int]] = field(default_factory=lambda: {ROOT: {}})
    files: dict[int, bytes] = field(default_factory=dict)

    def apply(self, change: Change) -> None:
        for folder, name, inode in change.names:
            if inode is None:
                self.folders[folder].pop(name, None)
            else:
                self.folders[folder][name] = inode
        if change.data:
            file, at, data = change.data
            old = self.files[file]
            if at is None:
                self.files[file] = old[: len(data)].ljust(len(data), b"\0")
            else:
                self.files[file] = old[:at].ljust(at, b"\0") + data + old[at + len(data) :]

    def copy(self) -> "Disk":
        return Disk({inode: dict(names) for inode, names in self.folders.items()}, dict(self.files))

    def tree(self, inode: int = ROOT, path: str = "") -> Iterator[tuple[str, bytes | None]]:
        """Every path with its bytes; None for a folder."""
        for name, child in sorted(self.folders[inode].items()):
            if child in self.folders:
                yield f"{path}/{name}", None
                yield from self.tree(child, f"{path}/{name}")
            else:
                yield f"{path}/{name}", self.files[child]

    def write_to(self, place: Path) -> None:
        for path, data in self.tree():
            if data is None:
                (place / path[1:]).mkdir()
            else:
                (place / path[1:]).write_bytes(data)


class History:
    """The calls of a run, as changes and syncs of the inodes of a disk."""

    def __init__(self, before: Path, log: Path):
        """`before` is a copy of the place as it was when the run began."""
        self.first = Disk()
        self.events: list[Change | Sync] = []
        self._last = self.first
        self._load(before, ROOT)
        self._last = self.first.copy()
        self._open: dict[int, int] = {}
        with open(log, "rb") as file:
            while True:
                try:
                    self._add(*pickle.load(file))
                except EOFError:
                    break

    def _load(self, folder: Path, inode: int) -> None:
        for entry in sorted(folder.iterdir()):
            child = self._new(entry.is_dir())
            self.first.folders[inode][entry.name] = child
            if entry.is_dir():
                self._load(entry, child)
            else:
                self.first.files[child] = entry.read_bytes()

    def _new(self, is_folder: bool) -> int:
        inode = len(self.first.folders) + len(self.first.files)
        for disk in {id(each): each for each in (self.first, self._last)}.values():
            if is_folder:
                disk.folders[inode] = {}
            else:
                disk.files[inode] = b""
        return inode

    def _find(self, path: str) -> tuple[int, str, int | None]:
        """The folder that has the name, the name, and what it stands for now."""
        inode = ROOT
        *parents, name = path.split("/")
        for parent in parents:
            inode = self._last.folders[inode][parent]
        return inode, name, ROOT if path == "." else self._last.folders[inode].get(name)

    def _change(self, change: Change) -> None:
        self._last.apply(change)
        self.events.append(change)

    def _add(self, name: str, first: Any, *rest: Any) -> None:
        if name in _BY_DESCRIPTOR:
            inode, (data, at, site) = self._open[first], rest
            if name == "fsync":
                self.events.append(Sync(inode, site))
            elif name == "ftruncate":
                self._change(Change(inode, data=(inode, None, bytes(at))))
            else:
                offset = len(self._last.files[inode]) if at is None else at
                self._change(Change(inode, data=(inode, offset, data)))
            return
        folder, entry, inode_now = self._find(first)
        if name == "open":
            creates, descriptor = rest
            if creates and inode_now is None:
                inode_now = self._new(is_folder=False)
                self._change(Change(folder, ((folder, entry, inode_now),)))
            assert inode_now is not None
            self._open[descriptor] = inode_now
        elif name == "mkdir":
            self._change(Change(folder, ((folder, entry, self._new(is_folder=True)),)))
        elif name in ("unlink", "rmdir"):
            self._change(Change(folder, ((folder, entry, None),)))
        else:
            other, target, inode_there = self._find(rest[0])
            gone = () if name == "link" else ((folder, entry, inode_there if name == "exchange" else None),)
            self._change(Change(other, ((other, target, inode_now), *gone)))


def states(history: History, crash: int, most: int, without: str = "") -> Iterator[Disk]:
    """The disks that may be found when the power goes behind the first `crash` events.

    fsyncs of the site `without` count for nothing. All of the states if they are no more than `most`; else the three
    extreme ones and so many at random, always the same. Bytes that were not synced may also be zeros.
    """
    changes = [(number, event) for number, event in enumerate(history.events[:crash]) if isinstance(event, Change)]
    durable = _durable(history.events[:crash], without)
    in_doubt = [(number, _fates(event)) for number, event in changes if number not in durable]
    choices: Iterable[tuple[str, ...]] = product(*(fates for _, fates in in_doubt))
    if prod(len(fates) for _, fates in in_doubt) > most:
        chance = random.Random(crash)
        drawn = (tuple(chance.choice(fates) for _, fates in in_doubt) for _ in range(most))
        choices = chain((tuple(fates[at % len(fates)] for _, fates in in_doubt) for at in range(len(_FATES))), drawn)
    for choice in choices:
        fates = {number: fate for (number, _), fate in zip(in_doubt, choice, strict=True)}
        lost: set[tuple[int, str]] = set()
        disk = history.first.copy()
        for number, event in changes:
            fate = fates.get(number, KEPT)
            names = {each[:2] for each in event.names}
            if fate == LOST or names & lost:  # what comes behind a lost change of a name is lost with it
                lost |= names
            else:
                disk.apply(event if fate == KEPT else _zeros(event))
        yield disk


def _durable(events: list[Change | Sync], without: str) -> set[int]:
    """The numbers of the changes that no crash undoes: those that were synced, and what they stand on."""
    durable: set[int] = set()
    names: set[tuple[int, str]] = set()
    synced: set[int] = set()
    for number in reversed(range(len(events))):
        event = events[number]
        if isinstance(event, Sync):
            synced |= {event.inode} if event.site != without else set()
        elif event.synced_by in synced or any(each[:2] in names for each in event.names):
            durable.add(number)
            names |= {each[:2] for each in event.names}
    return durable


def _fates(change: Change) -> tuple[str, ...]:
    return _FATES if change.data and change.data[1] is not None else (KEPT, LOST)


def _zeros(change: Change) -> Change:
    assert change.data
    inode, at, data = change.data
    return replace(change, data=(inode, at, bytes(len(data))))


def plain_tree(disk: Disk) -> tuple[tuple[str, bytes | None], ...]:
    """What can be told apart from outside: no lock, nothing of the scratch folder, which the next start takes away."""
    return tuple(each for each in disk.tree() if not any(part in each[0] for part in _HIDDEN))


def sites(history: History) -> list[str]:
    return sorted({event.site for event in history.events if isinstance(event, Sync)})
