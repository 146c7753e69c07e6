"""The concurrency of the program: a generator that runs ahead of its consumer, and functions in threads."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from queue import Empty, Full, Queue
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_POLL_SECONDS = 0.1

log = logging.getLogger(__name__)


def ahead(items: Iterable[Item], depth: int = 1) -> Generator[Item, None, None]:
    """The items in their order, up to `depth` of them made before they are asked for.

    The iterable is consumed in one background thread. An exception there is raised here, at the place in the order
    where it happened. When the consumer stops early the thread ends before this generator does, so that nothing of
    the producer runs on behind the consumer's back.
    """
    queue: Queue[tuple[Item | None, BaseException | None, bool]] = Queue(depth)
    closed = threading.Event()

    def put(entry: tuple[Item | None, BaseException | None, bool]) -> bool:
        while not closed.is_set():
            try:
                queue.put(entry, timeout=_POLL_SECONDS)
                return True
            except Full:
                continue
        return False

    def produce() -> None:
        try:
            for item in items:
                if not put((item, None, False)):
                    return
            put((None, None, True))
        except BaseException as error:
            put((None, error, True))
        finally:
            if isinstance(items, Generator):
                items.close()

    thread = threading.Thread(target=produce, name=getattr(items, "__name__", "ahead"), daemon=True)
    thread.start()
    try:
        while True:
            try:
                item, error, last = queue.get(timeout=_POLL_SECONDS)
            except Empty:
                continue
            if error is not None:
                raise error
            if last:
                return
            yield item  # type: ignore[misc]
    finally:
        closed.set()
        thread.join()


def in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Generator[tuple[Item, Result], None, None]:
    """Each item with what the function makes of it, in the order of the items.

    One thread is the caller's own. Of more, each takes the next item when it is free; the items are asked for in the
    caller's thread, one more than there are threads before their turn. When the consumer stops early, or the function
    raises, nothing that waits is begun, and what runs has ended before this generator does.
    """
    if threads == 1:
        for item in items:
            yield item, function(item)
        return
    waiting = iter(items)
    running: deque[tuple[Item, Future[Result]]] = deque()
    pool = ThreadPoolExecutor(threads, getattr(function, "__name__", "in_threads"))
    try:
        while True:
            for item in islice(waiting, threads + 1 - len(running)):
                running.append((item, pool.submit(function, item)))
            if not running:
                return
            item, future = running.popleft()
            yield item, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def beforehand(function: Callable[[], object]) -> threading.Thread:
    """Call the function in a thread that nobody has to wait for, which is returned.

    If it raises, whoever needs the same later finds out.
    """

    def call() -> None:
        try:
            function()
        except Exception as error:
            log.debug("%s: %s", thread.name, type(error).__name__)

    thread = threading.Thread(target=call, name=f"beforehand: {getattr(function, '__name__', '')}", daemon=True)
    thread.start()
    return thread
