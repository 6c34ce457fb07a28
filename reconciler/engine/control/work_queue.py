"""The work queue: domains that are to be looked at, by key, one pass of a key at a time.

A wake-up only names a domain (level-triggered): keys are deduplicated, and one that is woken while
its pass runs makes exactly one more pass. Passes of different domains run side by side; a
PrioritySemaphore limits how many of them start or stop a VM at once.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from typing import TYPE_CHECKING

from reconciler.engine.decide.events import Priority

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

    Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


class WorkQueue:
    """Runs `work(key, priority)` for every woken key; it returns seconds until the next look.

    `fault` gets an exception of `work`, and returns seconds until the next look after it.
    """

    def __init__(self, work: Callable[[str, Priority], Awaitable[float | None]],
                 fault: Callable[[str, Exception], float], spawn: Spawn) -> None:
        self._work = work
        self._fault = fault
        self._spawn = spawn
        self._running: dict[str, asyncio.Task[None]] = {}
        self._again: dict[str, Priority] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._closed = False

    def wake(self, key: str, priority: Priority) -> None:
        """Look at this domain soon."""
        if self._closed:
            return
        if key in self._running:
            self._again[key] = min(priority, self._again.get(key, priority))
            return
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        self._running[key] = self._spawn(self._run(key, priority), f"pass of {key}")

    def wake_in(self, key: str, delay: float, priority: Priority = Priority.RESYNC) -> None:
        """Look at this domain in `delay` seconds, unless something else wakes it before."""
        old = self._timers.pop(key, None)
        if old is not None:
            old.cancel()
        if not self._closed:
            loop = asyncio.get_running_loop()
            self._timers[key] = loop.call_later(max(delay, 0.0), self.wake, key, priority)

    def forget(self, key: str) -> None:
        """This domain is not to be looked at any more."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        self._again.pop(key, None)

    @property
    def idle(self) -> bool:
        """Whether no pass runs."""
        return not self._running

    @property
    def depth(self) -> int:
        """Domains whose pass is running, and those that are to be looked at after it."""
        return len(self._running) + len(self._again)

    async def rest(self) -> None:
        """Wait until no pass runs."""
        while self._running:
            await asyncio.wait(tuple(self._running.values()))

    async def close(self, patience: float) -> None:
        """Accept no more wake-ups; let running passes end, and cancel them after `patience` s."""
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

    async def _run(self, key: str, priority: Priority) -> None:
        try:
            while True:
                try:
                    delay = await self._work(key, priority)
                except Exception as error:  # noqa: BLE001  # one domain's error must not stop the others (rule 8)
                    delay = self._fault(key, error)
                again = self._again.pop(key, None)
                if again is None or self._closed:
                    break
                priority = again
        finally:
            self._running.pop(key, None)
        if delay is not None:
            self.wake_in(key, delay)


class PrioritySemaphore:
    """A number of slots, handed out by priority, then in the order of the requests."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._waiting: list[tuple[Priority, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    async def enter(self, priority: Priority) -> None:
        """Wait for a slot and take it; a cancelled wait takes none. `leave` gives it back."""
        if self._free > 0 and not self._waiting:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (priority, next(self._order), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()
            raise

    def leave(self) -> None:
        """Give the slot to the waiting request with the highest priority."""
        while self._waiting:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
