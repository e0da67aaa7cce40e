"""An event loop beside the calling thread, which keeps its own work: the journal, the listeners, and Ctrl-C.

A loop of its own works in a script, under a running loop (Jupyter), and in a thread alike. Whatever belongs to the
caller is called back in the calling thread: databases and progress bars are bound to it.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

__all__ = ["InCaller", "Stoppable", "run_beside"]

LISTEN_S = 0.1  # how often the caller is asked whether to stop, and Ctrl-C is looked for on Windows
STOP_S = 0.8  # how long calls in flight may take to be closed

T = TypeVar("T")


class InCaller(Protocol):
    """Runs a function in the calling thread, and waits for what it returns."""

    def __call__(self, function: Callable[[], Any], *, keeps: bool = False) -> Awaitable[Any]:
        """``keeps``: also while everything ends, because something paid is kept by it."""
        ...


class Stoppable(Protocol):
    """Work that can be told to end; `stop` is called in its loop."""

    def stop(self) -> None:
        """End soon; what is finished stays."""
        ...

    def run(self, in_caller: InCaller) -> Coroutine[Any, Any, Any]:
        """The work."""
        ...


def run_beside(work: Stoppable, *, cancelled: Callable[[], bool]) -> Any:
    """Run work in a thread with a loop of its own; returns or raises what it does.

    Args:
        cancelled: asked in the calling thread, ten times a second; True stops the work.

    Raises:
        KeyboardInterrupt: Ctrl-C; everything that was finished has been handed over before.
    """
    inbox: queue.SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any], bool] | None] = queue.SimpleQueue()
    outcome: list[tuple[bool, Any]] = []
    loop = asyncio.new_event_loop()

    async def in_caller(function: Callable[[], Any], *, keeps: bool = False) -> Any:
        future: asyncio.Future[Any] = loop.create_future()
        inbox.put((function, future, keeps))
        return await future

    def beside() -> None:
        try:
            outcome.append((True, loop.run_until_complete(work.run(in_caller))))
        except BaseException as error:
            outcome.append((False, error))
        finally:
            inbox.put(None)

    def stop() -> None:
        if not outcome:
            loop.call_soon_threadsafe(work.stop)

    def serve(until: float | None = None) -> bool:
        """Do what the loop asks for; True when it has ended."""
        told = False
        while until is None or time.monotonic() < until:
            try:
                item = inbox.get(timeout=LISTEN_S)
            except queue.Empty:
                item = None
                if outcome:
                    return True
            else:
                if item is None:
                    return True
                function, future, keeps = item
                _hand_back(loop, future, function() if until is None or keeps else None)
            if until is None and not told and cancelled():
                told = True
                stop()
        return False

    thread = threading.Thread(target=beside, name="lmsys-llm", daemon=True)
    thread.start()
    try:
        serve()
    except BaseException:
        # also for an error in a listener: what came back is kept before it is passed on
        stop()
        serve(time.monotonic() + STOP_S)
        raise
    finally:
        if outcome:
            thread.join()
            loop.close()
    ok, result = outcome[0]
    if not ok:
        raise result
    return result


def _hand_back(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], result: Any) -> None:
    def deliver() -> None:
        if not future.done():
            future.set_result(result)

    loop.call_soon_threadsafe(deliver)
