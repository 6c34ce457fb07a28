"""What wakes the engine: a queue of domain keys, one pass a key at a time.

A wake-up only names a domain (level-triggered): keys are deduplicated, and one that comes while its
pass runs makes exactly one more pass. Passes of different domains run side by side; what is scarce,
starting and stopping, is handed out by a PrioritySemaphore in order of urgency.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Priority(IntEnum):
    """Who goes first; the smaller the sooner."""

    COMMAND = 0
    EXIT = 1
    FILE = 2
    DRIFT = 3
    RESYNC = 4


class WorkQueue:
    """Runs `work(key, urgency)` for every woken key. `work` returns seconds until its next look."""

    def __init__(self, work: Callable[[str, Priority], Awaitable[float | None]],
                 fault: Callable[[str, Exception], float]) -> None:
        self._work = work
        self._fault = fault  # told of a fault of ours; says in how many seconds to look again
        self._running: dict[str, asyncio.Task[None]] = {}
        self._again: dict[str, Priority] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._closed = False
        self.passes = 0

    def wake(self, key: str, urgency: Priority) -> None:
        """Look at this domain soon."""
        if self._closed:
            return
        if key in self._running:
            self._again[key] = min(urgency, self._again.get(key, urgency))
            return
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        self._running[key] = asyncio.create_task(self._run(key, urgency), name=f"pass of {key}")

    def wake_in(self, key: str, delay: float, urgency: Priority = Priority.RESYNC) -> None:
        """Look at this domain in `delay` seconds, unless something else wakes it before."""
        old = self._timers.pop(key, None)
        if old is not None:
            old.cancel()
        if not self._closed:
            loop = asyncio.get_running_loop()
            self._timers[key] = loop.call_later(max(delay, 0.0), self.wake, key, urgency)

    def forget(self, key: str) -> None:
        """This domain is no more."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        self._again.pop(key, None)

    @property
    def idle(self) -> bool:
        """Whether no pass runs."""
        return not self._running

    async def rest(self) -> None:
        """Wait until no pass runs."""
        while self._running:
            await asyncio.wait(tuple(self._running.values()))

    async def close(self, patience: float) -> None:
        """Take nothing in any more; let running passes end, and cancel what has not in time."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._again.clear()
        tasks = tuple(self._running.values())
        if tasks:
            await asyncio.wait(tasks, timeout=patience)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, key: str, urgency: Priority) -> None:
        try:
            while True:
                self.passes += 1
                try:
                    delay = await self._work(key, urgency)
                except Exception as error:  # noqa: BLE001  # one domain's fault must not stop others (rule 8)
                    delay = self._fault(key, error)
                again = self._again.pop(key, None)
                if again is None or self._closed:
                    break
                urgency = again
        finally:
            self._running.pop(key, None)
        if delay is not None:
            self.wake_in(key, delay)


class PrioritySemaphore:
    """A number of places for something scarce, handed out by urgency, then in order of asking."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: list[tuple[Priority, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    async def enter(self, urgency: Priority) -> None:
        """Wait for a place and take it; a cancelled wait takes none. `leave` gives it back."""
        if self._free > 0 and not self._waiting:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (urgency, next(self._order), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()
            raise

    def leave(self) -> None:
        """Give the place to the most urgent who waits."""
        while self._waiting:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
