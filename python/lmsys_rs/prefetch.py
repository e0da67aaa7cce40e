"""How one thread works ahead of another: an iterator whose next item is made while the last one is used.

It knows nothing about what is made. Errors come out where the items do; leaving the loop ends the thread.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

__all__ = ["prefetched"]

T = TypeVar("T")

POLL_S = 0.1  # how soon either side notices that the other one is gone
END = object()


def prefetched(items: Iterable[T], depth: int = 1) -> Generator[T, None, None]:
    """The same items in the same order, up to ``depth`` of them made in advance on another thread."""
    made: queue.Queue[object] = queue.Queue(depth)
    stop = threading.Event()
    failures: list[BaseException] = []

    def put(item: object) -> bool:
        while not stop.is_set():
            try:
                made.put(item, timeout=POLL_S)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put(item):
                    return
        except BaseException as failure:  # carried over to the other thread and raised there
            failures.append(failure)
        put(END)

    thread = threading.Thread(target=work, name="lmsys-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            try:
                item = made.get(timeout=POLL_S)  # with a timeout Ctrl-C gets through on every system
            except queue.Empty:
                continue
            if item is END:
                break
            yield item  # type: ignore[misc]  # END is the only item that is not a T
        if failures:
            raise failures[0]
    finally:
        stop.set()
        thread.join()
