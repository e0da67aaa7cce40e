"""When may the next call go? A sliding window and a steady pace, over any clock, and the waiting around them.

The limits hold as the server sees them: a request that arrives up to `ARRIVAL_S` after it was sent, and tokens whether
they are counted when a request arrives or when its answer is complete. A request therefore stays in the window for
60 seconds after the latest moment it can have arrived, its tokens for 60 seconds after its answer. With answers that
take L seconds, 59.4 / (60.2 + L) of the tokens can be used, and 60 / 61.2 of the requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import cache

__all__ = ["Limiter", "Pace", "shared_pace"]

WINDOW_S = 60.0
ARRIVAL_S = 1.0  # sending may need a new connection
SPARE_S = 0.2  # clocks tick, and threads are held up
LAG_S = 2.0  # a sender that was late by less than this catches up
TOKEN_SHARE = 0.99  # the rest is for answers that were longer than reserved


class Pace:
    """The rule, without a clock: every method is told the time in seconds.

    Args:
        rpm, tpm: requests and tokens in any 60 seconds; 0 is no limit.
    """

    def __init__(self, *, rpm: int = 0, tpm: int = 0) -> None:
        self.rpm, self.tpm = rpm, int(tpm * TOKEN_SHARE)
        self._requests: deque[float] = deque()  # when each leaves the window, ascending
        self._settled: deque[tuple[float, int]] = deque()  # when these tokens leave the window, ascending
        self._settled_tokens = 0
        self._in_flight: dict[int, int] = {}  # ticket -> tokens reserved
        self._in_flight_tokens = 0
        self._n_tickets = 0
        self._request_slot = -math.inf  # the steady pace: no sooner than these
        self._token_slot = -math.inf
        self._paused_until = -math.inf
        self.lock = threading.Lock()  # for those who share it

    def delay(self, now: float, tokens: int) -> float:
        """Seconds until a call of so many tokens may go: 0 is now, infinity is not before another call has ended."""
        self._forget(now)
        earliest = max(now, self._paused_until)
        if self.rpm:
            earliest = max(earliest, self._request_slot)
            if len(self._requests) >= self.rpm:
                earliest = max(earliest, self._requests[len(self._requests) - self.rpm])
        if self.tpm:
            earliest = max(earliest, self._token_slot, self._room_at(now, tokens))
        return max(0.0, earliest - now)

    def admit(self, now: float, tokens: int) -> int:
        """Count a call that goes now; returns the ticket for `settle`."""
        self._n_tickets += 1
        self._in_flight[self._n_tickets] = tokens
        self._in_flight_tokens += tokens
        if self.rpm:
            self._requests.append(now + ARRIVAL_S + SPARE_S + WINDOW_S)
            self._request_slot = _on_time(self._request_slot, now) + (WINDOW_S + ARRIVAL_S + SPARE_S) / self.rpm
        if self.tpm:
            self._token_slot = _on_time(self._token_slot, now) + tokens * self._seconds_per_token()
        return self._n_tickets

    def settle(self, ticket: int, now: float, tokens: int) -> None:
        """A call has ended, and took so many tokens; 0 if the server never did the work."""
        reserved = self._in_flight.pop(ticket)
        self._in_flight_tokens -= reserved
        if self.tpm:
            self._settled.append((now + SPARE_S + WINDOW_S, tokens))
            self._settled_tokens += tokens
            self._token_slot += (tokens - reserved) * self._seconds_per_token()

    def pause(self, until: float) -> None:
        """No call before that time."""
        self._paused_until = max(self._paused_until, until)

    def lower(self, *, rpm: int = 0, tpm: int = 0) -> None:
        """The server says its limits are lower than we thought; 0 says nothing."""
        self.rpm = min(self.rpm or rpm, rpm) if rpm else self.rpm
        self.tpm = min(self.tpm or tpm, int(tpm * TOKEN_SHARE)) if tpm else self.tpm

    def _seconds_per_token(self) -> float:
        return (WINDOW_S + SPARE_S) / self.tpm

    def _forget(self, now: float) -> None:
        while self._requests and self._requests[0] <= now:
            self._requests.popleft()
        while self._settled and self._settled[0][0] <= now:
            self._settled_tokens -= self._settled.popleft()[1]

    def _room_at(self, now: float, tokens: int) -> float:
        excess = self._settled_tokens + self._in_flight_tokens + tokens - self.tpm
        if excess <= 0 or (tokens > self.tpm and not self._settled_tokens + self._in_flight_tokens):
            return now  # a call larger than the limit goes alone
        for leaves_at, settled in self._settled:
            excess -= settled
            if excess <= 0:
                return leaves_at
        return math.inf if self._in_flight else self._settled[-1][0]


@cache
def shared_pace(where: str, rpm: int, tpm: int) -> Pace:
    """The pace of this process towards one model: a minute does not begin anew with the next call of `ask_all`."""
    return Pace(rpm=rpm, tpm=tpm)


def _on_time(slot: float, now: float) -> float:
    """Where the pace stands: a late sender catches up on a little, the first one has nothing to catch up on."""
    return now if math.isinf(slot) else max(slot, now - LAG_S)


class Limiter:
    """`Pace` for tasks of one event loop: first come, first served.

    Args:
        clock: seconds, never going back.
    """

    def __init__(self, pace: Pace, clock: Callable[[], float] = time.monotonic) -> None:
        self.pace = pace
        self._clock = clock
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()

    async def acquire(self, tokens: Callable[[], int]) -> int:
        """Wait until a call may go, and count it; returns the ticket for `settle`.

        Args:
            tokens: how many to reserve, asked at the last moment.
        """
        async with self._turn:
            while True:
                now, needed = self._clock(), tokens()
                self._changed.clear()
                with self.pace.lock:
                    delay = self.pace.delay(now, needed)
                    if delay <= 0:
                        return self.pace.admit(now, needed)
                with contextlib.suppress(asyncio.TimeoutError):
                    # at most a second: whoever shares the pace changes it without telling us
                    await asyncio.wait_for(self._changed.wait(), min(delay, 1.0))

    def settle(self, ticket: int, tokens: int) -> None:
        """See `Pace.settle`."""
        with self.pace.lock:
            self.pace.settle(ticket, self._clock(), tokens)
        self._changed.set()

    def pause(self, seconds: float) -> None:
        """No call for so long: the provider asks everyone to wait."""
        self.pace.pause(self._clock() + seconds)
