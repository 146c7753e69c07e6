"""One generator running ahead of its consumer in a thread of its own: the only concurrency in the program."""

import threading
from collections.abc import Generator, Iterable
from queue import Empty, Full, Queue
from typing import TypeVar

Item = TypeVar("Item")

_POLL_SECONDS = 0.1


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
