"""May this call still be paid? Money is set aside before a call, so that calls in flight can't overspend together."""

from __future__ import annotations

import asyncio

__all__ = ["Budget"]


class Budget:
    """US dollars that may be spent; None is no limit. For the tasks of one event loop."""

    def __init__(self, most: float | None) -> None:
        self._most = most
        self._spent = 0.0
        self._reserved = 0.0
        self._n_reserved = 0
        self._waiting: list[asyncio.Future[None]] = []

    async def reserve(self, amount: float) -> bool:
        """Set so much aside, waiting for calls in flight if only they stand in the way; False: it is not there."""
        if self._most is None:
            return True
        while self._spent + self._reserved + amount > self._most:
            if not self._n_reserved:
                return False
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future
        self._reserved += amount
        self._n_reserved += 1
        return True

    def settle(self, reserved: float, spent: float) -> None:
        """A call has ended and cost so much of what was set aside."""
        if self._most is None:
            return
        self._n_reserved -= 1
        self._reserved = self._reserved - reserved if self._n_reserved else 0.0
        self._spent += spent
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
