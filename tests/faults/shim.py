"""Every call that changes an output, counted, and a fault at one of them. For the processes that zygote.py forks.

The program makes its outputs with Python's `os` (a Parquet writer writes into one of its files) and with obstore, so
that wrapping these sees all of them; test_strace.py holds this against what the kernel saw.
"""

import errno
import fcntl
import json
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

CALLS = ("open", "write", "pwrite", "ftruncate", "fsync", "link", "rename", "replace", "unlink", "mkdir", "rmdir")
REQUESTS = ("put", "get", "head", "list", "delete", "open_reader")
CHANGES = "put delete"  # the requests that change something; a kill before another one leaves what they left
SHORT = "short"


class Shim:
    """Counts calls on paths below `place`, and does at the `at`-th what `fault` says.

    fault: "kill" (SIGKILL in its place), "killed_after" (SIGKILL behind it), "stopped" (SIGSTOP before it; SIGCONT lets
    it go on), "late" (the same, and SIGKILL behind it), an errno's name, or "short" (a write of half the bytes).

    With `of`, only calls of these names count; with `on`, the fault comes again at every later one, too.
    Without `swap` the file system has no renameat2, without `lock` it has no locks. `jitter` is the most seconds that
    each call waits before it is made, so that runs side by side meet in many ways.
    """

    def __init__(
        self,
        place: str,
        at: int = 0,
        fault: str = "kill",
        of: str = "",
        on: bool = False,
        swap: bool = True,
        lock: bool = True,
        jitter: float = 0,
        record: str = "",
    ):
        self.place = os.path.abspath(place)
        self.at, self.fault, self.of, self.on = at, fault, of, on
        self.swap, self.lock, self.jitter = swap, lock, jitter
        self.count = 0
        self.paths: dict[int, str] = {}
        self.record = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if record else -1
        self.write_record = os.write

    def install(self) -> None:
        for name in CALLS:
            setattr(os, name, self._wrapped(name, getattr(os, name)))
        close = os.close

        def forget(descriptor: int) -> None:
            self.paths.pop(descriptor, None)
            close(descriptor)

        os.close = forget
        if not self.lock:
            fcntl.flock = _no_lock
        from sentiment_batch.write import beside

        exchange = beside.exchange if self.swap else lambda one, other: False
        beside.exchange = self._wrapped("exchange", exchange)
        try:
            import obstore
        except ImportError:
            return
        for name in REQUESTS:
            setattr(obstore, name, self._requested(name, getattr(obstore, name)))

    def _wrapped(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(first: Any, *rest: Any, **named: Any) -> Any:
            path = self._path(first, named.get("dir_fd"))
            if not path.startswith(self.place):
                return call(first, *rest, **named)
            result = self._step(name, path, lambda *shorter: call(first, *(shorter or rest), **named), rest)
            if name == "open":
                self.paths[result] = path
            return result

        return wrapped

    def _requested(self, name: str, request: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(store: Any, *rest: Any, **named: Any) -> Any:
            return self._step(name, str(rest[:1] or named.get("prefix")), lambda: request(store, *rest, **named), rest)

        return wrapped

    def _step(self, name: str, path: str, call: Callable[..., Any], rest: tuple[Any, ...]) -> Any:
        if self.jitter:
            time.sleep(self.jitter * random.random() ** 2)
        if self.record >= 0:
            line = json.dumps([name, os.path.relpath(path, self.place)]) + "\n"
            self.write_record(self.record, line.encode())
        if self.of and name not in self.of.split():
            return call()
        self.count += 1
        if not self.at or self.count < self.at or (self.count > self.at and not self.on):
            return call()
        if self.fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault in ("stopped", "late"):
            os.kill(os.getpid(), signal.SIGSTOP)
        if self.fault == "stopped":
            return call()
        if self.fault in ("killed_after", "late"):
            with suppress(Exception):  # "there already" is an answer, too
                call()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == SHORT:
            return call(rest[0][: max(1, len(rest[0]) // 2)]) if name == "write" else call()
        code = getattr(errno, self.fault)
        raise OSError(code, os.strerror(code), path)

    def _path(self, first: Any, folder: int | None) -> str:
        if isinstance(first, int):
            return self.paths.get(first, "")
        path = os.fsdecode(first)
        return os.path.join(self.paths.get(folder, ""), path) if folder is not None else os.path.abspath(path)


def _no_lock(descriptor: int, operation: int) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
